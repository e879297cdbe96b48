"""The fully connected networks of the paper that named distillation.

Hinton, Vinyals, Dean, "Distilling the knowledge in a neural network", 2015 (arXiv 1503.02531), section 3: on MNIST, a
teacher of two hidden layers of 1 200 rectified linear units with dropout, and a student of two layers of 800 without.

Not covered: the paper's weight constraints and its jitter of the images, which belong to training.
"""

from __future__ import annotations

from torch import nn


def mlp(
    num_classes: int = 10,
    in_channels: int = 3,
    *,
    hidden: int = 800,
    depth: int = 2,
    image_size: int = 28,
    dropout: float = 0.0,
) -> nn.Module:
    """Fully connected network (Hinton et al. 2015) for square images of a stated side; MNIST's teacher has hidden = 1200.

    Args:
        num_classes: Number of classes.
        in_channels: Channels of the images.
        hidden: Units in each hidden layer.
        depth: Number of hidden layers.
        image_size: Side of the square images in pixels.
        dropout: Share of hidden units dropped (the paper's teacher: 0.5, as in Hinton et al. 2012).
    """
    layers: list[nn.Module] = [nn.Flatten()]
    width = in_channels * image_size**2
    for _ in range(depth):
        layers += [nn.Linear(width, hidden), nn.ReLU(inplace=True), nn.Dropout(dropout)]
        width = hidden
    return nn.Sequential(*layers, nn.Linear(width, num_classes))
