"""Files and folders written so that a kill, a full disk or a second writer does no harm."""

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

from model_card.publishing.errors import DISK_FULL, MAKE_ROOM, NO_SPACE, KoSentError

try:
    import fcntl
except ImportError:  # Windows has no such locks: there, nobody notices a second writer
    fcntl = None  # type: ignore[assignment]

# What file systems without locks answer, and folders in which nothing new can be made.
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
NO_PLACE = (errno.EACCES, errno.EPERM, errno.EROFS)
# How torch.save ends when it cannot write; it does not say why.
TORCH_SAVE = ("inline_container.cc", "PytorchStreamWriter", "iostream error")


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is there as before or complete, at any moment."""
    with whole(path) as file:
        file.write(data)


@contextmanager
def whole(path: Path) -> Iterator[IO[bytes]]:
    """A file to write that becomes `path` when the block ends, and is gone if it fails.

    What a killed writer left is written over by the next one; two at once take turns.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.partial")
    with room(path):
        file = _locked(draft, wait=True)
        assert file is not None
        with file:
            try:
                file.truncate(0)
                yield file
                file.flush()
                draft.replace(path)
            except BaseException:
                draft.unlink(missing_ok=True)
                raise


@contextmanager
def hold(folder: Path, command: str) -> Iterator[None]:
    """Have `folder` to oneself while the block runs; raises KoSentError if another command has it.

    The lock is the system's, on a file beside the folder: a killed command holds nothing, and the
    next one removes what it left.
    """
    place = folder.resolve()
    path = place.parent / f".{place.name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with room(folder), ExitStack() as held:
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
                    f"{_holder(path)} is writing here",
                    "wait for it, or name another folder",
                )
            held.enter_context(file)
            held.callback(path.unlink, missing_ok=True)
            since = datetime.datetime.now().astimezone().isoformat(" ", "minutes")
            file.truncate(0)
            file.write(
                f"{command} (pid {os.getpid()} on {socket.gethostname()}, since {since})".encode()
            )
            file.flush()
        yield


@contextmanager
def room(path: Path) -> Iterator[None]:
    """Raises KoSentError, naming `path`, when what the block writes finds no room."""
    try:
        yield
    except KoSentError:
        raise
    except Exception as error:
        if not _found_no_room(error, path):
            raise
        where = getattr(error, "filename", None) or path
        raise KoSentError(where, NO_SPACE, MAKE_ROOM) from error


def _found_no_room(error: Exception, path: Path) -> bool:
    """Whether the disk was full, in the words of whichever library was writing."""
    if isinstance(error, OSError):
        return error.errno in DISK_FULL
    said = str(error)
    if any(os.strerror(number) in said for number in DISK_FULL):
        return True
    return any(words in said for words in TORCH_SAVE) and _is_full(path)


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
    """The file at `path`, made if need be, with a lock on it; None if another has that."""
    while True:
        file = path.open("a+b")
        if fcntl is None:
            return file
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
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


def _holder(path: Path) -> str:
    """Who wrote into a lock file, as far as it can be read."""
    with suppress(FileNotFoundError):
        return path.read_text(encoding="utf-8") or "another command"
    return "another command"
