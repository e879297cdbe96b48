"""A file is there as a whole, or as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from compressor.files import replacing


def test_readers_find_the_old_content_until_the_new_one_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "list.json"
    file.write_text("old")
    with replacing(file) as written:
        written.write_text("new")
        assert file.read_text() == "old"
    assert file.read_text() == "new"


def test_a_fault_leaves_what_was_there_and_nothing_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "list.json"
    file.write_text("old")

    def write_half() -> None:
        with replacing(file) as written:
            written.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert [each.name for each in tmp_path.iterdir()] == ["list.json"]
    assert file.read_text() == "old"


def test_nothing_is_named_that_was_not_written(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "list.json"):
        pass
    assert list(tmp_path.iterdir()) == []
