"""Models as they lie on the Hub or in a folder: which commit, and what is safe to read."""
