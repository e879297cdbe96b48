"""Options that a sweep decides: what is tried, what wins, what is kept; without training anything."""

from __future__ import annotations

import json

import pytest

from compressor.artifact import Target
from compressor.data.open import open_dataset
from compressor.errors import DivergenceError, InputError, InterruptedRunError
from compressor.recipe import DataSettings, DistillSettings, LossSettings, ModelSettings
from compressor.tasks.classification import Classification
from compressor.teachers.none import NoTeacher
from compressor.training import sweep
from compressor.training.material import Material
from tests.small import write_project

AUTO = DistillSettings(epochs=30, losses=(LossSettings(name="kd", temperature="auto"),))
BOTH = DistillSettings(losses=(LossSettings(name="kd", temperature="auto", alpha="auto"), LossSettings(name="hard")))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return f"npz:{write_project(tmp_path_factory.mktemp('project')) / 'data.npz'}"


@pytest.fixture
def settle(source, tmp_path, monkeypatch):
    """`sweep.settle` whose trials come to what `scores` says; `tried` lists them as (title, epochs)."""
    tried: list[tuple[str, int]] = []

    def run(settings, scores, *, key="k", **data):
        def trial(student, settings, teacher, *, target, **rest):
            tried.append((target.role, settings.epochs))
            score = scores[target.role] if isinstance(scores, dict) else scores
            if isinstance(score, BaseException):
                raise score
            return score

        monkeypatch.setattr(sweep, "_tried", trial)
        given = DataSettings(source=source, **data)
        return sweep.settle(
            ModelSettings(model="s.py"),
            settings,
            teacher=NoTeacher,
            material=Material(open_dataset(given), given, Classification()),
            target=Target(tmp_path / "distill", "distill", "student", key, 0, {}),
        )

    run.tried = tried
    return run


def options_of(settings):
    return [entry.options for entry in settings.losses]


def test_nothing_is_tried_where_everything_is_stated(settle):
    stated = DistillSettings(losses=(LossSettings(name="kd", temperature=3.0),))

    assert settle(stated, {}) == (stated, ())
    assert settle.tried == []


def test_the_best_on_validation_is_taken_and_every_score_told(settle):
    scores = {"temperature 4": 0.5, "temperature 1": 0.7, "temperature 2": 0.9, "temperature 8": 0.1}

    chosen, (why,) = settle(AUTO, scores)

    assert options_of(chosen) == [{"temperature": 2.0}]
    assert (why.what, why.choice) == ("temperature", "2")
    assert "after 3 of 30 epochs" in why.reason
    assert "temperature 4 50.00 %, temperature 1 70.00 %, temperature 2 90.00 %, temperature 8 10.00 %" in why.reason
    assert settle.tried == [(title, 3) for title in scores]


def test_among_equals_the_default_is_taken(settle):
    chosen, _ = settle(BOTH, 0.8)

    assert options_of(chosen)[0] == {"temperature": 4.0, "alpha": 0.9}
    assert len(settle.tried) == 8


def test_a_default_that_is_not_among_the_values_is_tried_too(settle):
    auto = DistillSettings(losses=(LossSettings(name="nkd", temperature="auto"),))

    chosen, _ = settle(auto, 0.8)

    assert options_of(chosen) == [{"temperature": 1.0}]
    assert settle.tried[0] == ("temperature 1", 3)


def test_a_trial_that_diverges_loses_and_all_of_them_end_the_run(settle):
    scores = {f"temperature {value}": None for value in (4, 1, 8)} | {"temperature 2": 0.0}

    chosen, _ = settle(AUTO, scores)

    assert options_of(chosen) == [{"temperature": 2.0}]
    with pytest.raises(DivergenceError, match="every trial of temperature diverged"):
        settle(AUTO, None, key="another")


def test_it_needs_a_validation_set(settle):
    with pytest.raises(InputError, match="temperature = auto is decided on validation") as told:
        settle(AUTO, 0.5, val_share=0)

    assert "data.val_share" in (told.value.hint or "")


def test_finished_trials_are_not_made_again_after_an_interruption(settle):
    scores = {"temperature 4": 0.5, "temperature 1": 0.9, "temperature 2": InterruptedRunError("by SIGTERM")}
    with pytest.raises(InterruptedRunError):
        settle(AUTO, scores)
    settle.tried.clear()

    chosen, (why,) = settle(AUTO, {"temperature 2": 0.7, "temperature 8": 0.6})

    assert [title for title, _ in settle.tried] == ["temperature 2", "temperature 8"]
    assert why.choice == "1"
    assert options_of(chosen) == [{"temperature": 1.0}]


def test_trials_of_other_settings_or_damaged_ones_are_made_again(settle, tmp_path):
    settle(AUTO, 0.5)
    folder = tmp_path / ".distill.sweep"
    assert json.loads((folder / "temperature-2.json").read_text())["score"] == 0.5
    (folder / "temperature-2.json").write_text("{")
    settle.tried.clear()

    settle(AUTO, 0.5)
    assert [title for title, _ in settle.tried] == ["temperature 2"]

    settle(AUTO, 0.5, key="another")
    assert len(settle.tried) == 5
