"""`compress list`: every family, its members, and what lies below runs/."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from compressor import artifact, caches, registry
from compressor.cli.list import list_
from compressor.errors import CompressError, UnknownNameError
from compressor.models import spec

app = typer.Typer()
app.command()(list_)


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments)
    if isinstance(result.exception, CompressError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def run_json(*arguments: str) -> Any:
    return json.loads(run(*arguments, "--json"))


def test_every_family_is_listed_with_its_count() -> None:
    rows = {row["family"]: row["members"] for row in run_json()}

    assert set(rows) == {*registry.FAMILIES, "models", "profiles", "artifacts", "caches"}
    assert rows["losses"] == len(registry.members("losses")) > 0


@pytest.mark.parametrize("family", registry.FAMILIES)
def test_every_member_of_a_family_is_listed_with_a_summary(family: str) -> None:
    rows = run_json(family)

    assert [row["name"] for row in rows] == [member.name for member in registry.members(family)]
    assert all(row["summary"] for row in rows)


def test_the_options_of_a_loss_are_listed_with_type_default_and_help() -> None:
    kd = next(row for row in run_json("losses") if row["name"] == "kd")
    temperature = next(option for option in kd["options"] if option["name"] == "temperature")

    assert temperature["type"] == "float"
    assert temperature["default"]
    assert temperature["help"]
    assert "temperature" in run("losses")


def test_a_format_that_reads_a_place_says_so() -> None:
    assert "images:PATH" in run("formats")
    assert {row["name"]: row["place"] for row in run_json("formats")}["digits"] is None


def test_every_listed_reference_network_is_a_model_spec() -> None:
    names = [row["name"] for row in run_json("models")]

    assert {"zoo:lenet5", "zoo:vgg8", "zoo:mobilenet_v2", "zoo:wrn_16_2", "zoo:mlp"} <= set(names)
    assert all(spec.parse(name).is_built for name in names)


def test_every_reference_network_has_a_line_about_it() -> None:
    assert all(row["what"] for row in run_json("models"))


def test_profiles_are_listed_with_their_conditions() -> None:
    assert {"name": "edge", "threads": 1, "batch": 1} in run_json("profiles")


def test_artifacts_are_listed_with_their_key_metric(tmp_path: Path) -> None:
    folder = tmp_path / "digits" / "distill"
    manifest = artifact.Manifest(
        kind="torch",
        stage="distill",
        role="student",
        key="k",
        seed=0,
        settings={},
        metrics={
            "test": {"primary": "accuracy", "metrics": {"loss": 0.1, "accuracy": 0.975}, "samples": 40},
            "val": None,
        },
    )
    with artifact.folder_for(folder) as temporary:
        artifact.seal(temporary, folder, manifest)

    (row,) = run_json("artifacts", "--runs", str(tmp_path))

    assert row["name"] == str(folder)
    assert row["metric"] == "test accuracy 0.975"


def test_no_artifacts_is_an_answer(tmp_path: Path) -> None:
    assert run("artifacts", "--runs", str(tmp_path)) == "none\n"
    assert run_json("artifacts", "--runs", str(tmp_path)) == []


def test_caches_are_listed_with_what_they_are_from_and_what_they_take() -> None:
    folder = caches.open_cache("teacher", "0123456789abcdef", {"teacher": "runs/digits/train", "data": "digits"})
    (folder / "view-00000.bin").write_bytes(b"x" * 200_000)

    (row,) = run_json("caches")
    (line,) = [line for line in run("caches").splitlines() if "teacher" in line]

    assert (row["kind"], row["key"], row["state"]) == ("teacher", "0123456789abcdef", "whole")
    assert row["about"] == {"teacher": "runs/digits/train", "data": "digits"}
    assert 200_000 <= row["size_bytes"] < 230_000
    assert "0123456789ab " in line
    assert "teacher runs/digits/train, data digits" in line
    assert " kB" in line
    assert next(row for row in run_json() if row["family"] == "caches")["members"] == 1


def test_no_caches_is_an_answer() -> None:
    assert run("caches") == "none\n"
    assert run_json("caches") == []


def test_a_misspelt_family_gets_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match="no family is called 'loses' — did you mean 'losses'"):
        run("loses")
