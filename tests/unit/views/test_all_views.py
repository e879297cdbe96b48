"""What every augmentation has to keep: a view follows from seed, view and sample, and from nothing else."""

from __future__ import annotations

import pytest
import torch

from compressor.errors import DataError
from compressor.recipe import ViewSettings
from compressor.views._compose import resolve
from compressor.views.mixup import Mixup
from tests.named import loaded_batch, schema_of, seen, views_of

EACH = {
    "crop and flip": views_of(crop=4, flip=True),
    "resized crop": views_of(resized_crop=0.3),
    "color jitter": views_of(color_jitter=0.4),
    "rand augment": views_of(rand_augment=2, magnitude=12),
    "erasing": views_of(erasing=0.7),
    "mixup": views_of(mixup=0.4),
    "cutmix": views_of(cutmix=1.0),
    "all": views_of(
        crop=4, flip=True, resized_crop=0.3, color_jitter=0.2, rand_augment=1, erasing=0.3, mixup=0.2, cutmix=1.0
    ),
}
every_view = pytest.mark.parametrize("views", EACH.values(), ids=EACH.keys())


def pictures(number=64, channels=3, side=24, dtype=torch.uint8):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (number, channels, side, side), generator=generator, dtype=torch.uint8)
    return images if dtype == torch.uint8 else images.float() / 255


def loaded(images, ids, views, *, view, seed):
    """A batch as the loader gives it, with partners where the views mix; sample `i` is picture `i`."""
    partners = None
    if views.mixes:
        positions = torch.from_numpy(views.partners(ids.numpy(), view=view, seed=seed, num_samples=len(images)))
        partners = loaded_batch(images[positions], positions % 10, positions)
    return loaded_batch(images[ids], ids % 10, ids, partners)


def shown_by(views, batch, *, view, seed):
    """The pictures of a view, and what they were mixed with."""
    inputs, mixed = views.show(batch, view=view, seed=seed)
    return inputs["image"], mixed


@every_view
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_a_view_is_the_same_in_any_batch(views, dtype):
    images, ids = pictures(dtype=dtype), torch.arange(64)
    whole, mixed = shown_by(views, loaded(images, ids, views, view=2, seed=5), view=2, seed=5)
    parts = [torch.tensor([7]), torch.tensor([63, 0, 31]), ids.flip(0)]
    for rows in parts:
        shown, share = shown_by(views, loaded(images, rows, views, view=2, seed=5), view=2, seed=5)
        assert torch.equal(shown, whole[rows])
        if mixed is not None:
            assert torch.equal(share.share, mixed.share[rows])
            assert torch.equal(share.targets["label"], mixed.targets["label"][rows])


@every_view
def test_a_view_is_the_same_with_any_number_of_threads(views):
    images, ids = pictures(), torch.arange(64)
    batch = loaded(images, ids, views, view=0, seed=0)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one, _ = shown_by(views, batch, view=0, seed=0)
        torch.set_num_threads(2)
        two, _ = shown_by(views, batch, view=0, seed=0)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(one, two)


@every_view
def test_another_view_or_seed_shows_another_picture(views):
    images, ids = pictures(), torch.arange(64)
    first, _ = shown_by(views, loaded(images, ids, views, view=0, seed=0), view=0, seed=0)
    for view, seed in ((1, 0), (0, 1)):
        other, _ = shown_by(views, loaded(images, ids, views, view=view, seed=seed), view=view, seed=seed)
        same = (first == other).flatten(1).all(1).float().mean()
        assert same < 0.4


@every_view
def test_the_plain_sample_stays_plain(views):
    images, ids = pictures(), torch.arange(64)
    shown, mixed = shown_by(views, loaded(images, ids, views, view=-1, seed=0), view=-1, seed=0)
    assert torch.equal(shown, images)
    assert mixed is None


@every_view
def test_pixels_stay_in_range_and_type(views):
    images, ids = pictures(), torch.arange(64)
    shown, _ = shown_by(views, loaded(images, ids, views, view=0, seed=0), view=0, seed=0)
    assert shown.shape == images.shape
    if views.mixes:
        assert shown.dtype == torch.float32
        assert 0 <= float(shown.min()) <= float(shown.max()) <= 1
    else:
        assert shown.dtype == torch.uint8


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_pictures_have_views_too(channels):
    views = views_of(
        channels, 24, 24, crop=2, flip=True, resized_crop=0.5, color_jitter=0.3, rand_augment=2, erasing=0.5
    )
    images, ids = pictures(channels=channels), torch.arange(64)
    assert seen(views, images, ids, view=0, seed=0).shape == images.shape


def test_vectors_can_be_mixed_and_nothing_else():
    views, _ = resolve(ViewSettings(mixup=0.3), inputs=schema_of(12, dtype="float32"))
    assert not views.applied
    assert [type(each) for each in views.mixing] == [Mixup]
    with pytest.raises(DataError, match="asks for an image"):
        resolve(ViewSettings(erasing=0.5), inputs=schema_of(12, dtype="float32"))


def test_many_channels_have_no_rand_augment():
    with pytest.raises(DataError, match="1 or 3 channels"):
        resolve(ViewSettings(rand_augment=1), inputs=schema_of(5, 16, 16))


def test_a_resized_crop_takes_the_place_of_the_padded_one():
    views, _ = resolve(ViewSettings(resized_crop=0.2), inputs=schema_of(3, 32, 32))
    assert (views.as_json()["pad"], views.as_json()["resized_crop"]) == (0, 0.2)
