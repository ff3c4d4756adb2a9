"""What a training needs in memory, counted on the model's class, and which GPUs have it."""
