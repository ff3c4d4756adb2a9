"""What is wrong with a card: the lint behind `kosent-card check`."""
