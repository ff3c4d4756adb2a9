"""Adapters, headers of weights and chat templates, each changed at random by a seed.

    python -m tests.robustness.fuzz.models BASE SEED COUNT      tries COUNT of each, on that model

Whatever comes, a model is loaded or refused in one line, within seconds.
"""

from __future__ import annotations

import json
import random
import shutil
import struct
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from model_card.publishing.errors import explain
from tests.kosent_hub.adapters import write_adapter

# Values that a setting seldom has.
ODD: list[Any] = [
    *(None, True, False, 0, -1, 1.5, 2**31, 10**30, float("inf"), "", " ", "x", "\x00", "q_proj"),
    *(
        [],
        {},
        [None],
        [[]],
        {"": 0},
        ["q_proj", 7],
        "(" * 50,
        ".*" * 30,
        "../..",
        "한글",
        [0] * 1000,
    ),
]
# Pieces of templates, whole and broken.
PIECES = [
    *(
        "{% for m in messages %}",
        "{% endfor %}",
        "{% if x %}",
        "{% endif %}",
        "{{",
        "}}",
        "{%",
        "%}",
    ),
    *(
        "messages[0].content",
        "m.role",
        "bos_token",
        "raise_exception('no')",
        "loop.last",
        " ",
        "\n",
    ),
    *(
        "| trim",
        "| tojson",
        "namespace()",
        "{# ",
        " #}",
        "strftime_now('%d')",
        "\x00",
        "한글",
        "9" * 40,
    ),
]


@dataclass
class Tried:
    """What came of the inputs: how each ended, the slowest one's seconds, and the bugs, each with
    what makes it again."""

    ends: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    bugs: list[str] = field(default_factory=list)


def fuzz(base: Path, seed: int, count: int) -> Tried:
    """Try `count` adapters' configs, headers of adapters' weights, and templates of `base`."""
    tried = Tried()
    with tempfile.TemporaryDirectory() as scratch:
        tuned = write_adapter(base, Path(scratch) / "tuned", std=0.5)
        for kind, change in (("config", config), ("header", header), ("template", template)):
            for number in range(count):
                draw = random.Random(f"{kind} {seed} {number}")
                model = shutil.copytree(
                    base if kind == "template" else tuned, Path(scratch) / "model"
                )
                change(draw, model)
                attempt(tried, f"{kind} {seed} {number}", model)
                shutil.rmtree(model)
    return tried


def attempt(tried: Tried, name: str, model: Path) -> None:
    from kosent_hub.models.locate import ModelRef, locate
    from kosent_hub.models.weights.load import load_model

    began, end = time.monotonic(), "loaded"
    try:
        load_model(locate(ModelRef(str(model), dtype="float32")))
    except Exception as error:
        line = explain(error)
        end = "refused" if line else "bug"
        if line is None:
            tried.bugs.append(f"{name}: {traceback.format_exc()[-800:]}")
        elif "\n" in line:
            tried.bugs.append(f"{name}: not one line: {line}")
    tried.ends[f"{name.split()[0]} {end}"] += 1
    tried.slowest = max(tried.slowest, time.monotonic() - began)


def config(draw: random.Random, model: Path) -> None:
    """Change one to three settings of an adapter, or bytes of its file."""
    file = model / "adapter_config.json"
    if draw.random() < 0.2:
        file.write_bytes(in_bytes(draw, file.read_bytes()))
        return
    settings = json.loads(file.read_text("utf-8"))
    base = settings["base_model_name_or_path"]
    for _ in range(draw.randint(1, 3)):
        name = draw.choice([*settings, "some_new_setting"])
        if draw.random() < 0.2:
            settings.pop(name, None)
        else:
            settings[name] = draw.choice(ODD)
    if draw.random() < 0.8:  # else most would end at their base
        settings["base_model_name_or_path"] = base
    file.write_text(json.dumps(settings), "utf-8")


def header(draw: random.Random, model: Path) -> None:
    """Change the names, shapes, types or places in an adapter's weights, or bytes of its file."""
    file = model / "adapter_model.safetensors"
    data = file.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    found = json.loads(data[8 : 8 + length])
    name = draw.choice([name for name in found if name != "__metadata__"])
    changes: list[Callable[[], Any]] = [
        lambda: found.pop(name),
        lambda: found.update(
            {draw.choice([f"x.{name}", name.replace("0", "7"), ""]): found.pop(name)}
        ),
        lambda: found[name].update(shape=draw.choice([[], [0], [-1], [4], [2**40, 2], "x", None])),
        lambda: found[name].update(shape=found[name]["shape"][::-1]),
        lambda: found[name].update(dtype=draw.choice(["F16", "I64", "BOOL", "F8_E4M3", "x", 7])),
        lambda: found[name].update(
            data_offsets=draw.choice([[0, 0], [8, 4], [0, 2**60], [], None])
        ),
        lambda: found.update(__metadata__=draw.choice([{"format": "x"}, {}, *ODD])),
    ]
    draw.choice(changes)()
    written = json.dumps(found).encode()
    data = struct.pack("<Q", len(written)) + written + data[8 + length :]
    if draw.random() < 0.3:
        data = in_bytes(draw, data)
    file.write_bytes(data)


def template(draw: random.Random, model: Path) -> None:
    """Cut, double and insert pieces of a chat template."""
    file = model / "chat_template.jinja"
    text = file.read_text("utf-8")
    for _ in range(draw.randint(1, 3)):
        begin = draw.randrange(len(text) + 1)
        end = begin + draw.randrange(30)
        piece = draw.choice(["", text[begin:end] * 2, draw.choice(PIECES)])
        text = text[:begin] + piece + text[draw.choice([begin, end]) :]
    file.write_text(text, "utf-8")


def in_bytes(draw: random.Random, data: bytes) -> bytes:
    """The data with a piece cut, doubled, zeroed or inserted."""
    begin, end = sorted(draw.randrange(len(data) + 1) for _ in range(2))
    end = min(end, begin + 64)
    pieces = (b"", data[begin:end] * 2, b"\0" * (end - begin), draw.randbytes(8))
    return data[:begin] + draw.choice(pieces) + data[end:]


def main() -> None:
    """Try as the command line says, print what came of it, and fail for a bug."""
    tried = fuzz(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
    for bug in tried.bugs:
        print(bug, file=sys.stderr)
    print(dict(sorted(tried.ends.items())), f"slowest {tried.slowest:.1f} s")
    sys.exit(bool(tried.bugs))


if __name__ == "__main__":
    main()
