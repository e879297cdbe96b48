"""Each augmentation of one sample against torchvision, or written out plainly."""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms.v2 import functional as V

from compressor.views import _color, rand_augment, resized_crop
from compressor.views._stream import Draw
from compressor.views.color_jitter import ColorJitter
from compressor.views.erasing import Erasing


def pictures(number=8, channels=3, side=16):
    return torch.rand(number, channels, side, side, generator=torch.Generator().manual_seed(1))


def draw(number=8, view=0, seed=0):
    return Draw(torch.arange(number), view, seed)


FACTORS = torch.tensor([0.0, 0.3, 0.7, 1.0, 1.2, 1.5, 1.9, 2.0])


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (_color.brightness, V.adjust_brightness),
        (_color.contrast, V.adjust_contrast),
        (_color.saturation, V.adjust_saturation),
        (_color.sharpness, V.adjust_sharpness),
    ],
)
def test_colors_change_as_torchvision_changes_them(ours, theirs):
    images = pictures()
    changed = ours(images, FACTORS)
    for image, factor, got in zip(images, FACTORS, changed, strict=True):
        assert torch.allclose(got, theirs(image, float(factor)), atol=1e-5)


def test_no_strength_changes_no_color():
    images = pictures()
    assert torch.allclose(ColorJitter(strength=0.0)(images, draw()), images, atol=1e-6)


def test_a_rectangle_is_enlarged_as_torchvision_enlarges_it():
    images = pictures(number=1)
    quarter = torch.tensor([0.25])
    ours = resized_crop._sampled(images, left_B=quarter, top_B=quarter, width_B=2 * quarter, height_B=2 * quarter)
    theirs = V.resized_crop(images, top=4, left=4, height=8, width=8, size=[16, 16], antialias=False)
    assert torch.allclose(ours[:, :, 2:-2, 2:-2], theirs[:, :, 2:-2, 2:-2], atol=1e-5)  # edges: we see beyond the part


def test_the_whole_image_is_a_resized_crop_of_itself():
    images = pictures()
    nothing, all_of_it = torch.zeros(8), torch.ones(8)
    same = resized_crop._sampled(images, left_B=nothing, top_B=nothing, width_B=all_of_it, height_B=all_of_it)
    assert torch.allclose(same, images, atol=1e-5)


def test_resized_crops_keep_the_share_of_the_area_they_promise():
    rows = torch.arange(16.0).view(1, 1, 16, 1).expand(4000, 1, 16, 16)
    columns = rows.transpose(2, 3)
    shown = [resized_crop.ResizedCrop(least=0.25)(each, draw(4000)) for each in (rows, columns)]
    high, wide = ((each.flatten(1).amax(1) - each.flatten(1).amin(1) + 1) / 16 for each in shown)
    area = high * wide
    assert area.min() > 0.2
    assert 0.5 < area.mean() < 0.72  # uniform from 0.25 to 1, a little less where a side is cut off at the whole


def test_erasing_hits_the_share_of_images_and_of_pixels_that_it_should():
    images = torch.zeros(4000, 1, 32, 32)
    hit = Erasing(chance=0.6)(images, draw(4000)) == 0.5
    touched = hit.flatten(1).any(1)
    assert touched.float().mean() == pytest.approx(0.6, abs=0.03)
    assert hit.flatten(1).float().mean(1)[touched].mean() == pytest.approx(0.175, abs=0.02)


def test_what_is_erased_is_one_rectangle():
    hit = Erasing(chance=1.0)(torch.zeros(64, 1, 32, 32), draw(64))[:, 0] == 0.5
    for each in hit:
        rows, columns = each.any(1), each.any(0)
        assert int(each.sum()) == int(rows.sum()) * int(columns.sum())


THEIRS = {
    "identity": lambda image, m: image,
    "rotate": lambda image, m: V.rotate(image, 30.0 * m),
    "posterize": lambda image, m: V.posterize(image, 8 - round(4 * abs(m))),
    "solarize": lambda image, m: V.solarize(image, 255.0 * (1 - abs(m))),
    "autocontrast": lambda image, m: V.autocontrast(image),
    "equalize": lambda image, m: V.equalize(image),
    "brightness": lambda image, m: V.adjust_brightness(image, 1 + 0.9 * m),
    "contrast": lambda image, m: V.adjust_contrast(image, 1 + 0.9 * m),
    "color": lambda image, m: V.adjust_saturation(image, 1 + 0.9 * m),
    "sharpness": lambda image, m: V.adjust_sharpness(image, 1 + 0.9 * m),
}


@pytest.mark.parametrize("name", sorted(THEIRS))
@pytest.mark.parametrize("strength", [-0.5, 0.3])
def test_an_operation_of_rand_augment_is_torchvisions(name, strength):
    images = (pictures() * 255).to(torch.uint8)
    ours = rand_augment._OPERATIONS[name](images, strength)
    theirs = torch.stack([THEIRS[name](image, strength) for image in images])
    assert int((ours.int() - theirs.int()).abs().max()) <= 1  # they cut off where we round


def test_rand_augment_chooses_among_all_fourteen():
    chosen = draw(20_000).below("rand_augment.operation.0", len(rand_augment._OPERATIONS))
    shares = torch.bincount(chosen) / 20_000
    assert len(rand_augment._OPERATIONS) == 14
    assert torch.allclose(shares, torch.full((14,), 1 / 14), atol=0.01)


def test_purposes_draw_independent_numbers():
    one, other = draw(50_000).uniform("a"), draw(50_000).uniform("b")
    assert abs(torch.corrcoef(torch.stack([one, other]))[0, 1]) < 0.02
    assert one.mean() == pytest.approx(0.5, abs=0.01)
    assert one.var() == pytest.approx(1 / 12, abs=0.002)
