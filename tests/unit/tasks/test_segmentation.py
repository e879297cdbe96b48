"""Segmentation: mIoU by hand, what is ignored, NaN, and rows for losses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compressor.errors import DataError
from compressor.losses.kd import KD
from compressor.tasks.segmentation import Segmentation
from compressor.tensors import Batch, Outputs

TASK = Segmentation()


def logits_of(masks, *, classes=3):
    """Outputs that tell these classes, surely."""
    return (10.0 * (np.arange(classes)[None, :, None, None] == np.asarray(masks)[:, None])).astype(np.float32)


def judged(told, true):
    return TASK.findings({"logits": logits_of(told)}, {"mask": np.asarray(true, np.uint8)})


def test_miou_is_summed_over_all_images_and_taken_over_the_classes_that_occur():
    true = [[[0, 0], [1, 1]], [[0, 0], [0, 0]]]
    told = [[[0, 0], [1, 0]], [[0, 0], [0, 2]]]

    found = TASK.metrics(judged(told, true))

    assert found["miou"] == pytest.approx((5 / 7 + 1 / 2) / 2)  # class 2 does not occur; telling it costs class 0
    assert found["pixel_accuracy"] == pytest.approx(6 / 8)
    assert found["mean_accuracy"] == pytest.approx((5 / 6 + 1 / 2) / 2)


def test_ignored_pixels_count_for_nothing():
    found = judged([[[0, 1], [1, 1]]], [[[0, 255], [255, 255]]])

    assert TASK.metrics(found)["miou"] == 1.0
    assert found["pixels"].tolist() == [1]
    assert found["told"].sum() == 1


def test_a_pixel_with_a_nan_is_a_miss_of_its_own_class():
    logits = logits_of([[[0, 1], [1, 1]]])
    logits[0, 2, 0, 0] = np.nan

    found = TASK.findings({"logits": logits}, {"mask": np.array([[[0, 1], [1, 1]]], np.uint8)})

    assert TASK.metrics(found)["miou"] == pytest.approx(0.5)
    assert TASK.alike({"logits": logits}, {"logits": logits}).tolist() == [0.75]


def test_the_images_that_fall_most_come_first():
    true = np.zeros((3, 2, 2), np.uint8)
    base = judged(np.zeros((3, 2, 2)), true)
    other = judged([[[0, 0], [0, 1]], [[0, 0], [0, 0]], [[1, 1], [0, 1]]], true)

    worst = TASK.worst(base, other, most=5)

    assert [each["position"] for each in worst] == [2, 0]
    assert worst[0]["miou"] == [1.0, 0.25]


def test_masks_and_outputs_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match="do not fit masks"):
        TASK.findings({"logits": np.zeros((1, 3, 2, 2), np.float32)}, {"mask": np.zeros((1, 4, 4), np.uint8)})
    with pytest.raises(DataError, match="masks hold up to 7"):
        TASK.findings({"logits": np.zeros((1, 3, 2, 2), np.float32)}, {"mask": np.full((1, 2, 2), 7, np.uint8)})


def test_pictures_stand_above_the_masks_of_both_models():
    mask = np.array([[[0, 255], [1, 1]]], np.uint8)
    outputs = {"logits": logits_of(np.where(mask == 255, 0, mask))}

    shown = TASK.pictured(np.full((1, 3, 2, 2), 7, np.uint8), {"mask": mask}, outputs, outputs)

    assert shown.shape == (1, 3, 4, 4)
    assert (shown[0, :, :2, :2] == 7).all()
    assert (shown[0, :, 0, 3] == 0).all()
    np.testing.assert_array_equal(shown[0, :, 2:, :2], shown[0, :, 2:, 2:])


def batch_of(mask, *, labelled=True):
    count = len(mask)
    return Batch({}, {"mask": mask}, torch.full((count,), labelled), torch.arange(count), -1, TASK)


def test_kd_leaves_ignored_pixels_out():
    generator = torch.Generator().manual_seed(0)
    mine, theirs = (torch.randn(2, 3, 4, 4, generator=generator) for _ in range(2))
    mask = torch.zeros(2, 4, 4, dtype=torch.uint8)
    mask[:, :2] = 255
    cut = batch_of(mask[:, 2:])
    loss = KD(temperature=2.0, alpha=1.0)

    found = loss(Outputs.of(mine), Outputs.of(theirs), batch_of(mask))

    torch.testing.assert_close(found, loss(Outputs.of(mine[:, :, 2:]), Outputs.of(theirs[:, :, 2:]), cut))


def test_kd_of_images_without_a_pixel_that_counts_is_zero_and_teaches_nothing():
    mine = torch.randn(1, 3, 2, 2).requires_grad_()
    mask = torch.full((1, 2, 2), 255, dtype=torch.uint8)

    KD(alpha=1.0)(Outputs.of(mine), Outputs.of(torch.randn(1, 3, 2, 2)), batch_of(mask)).backward()

    assert mine.grad is not None
    assert not mine.grad.any()


def test_every_pixel_of_an_image_without_a_mask_is_taught():
    rows = TASK.rows({"logits": torch.randn(1, 3, 2, 2)}, batch_of(torch.full((1, 2, 2), 255).byte(), labelled=False))

    assert rows.weight is not None
    assert rows.weight.all()
    assert rows.target is not None
    assert (rows.target == -1).all()
