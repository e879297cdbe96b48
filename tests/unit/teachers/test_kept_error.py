"""What an answer loses when it is kept, measured on answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compressor.tasks.classification import Classification
from compressor.tasks.regression import Regression
from compressor.tasks.segmentation import Segmentation
from compressor.teachers._codecs import Codec, Exact, Half, Levels, Strided
from compressor.teachers._contract import Teacher
from compressor.teachers._kept_error import KeptError, kept_error
from compressor.teachers._records import Form
from compressor.tensors import IGNORED, LOGITS, MASK, VALUES, Batch, Outputs
from tests.named import named_batch

MAPS = (3, 8, 8)


class Saying(Teacher):
    """Says what the inputs are, and draws from the random stream as it does."""

    def answer(self, batch: Batch) -> Outputs:
        self.asked += len(batch)
        torch.rand(3)
        return Outputs.of(batch.call)


def of_maps(codec: Codec, logits: torch.Tensor, mask: torch.Tensor) -> KeptError:
    count = len(logits)
    batch = Batch({"image": logits}, {MASK: mask}, torch.ones(count) > 0, torch.arange(count), -1, Segmentation())
    return kept_error(Saying(), Form(((LOGITS, codec),)), [batch])


def test_what_is_kept_exactly_loses_nothing():
    targets = {VALUES: torch.zeros(4, 2)}
    task = Regression(tolerance=1.0).for_spread(np.ones(2))
    batch = Batch({"x": torch.randn(4, 2)}, targets, torch.ones(4) > 0, torch.arange(4), -1, task)
    error = kept_error(Saying(), Form(((LOGITS, Exact((2,))),)), [batch])
    assert (error.samples, error.values, error.largest, error.total, error.rows) == (4, 8, 0.0, 0.0, 0)
    assert str(error) == "on 4 samples predictions come back within 0, 0 in the mean"


def test_differences_and_changed_classes_are_those_of_the_numbers_themselves():
    logits = torch.tensor([[1000.1, 1000.2], [0.0, 1.0]])
    kept = logits.half().float()
    assert kept[0, 0] == kept[0, 1]
    batch = named_batch(logits, torch.tensor([0, 1]), torch.arange(2), -1, Classification())

    error = kept_error(Saying(), Form(((LOGITS, Half((2,))),)), [batch, batch])

    difference = (logits - kept).abs()
    assert error.largest == float(difference.max())
    assert error.total == pytest.approx(2 * float(difference.double().sum()))
    assert (error.samples, error.rows, error.changed) == (4, 4, 2)
    first = logits.double().log_softmax(dim=1)
    expected = (first.exp() * (first - kept.double().log_softmax(dim=1))).sum()
    assert error.divergence == pytest.approx(2 * float(expected))
    assert error.divergence > 1e-4


def test_pixels_that_name_another_class_are_counted_and_those_that_count_for_nothing_are_not():
    logits = torch.zeros(2, *MAPS)
    logits[:, 0, :, ::2], logits[:, 1, :, 1::2] = 5.0, 5.0  # stripes of one pixel, which a stride cannot show
    mask = torch.zeros(2, 8, 8, dtype=torch.uint8)
    whole = of_maps(Strided.of(Half, MAPS, stride=4), logits, mask)
    mask[:, :, 4:] = IGNORED
    half = of_maps(Strided.of(Half, MAPS, stride=4), logits, mask)

    assert whole.rows == 2 * half.rows == 2 * 64
    assert 0.3 < whole.changed / whole.rows < 0.7
    assert whole.changed > half.changed > 0
    assert f"{whole.changed / 128:.2%} of 128 rows name another class" in str(whole)


def test_levels_lose_more_than_float16_and_less_than_a_stride():
    logits = torch.from_numpy(np.random.default_rng(0).normal(0, 3, (4, *MAPS)).astype(np.float32))
    mask = torch.zeros(4, 8, 8, dtype=torch.uint8)
    errors = [of_maps(codec, logits, mask) for codec in (Half(MAPS), Levels(MAPS), Strided.of(Half, MAPS, stride=2))]
    assert [each.divergence for each in errors] == sorted(each.divergence for each in errors)
    assert errors[0].total < errors[1].total < errors[2].total


def test_measuring_leaves_no_trace_in_the_count_or_in_the_random_stream():
    teacher = Saying()
    teacher.asked = 7
    batch = named_batch(torch.randn(3, 2), torch.zeros(3, dtype=torch.int64), torch.arange(3), -1, Classification())
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)

    kept_error(teacher, Form(((LOGITS, Half((2,))),)), [batch])

    assert torch.equal(torch.rand(4), expected)
    assert teacher.asked == 7


def test_answers_that_are_not_finite_are_left_out_and_it_is_said():
    logits = torch.full((2, 2), torch.nan)
    batch = named_batch(logits, torch.zeros(2, dtype=torch.int64), torch.arange(2), -1, Classification())
    error = kept_error(Saying(), Form(((LOGITS, Half((2,))),)), [batch])
    assert error.samples == 0
    assert "not finite" in str(error)
