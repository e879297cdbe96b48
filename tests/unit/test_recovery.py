"""A cut network is trained back as it was trained, where nothing else is stated."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from compressor import recipe as recipes
from compressor.errors import ArtifactError
from compressor.pipeline.recovery import as_it_was_trained, unstated

RUN = {"batch_size": 32, "optimizer": "sgd", "lr": 0.01, "momentum": 0.8, "weight_decay": 1e-4, "epochs": 4}


def trained(**training):
    settings = {"training": {**RUN, **training}}
    return SimpleNamespace(path=Path("runs/x/distill"), manifest=SimpleNamespace(settings=settings))


def settled(source, **stated):
    pruning, why = as_it_was_trained(recipes.PruneSettings(macs=0.5, **stated), source)
    return pruning, why


def test_rate_batch_and_optimizer_are_those_of_the_run_and_the_decision_says_so():
    pruning, (decision,) = settled(trained())

    assert (pruning.optimizer, pruning.lr, pruning.batch_size) == ("sgd", 0.01, 32)
    assert (pruning.momentum, pruning.weight_decay) == (0.8, 1e-4)
    assert pruning.epochs == 10, "how long it is trained back is its own"
    assert decision.what == "recovery"
    assert "sgd, lr = 0.01, batch_size = 32" in decision.choice
    assert "as distill was trained" in decision.reason


def test_what_is_stated_stays():
    pruning, _ = settled(trained(), lr=0.002, batch_size=128)

    assert (pruning.lr, pruning.batch_size, pruning.optimizer) == (0.002, 128, "sgd")


def test_a_stated_batch_that_is_another_scales_the_rate():
    assert settled(trained(), batch_size=64)[0].lr == pytest.approx(0.02)
    assert settled(trained(optimizer="adamw"), batch_size=128)[0].lr == pytest.approx(0.02)


def test_the_rate_of_another_optimizer_says_nothing():
    pruning, _ = settled(trained(), optimizer="adamw")

    assert (pruning.lr, pruning.momentum, pruning.batch_size) == ("auto", 0.9, 32)


def test_a_run_that_was_trained_by_the_defaults_hands_on_the_batch_that_they_came_to():
    source = trained(batch_size=128, optimizer="adamw", lr="auto", momentum=0.9, weight_decay="auto")

    pruning, _ = settled(source)

    assert pruning == recipes.PruneSettings(macs=0.5, batch_size=128)


def test_nothing_changes_where_there_is_nothing_to_take_over():
    elsewhere = SimpleNamespace(path=Path("runs/x/teacher"), manifest=SimpleNamespace(settings={"model": "t.pt"}))

    assert settled(elsewhere) == (recipes.PruneSettings(macs=0.5), ())


def test_a_cut_that_is_not_recovered_takes_nothing_over():
    assert settled(trained(), epochs=0)[1] == ()


def test_a_manifest_that_says_nonsense_of_its_training_is_refused():
    with pytest.raises(ArtifactError, match="does not say how it was trained") as refusal:
        settled(trained(batch_size="many"))

    assert "state lr" in refusal.value.hint


def test_the_recipe_that_a_run_keeps_leaves_open_what_was_left_open():
    raw = {"data": {"source": "digits"}, "teacher": {"model": "t.pt"}, "prune": {"macs": 0.5, "lr": 0.1}}
    recipe = recipes.parse(raw, source="here")
    kept = recipes.parse(json.loads(recipe.model_dump_json(exclude=unstated(recipe))), source="kept")

    assert kept == recipe
    assert as_it_was_trained(kept.prune, trained()) == as_it_was_trained(recipe.prune, trained())
