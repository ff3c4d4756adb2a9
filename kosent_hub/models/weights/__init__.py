"""Weights: loaded, an adapter attached to them or merged in, read from and compared with files."""
