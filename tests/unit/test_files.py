"""A file is there as a whole, or as it was."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from compressor import files
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


def test_neither_a_link_nor_one_on_the_way_to_it_is_written_through(tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "run"
    outside.write_text("mine")
    inside.mkdir()
    (inside / "list.json").symlink_to(outside)
    (inside / f".list.json.writing-{os.getpid()}").symlink_to(outside)

    with replacing(inside / "list.json") as written:
        written.write_text("new")

    assert outside.read_text() == "mine"
    assert (inside / "list.json").read_text() == "new"
    assert not (inside / "list.json").is_symlink()


@pytest.mark.parametrize("is_there", [True, False])
def test_a_lock_is_not_taken_on_what_a_link_leads_to(tmp_path: Path, is_there: bool) -> None:
    if is_there:
        (tmp_path / "outside").write_text("mine")
    (tmp_path / ".lock").symlink_to(tmp_path / "outside")

    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        files.lock_file(tmp_path / ".lock")

    assert (tmp_path / "outside").exists() == is_there
    assert not is_there or (tmp_path / "outside").read_text() == "mine"


def test_a_file_is_opened_where_it_lies_and_closed_again(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with files.opened_here(tmp_path / "file", os.O_RDONLY) as descriptor:
        assert os.read(descriptor, 4) == b"mine"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_a_lock_file_keeps_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("a note")
    files.lock_file(tmp_path / ".lock").close()
    assert (tmp_path / ".lock").read_text() == "a note"


def test_clearing_a_link_leaves_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    files.clear(tmp_path / "link")
    files.clear(tmp_path / "nothing")
    assert [each.name for each in tmp_path.iterdir()] == ["folder"]
    files.clear(tmp_path / "folder")
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
