"""Files that are whole at any moment, and folders that one command has to itself."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from model_card.publishing.errors import KoSentError
from model_card.publishing.files import atomic_file, atomic_write, decode_text, exclusive
from tests.support.disturbing import mounted


def test_writers_of_one_file_take_turns_and_readers_see_it_whole(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file"
    contents = {b"", b"a" * 10, b"b" * 10**5, b"c" * 10**6}
    atomic_write(path, b"")
    with ThreadPoolExecutor() as pool:
        writing = [pool.submit(atomic_write, path, data) for data in [*contents] * 25]
        while not all(one.done() for one in writing):
            assert path.read_bytes() in contents
    for one in writing:
        one.result()
    assert [each.name for each in path.parent.iterdir()] == ["file"]


def test_a_draft_that_fails_is_gone_and_one_that_was_left_is_written_over(tmp_path: Path) -> None:
    path = tmp_path / "file"
    atomic_write(path, b"before")
    (tmp_path / ".file.partial").write_bytes(b"of a killed writer, and longer than what follows")
    with pytest.raises(ZeroDivisionError), atomic_file(path) as file:
        file.write(b"half")
        _ = 1 / 0
    assert path.read_bytes() == b"before"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
    (tmp_path / ".file.partial").write_bytes(b"of a killed writer, and longer than what follows")
    atomic_write(path, b"after")
    assert path.read_bytes() == b"after"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_a_folder_is_held_by_whatever_name_and_free_when_its_holder_dies(tmp_path: Path) -> None:
    folder, alias = tmp_path / "folder", tmp_path / "alias"
    alias.symlink_to(folder)
    code = (
        "import os, pathlib, sys\nfrom model_card.publishing.files import exclusive\n"
        "with exclusive(pathlib.Path(sys.argv[1]), 'first'):\n"
        "    print(flush=True)\n    os.read(0, 1)\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout and holder.stdout.readline()
    with (
        pytest.raises(KoSentError, match=rf"alias: first \(pid {holder.pid} on "),
        exclusive(alias, ""),
    ):
        pass
    holder.kill()
    holder.communicate()
    assert (tmp_path / ".folder.lock").exists()
    with exclusive(folder, "second"):
        pass
    assert [each.name for each in tmp_path.iterdir()] == ["alias"]


def test_a_volume_mounted_where_nothing_can_be_made_goes_without_a_lock(tmp_path: Path) -> None:
    with mounted(tmp_path):
        (tmp_path / "out").mkdir()
        with mounted(tmp_path / "out"):
            subprocess.run(["mount", "-o", "remount,ro", str(tmp_path)], check=True)
            with exclusive(tmp_path / "out", "first"):
                atomic_write(tmp_path / "out" / "file", b"data")
            assert [each.name for each in tmp_path.iterdir()] == ["out"]


def test_what_is_not_utf8_is_named_with_the_byte() -> None:
    assert decode_text("가\r\n".encode(), "card") == "가\r\n"
    with pytest.raises(KoSentError, match="card: not UTF-8 at byte 1; save it as UTF-8"):
        decode_text("a가".encode("cp949"), "card")
