"""The inputs by number: the sample corpus in every container, front matter and records, mutated."""

from __future__ import annotations

import csv
import io
import json
import re
import tarfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

from tests.dataset_builder.corpora import SAMPLE, archive, book, text
from tests.model_card.cards import RECORDS, card
from tests.robustness.fuzz import mutate

# utf-16, jsonl and tar are not read, so they are rare.
TABLES = (*("csv", "cp949", "xlsx", "one xlsx", "json") * 3, "tsv", "utf-16", "jsonl")
PACKED = (*("", "", "zip", "zip with names in cp949", "zip in zip") * 3, "tar")
# Of a hundred inputs; the others are corpora.
FRONT_MATTER, RECORDED = 10, 10


@dataclass(frozen=True)
class Input:
    """Files under a folder, and the command that is given the folder: `data` or `card`."""

    command: str
    kind: str
    files: dict[str, bytes]


def draw(number: int) -> Input:
    """Input number `number`."""
    random = Random(number)
    if number % 100 < FRONT_MATTER:
        return _front_matter(random)
    if number % 100 < FRONT_MATTER + RECORDED:
        return _records(random)
    return _corpus(random)


def _corpus(random: Random) -> Input:
    kind, packed = random.choice(TABLES), random.choice(PACKED)
    train, test = (_rows(split, random.randint(2, 6)) for split in ("Training", "Validation"))
    if random.random() < 0.6:
        train = mutate.table(random, train)
    if random.random() < 0.3:
        test = mutate.table(random, test)
    files = _written(kind, train, test)
    if random.random() < 0.4:
        name = random.choice([*files])
        files[name] = mutate.data(random, files[name])
    files = {_clean(mutate.name(random, name)): data for name, data in files.items()}
    if random.random() < 0.2:
        files[random.choice(["메모.txt", "pairs.csv", "b.zip", "c.xlsx", "d.json"])] = (
            random.choice([*files.values(), random.randbytes(40), b"", "메모".encode("utf-16")])
        )
    files = _packed(random, packed, files)
    return Input("data", f"{kind} in {packed}" if packed else kind, files)


def _written(kind: str, train: list[list[str]], test: list[list[str]]) -> dict[str, bytes]:
    if kind == "one xlsx":
        return {"감성.xlsx": book({"Training": train, "Validation": test, "메모": [["메모"]]})}
    both = {"Training": train, "Validation": test}
    if kind == "xlsx":
        return {f"{split}/감성.xlsx": book({"Sheet1": rows}) for split, rows in both.items()}
    if kind in ("json", "jsonl"):
        return {f"{split}.{kind}": _json(rows, kind) for split, rows in both.items()}
    codec = kind if kind in ("cp949", "utf-16") else "utf-8"
    delimiter = "\t" if kind == "tsv" else ","
    ending = "tsv" if kind == "tsv" else "csv"
    found = {}
    for split, rows in both.items():
        plain = [[c.encode(codec, "ignore").decode(codec) for c in row] for row in rows]
        found[f"감성_{split}.{ending}"] = text(plain, codec, delimiter)
    return found


def _json(rows: list[list[str]], kind: str) -> bytes:
    records = []
    for number, row in enumerate(rows[1:]):
        cells = dict(zip(["", "a", "g", "s", "d", "e", "m"], row, strict=False))
        said = row[7:13]
        keys = [f"{who}0{turn}" for turn in (1, 2, 3) for who in ("HS", "SS")]
        records.append(
            {
                "profile": {
                    "persona-id": f"Pro_{number:05d}",
                    "persona": {"human": ["A02", cells.get("g", "")]},
                    "emotion": {"type": "E31", "situation": ["S06", cells.get("d", "")]},
                },
                "talk": {
                    "id": {"talk-id": f"Pro_{number:05d}_{number:05d}"},
                    "content": dict(zip(keys, said, strict=False)),
                },
            }
        )
    if kind == "jsonl":
        return "\n".join(json.dumps(one, ensure_ascii=False) for one in records).encode()
    return json.dumps(records, ensure_ascii=False, indent=1).encode()


def _packed(random: Random, packed: str, files: dict[str, bytes]) -> dict[str, bytes]:
    if not packed:
        return files
    if packed == "tar":
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            for name, data in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        whole = {"download.tar": out.getvalue()}
    elif packed == "zip in zip":
        inner = {f"{_flat(name)}.zip": archive({name: data}) for name, data in files.items()}
        whole = {"감성대화.zip": archive(inner)}
    else:
        codec = "cp949" if "cp949" in packed else "utf-8"
        names = {name.encode("cp949", "ignore").decode("cp949"): d for name, d in files.items()}
        whole = {"감성대화.zip": archive(names, codec)}
    if random.random() < 0.2:
        (name,) = whole
        whole[name] = mutate.data(random, whole[name], 2)
    return whole


def _front_matter(random: Random) -> Input:
    """The README of a dataset that is built again, or that of SOURCE."""
    readme = (SAMPLE / "README.md").read_bytes()
    where = random.choice(["source", "out"])
    files = _written("csv", _rows("Training", 3), _rows("Validation", 2))
    name = "README.md" if where == "source" else "../out/README.md"
    return Input("data", f"front matter in {where}", files | {name: mutate.data(random, readme, 6)})


def _records(random: Random) -> Input:
    """The records of a run, and a card."""
    files = _recorded() | {"README.md": card("adapter").encode()}
    for name in random.sample([*files], random.randint(1, 2)):
        files[name] = mutate.data(random, files[name], 3)
    return Input("card", "records", files)


@cache
def _recorded() -> dict[str, bytes]:
    folder = RECORDS / "adapter"
    paths = (path for path in folder.rglob("*") if path.is_file())
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
    pixel = (RECORDS.parent / "pixel.png").read_bytes()
    pictures = re.findall(r"kosent/plots/[\w.-]+", card("adapter"))
    return files | dict.fromkeys(pictures, pixel)


@cache
def _sample(split: str) -> list[list[str]]:
    data = next(iter((SAMPLE / split).glob("*.csv"))).read_bytes().decode("cp949")
    return list(csv.reader(io.StringIO(data, newline="")))


def _rows(split: str, count: int) -> list[list[str]]:
    return [list(row) for row in _sample(split)[: count + 1]]


def _clean(name: str) -> str:
    """A name that a file under a folder can have."""
    parts = [part for part in name.replace("\0", "").split("/") if part not in ("", ".", "..")]
    return "/".join(part.encode()[:200].decode(errors="ignore") for part in parts) or "a"


def _flat(name: str) -> str:
    return name.replace("/", "_")


def write(folder: Path, files: dict[str, bytes]) -> None:
    """Write the files under the folder; one that another's folder is in the way of is left out."""
    for name, data in files.items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            continue
