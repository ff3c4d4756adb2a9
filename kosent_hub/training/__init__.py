"""Training: recipe, checks before the first step, plan, trainer, run folder and its record."""
