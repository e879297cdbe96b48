"""The fully connected networks of the paper that named distillation.

Hinton, Vinyals, Dean, "Distilling the knowledge in a neural network", 2015 (arXiv 1503.02531), section 3: on MNIST, a
teacher of two hidden layers of 1 200 rectified linear units with dropout and weight constraints, and a student of two
layers of 800 without. Dropout and constraint are those of Hinton et al. 2012 (arXiv 1207.0580).

Not covered: the paper's jitter of the images, which belongs to training (`[data.views] crop = 2`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def mlp(
    num_classes: int = 10,
    in_channels: int = 3,
    *,
    hidden: int = 800,
    depth: int = 2,
    image_size: int = 28,
    dropout: float = 0.0,
    input_dropout: float = 0.0,
    max_norm: float = 0.0,
) -> nn.Module:
    """Fully connected network (Hinton et al. 2015) for square images of a stated side; MNIST's teacher has hidden = 1200.

    Args:
        num_classes: Number of classes.
        in_channels: Channels of the images.
        hidden: Units in each hidden layer.
        depth: Number of hidden layers.
        image_size: Side of the square images in pixels.
        dropout: Share of hidden units dropped (the paper's teacher: 0.5, as in Hinton et al. 2012).
        input_dropout: Share of pixels dropped (0.2 there).
        max_norm: Largest length of the weights that come into a hidden unit; 0 for no constraint.
    """
    layers: list[nn.Module] = [nn.Flatten(), nn.Dropout(input_dropout)]
    width = in_channels * image_size**2
    for _ in range(depth):
        layer = ConstrainedLinear(width, hidden, max_norm=max_norm) if max_norm else nn.Linear(width, hidden)
        layers += [layer, nn.ReLU(inplace=True), nn.Dropout(dropout)]
        width = hidden
    return nn.Sequential(*layers, nn.Linear(width, num_classes))


class ConstrainedLinear(nn.Linear):
    """A linear layer whose units keep the length of their incoming weights at or below `max_norm` while it is trained.

    Longer ones are scaled down before they are used (Hinton et al. 2012, appendix A.1), so that a high learning rate
    does not let them grow.
    """

    def __init__(self, in_features: int, out_features: int, *, max_norm: float) -> None:
        super().__init__(in_features, out_features)
        self.max_norm = max_norm

    def forward(self, x: Tensor) -> Tensor:
        """`[N, in_features]` to `[N, out_features]`."""
        if self.training:
            with torch.no_grad():
                self.weight.copy_(torch.renorm(self.weight, p=2, dim=0, maxnorm=self.max_norm))
        return super().forward(x)
