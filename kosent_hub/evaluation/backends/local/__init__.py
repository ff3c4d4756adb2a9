"""The engine of this process: continuous batching over transformers."""
