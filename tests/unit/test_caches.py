"""Folders of what is kept between runs: found again, sized honestly, and never in the way when something is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from compressor import caches
from compressor.errors import ArtifactError

ABOUT = {"teacher": "runs/digits/train", "data": "digits"}


def states() -> dict[str, str]:
    return {cache.key: cache.state for cache in caches.all_caches()}


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({"COMPRESS_CACHE": "/a", "COMPRESS_HOME": "/b", "XDG_CACHE_HOME": "/c"}, "/a"),
        ({"COMPRESS_HOME": "/b", "XDG_CACHE_HOME": "/c"}, "/b/caches"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/compress"),
        ({"HOME": "/d"}, "/d/.cache/compress"),
        ({"HOME": "/d", "COMPRESS_CACHE": "~/e"}, "/d/e"),
    ],
)
def test_the_root_is_what_the_environment_says(environment, place, monkeypatch):
    for name in ("COMPRESS_CACHE", "COMPRESS_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert caches.root() == Path(place)


def test_a_cache_is_found_again_with_what_it_is_from():
    folder = caches.open_cache("teacher", "k1", ABOUT)
    (folder / "view-00000.bin").write_bytes(bytes(range(256)) * 400)

    assert caches.open_cache("teacher", "k1", {"something": "else"}) == folder == caches.root() / "teacher" / "k1"
    (found,) = caches.all_caches()

    assert (found.path, found.kind, found.key, found.state) == (folder, "teacher", "k1", "whole")
    assert found.about == ABOUT
    assert 102_400 <= found.size_bytes < 130_000
    assert json.loads((folder / "about.json").read_text(encoding="utf-8"))["schema"] == 1
    assert (folder / "view-00000.bin").stat().st_size == 102_400


def test_a_hole_in_a_file_is_not_counted():
    folder = caches.open_cache("teacher", "k1", ABOUT)
    with (folder / "view-00000.bin").open("wb") as file:
        file.truncate(10**9)
    (found,) = caches.all_caches()
    assert found.size_bytes < 100_000


def test_the_cache_used_last_comes_first():
    for position, key in enumerate(("old", "new", "middle")):
        used = caches.open_cache("pixels", key, ABOUT) / "used"
        then = datetime.now(UTC) - timedelta(days=(9, 1, 5)[position])
        os.utime(used, (then.timestamp(), then.timestamp()))
    assert [cache.key for cache in caches.all_caches()] == ["new", "middle", "old"]

    caches.open_cache("pixels", "old", ABOUT)
    assert [cache.key for cache in caches.all_caches()] == ["old", "new", "middle"]
    assert datetime.now(UTC) - caches.all_caches()[0].last_used < timedelta(minutes=1)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"kind": "teacher"}', '{"about": 3}', "\x00\x01"])
def test_a_damaged_description_is_listed_as_such_and_mended_at_the_next_opening(content):
    folder = caches.open_cache("teacher", "k1", ABOUT)
    (folder / "about.json").write_text(content, encoding="utf-8")
    assert states() == {"k1": "damaged"}
    assert caches.all_caches()[0].about == {}

    caches.open_cache("teacher", "k1", ABOUT)
    assert states() == {"k1": "whole"}
    assert caches.all_caches()[0].about == ABOUT


def test_a_description_that_is_another_cache_s_is_not_believed():
    folder = caches.open_cache("teacher", "k1", ABOUT)
    folder.rename(folder.with_name("k2"))
    assert states() == {"k2": "damaged"}


def test_a_folder_without_a_description_is_foreign_and_what_is_no_folder_is_nothing():
    (caches.root() / "teacher" / "project").mkdir(parents=True)
    (caches.root() / "teacher" / "notes.txt").write_text("mine", encoding="utf-8")
    (caches.root() / "letters" / "2024").mkdir(parents=True)
    assert states() == {"project": "foreign"}


def test_there_are_no_caches_before_the_first():
    assert caches.all_caches() == []


def test_a_deleted_cache_is_gone_and_the_others_are_not():
    for key in ("k1", "k2"):
        (caches.open_cache("teacher", key, ABOUT) / "deep").mkdir()
    first = next(cache for cache in caches.all_caches() if cache.key == "k1")

    caches.delete(first)
    assert states() == {"k2": "foreign"}  # by the folder in it, which is none of ours
    assert [folder.name for folder in (caches.root() / "teacher").iterdir()] == ["k2"]
    caches.delete(first)  # another process was quicker


def test_damaged_and_foreign_folders_can_be_deleted():
    (caches.open_cache("teacher", "k1", ABOUT) / "about.json").write_text("{", encoding="utf-8")
    (caches.root() / "teacher" / "project").mkdir(parents=True)
    for cache in caches.all_caches():
        caches.delete(cache)
    assert caches.all_caches() == []


def test_what_a_deletion_left_that_was_cut_short_is_listed_and_can_be_deleted():
    folder = caches.open_cache("teacher", "k1", ABOUT)
    folder.rename(folder.with_name(".deleted-77-1"))
    (left,) = caches.all_caches()
    assert left.state == "damaged"
    caches.delete(left)
    assert list((caches.root() / "teacher").iterdir()) == []


def test_deleting_a_link_leaves_what_it_leads_to(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "precious").write_text("mine", encoding="utf-8")
    (caches.root() / "teacher").mkdir(parents=True)
    (caches.root() / "teacher" / "k1").symlink_to(tmp_path / "elsewhere")
    (linked,) = caches.all_caches()
    caches.delete(linked)
    assert caches.all_caches() == []
    assert (tmp_path / "elsewhere" / "precious").is_file()


def test_what_holds_files_of_others_is_foreign_whatever_describes_it():
    described = caches.open_cache("teacher", "k1", ABOUT)
    (described / "thesis.txt").write_text("years of work", encoding="utf-8")
    site = caches.root() / "teacher" / "site"
    (site / "pages").mkdir(parents=True)
    (site / "about.json").write_text('{"title": "about us"}', encoding="utf-8")
    left = caches.root() / "teacher" / ".deleted-scenes"
    left.mkdir()
    (left / "film.mkv").write_text("", encoding="utf-8")
    assert states() == {"k1": "foreign", "site": "foreign", ".deleted-scenes": "foreign"}


@pytest.mark.parametrize(
    "name", [".pixels.bin.writing-7", ".pixels.bin-7", ".meta.npz.writing-7", ".about.json.writing-7"]
)
def test_what_a_killed_process_left_in_a_cache_is_ours(name):
    (caches.open_cache("pixels", "k1", ABOUT) / name).write_bytes(b"half")
    assert states() == {"k1": "whole"}


@pytest.mark.parametrize("linked", ["teacher", "teacher/k1"])
def test_what_lies_behind_a_link_is_foreign(tmp_path, linked):
    caches.open_cache("teacher", "k1", ABOUT)
    place = caches.root() / linked
    place.rename(tmp_path / "elsewhere")
    place.symlink_to(tmp_path / "elsewhere")
    assert states() == {"k1": "foreign"}


def test_marking_a_cache_as_used_touches_nothing_that_a_link_leads_to(tmp_path):
    folder = caches.open_cache("teacher", "k1", ABOUT)
    (folder / "used").unlink()
    (folder / "used").symlink_to(tmp_path / "anything")
    with pytest.raises(ArtifactError, match="cannot write here: Too many levels of symbolic links"):
        caches.open_cache("teacher", "k1", ABOUT)
    assert not (tmp_path / "anything").exists()


def test_a_place_that_cannot_be_written_is_told_with_what_to_do(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path / "file"))
    with pytest.raises(ArtifactError, match="cannot write here: Not a directory — point COMPRESS_CACHE to a folder"):
        caches.open_cache("teacher", "k1", ABOUT)
    assert caches.all_caches() == []


def test_several_processes_may_open_delete_and_list_one_cache_at_once():
    program = textwrap.dedent("""
        import sys
        from compressor import caches
        for turn in range(200):
            folder = caches.open_cache("teacher", "k1", {"data": "digits"})
            for cache in caches.all_caches():
                if sys.argv[1] == "0" and turn % 10 == 0:
                    caches.delete(cache)
    """)
    crowd = [
        subprocess.Popen([sys.executable, "-c", program, str(number)], stderr=subprocess.PIPE, text=True)
        for number in range(3)
    ]
    assert [one.communicate()[1] for one in crowd] == ["", "", ""]
    assert [one.returncode for one in crowd] == [0, 0, 0]
    caches.open_cache("teacher", "k1", ABOUT)
    assert "k1" in states()
