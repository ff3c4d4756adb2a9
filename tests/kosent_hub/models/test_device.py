"""What is said of a machine and of what was held on it."""

import subprocess
import sys

HELD = 2**29
LARGE_PARENT = """
import subprocess, sys
held = b"x" * int(sys.argv[1])
print(subprocess.check_output([sys.executable, "-c", sys.argv[2]], text=True))
"""
PEAK = """
from kosent_hub.models.machine.device import peak_rss
held = b"x" * 2**26
print(peak_rss())
"""


def test_a_process_peak_is_not_that_of_the_one_that_started_it():
    command = [sys.executable, "-c", LARGE_PARENT, str(HELD), PEAK]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert 2**26 < int(done.stdout) < HELD
