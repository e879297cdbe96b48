"""A network as the rest of the house sees it: pixels in 0–1 in, logits out, normalisation inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compressor.errors import ModelError
from compressor.models.normalisation import Normalisation
from compressor.tensors import Inputs

_NAMES = ("logits", "out")  # of transformers, and of torchvision's networks for segmentation
SMALLEST = 1e-12
"""Added to probabilities before their logarithm is taken."""


class Network(nn.Module):
    """A user's module behind its input normalisation, and before the scale of its outputs where it has one.

    Training, export and measurement all go through this one forward, so what is exported is what was trained.

    Args:
        module: The user's network; takes normalised `[B, C, H, W]` (or `[B, F]`).
        normalisation: What its inputs are normalised with.
    """

    mean: Tensor
    std: Tensor
    outputs: Tensor

    def __init__(self, module: nn.Module, normalisation: Normalisation) -> None:
        super().__init__()
        self.module = module
        self.set_normalisation(normalisation)

    def set_normalisation(self, normalisation: Normalisation) -> None:
        """Replace the input normalisation; shapes follow the module's own broadcasting `[1, C, 1, 1]` at call time."""
        self.normalisation = normalisation
        self.register_buffer("mean", torch.tensor(normalisation.mean), persistent=False)
        self.register_buffer("std", torch.tensor(normalisation.std), persistent=False)
        self.register_buffer("outputs", torch.tensor(normalisation.outputs), persistent=False)

    def forward(self, inputs: Inputs) -> Tensor:
        """The output of a batch.

        Args:
            inputs: `[B, ...]`: pixels in 0–1, or other numbers; of several inputs each by its name.

        Returns:
            `[B, K]` logits, or what the task says.
        """
        if not isinstance(inputs, Tensor):
            if len(inputs) > 1:
                return self.of_normalised(inputs)
            (inputs,) = inputs.values()
        if self.normalisation.name != "none":
            shape = (1, -1) + (1,) * (inputs.dim() - 2)
            inputs = (inputs - self.mean.view(shape)) / self.std.view(shape)
        return self.of_normalised(inputs)

    def of_normalised(self, inputs: Inputs) -> Tensor:
        """Logits `[B, K]` of inputs that are normalised already; several go to the module by name.

        Maps of logits `[B, K, h, w]` at a stride are brought to the size of the image, bilinear with `align_corners=False`
        (ONNX: Resize, half_pixel): inside of the network, so that whoever deploys it cannot take another resize.
        """
        logits = logits_of(self.module(inputs) if isinstance(inputs, Tensor) else self.module(**inputs))
        logits = _at_full_size(logits, inputs)
        if self.normalisation.probabilities:
            given = logits
            logits = (given + SMALLEST).log()
            if self.normalisation.probabilities == "sigmoid":
                logits = logits - (1 - given + SMALLEST).log()
        if self.normalisation.outputs:
            logits = logits * self.outputs[1] + self.outputs[0]
        return logits


def _at_full_size(logits: Tensor, inputs: Inputs) -> Tensor:
    """Maps of logits in the size of the image that they are about; anything else as it is."""
    if logits.dim() != 4:
        return logits
    images = [inputs] if isinstance(inputs, Tensor) else list(inputs.values())
    sizes = [each.shape[2:] for each in images if each.dim() == 4]
    if not sizes or sizes[0] == logits.shape[2:]:
        return logits
    return F.interpolate(logits, size=tuple(sizes[0]), mode="bilinear", align_corners=False)


def logits_of(output: object) -> Tensor:
    """The logits in whatever a network returned: a tensor, a tuple that begins with it, or a mapping that names it.

    Raises:
        ModelError: It holds no tensor of that kind.
    """
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping):
        named: list[Tensor] = [output[name] for name in _NAMES if isinstance(output.get(name), Tensor)]
        if named:
            return named[0]
    if isinstance(getattr(output, "logits", None), Tensor):
        return output.logits  # type: ignore[attr-defined, no-any-return]
    if isinstance(output, Sequence) and output and isinstance(output[0], Tensor):
        return output[0]
    raise ModelError(
        f"the network returns {type(output).__name__}, in which there are no logits",
        hint="return a tensor [B, K], or a mapping with the key 'logits' (or 'out')",
    )
