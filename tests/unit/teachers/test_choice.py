"""In which form answers are kept, and by what views are counted."""

from __future__ import annotations

import pytest

from compressor import registry
from compressor.teachers._choice import bytes_per_view, choose_form
from compressor.teachers._codecs import Exact, Half, Largest, Levels, Strided
from compressor.teachers._records import Form
from compressor.tensors import LOGITS, Schema, TensorSpec

MAPS = (11, 176, 240)


def outputs(*shape: int | str) -> Schema:
    return Schema.of(TensorSpec(LOGITS, "float32", shape))


def rows(num_classes: int, top: int = 0) -> Form:
    return Form(((LOGITS, Largest(num_classes, top) if top else Half((num_classes,))),))


def test_all_logits_are_kept_where_classes_are_few_whatever_the_budget():
    form, why = choose_form(outputs(256), num_samples=1_000_000, num_views=30, budget_bytes=1)
    assert form == rows(256)
    assert "is more than" in why.reason


@pytest.mark.parametrize(
    ("budget_gb", "top"), [(3000.0, 0), (70.0, 0), (60.0, 64), (9.0, 64), (8.0, 32), (4.5, 16), (0.001, 16)]
)
def test_of_many_classes_as_many_are_kept_as_fit_the_budget(budget_gb, top):
    form, why = choose_form(outputs(1000), num_samples=1_281_167, num_views=25, budget_bytes=round(budget_gb * 1e9))
    assert form == rows(1000, top)
    size = 1_281_167 * 25 * form.record_bytes
    assert f"{size / 1e9:.2f} GB" in why.reason
    assert ("fits" in why.reason) == (size <= budget_gb * 1e9)
    assert why.choice == str(form)


@pytest.mark.parametrize(("num_samples", "told"), [(230, "7.4 kB"), (50_000, "1.6 MB"), (10_000_000, "0.32 GB")])
def test_the_reason_says_the_size_in_a_unit_that_shows_it(num_samples, told):
    _, why = choose_form(outputs(10), num_samples=num_samples, num_views=1, budget_bytes=10**9)
    assert f" take {told}, which fits distill.cache_gb = 1" in why.reason


def test_numbers_in_the_unit_of_the_data_are_kept_as_they_are_whatever_the_budget():
    form, why = choose_form(outputs(300), num_samples=4, num_views=1, budget_bytes=1, exact=True)
    assert form == Form(((LOGITS, Exact((300,))),))
    assert why.choice == "float32"
    assert bytes_per_view(outputs(300), num_samples=4, exact=True) == 4 * form.record_bytes


@pytest.mark.parametrize(
    ("budget_gb", "codec"),
    [
        (0.7, Half(MAPS)),
        (0.6, Levels(MAPS)),
        (0.3, Strided.of(Half, MAPS, stride=2)),
        (0.1, Strided.of(Levels, MAPS, stride=2)),
        (0.01, Strided.of(Levels, MAPS, stride=8)),
    ],
    ids=str,
)
def test_of_maps_the_most_exact_form_is_kept_that_fits_the_budget(budget_gb, codec):
    form, why = choose_form(outputs(*MAPS), num_samples=367, num_views=2, budget_bytes=round(budget_gb * 1e9))
    assert form == Form(((LOGITS, codec),))
    assert why.choice == str(codec)
    assert ("float16 would take 0.68 GB" in why.reason) == (codec != Half(MAPS))


def test_maps_that_fit_in_no_form_are_not_kept_and_it_is_said():
    form, why = choose_form(outputs(*MAPS), num_samples=367, num_views=2, budget_bytes=10**6)
    assert form is None
    assert why.choice == "none"
    assert "take 5.4 MB as uint8 at a stride of 8, which is more than distill.cache_gb = 0.001" in why.reason


def test_outputs_with_an_axis_that_varies_are_not_kept_and_it_is_said():
    varying = outputs(3, "height", "width")
    form, why = choose_form(varying, num_samples=4, num_views=1, budget_bytes=10**9)
    assert form is None
    assert "logits float32 [3, height, width]" in why.reason
    assert bytes_per_view(varying, num_samples=4) is None


def test_of_several_outputs_the_one_that_takes_most_is_the_first_to_be_kept_in_less():
    both = Schema.of(TensorSpec("scores", "float32", (10,)), TensorSpec("maps", "float32", MAPS))
    whole, _ = choose_form(both, num_samples=1, num_views=1, budget_bytes=10**6)
    smaller, why = choose_form(both, num_samples=1, num_views=1, budget_bytes=10**5)
    assert whole == Form((("scores", Half((10,))), ("maps", Half(MAPS))))
    assert smaller == Form((("scores", Half((10,))), ("maps", Strided.of(Half, MAPS, stride=4))))
    assert why.choice == "scores: float16; maps: float16 at a stride of 4"


def test_views_are_counted_by_what_loses_next_to_nothing():
    assert bytes_per_view(outputs(10), num_samples=1000) == 1000 * rows(10).record_bytes
    assert bytes_per_view(outputs(1000), num_samples=1000) == 1000 * rows(1000, 64).record_bytes
    assert bytes_per_view(outputs(*MAPS), num_samples=367) == 367 * Form(((LOGITS, Levels(MAPS)),)).record_bytes


def test_what_keeps_answers_is_no_kind_of_teacher():
    names = [member.name for member in registry.members("teachers")]
    assert "network" in names
    assert not [name for name in names if name.startswith("_") or "cache" in name or "records" in name]


def test_an_output_as_long_as_its_text_is_kept_as_long_as_the_longest():
    tagged = outputs("tokens", 9)
    form, why = choose_form(tagged, num_samples=100, num_views=2, budget_bytes=10**9, longest={"tokens": 64})
    assert form == Form((("logits", Half((64, 9))),), varying=(("logits", ("tokens", 9)),))
    assert "of logits [64, 9] take 0.2 MB, which fits" in why.reason
    assert bytes_per_view(tagged, num_samples=100, longest={"tokens": 64}) is not None
