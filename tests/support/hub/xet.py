"""Xet storage: files as ranges of chunks in larger objects (xorbs), after the public protocol.

https://huggingface.co/docs/xet has the formats: a xorb is chunks, each with a header of eight
bytes; a shard says of each file which chunks of which xorbs it is made of, and its SHA-256.
Hashes of chunks and xorbs (BLAKE3) are taken on trust; a file's SHA-256 is computed and compared.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from tests.support.hub.store import HubError

HEADER, ENTRY = 48, 48  # bytes
BOOKEND = b"\xff" * 32
WITH_VERIFICATION, WITH_METADATA = 1 << 31, 1 << 30
LZ4 = pa.Codec("lz4")


@dataclass(frozen=True)
class Xorb:
    """`starts[i]` is where chunk i begins in `data`; one more is where the last one ends."""

    data: bytes
    starts: list[int]
    chunks: list[bytes]


@dataclass(frozen=True)
class Term:
    """Chunks `start` to `end` (not included) of a xorb; `size` in bytes of the file."""

    xorb: str
    start: int
    end: int
    size: int


@dataclass
class Xet:
    """What storage holds: xorbs and files by their hashes."""

    xorbs: dict[str, Xorb] = field(default_factory=dict)
    files: dict[str, list[Term]] = field(default_factory=dict)

    def register(self, shard: bytes) -> Iterator[tuple[str, str, bytes]]:
        """Take a shard's files: (hash, SHA-256, content) of each."""
        for file_hash, terms, sha256 in _files(shard):
            content = b"".join(self._content(term) for term in terms)
            if hashlib.sha256(content).hexdigest() != sha256:
                raise HubError(400, None, f"the chunks of {file_hash} are not its SHA-256")
            self.files[file_hash] = terms
            yield file_hash, sha256, content

    def reconstruction(self, file_hash: str, start: int, end: int | None) -> tuple[int, list[Term]]:
        """(offset in the first term, terms) of the file's bytes from `start` to before `end`."""
        if file_hash not in self.files:
            raise HubError(404, None, f"no file {file_hash}")
        at, first, wanted = 0, 0, []
        for term in self.files[file_hash]:
            for chunk in range(term.start, term.end):
                size = len(self.xorbs[term.xorb].chunks[chunk])
                if at + size > start and (end is None or at < end):
                    first = first if wanted else at
                    wanted.append(Term(term.xorb, chunk, chunk + 1, size))
                at += size
        if not wanted and at:
            raise HubError(416, None, "Range Not Satisfiable")
        return start - first, _joined(wanted)

    def _content(self, term: Term) -> bytes:
        if term.xorb not in self.xorbs:
            raise HubError(400, None, f"no xorb {term.xorb}")
        content = b"".join(self.xorbs[term.xorb].chunks[term.start : term.end])
        if len(content) != term.size:
            raise HubError(400, None, f"{term} has {len(content)} bytes")
        return content


def xorb(data: bytes) -> Xorb:
    """A serialised xorb, with or without its footer, taken apart."""
    at, starts, chunks = 0, [0], []
    while at < len(data) and data[at] == 0:  # a footer begins with a letter
        size = int.from_bytes(data[at + 1 : at + 4], "little")
        scheme = data[at + 4]
        length = int.from_bytes(data[at + 5 : at + 8], "little")
        chunks.append(_decompressed(data[at + 8 : at + 8 + size], scheme, length))
        at += 8 + size
        starts.append(at)
    return Xorb(data, starts, chunks)


def hexadecimal(hash_bytes: bytes) -> str:
    """A hash as addresses have it: four little-endian numbers."""
    return "".join(f"{number:016x}" for number in struct.unpack("<4Q", hash_bytes))


def _files(shard: bytes) -> list[tuple[str, list[Term], str]]:
    """(hash, terms, SHA-256) of each file that a shard is about."""
    files, at = [], HEADER
    while (file_hash := shard[at : at + 32]) != BOOKEND:
        flags, count = struct.unpack_from("<2I", shard, at + 32)
        entries = [at + ENTRY * (1 + number) for number in range(count)]
        terms = []
        for entry in entries:
            _, size, start, end = struct.unpack_from("<4I", shard, entry + 32)
            terms.append(Term(hexadecimal(shard[entry : entry + 32]), start, end, size))
        at += ENTRY * (1 + count * (2 if flags & WITH_VERIFICATION else 1))
        if not flags & WITH_METADATA:
            raise HubError(400, None, "a file without SHA-256 is for no repository")
        files.append((hexadecimal(file_hash), terms, hexadecimal(shard[at : at + 32])))
        at += ENTRY
    return files


def _joined(terms: list[Term]) -> list[Term]:
    """Neighbours in the same xorb as one."""
    joined: list[Term] = []
    for term in terms:
        last = joined[-1] if joined else None
        if last and (last.xorb, last.end) == (term.xorb, term.start):
            joined[-1] = Term(last.xorb, last.start, term.end, last.size + term.size)
        else:
            joined.append(term)
    return joined


def _decompressed(data: bytes, scheme: int, length: int) -> bytes:
    """A chunk's bytes: as they are (0), LZ4 frame (1), or that of bytes in four groups (2)."""
    if scheme == 0:
        return data
    plain = LZ4.decompress(data, decompressed_size=length, asbytes=True)
    if scheme == 1:
        return plain
    whole = np.empty(length, np.uint8)
    groups, at = np.frombuffer(plain, np.uint8), 0
    for group in range(4):
        size = len(range(group, length, 4))
        whole[group::4] = groups[at : at + size]
        at += size
    return whole.tobytes()
