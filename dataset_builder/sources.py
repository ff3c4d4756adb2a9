"""The files under SOURCE: folders walked, archives opened, Hangul names made legible."""

from __future__ import annotations

import hashlib
import io
import os
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

# An archive in an archive in an archive; AI Hub's own packages need two levels.
DEEPEST = 3
UTF8_NAME = 0x800


class SourceError(Exception):
    """What is wrong with the user's files: where, what, what to do next."""


@dataclass(frozen=True)
class File:
    """A file on disk, or a member of an archive.

    `name` is relative to SOURCE, NFC, with "/" between folders and after an archive's own name.
    """

    name: str
    disk: Path
    members: tuple[int, ...] = ()

    @property
    def suffix(self) -> str:
        """`.csv`, `.xlsx`, ... in lower case."""
        return PurePosixPath(self.name).suffix.lower()

    def head(self, size: int) -> bytes:
        """The first `size` bytes."""
        if self.members:
            return self.read()[:size]
        with self.disk.open("rb") as file:
            return file.read(size)

    def read(self) -> bytes:
        """The whole content."""
        data = self.disk.read_bytes()
        for depth, index in enumerate(self.members):
            where = self.name if depth else str(self.disk)
            with open_zip(data, where) as archive:
                data = _member(archive, archive.infolist()[index], self.name)
        return data


def walk(source: Path, leave_out: Path | None = None) -> list[File]:
    """Every file under `source` (a folder, a file or an archive), sorted by name.

    Hidden files, and the folder `leave_out`, are passed over.

    Raises:
        SourceError: no such path, or an archive that cannot be opened.
    """
    if not source.exists():
        raise SourceError(f"{source}: no such file or folder; give the folder of AI Hub's download")
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


def open_zip(data: bytes | Path, where: str) -> zipfile.ZipFile:
    """The archive; raises SourceError naming `where` if it is none."""
    try:
        return zipfile.ZipFile(io.BytesIO(data) if isinstance(data, bytes) else data)
    except (zipfile.BadZipFile, zlib.error, ValueError, NotImplementedError, EOFError) as error:
        raise SourceError(
            f"{where}: not a whole zip archive ({error}); download it again"
        ) from None


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_hash(source: Path) -> str:
    """Hex digest of every file's name and bytes under `source`."""
    digest = hashlib.sha256()
    seen: set[Path] = set()
    for file in walk(source):
        digest.update(file.name.encode() + b"\0")
        if file.disk not in seen:
            seen.add(file.disk)
            digest.update(sha256(file.disk).encode())
    return digest.hexdigest()


def _open(file: File) -> Iterator[File]:
    """The file itself, or the members of an archive."""
    if file.suffix != ".zip" or len(file.members) == DEEPEST:
        yield file
        return
    with open_zip(file.read() if file.members else file.disk, file.name) as archive:
        for index, info in enumerate(archive.infolist()):
            name = _member_name(info)
            if not info.is_dir() and not any(_hidden(part) for part in name.split("/")):
                member = File(f"{file.name}/{name}", file.disk, (*file.members, index))
                yield from _open(member)


def _member_name(info: zipfile.ZipInfo) -> str:
    """The member's name; without the UTF-8 flag, `zipfile` has read its bytes as cp437."""
    if info.flag_bits & UTF8_NAME:
        return unicodedata.normalize("NFC", info.filename)
    return legible(info.filename.encode("cp437", "backslashreplace"))


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, where: str) -> bytes:
    if info.flag_bits & 1:
        raise SourceError(f"{where}: encrypted; unpack the archive with its password first")
    try:
        return archive.read(info)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError) as error:
        raise SourceError(f"{where}: damaged in its archive ({error}); download it again") from None


def _hidden(name: str) -> bool:
    return name.startswith((".", "~$", "__MACOSX"))


def _by_name(file: File) -> str:
    return file.name
