"""llama.cpp's own server, as the package xllamacpp has it beside the converter.

    python llama.py FILE THREADS

is the server's process: it prints its address, and serves until its stdin ends.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def served(file: Path, package: Path) -> Iterator[tuple[str, Callable[..., Any]]]:
    """The address of a server with the GGUF file, and `ask("/tokenize", content=...)` of it."""
    threads = str(len(os.sched_getaffinity(0)))
    server = subprocess.Popen(
        [sys.executable, __file__, str(file), threads],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"PYTHONPATH": str(package)},
    )
    assert server.stdin is not None and server.stdout is not None
    address = server.stdout.readline().strip()
    assert address, f"llama.cpp cannot load {file}"

    def ask(path: str, **body: Any) -> Any:
        head = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{address}{path}", json.dumps(body).encode(), head)
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    try:
        yield address, ask
    finally:
        server.stdin.close()
        server.wait()


def main() -> None:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = sys.argv[1]
    params.port = 0
    params.n_ctx = 2048
    params.n_parallel = 1
    params.warmup = False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = int(sys.argv[2])
    # A cache in float32: else its rounding is in the logits too.
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
