"""A file is there as a whole, or as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from compressor.files import inside, replacing


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


@pytest.mark.parametrize("name", ["a.bin", "sub/a.bin", "inner.link", "..a"])
def test_a_name_inside_a_folder_is_a_place_there(tmp_path: Path, name: str) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "inner.link").symlink_to(tmp_path / "sub")

    assert inside(tmp_path, name) == tmp_path / name


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../a", "sub/../../a", "out.link", "out.link/a", "circle", "a\0b", "a" * 5000]
)
def test_a_name_that_leads_out_of_a_folder_is_no_place(tmp_path: Path, name: str) -> None:
    (tmp_path / "out.link").symlink_to(tmp_path.parent)
    (tmp_path / "circle").symlink_to(tmp_path / "circle")

    assert inside(tmp_path, name) is None
