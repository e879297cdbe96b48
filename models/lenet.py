"""LeNet-5 in its modern form.

LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition", Proc. IEEE 86(11), 1998,
fig. 2. As everywhere today: ReLU for the scaled tanh, max-pooling for the trained averages, every map of C3 connected
to all of S2, and a linear layer for the RBF outputs.

Not covered: the input normalisation (the caller's).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LeNet5(nn.Module):
    """Two convolutions with pooling and three linear layers; 61 706 parameters for one channel and 10 classes."""

    def __init__(self, *, num_classes: int, in_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 6, kernel_size=5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, kernel_size=5)
        self.pool = nn.MaxPool2d(2)
        # 28 x 28 arrives here as 5 x 5 and passes unchanged; 32 x 32 arrives as 6 x 6.
        self.resize = nn.AdaptiveAvgPool2d(5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, num_classes)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits `[B, K]` of images of 16 x 16 or more."""
        maps = self.pool(torch.relu(self.conv1(images_BCHW)))
        maps = self.resize(self.pool(torch.relu(self.conv2(maps))))
        hidden = torch.relu(self.fc1(maps.flatten(1)))
        logits: Tensor = self.fc3(torch.relu(self.fc2(hidden)))
        return logits


def lenet5(num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """LeNet-5 (LeCun et al. 1998) for 28x28 or 32x32 images; 62 k parameters."""
    return LeNet5(num_classes=num_classes, in_channels=in_channels)
