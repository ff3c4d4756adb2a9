"""The files under SOURCE, in folders and archives, with legible Hangul names."""

from __future__ import annotations

import errno
import hashlib
import io
import lzma
import os
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from .formats import AGAIN, ZIP, stand_in
from .limits import MAX_ARCHIVE_DEPTH, MAX_FILE_BYTES, MAX_UNPACKED_BYTES, MAX_UNPACKED_TIMES

# Enough bytes for a first line, and for a first record of about a thousand bytes.
START = 1 << 16
HIDDEN = "a hidden folder, passed over"
# What comes of the machine, and never of a file.
OF_THE_MACHINE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
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
class Left:
    """A file or folder under SOURCE that is not read: its name, and why.

    `error` is what to raise if it turns out to be all that there is of the corpus; None for what
    is not the corpus.
    """

    name: str
    why: str
    error: SourceError | None = None

    @classmethod
    def because(cls, error: SourceError, name: str) -> Left:
        """A file that cannot be read."""
        return cls(name, f"{error.what}; {error.remedy}" if error.remedy else error.what, error)


@dataclass(frozen=True)
class File:
    """A file on disk, or a member of an archive there.

    `name` is relative to SOURCE, NFC, with "/" between folders and after an archive's own name.
    A member is `member` of the archive `parent`; `archive` is that archive while it is walked,
    and is opened again by `read` later on, so that few files are open at any moment.
    """

    name: str
    disk: Path
    parent: File | None = None
    member: zipfile.ZipInfo | None = None
    archive: zipfile.ZipFile | None = None

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
        if self.parent is None or self.member is None:
            with self.disk.open("rb") as file:
                return file.read(most)
        if self.member.flag_bits & ENCRYPTED:
            raise SourceError(self.name, "encrypted", "unpack the archive with its password first")
        walked = self.archive is not None and self.archive.fp is not None
        try:
            with nullcontext(self.archive) if walked else self.parent.unzipped() as archive:
                assert archive is not None
                with archive.open(self.member) as file:
                    return file.read(most)
        except DAMAGE as error:
            _raise_if_of_the_machine(error)
            raise SourceError(self.name, f"damaged in its archive ({error})", AGAIN) from None

    def unzipped(self) -> zipfile.ZipFile:
        """The archive that this file is, open; to be closed by the caller."""
        return zipfile.ZipFile(self.disk if self.parent is None else io.BytesIO(self.read()))


def walk(source: Path, leave_out: Path | None = None) -> Iterator[File | Left]:
    """Every file under `source` (a folder, a file or an archive), by name, and what is passed over.

    Hidden files and the folder `leave_out` are skipped. An archive is closed before the next file
    comes.

    Raises:
        SourceError: no such path.
    """
    if not source.exists():
        raise SourceError(source, "no such file or folder", "give the folder of AI Hub's download")
    if source.is_file():
        yield from _open(File(legible(os.fsencode(source.name)), source))
        return
    found: list[File] = []
    closed: list[OSError] = []
    for folder, subfolders, names in os.walk(source, onerror=closed.append):
        at = Path(folder)
        for name in (one for one in subfolders if one.startswith(".")):
            yield Left(_name(at / name, source), HIDDEN)
        subfolders[:] = [
            name
            for name in subfolders
            if not _hidden(name) and not (leave_out and (at / name).resolve() == leave_out)
        ]
        found += [File(_name(at / n, source), at / n) for n in names if not _hidden(n)]
    for error in closed:
        place = File(_name(Path(error.filename), source), Path(error.filename))
        yield Left.because(unreadable(place, error), place.name)
    for file in sorted(found, key=_by_name):
        if file.disk.is_file():
            yield from _open(file)
        else:
            what = "a link to nothing" if file.disk.is_symlink() else "no regular file"
            yield Left.because(SourceError(file.name, what, "put the file itself there"), file.name)


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
        if isinstance(file, Left) or file.suffix not in suffixes:
            continue
        digest.update(file.name.encode() + b"\0")
        if file.disk not in seen:
            seen.add(file.disk)
            digest.update(sha256(file.disk).encode())
    return digest.hexdigest()


def _name(path: Path, source: Path) -> str:
    """The path relative to SOURCE, legible."""
    return legible(os.fsencode(path.relative_to(source).as_posix()))


def _open(file: File, depth: int = 0) -> Iterator[File | Left]:
    """The file itself, or the members of the archive that it is."""
    if file.suffix != ".zip":
        yield file
        return
    if depth == MAX_ARCHIVE_DEPTH:
        yield Left(file.name, f"inside {MAX_ARCHIVE_DEPTH} other archives; unpack it first")
        return
    try:
        archive = _archive(file)
    except SourceError as error:
        yield Left.because(error, file.name)
        return
    hidden: set[str] = set()
    with archive:
        members = [(_member_name(info), info) for info in archive.infolist()]
        for name, info in sorted(members, key=lambda member: member[0]):
            *folders, last = name.split("/")
            passed = next((i for i, part in enumerate(folders) if _hidden(part)), None)
            if passed is not None and folders[passed].startswith("."):
                hidden.add("/".join(folders[: passed + 1]))
            elif passed is None and not info.is_dir() and not _hidden(last):
                member = File(f"{file.name}/{name}", file.disk, file, info, archive)
                yield from _open(member, depth + 1)
    yield from (Left(f"{file.name}/{folder}", HIDDEN) for folder in sorted(hidden))


def _archive(file: File) -> zipfile.ZipFile:
    """The archive that a file is; raises SourceError if it is none, or unpacks to far too much."""
    if file.parent is not None and file.size > MAX_FILE_BYTES:
        raise SourceError(file.name, "too large inside another archive", "unpack that one first")
    try:
        archive = file.unzipped()
    except DAMAGE as error:
        _raise_if_of_the_machine(error)
        if isinstance(error, PermissionError):
            raise unreadable(file, error) from None
        head = file.read(START)
        if found := stand_in(head):
            raise SourceError(file.name, *found) from None
        cut = "its end is missing, as of a download cut short" if head.startswith(ZIP) else error
        raise SourceError(file.name, f"not a whole zip archive ({cut})", AGAIN) from None
    try:
        refuse_bomb(archive, file.size, file.name)
    except SourceError:
        archive.close()
        raise
    return archive


def unreadable(file: File, error: OSError) -> SourceError:
    """The error of a file on disk that cannot be opened or read.

    Raises:
        OSError: `error`, if it says nothing of the file, such as that too many others are open.
    """
    _raise_if_of_the_machine(error)
    return SourceError(file.name, error.strerror or str(error), "make it readable, or move it away")


def _raise_if_of_the_machine(error: Exception) -> None:
    if isinstance(error, OSError) and error.errno in OF_THE_MACHINE:
        raise error


def refuse_bomb(archive: zipfile.ZipFile, size: int, where: str) -> None:
    """Raise SourceError if an archive of `size` bytes unpacks to far more than text does."""
    unpacked = sum(info.file_size for info in archive.infolist())
    if unpacked > max(MAX_UNPACKED_BYTES, MAX_UNPACKED_TIMES * size):
        raise SourceError(
            where,
            f"unpacks to {unpacked >> 20:,} MiB, {unpacked // max(size, 1):,} times its "
            "size, which no text does",
            f"{AGAIN}, or move it out of SOURCE",
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
