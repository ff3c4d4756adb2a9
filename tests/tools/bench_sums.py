"""Write the SHA-256 of KoSent-Bench's files into its version.json, the version beside them.

    python -m tests.tools.bench_sums 1.0.0

After a version is out, any change of a file is a new version: see "Versions" in the datasheet.
"""

import argparse
import hashlib
import json

from dataset_builder.bench.items import FILES, FOLDER, VERSION_FILE


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.tools.bench_sums", description=__doc__)
    parser.add_argument("version", metavar="VERSION")
    sums = {name: hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() for name in FILES}
    found = {"version": parser.parse_args().version, "sha256": sums}
    (FOLDER / VERSION_FILE).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
