"""Masks move with their pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compressor.data.loader import LoadedBatch
from compressor.errors import DataError
from compressor.recipe import ViewSettings
from compressor.tensors import Schema, TensorSpec
from compressor.views._compose import resolve
from tests.named import views_of

IMAGES = Schema.of(TensorSpec("image", "uint8", (3, 16, 24)))
MASKS = Schema.of(TensorSpec("mask", "uint8", (16, 24)))


def loaded(count=32):
    """Pictures that show the very numbers of their masks, each pixel its own."""
    numbers = torch.from_numpy(np.random.default_rng(0).integers(1, 250, (count, 16, 24)).astype(np.uint8))
    pictures = numbers[:, None].expand(-1, 3, -1, -1).contiguous()
    return LoadedBatch({"image": pictures}, {"mask": numbers}, torch.ones(count, dtype=torch.bool), torch.arange(count))


def test_a_mask_is_cropped_and_mirrored_as_its_picture_and_ignored_where_that_was_padded():
    views, batch = views_of(crop=3, flip=True), loaded()
    for view in range(3):
        shown, _ = views.show(batch, view=view, seed=5)
        mask = views.targets(batch, view=view, seed=5)["mask"]

        padded = shown["image"][:, 0] == 0
        assert padded.any()
        assert torch.equal(mask == 255, padded)
        assert torch.equal(mask[~padded], shown["image"][:, 0][~padded])
        assert not torch.equal(mask, batch.targets["mask"])


def test_a_resized_crop_takes_the_same_part_of_both():
    corner = torch.zeros(64, 16, 24, dtype=torch.uint8)
    corner[:, :8, :12] = 200
    batch = LoadedBatch(
        {"image": corner[:, None].expand(-1, 3, -1, -1).contiguous()},
        {"mask": corner},
        torch.ones(64, dtype=torch.bool),
        torch.arange(64),
    )
    views = views_of(resized_crop=0.3)

    shown, _ = views.show(batch, view=0, seed=1)
    mask = views.targets(batch, view=0, seed=1)["mask"]

    assert set(mask.unique().tolist()) <= {0, 200}
    assert ((mask == 200) == (shown["image"][:, 0] > 100)).float().mean() > 0.97


def test_the_plain_sample_has_its_plain_mask():
    batch = loaded()

    assert views_of(crop=3, flip=True).targets(batch, view=-1, seed=0)["mask"] is batch.targets["mask"]


@pytest.mark.parametrize("name", ["rand_augment", "mixup", "cutmix"])
def test_views_that_do_not_move_masks_are_refused(name):
    with pytest.raises(DataError, match=f"{name} does not move the masks"):
        resolve(ViewSettings(**{name: 1}), inputs=IMAGES, targets=MASKS)
