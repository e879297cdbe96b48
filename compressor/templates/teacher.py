"""The teacher: a trained network, or one that `compress` trains first. Put your own here.

`build` makes the network with fresh weights. compress passes it what it asks for by name: `num_classes`, `in_channels`,
`image_size`; anything else comes from `[teacher.options]` in recipe.toml. Your network gets pixels that are already
normalised, `[batch, channels, height, width]`, and gives logits, `[batch, num_classes]`.

Is yours trained already? Point the recipe at the weights and at this file, and drop the [train] section:

    [teacher]
    model = "weights.pt"
    arch = "teacher.py:build"
"""

from torch import Tensor, nn


def conv_block(channels_in: int, channels_out: int) -> nn.Sequential:
    """Two 3x3 convolutions with batch normalisation and ReLU."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )


class Teacher(nn.Module):
    """A small VGG: 288 k parameters, far more than 8x8 digits need. That is what makes it a good teacher."""

    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__()
        self.stage1 = conv_block(in_channels, 32)
        self.stage2 = conv_block(32, 64)
        self.stage3 = conv_block(64, 128)
        self.pool = nn.MaxPool2d(2)
        self.average = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(128, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of normalised images."""
        maps = self.pool(self.stage1(images))
        maps = self.pool(self.stage2(maps))
        maps = self.stage3(maps)
        return self.classifier(self.average(maps).flatten(1))


def build(num_classes: int = 10, in_channels: int = 1) -> nn.Module:
    """The teacher with fresh weights."""
    return Teacher(num_classes, in_channels)
