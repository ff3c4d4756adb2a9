"""The files under SOURCE, in folders and archives, with legible Hangul names."""

from __future__ import annotations

import hashlib
import io
import lzma
import os
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from .limits import MAX_ARCHIVE_DEPTH, MAX_FILE_BYTES, MAX_UNPACKED_BYTES, MAX_UNPACKED_TIMES

ENCRYPTED, UTF8_NAME = 0x1, 0x800
# The exceptions of reading a damaged archive, whichever part of it is damaged.
DAMAGE = (
    zipfile.BadZipFile,
    *(zlib.error, lzma.LZMAError, struct.error, EOFError, OSError),
    *(NotImplementedError, OverflowError, ValueError),
)


class SourceError(Exception):
    """An error in the user's files: where it is, what is wrong, and what to do next.

    KoSentError's twin, because the loading script runs where model_card is not installed.
    """

    def __init__(self, where: object, what: str, remedy: str = "") -> None:
        super().__init__(where, what, remedy)
        self.where = "" if where is None else str(where)
        self.what, self.remedy = what, remedy

    def __str__(self) -> str:
        line = f"{self.where}: {self.what}" if self.where else self.what
        return f"{line}; {self.remedy}" if self.remedy else line


@dataclass(frozen=True)
class File:
    """A file on disk, or a member of an archive there.

    `name` is relative to SOURCE, NFC, with "/" between folders and after an archive's own name.
    An archive stays open as long as there is a File of one of its members.
    """

    name: str
    disk: Path
    archive: zipfile.ZipFile | None = None
    member: zipfile.ZipInfo | None = None

    @property
    def suffix(self) -> str:
        """`.csv`, `.xlsx`, ... in lower case."""
        return PurePosixPath(self.name).suffix.lower()

    @property
    def size(self) -> int:
        """Bytes of content; a member of an archive is read up to the size that it claims."""
        return self.disk.stat().st_size if self.member is None else self.member.file_size

    def refuse_large(self) -> None:
        """Raise SourceError if the content is larger than `MAX_FILE_BYTES`."""
        if self.size > MAX_FILE_BYTES:
            raise SourceError(
                self.name,
                f"{self.size >> 20:,} MiB, more than any file of the corpus "
                f"({MAX_FILE_BYTES >> 20} at most)",
                "move it out of SOURCE, or split it",
            )

    def read(self, most: int = -1) -> bytes:
        """The content, or the first `most` bytes of it.

        Raises:
            SourceError: larger than `MAX_FILE_BYTES`, encrypted, or damaged.
        """
        if most < 0:
            self.refuse_large()
        if self.archive is None or self.member is None:
            with self.disk.open("rb") as file:
                return file.read(most)
        if self.member.flag_bits & ENCRYPTED:
            raise SourceError(self.name, "encrypted", "unpack the archive with its password first")
        try:
            with self.archive.open(self.member) as file:
                return file.read(most)
        except DAMAGE as error:
            raise SourceError(
                self.name, f"damaged in its archive ({error})", "download it again"
            ) from None


def walk(source: Path, leave_out: Path | None = None) -> list[File]:
    """Every file under `source` (a folder, a file or an archive), sorted by name.

    Hidden files and the folder `leave_out` are skipped.

    Raises:
        SourceError: no such path, or an archive that cannot be opened.
    """
    if not source.exists():
        raise SourceError(source, "no such file or folder", "give the folder of AI Hub's download")
    if source.is_file():
        return sorted(_open(File(legible(os.fsencode(source.name)), source)), key=_by_name)
    found: list[File] = []
    for folder, subfolders, names in os.walk(source):
        at = Path(folder)
        subfolders[:] = [
            name
            for name in subfolders
            if not _hidden(name) and not (leave_out and (at / name).resolve() == leave_out)
        ]
        for name in names:
            if not _hidden(name):
                relative = os.fsencode((at / name).relative_to(source).as_posix())
                found.extend(_open(File(legible(relative), at / name)))
    return sorted(found, key=_by_name)


def legible(raw: bytes) -> str:
    """A file name as people read it: UTF-8 or else cp949, composed (NFC)."""
    for codec in ("utf-8", "cp949"):
        try:
            return unicodedata.normalize("NFC", raw.decode(codec))
        except UnicodeDecodeError:
            continue
    return raw.decode("ascii", "backslashreplace")


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_hash(source: Path, suffixes: Collection[str]) -> str:
    """Hex digest of the names and bytes of all files under `source` with one of these suffixes."""
    digest = hashlib.sha256()
    seen: set[Path] = set()
    for file in walk(source):
        if file.suffix not in suffixes:
            continue
        digest.update(file.name.encode() + b"\0")
        if file.disk not in seen:
            seen.add(file.disk)
            digest.update(sha256(file.disk).encode())
    return digest.hexdigest()


def _open(file: File, depth: int = 0) -> Iterator[File]:
    """The file itself, or the members of the archive that it is."""
    if file.suffix != ".zip" or depth == MAX_ARCHIVE_DEPTH:
        yield file
        return
    if file.member is not None and file.size > MAX_FILE_BYTES:
        raise SourceError(file.name, "too large inside another archive", "unpack that one first")
    try:
        archive = zipfile.ZipFile(io.BytesIO(file.read()) if file.archive else file.disk)
    except PermissionError:
        raise
    except DAMAGE as error:
        raise SourceError(
            file.name, f"not a whole zip archive ({error})", "download it again"
        ) from None
    refuse_bomb(archive, file.size, file.name)
    for info in archive.infolist():
        name = _member_name(info)
        if not info.is_dir() and not any(_hidden(part) for part in name.split("/")):
            yield from _open(File(f"{file.name}/{name}", file.disk, archive, info), depth + 1)


def refuse_bomb(archive: zipfile.ZipFile, size: int, where: str) -> None:
    """Raise SourceError if an archive of `size` bytes unpacks to far more than text does."""
    unpacked = sum(info.file_size for info in archive.infolist())
    if unpacked > max(MAX_UNPACKED_BYTES, MAX_UNPACKED_TIMES * size):
        raise SourceError(
            where,
            f"unpacks to {unpacked >> 20:,} MiB, {unpacked // max(size, 1):,} times its "
            "size, which no text does",
            "download it again, or move it out of SOURCE",
        )


def _member_name(info: zipfile.ZipInfo) -> str:
    """The member's name; without the UTF-8 flag, `zipfile` has decoded its bytes as cp437."""
    if info.flag_bits & UTF8_NAME:
        return unicodedata.normalize("NFC", info.filename)
    return legible(info.filename.encode("cp437", "backslashreplace"))


def _hidden(name: str) -> bool:
    return name.startswith((".", "~$", "__MACOSX"))


def _by_name(file: File) -> str:
    return file.name
