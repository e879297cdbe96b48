"""What the papers' benchmarks claim of made-up numbers, and how they cut data and move biases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.papers import ensemble, few, methods, mnist, runs, specialists, union
from benchmarks.papers.runs import spread
from benchmarks.result import Claim


def by_words(claims: list[Claim], words: str) -> Claim:
    (found,) = (claim for claim in claims if words in claim.claim)
    return found


def test_a_bias_is_raised_by_the_least_amount_that_leaves_the_fewest_errors() -> None:
    logits_NK = np.array([[2.0, 1.0], [2.0, 1.5], [9.0, 0.0]])
    labels_N = np.array([1, 1, 0])

    found = mnist.best_shift(logits_NK, labels_N, classes=(1,), sign=+1.0)

    assert found["errors"] == found["of_these_classes"] == 2
    assert found["errors_moved"] == found["of_these_classes_moved"] == 0
    assert found["shift"] == pytest.approx(1.1)  # at 1.0 the first is undecided, and argmax takes the other


def test_biases_that_are_right_stay_where_they_are() -> None:
    found = mnist.best_shift(np.eye(3), np.arange(3), classes=(0, 1), sign=-1.0)

    assert found["shift"] == 0
    assert found["errors"] == found["errors_moved"] == 0


def test_lowering_the_biases_of_two_classes_helps_the_third() -> None:
    logits_NK = np.array([[3.0, 0.0, 2.5], [0.0, 3.0, 2.5], [5.0, 0.0, 0.0]])

    found = mnist.best_shift(logits_NK, np.array([2, 2, 0]), classes=(0, 1), sign=-1.0)

    assert (found["errors"], found["errors_moved"], found["of_these_classes_moved"]) == (2, 0, 0)
    assert found["shift"] == pytest.approx(-0.6)


def section3(**changed: Any) -> dict[str, Any]:
    moved = {"errors_moved": 100, "of_these_classes_moved": 10}
    found: dict[str, Any] = {
        "teacher": 60,
        "distilled": spread([70, 74]),
        "plain": spread([150, 144]),
        "jittered": spread([72, 75]),
        "of_800": {name: spread([errors]) for name, errors in (("1", 140), ("8", 72), ("20", 78))},
        "of_30": {name: spread([errors]) for name, errors in (("1", 300), ("2.5", 280), ("4", 270), ("20", 310))},
        "without_3": [moved, {"errors_moved": 118, "of_these_classes_moved": 18}],
        "only_7_and_8": [{"errors_moved": 1320, "of_these_classes_moved": 5}],
    }
    return found | changed


def test_numbers_as_good_as_those_of_section_3_hold() -> None:
    claims = mnist.claims(section3())

    assert all(claim.holds for claim in claims)
    assert by_words(claims, "800 units").value == 6
    assert by_words(claims, "30 units").value == 40
    assert by_words(claims, "errors without the digit 3").value == 109


def test_a_distilled_student_with_more_errors_than_theirs_does_not_hold() -> None:
    claims = mnist.claims(section3(distilled=spread([90, 92])))

    assert not by_words(claims, "distilled at T = 20").holds
    assert by_words(claims, "errors that distilling saves").value == 56


def on_few(**test_and_train: tuple[float, float]) -> dict[str, Any]:
    return {kind: {"train": spread([train]), "test": spread([test])} for kind, (train, test) in test_and_train.items()}


def test_the_papers_own_numbers_on_speech_reach_its_shares() -> None:
    found = {"speech": on_few(all=(63.4, 58.9), hard=(67.3, 44.5), soft=(65.4, 57.0))}

    claims = few.claims(found)

    assert [round(claim.value or 0, 1) for claim in claims] == [12.5, few.CLOSED, few.SAVED] == [12.5, 86.8, 63.2]


def test_soft_targets_that_close_half_of_the_gap_fall_short() -> None:
    claims = few.claims({"digits": on_few(all=(99.0, 98.0), hard=(100.0, 92.0), soft=(98.0, 95.0))})

    assert by_words(claims, "gain over hard labels").holds
    assert by_words(claims, "gap").value == 50
    assert not by_words(claims, "gap").holds
    assert by_words(claims, "train minus test").value == pytest.approx(62.5)


def test_a_share_of_no_gap_is_not_measured() -> None:
    claims = few.claims({"digits": on_few(all=(99.0, 92.0), hard=(92.0, 92.0), soft=(98.0, 95.0))})

    assert by_words(claims, "gap").value is None
    assert by_words(claims, "train minus test").value is None


def of_ensemble(single: list[float], ensemble: float, distilled: list[float]) -> dict[str, Any]:
    return {"single": spread(single), "ensemble": ensemble, "distilled": spread(distilled)}


def test_a_student_that_keeps_four_of_five_points_of_its_ensemble_keeps_80_percent() -> None:
    accuracy = of_ensemble([80.0, 82.0], 86.0, [84.0, 86.0])

    claims = ensemble.claims({"accuracy": accuracy, "cross_entropy": of_ensemble([0.5], 0.4, [0.41])})

    assert by_words(claims, "2 networks gain over one").value == 5
    assert by_words(claims, "in accuracy").value == 80
    assert not by_words(claims, "in accuracy").holds  # theirs keeps 86.4 %
    assert by_words(claims, "in cross-entropy").value == pytest.approx(90)
    assert by_words(claims, "in cross-entropy").holds


def test_an_ensemble_no_better_than_its_members_has_nothing_to_keep() -> None:
    found = {"accuracy": of_ensemble([80.0, 82.0], 81.0, [84.0]), "cross_entropy": of_ensemble([0.4], 0.5, [0.3])}

    claims = ensemble.claims(found)

    assert by_words(claims, "in accuracy").value is None
    assert by_words(claims, "in cross-entropy").value is None


@pytest.mark.parametrize(("named", "holds"), [(True, True), (False, False)])
def test_a_report_that_does_not_name_the_union_is_a_claim_that_fails(named: bool, holds: bool) -> None:
    found = {
        "union": 80.0,
        "without_labels": spread([81.0, 83.0]),
        "all_labels": spread([88.0, 90.0]),
        "by_class": [40.0, *[90.0] * 9],
        "agreement": 1.0,
        "report_names": named,
    }

    claims = union.claims(found)

    assert by_words(claims, "the report names").holds is holds
    assert by_words(claims, "over its teachers").value == 2
    assert by_words(claims, "loses").value == 7
    assert not by_words(claims, "knows least").holds


def test_specialists_are_held_against_the_generalist_and_against_longer_training() -> None:
    values = {"generalist": 80.0, "together": 84.0, "control": 85.0, "distilled": 86.0}
    accuracy = {kind: spread([value, value]) for kind, value in values.items()}
    found = {"accuracy": accuracy, "agreement": 1.0, "taught": "specialists of 4", "report_names": True}

    claims = specialists.claims(found)

    assert by_words(claims, "relative gain").value == pytest.approx(5.0)
    assert by_words(claims, "errors").value == pytest.approx(20.0)
    assert by_words(claims, "as many epochs as both").value == -1
    assert not by_words(claims, "as many epochs as both").holds
    assert by_words(claims, "over its control").holds


def of_method(of: str, above: list[float]) -> dict[str, Any]:
    return {
        "of": of,
        "seeds": [0, 1],
        "accuracy": spread([60.0 + each for each in above]),
        "above_control": spread(above),
        "ece": spread([3.0, 5.0]),
        "seconds_an_epoch": spread([1.0, 2.0]),
    }


def test_the_table_of_methods_begins_with_the_best_and_leaves_the_controls_distance_open() -> None:
    found = {"control": of_method("control", [0.0, 0.0]), "kd": of_method("loss", [1.0, 2.0])}

    _, _, first, second = methods.table(found).splitlines()

    assert first == "| `kd` | 61.50 ± 0.71 | +1.50 ± 0.71 | 4.00 ± 1.41 | 1.5 | 2 |"
    assert second == "| `control` | 60.00 ± 0.00 |  | 4.00 ± 1.41 | 1.5 | 2 |"


def test_seeds_of_an_earlier_result_file_stand_beside_those_made_here(monkeypatch: pytest.MonkeyPatch) -> None:
    earlier = {
        "control": of_method("control", [0.0, 0.0]) | {"losses": [], "chosen": []},
        "kd": of_method("loss", [1.0, 2.0]) | {"losses": [{"name": "kd"}], "chosen": ["earlier"]},
    }
    here = methods.Made(accuracy=64.0, ece=3.5, seconds_an_epoch=3.0)
    control, kd = methods.Method("control", []), methods.Method("kd", [])
    monkeypatch.setattr(methods, "_trained", lambda method, runs, seed: here if method is kd else None)

    found = methods.judged([control, kd], Path("runs"), 3, earlier)

    assert (found["kd"]["seeds"], found["kd"]["accuracy"]["values"]) == ([0, 1], [61.0, 62.0])
    assert found["kd"]["chosen"] == ["earlier"]

    monkeypatch.setattr(methods, "_trained", lambda method, runs, seed: here)
    assert methods.judged([control, kd], Path("runs"), 3, earlier)["kd"]["above_control"]["values"] == [1.0, 2.0, 0.0]


def test_every_method_but_the_controls_makes_a_claim() -> None:
    found = {
        "control": of_method("control", [0.0]),
        "kd": of_method("loss", [1.0]),
        "ema": of_method("teacher", [-1.0]),
    }

    claims = methods.claims(found)

    assert [(claim.claim, claim.holds) for claim in claims] == [
        ("loss kd: mean points above the control", True),
        ("teacher ema: mean points above the control", False),
    ]


WHOLE: runs.Arrays = {
    "x_train": np.arange(6)[:, None],
    "y_train": np.array([0, 1, 2, 0, 1, 2]),
    "x_test": np.arange(3)[:, None],
    "y_test": np.array([2, 1, 0]),
    "classes": np.array(["ant", "bee", "cow"]),
}


def test_images_of_some_classes_are_numbered_in_the_order_of_their_names() -> None:
    found = runs.of_classes(WHOLE, ["cow", "ant"])

    assert found["x_train"].ravel().tolist() == [0, 2, 3, 5]
    assert found["y_train"].tolist() == [1, 0, 1, 0]
    assert found["y_test"].tolist() == [0, 1]
    assert found["classes"].tolist() == ["cow", "ant"]


def test_a_part_of_the_training_images_has_the_whole_test_set() -> None:
    found = runs.training_part(WHOLE, np.array([4, 0]))

    assert found["y_train"].tolist() == [1, 0]
    assert found["x_test"] is WHOLE["x_test"]


def test_a_file_that_is_there_is_not_written_again(tmp_path: Any) -> None:
    source = runs.kept(tmp_path / "whole.npz", WHOLE)
    before = (tmp_path / "whole.npz").stat().st_mtime_ns

    assert runs.kept(tmp_path / "whole.npz", WHOLE) == source == f"npz:{tmp_path / 'whole.npz'}"
    assert (tmp_path / "whole.npz").stat().st_mtime_ns == before


def test_one_value_has_no_deviation() -> None:
    assert spread([3.0]) == {"mean": 3.0, "std": 0.0, "values": [3.0]}
