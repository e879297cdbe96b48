"""The student: the small network that you want to run. Put your own here.

It follows the same rules as the teacher: `build` makes it with fresh weights, it gets normalised pixels and gives logits.
Nothing ties its shape to the teacher's; only the number of classes must be the same.

No idea what to take? A narrower and shallower teacher is a good start, or one of: compress list models
"""

from torch import Tensor, nn


class Student(nn.Module):
    """Three thin convolutions: 3 778 parameters."""

    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 8, 3, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d(1),
        )
        self.classifier = nn.Linear(16, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of normalised images."""
        return self.classifier(self.features(images).flatten(1))


def build(num_classes: int = 10, in_channels: int = 1) -> nn.Module:
    """The student with fresh weights."""
    return Student(num_classes, in_channels)
