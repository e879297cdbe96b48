"""The tree of errors a user can meet, and how one reads."""

from __future__ import annotations

import inspect

import pytest

from compressor import errors
from compressor.errors import CompressError, Fault, InputError, RecipeError

CLASSES = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, CompressError)]


def test_there_are_errors() -> None:
    assert len(CLASSES) > 10


@pytest.mark.parametrize("error", CLASSES, ids=lambda error: error.__name__)
def test_every_error_stands_in_the_tree_with_its_exit_code(error: type[CompressError]) -> None:
    line = next(line for line in (errors.__doc__ or "").splitlines() if f" {error.__name__} " in f"{line} ")
    stated = [int(word) for word in line.split() if word.isdigit()]

    assert stated in ([], [error.exit_code])
    assert error.__doc__


def test_exit_codes_are_those_of_the_contract() -> None:
    codes = {error.__name__: error.exit_code for error in CLASSES}

    assert {
        name: codes[name] for name in ("BudgetMissedError", "InputError", "CompressError", "InterruptedRunError")
    } == {
        "BudgetMissedError": 1,
        "InputError": 2,
        "CompressError": 3,
        "InterruptedRunError": 130,
    }
    assert set(codes.values()) == {1, 2, 3, 130}


@pytest.mark.parametrize("error", [e for e in CLASSES if issubclass(e, InputError)], ids=lambda error: error.__name__)
def test_what_the_user_can_mend_exits_with_2(error: type[CompressError]) -> None:
    assert error.exit_code == 2


def test_an_error_reads_where_what_and_what_to_type() -> None:
    fault = InputError("alpha = 2 must lie between 0 and 1", where="kd.alpha", hint="write alpha = 0.9")

    assert str(fault) == "kd.alpha: alpha = 2 must lie between 0 and 1 — write alpha = 0.9"


def test_an_error_without_a_place_or_a_hint_is_its_sentence() -> None:
    assert str(CompressError("the disk is full")) == "the disk is full"


def test_one_recipe_fault_reads_like_any_error() -> None:
    fault = RecipeError([Fault("distill.lr", "'x' is not allowed", "write a number")], source="recipe.toml")

    assert str(fault) == "recipe.toml: distill.lr: 'x' is not allowed — write a number"


def test_several_recipe_faults_stand_on_lines_of_their_own() -> None:
    fault = RecipeError([Fault("a", "is wrong"), Fault("b", "too", "mend it")], source="recipe.toml")

    assert str(fault).splitlines() == ["recipe.toml: 2 faults", "  a: is wrong", "  b: too — mend it"]
