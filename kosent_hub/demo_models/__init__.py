"""The base models of the demo and the tests, taken out of Python packages: no Hub needed."""
