"""What tests stand on: a Hub, servers that fork commands, disturbances, the draw of slow tests."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
