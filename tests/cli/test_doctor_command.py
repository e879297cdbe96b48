"""`compress doctor`: what it finds here, and what it says of a broken installation."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from compressor.cli import doctor as command
from compressor.errors import CompressError
from compressor.measure import machine
from compressor.registry import PACKAGE

app = typer.Typer()
app.command()(command.doctor)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COMPRESS_HOME", str(tmp_path))
    return tmp_path


def test_a_whole_installation_is_described_and_exits_with_0() -> None:
    result = CliRunner().invoke(app, ["--json"])
    facts = json.loads(result.stdout)

    assert result.exit_code == 0
    assert facts["broken"] == {}
    assert "CPUExecutionProvider" in facts["onnxruntime"]["providers"]
    assert facts["torch"]["threads"] >= 1
    assert facts["machine"]["cores"] >= 1


def test_the_table_shows_versions_cores_and_what_is_trusted() -> None:
    output = CliRunner().invoke(app).stdout

    assert "ONNX Runtime" in output
    assert "cores" in output
    assert "0 trusted files" in output


def test_something_broken_is_named_and_exits_with_3(home: Path) -> None:
    (home / "trusted.json").write_text("not json", encoding="utf-8")

    result = CliRunner().invoke(app, ["--json"])

    assert isinstance(result.exception, CompressError)
    assert result.exception.exit_code == 3
    assert "trust cannot be used" in str(result.exception)
    assert json.loads(result.stdout)["trust"]["entries"] is None


def test_every_cpu_feature_has_a_meaning() -> None:
    assert set(command._MEANING) == set(machine.cpu_features())


def test_every_extra_of_the_package_is_looked_for() -> None:
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert set(command._EXTRAS) == set(project["optional-dependencies"])


def test_an_absent_extra_comes_with_its_install_line() -> None:
    assert command._install_line("timm", present=False) == "pip install timm"
    assert command._install_line("timm", present=True) == ""


def test_the_line_installs_what_the_extra_asks_for() -> None:
    extras = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "optional-dependencies"
    ]

    assert extras
    for extra, requirements in extras.items():
        names = [re.split(r"[^\w-]", requirement)[0] for requirement in requirements]
        assert names == command._EXTRAS[extra][1].split()
