"""Crop out of a padded image, flip, and resized crop: where the pixels of a view come from."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from compressor.data.views.stream import Draw, random_bits

_OFFSET_BITS = 21
_ASPECTS = (3 / 4, 4 / 3)


def crop_and_flip(images_BCHW: Tensor, draw: Draw, *, pad: int, flip: bool) -> Tensor:
    """Each sample's window out of the zero-padded image, mirrored left to right for half of the samples.

    He et al. 2016 (arXiv 1512.03385), section 4.2. Both are decided by the bits of one word.
    """
    bits_B = random_bits(draw.sample_ids, view=draw.view, seed=draw.seed)
    if pad:
        images_BCHW = _crop(images_BCHW, bits_B, pad=pad)
    if flip:
        flipped_B = (bits_B >> (2 * _OFFSET_BITS)) & 1
        images_BCHW = torch.where(flipped_B.bool()[:, None, None, None], images_BCHW.flip(3), images_BCHW)
    return images_BCHW


def resized_crop(images_BCHW: Tensor, draw: Draw, *, least: float, mode: str = "bilinear") -> Tensor:
    """A random rectangle of each image, brought to the size of the whole (bilinear).

    Szegedy et al. 2015 (arXiv 1409.4842), section 6: area uniform from `least` to 1 of the image's, aspect ratio
    log-uniform from 3/4 to 4/3. A part is only ever enlarged, so nothing has to be smoothed first.

    Args:
        images_BCHW: float32.
        draw: Random numbers of the view.
        least: Smallest share of the area.
        mode: How pixels in between are told: bilinear, or nearest for class numbers.
    """
    area_B = draw.uniform("resized_crop.area", least, 1.0)
    low, high = (torch.tensor(aspect).log().item() for aspect in _ASPECTS)
    aspect_B = draw.uniform("resized_crop.aspect", low, high).exp()
    width_B, height_B = (area_B * aspect_B).sqrt().clamp(max=1.0), (area_B / aspect_B).sqrt().clamp(max=1.0)
    left_B = draw.uniform("resized_crop.left") * (1 - width_B)
    top_B = draw.uniform("resized_crop.top") * (1 - height_B)
    return sampled(images_BCHW, left_B=left_B, top_B=top_B, width_B=width_B, height_B=height_B, mode=mode)


def sampled(
    images_BCHW: Tensor, *, left_B: Tensor, top_B: Tensor, width_B: Tensor, height_B: Tensor, mode: str = "bilinear"
) -> Tensor:
    """Rectangles of images, in shares of their sides, brought to the size of the whole image."""
    height, width = images_BCHW.shape[2:]
    device = images_BCHW.device
    across_W = (torch.arange(width, device=device) + 0.5) / width
    down_H = (torch.arange(height, device=device) + 0.5) / height
    x_BW = 2 * (left_B[:, None] + across_W * width_B[:, None]) - 1
    y_BH = 2 * (top_B[:, None] + down_H * height_B[:, None]) - 1
    grid_BHW2 = torch.stack([x_BW[:, None, :].expand(-1, height, -1), y_BH[:, :, None].expand(-1, -1, width)], dim=3)
    return F.grid_sample(images_BCHW, grid_BHW2, mode=mode, padding_mode="border", align_corners=False)


def _crop(images_BCHW: Tensor, bits_B: Tensor, *, pad: int) -> Tensor:
    """Each sample's window out of the padded image: one gather over a view of all windows, nothing is copied twice."""
    height, width = images_BCHW.shape[2:]
    padded_BCHW = F.pad(images_BCHW, (pad, pad, pad, pad))
    windows = padded_BCHW.unfold(2, height, 1).unfold(3, width, 1)  # [B, C, 2p+1, 2p+1, H, W]
    rows_B = torch.arange(len(images_BCHW), device=images_BCHW.device)
    top_B = _offset(bits_B, choices=2 * pad + 1)
    left_B = _offset(bits_B >> _OFFSET_BITS, choices=2 * pad + 1)
    cropped: Tensor = windows[rows_B, :, top_B, left_B]
    return cropped


def _offset(bits_B: Tensor, *, choices: int) -> Tensor:
    """A number below `choices` from the low 21 bits; uneven by less than `choices` in two million."""
    offset_B: Tensor = ((bits_B & (2**_OFFSET_BITS - 1)) * choices) >> _OFFSET_BITS
    return offset_B
