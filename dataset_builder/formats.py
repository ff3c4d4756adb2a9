"""What a file is by its first bytes or by its name, where that is not what it should be."""

from __future__ import annotations

import re

ZIP = b"PK\x03\x04"
_OLD_EXCEL = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ARCHIVES = (b"7z\xbc\xaf\x27\x1c", b"Rar!", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"ALZ\x01", b"EGGA")
_LFS = b"version https://git-lfs.github.com/spec/"
_WEB_PAGE = re.compile(rb"\s*<(!doctype html|html)", re.IGNORECASE)

AGAIN = "download it again"
_WORKBOOK = ("a workbook of a kind that is not read", "save it as xlsx or csv")
_TABLE = ("a kind of table that is not read", "save its rows as csv")
_ARCHIVE = ("an archive of a kind that is not read", "unpack it first")
_UNFINISHED = ("an unfinished download", f"finish it, or {AGAIN}")
_PART = ("a part of a download", "join all parts in their order: cat NAME.part* > NAME")
_NOT_READ = {
    **dict.fromkeys([".xls", ".xlsb", ".ods", ".numbers"], _WORKBOOK),
    **dict.fromkeys([".jsonl", ".ndjson", ".parquet", ".arrow", ".feather", ".sql"], _TABLE),
    **dict.fromkeys(
        [".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar", ".alz", ".egg"], _ARCHIVE
    ),
    **dict.fromkeys([".part", ".partial", ".crdownload", ".download", ".incomplete"], _UNFINISHED),
}
_NUMBERED = re.compile(r"\.(part|z)?\d+$", re.IGNORECASE)


def stand_in(head: bytes) -> tuple[str, str] | None:
    """What a file is that starts like this and is not what its name says, and what to do."""
    if head.startswith(_LFS):
        return "a Git LFS pointer, not the file itself", "run in its repository: git lfs pull"
    if not head:
        return "an empty file", AGAIN
    if not head.strip(b"\0"):
        return "nothing but NULs, as of an unfinished download", AGAIN
    if _WEB_PAGE.match(head):
        return "a web page, not the file itself", f"log in and {AGAIN}"
    if head.startswith(_OLD_EXCEL):
        return "an old Excel workbook, or one with a password", "save it as xlsx without a password"
    if head.startswith(_ARCHIVES):
        return _ARCHIVE
    return None


def not_read(name: str) -> tuple[str, str] | None:
    """What a file with this name is that may hold a corpus and is not read, and what to do."""
    if _NUMBERED.search(name):
        return _PART
    return _NOT_READ.get(name[name.rfind(".") :].lower())
