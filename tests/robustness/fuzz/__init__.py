"""Mutated files for the data and card commands: `make fuzz`.

    python -m tests.robustness.fuzz [COUNT [FIRST]]

Input number n is the same on every machine. Each must end with exit status 0 or 2 within ten
seconds, with no traceback, every row accounted for, and nothing written but the output.
"""
