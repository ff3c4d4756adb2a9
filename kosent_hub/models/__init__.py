"""What training and evaluation must agree on: repos, tokenizers, chat format, loading, devices."""
