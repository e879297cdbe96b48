"""`compress trust`: by content, listed, taken back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from compressor.cli.trust import trust
from compressor.errors import CompressError, InputError

app = typer.Typer()
app.command()(trust)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPRESS_HOME", str(tmp_path / "home"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "net.py"
    file.write_text("x = 1\n", encoding="utf-8")
    return file


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments)
    if isinstance(result.exception, CompressError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_trusted_file_is_listed(source: Path) -> None:
    assert f"trusted: {source}" in run(str(source))
    assert [entry["path"] for entry in json.loads(run("--list", "--json"))["trusted"]] == [str(source)]


def test_a_folder_is_trusted_file_by_file(tmp_path: Path) -> None:
    folder = tmp_path / "artifact"
    folder.mkdir()
    for name in ("a.py", "b.pt", "notes.txt"):
        (folder / name).write_text(name, encoding="utf-8")

    trusted = json.loads(run(str(folder), "--json"))["trusted"]

    assert [Path(entry["path"]).name for entry in trusted] == ["a.py", "b.pt"]


def test_trust_can_be_taken_back(source: Path) -> None:
    run(str(source))

    assert run("--forget", str(source)) == "forgotten: 1 entry\n"
    assert run("--list") == "nothing is trusted\n"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.py: no such file or folder"):
        run(str(tmp_path / "gone.py"))


@pytest.mark.parametrize("arguments", [(), ("net.py", "--list"), ("--list", "--forget", "net.py")])
def test_exactly_one_thing_is_asked_for(arguments: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="takes one of PATH, --list and --forget PATH"):
        run(*arguments)
