"""`compress run`: what it trusts, and its exit code."""

from __future__ import annotations

import json

import pytest

from compressor.cli import _options as options
from tests.small import typed, write_project

RECIPE = """
runs = "{runs}"
stages = ["train", "prune"]

[data]
source = "npz:{folder}/data.npz"

[teacher]
model = "{folder}/teacher.py"

[train]
epochs = 1
batch_size = 32

[prune]
macs = {share}
epochs = 0
rounds = 1
round_to = 1
"""


@pytest.mark.parametrize(("share", "code"), [(0.6, 0), (0.001, 1)])
def test_a_cut_that_misses_its_target_ends_with_one_without_a_bench_too(tmp_path, monkeypatch, capsys, share, code):
    project = write_project(tmp_path)
    file = tmp_path / "recipe.toml"
    file.write_text(RECIPE.format(folder=project, runs=project / "runs", share=share))

    assert typed(monkeypatch, "run", str(file)) == code

    assert ("macs = 0.001, reached" in capsys.readouterr().err) is (code == 1)


def test_trust_covers_every_network_that_a_recipe_names(tmp_path):
    teacher = {"model": "a.pt", "members": [{"model": "b.pt"}, {"model": "c.pt"}]}
    raw = {"teacher": teacher, "student": {"model": "d.py"}, "assistants": [{"model": "e.pt"}]}

    (tmp_path / "recipe.json").write_text(json.dumps(raw))

    assert options.models_in(tmp_path / "recipe.json", ["student.model=f.py"]) == [
        "a.pt",
        "b.pt",
        "c.pt",
        "f.py",
        "e.pt",
    ]


@pytest.mark.parametrize("words", [("check",), ("bench", "--steps", "5", "--training")])
def test_data_without_its_format_is_taken_for_what_it_is_as_run_takes_it(tmp_path, monkeypatch, capsys, words):
    project = write_project(tmp_path)
    file = tmp_path / "recipe.toml"
    file.write_text(RECIPE.format(folder=project, runs=project / "runs", share=0.5).replace('"npz:', '"'))

    assert typed(monkeypatch, *words, str(file)) == 0
