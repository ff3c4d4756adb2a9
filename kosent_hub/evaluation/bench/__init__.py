"""KoSent-Bench, scored: its items as prompts, its scripted users, and the measures of its parts.

`python -m kosent_hub.evaluation.bench` prints how well the patterns do that these go by.
"""
