"""Files, written so that a kill, a full disk or a second writer does no harm, and read as text."""

from __future__ import annotations

import datetime
import errno
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from filelock import lock_descriptor

from model_card.publishing.errors import DISK_FULL, MAKE_ROOM, NO_SPACE, KoSentError

# Where an open file can be neither renamed nor removed.
WINDOWS = os.name == "nt"
# What file systems without locks answer, and folders in which nothing new can be made.
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
NO_PLACE = (errno.EACCES, errno.EPERM, errno.EROFS)
# How torch.save ends when it cannot write; it does not say why.
TORCH_SAVE = ("inline_container.cc", "PytorchStreamWriter", "iostream error")


def decode_text(data: bytes, where: object, remedy: str = "save it as UTF-8") -> str:
    """The content of the text file `where`; raises KoSentError if it is not UTF-8."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise KoSentError(where, f"not UTF-8 at byte {error.start}", remedy) from None


def atomic_write(path: Path, data: bytes) -> None:
    """Write a file: at any moment its content is the old one or `data`, all of it."""
    with atomic_file(path) as file:
        file.write(data)


@contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """A file to write that becomes `path` when the block ends, and is removed if it fails.

    A second writer waits for the first. What a killed writer left is overwritten by the next one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.partial")
    with explain_full_disk(path):
        file = _locked(draft, wait=True)
        assert file is not None
        with file:
            try:
                file.truncate(0)
                yield file
                file.flush()
                if WINDOWS:
                    file.close()
                draft.replace(path)
            except BaseException:
                if WINDOWS:
                    file.close()
                draft.unlink(missing_ok=True)
                raise


@contextmanager
def exclusive(folder: Path, command: str) -> Iterator[None]:
    """Keep other commands out of `folder` while the block runs.

    The lock is the operating system's, on a file beside the folder, so that it ends with a killed
    command; the next one removes that file. The file says which `command` has the lock.

    Raises:
        KoSentError: another command has the folder.
    """
    place = folder.resolve()
    path = place.parent / f".{place.name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with explain_full_disk(folder), ExitStack() as stack:
        try:
            file = _locked(path, wait=False)
        except OSError as error:
            # A volume mounted where nothing can be made beside it goes without a lock.
            if error.errno not in NO_PLACE:
                raise
        else:
            if file is None:
                raise KoSentError(
                    folder,
                    f"{_owner(path)} is writing here",
                    "wait for it, or name another folder",
                )
            stack.enter_context(file)
            stack.callback(path.unlink, missing_ok=True)
            if WINDOWS:
                stack.callback(file.close)
            since = datetime.datetime.now().astimezone().isoformat(" ", "minutes")
            file.truncate(0)
            file.write(
                f"{command} (pid {os.getpid()} on {socket.gethostname()}, since {since})".encode()
            )
            file.flush()
        yield


@contextmanager
def explain_full_disk(path: Path) -> Iterator[None]:
    """Raises KoSentError, naming `path`, when what the block writes finds the disk full."""
    try:
        yield
    except KoSentError:
        raise
    except Exception as error:
        if not _is_from_full_disk(error, path):
            raise
        where = getattr(error, "filename", None) or path
        raise KoSentError(where, NO_SPACE, MAKE_ROOM) from error


def _is_from_full_disk(error: Exception, path: Path) -> bool:
    """Whether the disk was full, in the words of whichever library was writing."""
    if isinstance(error, OSError):
        return error.errno in DISK_FULL
    message = str(error)
    if any(os.strerror(number) in message for number in DISK_FULL):
        return True
    return any(words in message for words in TORCH_SAVE) and _is_full(path)


def _is_full(path: Path) -> bool:
    """Whether a file of 1 MiB can no longer be written where `path` is."""
    folder = path if path.is_dir() else path.parent
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(os.urandom(1 << 20))
    except OSError as error:
        return error.errno in DISK_FULL
    return False


def _locked(path: Path, *, wait: bool) -> IO[bytes] | None:
    """The file at `path`, made if need be, with a lock on it; None if another command has that.

    On a file system without locks, the file without one.
    """
    while True:
        file = path.open("a+b")
        try:
            if not lock_descriptor(file.fileno(), blocking=wait, poll_interval=0.01):
                file.close()
                return None
        except OSError as error:
            if error.errno in NO_LOCKS:
                return file
            file.close()
            raise
        # Whoever had it may have renamed or removed it meanwhile; then another is at its place.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        file.close()


def _owner(path: Path) -> str:
    """Who wrote into a lock file, as far as it can be read."""
    with suppress(OSError):
        return path.read_text(encoding="utf-8") or "another command"
    return "another command"
