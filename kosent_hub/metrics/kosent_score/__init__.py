"""The metrics on strings, which are also an `evaluate` module of their own."""
