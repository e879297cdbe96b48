"""The sizes that models are timed at, where an axis varies."""

from __future__ import annotations

import numpy as np
import pytest

from compressor.errors import InputError
from compressor.measure import sizes
from compressor.recipe import BenchSettings
from compressor.tensors import Schema, TensorSpec


class Texts:
    """Texts of these lengths: each token is its place, from 1."""

    inputs = Schema.of(
        TensorSpec("input_ids", "int64", ("tokens",)), TensorSpec("attention_mask", "int64", ("tokens",))
    )

    def __init__(self, *lengths: int) -> None:
        self._lengths = np.array(lengths)

    def __len__(self) -> int:
        return len(self._lengths)

    def fetch(self, positions):
        lengths = self._lengths[positions][:, None]
        there = np.arange(lengths.max()) < lengths
        return {"input_ids": np.where(there, np.arange(1, lengths.max() + 1), 0), "attention_mask": there.astype(int)}


class Maps:
    """One picture of a height and a width."""

    inputs = Schema.of(TensorSpec("image", "float32", (1, "height", "width")))

    def __len__(self) -> int:
        return 1

    def fetch(self, positions):
        return {"image": np.arange(6, dtype=np.float32).reshape(1, 1, 2, 3)}


def test_models_are_timed_at_the_usual_size_by_default() -> None:
    assert sizes.timed({}, Texts(2, 3, 40)) == [{"tokens": 3}]


def test_each_stated_size_is_a_timing_and_what_is_not_stated_is_usual() -> None:
    assert sizes.timed({"tokens": (16, 128)}, Texts(2)) == [{"tokens": 16}, {"tokens": 128}]
    assert sizes.timed({"width": (8, 9)}, Maps()) == [{"height": 2, "width": 8}, {"height": 2, "width": 9}]
    assert sizes.timed({"width": (8, 9), "height": (4,)}, Maps())[1] == {"height": 4, "width": 9}


def test_nothing_is_stated_of_samples_of_one_shape() -> None:
    class Fixed(Maps):
        inputs = Schema.of(TensorSpec("image", "float32", (1, 2, 3)))

    assert sizes.timed({}, Fixed()) == [{}]
    assert sizes.for_timing(Fixed(), most=4)["image"].shape == (1, 1, 2, 3)
    with pytest.raises(InputError, match="no axis 'tokens' of these samples varies"):
        sizes.timed({"tokens": (4,)}, Fixed())


def test_an_axis_that_is_misspelt_is_told_by_name() -> None:
    with pytest.raises(InputError, match="no axis 'token'") as fault:
        sizes.timed({"token": (4,)}, Texts(2))
    assert "what varies is tokens" in str(fault.value.hint)


def test_axes_with_different_numbers_of_sizes_do_not_go_together() -> None:
    with pytest.raises(InputError, match="2 of height, 3 of width do not go together"):
        sizes.timed({"height": (1, 2), "width": (1, 2, 3)}, Maps())


def test_samples_are_cut_or_begun_again_so_that_nothing_is_padding() -> None:
    found = sizes.for_timing(Texts(2, 5), {"tokens": 4}, most=2)

    assert found["input_ids"].tolist() == [[1, 2, 1, 2], [1, 2, 3, 4]]
    assert found["attention_mask"].all()


def test_what_is_timed_at_a_size_is_called_by_profile_and_size() -> None:
    assert sizes.condition("edge", {"tokens": 16}) == "edge at 16 tokens"
    assert sizes.condition("edge", {}) == "edge"
    assert sizes.profile_of("edge at 16 tokens") == sizes.profile_of("edge") == "edge"


def test_one_size_may_be_written_as_a_number() -> None:
    assert BenchSettings.model_validate({"shapes": {"tokens": 128}}).shapes == {"tokens": (128,)}


def test_settings_without_sizes_have_the_key_that_they_had_before() -> None:
    assert "shapes" not in BenchSettings().model_dump(mode="json")
    stated = BenchSettings.model_validate({"shapes": {"tokens": [16]}})
    assert BenchSettings.model_validate(stated.model_dump(mode="json")) == stated


@pytest.mark.parametrize("wrong", [[], [0], ["long"]])
def test_a_size_is_a_number_from_one(wrong: list) -> None:
    with pytest.raises(ValueError, match="shapes"):
        BenchSettings.model_validate({"shapes": {"tokens": wrong}})
