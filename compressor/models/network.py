"""A network as the rest of the house sees it: pixels in 0–1 in, logits out, normalisation inside.

Logits for places of an image that a network gives at a stride are brought to the size of the image here, inside the graph,
by bilinear interpolation with `align_corners=False` (ONNX: `half_pixel`): training, export and every runtime do the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compressor.errors import ModelError
from compressor.models.normalisation import Normalisation
from compressor.tensors import Inputs

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
            `[B, K]` logits, `[B, K, H, W]` of the size of the image, or what the task says.
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
        """Logits `[B, K]` of inputs that are normalised already; several go to the module by name."""
        logits = logits_of(self.module(inputs) if isinstance(inputs, Tensor) else self.module(**inputs))
        if isinstance(inputs, Tensor) and logits.dim() == inputs.dim() == 4 and logits.shape[2:] != inputs.shape[2:]:
            size = (inputs.shape[2], inputs.shape[3])
            logits = F.interpolate(logits, size, mode="bilinear", align_corners=False)
        if self.normalisation.probabilities:
            given = logits
            logits = (given + SMALLEST).log()
            if self.normalisation.probabilities == "sigmoid":
                logits = logits - (1 - given + SMALLEST).log()
        if self.normalisation.outputs:
            logits = logits * self.outputs[1] + self.outputs[0]
        return logits


def logits_of(output: object) -> Tensor:
    """The logits in whatever a network returned: a tensor, a tuple that begins with it, or a mapping that names it.

    Raises:
        ModelError: It holds no tensor of that kind.
    """
    if isinstance(output, Tensor):
        return output
    for name in ("logits", "out"):  # `out` is what torchvision's networks for segmentation call them
        if isinstance(output, Mapping) and isinstance(output.get(name), Tensor):
            return output[name]  # type: ignore[no-any-return]
    if isinstance(getattr(output, "logits", None), Tensor):
        return output.logits  # type: ignore[attr-defined, no-any-return]
    if isinstance(output, Sequence) and output and isinstance(output[0], Tensor):
        return output[0]
    raise ModelError(
        f"the network returns {type(output).__name__}, in which there are no logits",
        hint="return a tensor [B, K], or a mapping with the key 'logits'",
    )
