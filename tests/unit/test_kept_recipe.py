"""The recipe that a run keeps: what it has written is told from what somebody has edited since."""

from __future__ import annotations

from pathlib import Path

import pytest

from compressor import opening
from compressor import recipe as recipes
from compressor.artifact import Manifest, folder_for, seal
from compressor.errors import InputError

KEPT = '{"name": "a", "bench": {"max_drop": 1.0}}'


def test_what_a_run_has_written_reads_back(tmp_path: Path) -> None:
    recipes.keep(tmp_path, KEPT)

    assert recipes.kept_in(tmp_path) == {"name": "a", "bench": {"max_drop": 1.0}}


def test_what_was_edited_is_refused_with_the_line_that_runs_it(tmp_path: Path) -> None:
    recipes.keep(tmp_path, KEPT)
    (tmp_path / "recipe.json").write_text(KEPT.replace("1.0", "9.0"))

    with pytest.raises(InputError, match=r"is not what the run has written.*compress run .*recipe\.json"):
        recipes.kept_in(tmp_path)


def test_a_run_that_is_made_again_writes_it_anew(tmp_path: Path) -> None:
    recipes.keep(tmp_path, KEPT)
    (tmp_path / "recipe.json").write_text("{")
    recipes.keep(tmp_path, KEPT.replace("1.0", "2.0"))

    assert recipes.kept_in(tmp_path) == {"name": "a", "bench": {"max_drop": 2.0}}


def test_whoever_is_killed_between_the_two_files_leaves_the_one_before_believed(tmp_path: Path) -> None:
    recipes.keep(tmp_path, KEPT)
    before = (tmp_path / "recipe.json").read_bytes()
    recipes.keep(tmp_path, KEPT.replace("1.0", "2.0"))
    (tmp_path / "recipe.json").write_bytes(before)

    assert recipes.is_as_written(tmp_path)


@pytest.mark.parametrize("hashes", ["", "0", "ä"])
def test_a_damaged_hash_is_not_believed(tmp_path: Path, hashes: str) -> None:
    recipes.keep(tmp_path, KEPT)
    (tmp_path / ".recipe.sha256").write_text(hashes)

    assert not recipes.is_as_written(tmp_path)


def test_a_recipe_of_an_earlier_version_has_no_hash_and_counts(tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text(KEPT)

    assert recipes.kept_in(tmp_path) is not None
    assert recipes.kept_in(tmp_path / "elsewhere") is None


def test_budgets_of_an_edited_recipe_are_not_taken_over(tmp_path: Path) -> None:
    with folder_for(tmp_path / "bench") as folder:
        seal(folder, tmp_path / "bench", Manifest("measurements", "bench", "bench", "k", 0, {"bench": {}}))
    recipes.keep(tmp_path, KEPT)
    assert opening.bench_settings_beside(tmp_path / "distill")["max_drop"] == 1.0
    (tmp_path / "recipe.json").write_text(KEPT.replace("1.0", "9.0"))

    with pytest.raises(InputError, match="what it states cannot be taken over"):
        opening.bench_settings_beside(tmp_path / "distill")
