"""Trust is by content, remembered, and can be taken back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from compressor import artifact, trust
from compressor.errors import InputError, TrustError


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "art" / "s.py"
    file.parent.mkdir()
    file.write_text("X = 1")
    return file


def test_nothing_is_trusted_at_first(source: Path) -> None:
    with pytest.raises(TrustError, match=r"runs code that it carries.*compress trust .*s\.py"):
        trust.require(source, what="Python source")


def test_what_is_remembered_stays_trusted(source: Path, isolated_home: Path) -> None:
    assert trust.remember(source) == [source]

    trust.require(source, what="Python source")
    assert list(trust.entries().values()) == [str(source)]
    assert {file.name for file in isolated_home.iterdir()} == {"trusted.json", ".lock"}


def test_trust_follows_the_content_and_not_the_name(source: Path, tmp_path: Path) -> None:
    trust.remember(source)
    copy = tmp_path / "copy.py"
    copy.write_text(source.read_text())

    source.write_text("X = 2")

    assert trust.is_trusted(copy)
    assert not trust.is_trusted(source)


@pytest.mark.parametrize("name", ["a.py", "sub/b.pt", "c.pth", "d.pt2", "e.tar", "f.ckpt", "g.pkl", "h.bin"])
def test_all_of_a_folder_that_could_run_is_remembered(tmp_path: Path, name: str) -> None:
    file = tmp_path / "art" / name
    file.parent.mkdir(parents=True)
    file.write_text("x")
    (tmp_path / "art" / "weights.safetensors").write_text("y")

    assert trust.remember(tmp_path / "art") == [file]


def test_a_folder_with_nothing_that_could_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "art").mkdir()

    with pytest.raises(InputError, match="nothing to trust"):
        trust.remember(tmp_path / "art")


def test_a_path_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        trust.remember(tmp_path / "nothing.py")


def test_trust_can_be_taken_back(source: Path) -> None:
    trust.remember(source)

    assert trust.forget(source) == 1
    assert trust.forget(source) == 0
    assert not trust.is_trusted(source)


@pytest.mark.parametrize("change", [Path.unlink, lambda file: file.write_text("X = 2")], ids=["gone", "edited"])
@pytest.mark.parametrize("named", ["file", "folder", "hash"])
def test_trust_can_be_taken_back_from_a_file_that_is_no_more_what_it_was(
    source: Path, change: Callable[[Path], object], named: str
) -> None:
    was, digest = source.read_text(), artifact.sha256(source)
    trust.remember(source)
    change(source)

    assert trust.forget({"file": source, "folder": source.parent, "hash": digest[:16]}[named]) == 1

    source.write_text(was)
    assert not trust.is_trusted(source)


@pytest.mark.parametrize("named", ["gone.py", "deadbeefdeadbeef", "abc"])
def test_nothing_to_take_back_is_told(source: Path, named: str) -> None:
    trust.remember(source)

    with pytest.raises(InputError, match=r"nothing was trusted under it.*compress trust --list"):
        trust.forget(named)

    assert trust.is_trusted(source)


def test_trust_is_taken_back_from_one_file_alone(source: Path) -> None:
    beside = source.with_name("s.py2.py")
    beside.write_text("Y = 1")
    trust.remember(source.parent)

    assert trust.forget(source) == 1
    assert trust.is_trusted(beside)


def test_trust_for_this_process_is_not_remembered(source: Path) -> None:
    trust.for_this_process(source.parent)

    assert trust.is_trusted(source)
    assert trust.entries() == {}


def test_trust_is_handed_to_other_processes(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trust.for_this_process(source)
    handed = trust.granted()
    monkeypatch.setattr(trust, "_this_process", set())

    trust.grant(handed)

    assert trust.is_trusted(source)


@pytest.mark.parametrize("content", [b"{", b"[1]", b"\xff"])
def test_a_damaged_list_is_told_and_not_overwritten(source: Path, isolated_home: Path, content: bytes) -> None:
    isolated_home.mkdir()
    (isolated_home / "trusted.json").write_bytes(content)

    with pytest.raises(InputError, match="list of trusted files"):
        trust.remember(source)

    assert (isolated_home / "trusted.json").read_bytes() == content


def test_a_home_that_cannot_be_written_is_told(source: Path, isolated_home: Path) -> None:
    isolated_home.write_text("a file is in the way")

    with pytest.raises(InputError, match="list of trusted files"):
        trust.remember(source)


def test_an_artifact_made_here_is_trusted_even_when_the_home_cannot_be_written(
    tmp_path: Path, isolated_home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    isolated_home.mkdir()
    (isolated_home / "trusted.json").mkdir()
    with artifact.folder_for(tmp_path / "made") as folder:
        made = artifact.seal(folder, tmp_path / "made", artifact.Manifest("torch", "train", "teacher", "k", 0, {}))

    trust.remember_made(made)

    assert "will need `compress trust`" in caplog.text
    assert trust.granted() != []


def test_home_can_be_set(isolated_home: Path) -> None:
    assert trust.home() == isolated_home
