"""Views: pure functions of seed, view and sample."""

import pytest
import torch

from compressor.errors import DataError
from compressor.recipe import ViewSettings
from compressor.views._compose import resolve
from compressor.views._stream import random_bits
from compressor.views.crop import Crop
from compressor.views.flip import Flip
from tests.named import schema_of, seen, views_of

BOTH = views_of(crop=4, flip=True)


def _images(number=128, side=32):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(1, 256, (number, 3, side, side), generator=generator, dtype=torch.uint8)


def _slow_view(image, *, pad, top, left, flipped):
    """One sample, written out plainly."""
    padded = torch.zeros(image.shape[0], image.shape[1] + 2 * pad, image.shape[2] + 2 * pad, dtype=image.dtype)
    padded[:, pad : pad + image.shape[1], pad : pad + image.shape[2]] = image
    cropped = padded[:, top : top + image.shape[1], left : left + image.shape[2]]
    return cropped.flip(2) if flipped else cropped


def _splitmix64(state):
    """One step of the published generator on Python integers."""
    word = (state + 0x9E3779B97F4A7C15) % 2**64
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) % 2**64
    return word ^ (word >> 31)


def test_random_bits_are_words_of_the_published_splitmix64():
    assert _splitmix64(0) == 0xE220A8397B1DCDAF  # first output for seed 0 of Vigna's reference code

    words = random_bits(torch.arange(1000), view=0, seed=0)

    start = _splitmix64(_splitmix64(0))
    expected = [_splitmix64(start + number * 0x9E3779B97F4A7C15) for number in range(1000)]
    assert [word % 2**64 for word in words.tolist()] == expected


def test_a_view_is_the_same_in_any_batch_order_and_size():
    images, ids = _images(), torch.arange(128) * 7
    together = seen(BOTH, images, ids, view=3, seed=1)
    shuffled = torch.randperm(128, generator=torch.Generator().manual_seed(1))

    assert torch.equal(seen(BOTH, images[shuffled], ids[shuffled], view=3, seed=1), together[shuffled])
    for position in (0, 50, 127):
        alone = seen(BOTH, images[position : position + 1], ids[position : position + 1], view=3, seed=1)
        assert torch.equal(alone[0], together[position])


def test_views_and_seeds_give_different_pictures():
    images, ids = _images(), torch.arange(128)
    first = seen(BOTH, images, ids, view=0, seed=0)

    for view, seed in ((1, 0), (0, 1)):
        same = (seen(BOTH, images, ids, view=view, seed=seed) == first).flatten(1).all(1).float().mean()
        assert same < 0.05


def test_every_view_is_a_crop_within_the_padding_perhaps_mirrored():
    images = _images(number=40, side=6)

    shown = seen(views_of(crop=2, flip=True), images, torch.arange(40), view=0, seed=0)

    for image, view in zip(images, shown, strict=True):
        crops = [(top, left, flipped) for top in range(5) for left in range(5) for flipped in (False, True)]
        fitting = [
            crop
            for crop in crops
            if torch.equal(_slow_view(image, pad=2, top=crop[0], left=crop[1], flipped=crop[2]), view)
        ]
        assert len(fitting) == 1


def test_every_offset_comes_about_equally_often_and_independently():
    coordinates = torch.zeros(20000, 2, 3, 3, dtype=torch.int64)
    coordinates[:, 0, 1, 1] = 1  # a single dot: its place after the crop tells the offset

    shown = seen(views_of(crop=1, flip=False), coordinates, torch.arange(20000), view=0, seed=0)[:, 0]

    shares = shown.float().mean(0)
    assert torch.allclose(shares, torch.full((3, 3), 1 / 9), atol=0.01)


def test_about_half_of_the_samples_are_mirrored():
    ramp = torch.arange(8, dtype=torch.float32).expand(10000, 3, 8, 8)

    shown = seen(views_of(crop=0, flip=True), ramp, torch.arange(10000), view=0, seed=0)

    assert abs((shown[:, 0, 0, 0] == 7).float().mean().item() - 0.5) < 0.02


def test_types_are_kept_and_give_the_same_picture():
    images, ids = _images(), torch.arange(128)

    as_bytes, as_float = seen(BOTH, images, ids, view=0, seed=0), seen(BOTH, images.float(), ids, view=0, seed=0)

    assert as_bytes.dtype == torch.uint8
    assert torch.equal(as_bytes.float(), as_float)


def test_a_negative_view_and_no_augmentation_are_the_plain_sample():
    images, ids = _images(4), torch.arange(4)

    assert seen(BOTH, images, ids, view=-1, seed=0) is images
    assert seen(views_of(crop=0, flip=False), images, ids, view=0, seed=0) is images


@pytest.mark.parametrize(
    ("shape", "pad", "flip"),
    [((3, 32, 32), 4, True), ((1, 28, 28), 4, False), ((1, 8, 8), 1, False), ((3, 7, 40), 0, True), ((12,), 0, False)],
)
def test_automatic_views_suit_the_samples_and_say_why(shape, pad, flip):
    resolved, decisions = resolve(ViewSettings(), inputs=schema_of(*shape))

    assert (resolved.as_json()["pad"], resolved.as_json()["flip"]) == (pad, flip)
    assert [type(each.view) for each in resolved.applied] == [Crop] * (pad > 0) + [Flip] * flip
    assert decisions
    assert all(decision.reason for decision in decisions)


def test_stated_views_are_taken_without_a_decision():
    views, decisions = resolve(ViewSettings(crop=2, flip=True), inputs=schema_of(1, 8, 8))

    assert [type(each.view) for each in views.applied] == [Crop, Flip]
    assert decisions == ()


@pytest.mark.parametrize(
    ("settings", "shape", "message"),
    [
        (ViewSettings(crop=8), (3, 8, 8), r"data\.views\.crop: .* 8 padded pixels .* write 0 to 7"),
        (ViewSettings(crop=-1), (3, 8, 8), "-1 padded pixels"),
        (ViewSettings(crop=2), (12,), r"data\.views\.crop: 2 asks for an image"),
        (ViewSettings(flip=True), (12,), r"data\.views\.flip: True asks for an image"),
    ],
)
def test_views_that_do_not_suit_the_samples_are_refused(settings, shape, message):
    with pytest.raises(DataError, match=message):
        resolve(settings, inputs=schema_of(*shape))
