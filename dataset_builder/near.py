"""Near-duplicates between splits: pairs of a user turn and its reply that train has almost so.

Two pairs are near if, of the two-character pieces that either has, THRESHOLD are in both
(Jaccard's index; spaces, punctuation and ㅋㅎㅠㅜ apart). MinHash finds candidates, which are then
compared exactly, so that what is counted is near; of pairs at the threshold itself it finds 98 %.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import pyarrow as pa

PIECE = 2
THRESHOLD = 0.7
BANDS, ROWS = 25, 5  # a pair is a candidate if all ROWS hashes of one of BANDS agree
CHUNK = 50_000  # pairs that are looked for at once: some 400 MB
_SILENT = re.compile(r"[\W_ㅋㅎㅠㅜ]+")

Pieces = frozenset[bytes]
Pair = tuple[str, Pieces]


def near_duplicates(
    tables: dict[str, pa.Table], advance: Callable[[int], object] = lambda _: None
) -> dict[str, dict[str, Any]]:
    """For validation and test: their pairs, how many are nearly in train, and the dialogues' ids.

    `tables` are the splits as rows of `chat.SCHEMA`. `advance` is told of each 1,000 pairs of train
    that were compared.
    """
    found: dict[str, dict[str, Any]] = {}
    for split, table in tables.items():
        if split == "train" or "train" not in tables:
            continue
        pairs, near, ids = 0, 0, dict[str, None]()
        for chunk in _chunks(_pairs(table), CHUNK):
            met = _near([pieces for _, pieces in chunk], tables["train"], advance)
            pairs, near = pairs + len(chunk), near + len(met)
            ids |= dict.fromkeys(chunk[place][0] for place in sorted(met))
        found[split] = {"pairs": pairs, "in_train": near, "dialogue_ids": list(ids)}
    return found


def _near(wanted: list[Pieces], train: pa.Table, advance: Callable[[int], object]) -> set[int]:
    """The places of the wanted pairs that train nearly has."""
    from datasketch import MinHash, MinHashLSH

    empty = MinHash(num_perm=BANDS * ROWS, seed=1, hashfunc=zlib.crc32)

    def hashed(pieces: Pieces) -> MinHash:
        one = empty.copy()
        one.update_batch(pieces)
        return one

    index = MinHashLSH(num_perm=BANDS * ROWS, params=(BANDS, ROWS))
    for place, pieces in enumerate(wanted):
        index.insert(place, hashed(pieces), check_duplication=False)
    met: set[int] = set()
    for thousand in _chunks(_pairs(train), 1000):
        for _, pieces in thousand:
            candidates = [place for place in index.query(hashed(pieces)) if place not in met]
            met |= {at for at in candidates if _jaccard(pieces, wanted[at]) >= THRESHOLD}
        advance(len(thousand))
    return met


def _chunks(pairs: Iterator[Pair], size: int) -> Iterator[list[Pair]]:
    while chunk := list(islice(pairs, size)):
        yield chunk


def _pairs(table: pa.Table) -> Iterator[Pair]:
    """The dialogue's id and the pieces of each pair of a user turn and its reply."""
    for batch in table.select(["dialogue_id", "messages"]).to_batches(max_chunksize=1000):
        for row in batch.to_pylist():
            said = [turn["content"] for turn in row["messages"] if turn["role"] != "system"]
            for user, reply in zip(said[::2], said[1::2], strict=True):
                yield row["dialogue_id"], _pieces(user) | _pieces(reply)


def _pieces(text: str) -> Pieces:
    plain = _SILENT.sub("", text.lower()) or text
    ends = range(PIECE, max(len(plain), PIECE) + 1)
    return frozenset(plain[end - PIECE : end].encode() for end in ends)


def _jaccard(one: Pieces, other: Pieces) -> float:
    both = len(one & other)
    return both / (len(one) + len(other) - both)
