"""What all contenders of the training benchmark share: the same samples, networks, optimiser, schedule and stopwatch."""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

STARTED = time.time()
"""When this process began, before the imports of torch."""


def elapsed_s() -> float:
    """Seconds since this process began."""
    return time.time() - STARTED


BATCH_SIZE, LR, MOMENTUM, DECAY, WARM_UP_EPOCHS = 128, 0.1, 0.9, 5e-4, 1.0
TEMPERATURE, ALPHA = 4.0, 0.9
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # what the teacher was trained with
BLOCK = 25


@dataclass
class Stopwatch:
    """Images per second of every block of steps, and the time of every epoch.

    Attributes:
        blocks: Images per second of each block of `BLOCK` steps.
        epochs: Seconds of each whole epoch, validation included.
    """

    max_steps: int | None
    blocks: list[float] = field(default_factory=list)
    epochs: list[float] = field(default_factory=list)
    steps: int = 0
    _block_began: float = 0.0
    _epoch_began: float = 0.0

    def epoch_begins(self) -> None:
        """An epoch begins, and the next batch is being asked for."""
        self._epoch_began = self._block_began = time.perf_counter()

    def step_is_done(self) -> bool:
        """A step is done; returns whether to stop here."""
        self.steps += 1
        if self.steps % BLOCK == 0:
            now = time.perf_counter()
            self.blocks.append(BLOCK * BATCH_SIZE / (now - self._block_began))
            self._block_began = now
        return self.max_steps is not None and self.steps >= self.max_steps

    def epoch_is_done(self) -> None:
        """An epoch is done, its validation too."""
        self.epochs.append(time.perf_counter() - self._epoch_began)


def arguments(description: str | None) -> argparse.Namespace:
    """The flags of every contender."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", required=True, help="folder of the CIFAR-10 batches")
    parser.add_argument("--teacher", required=True, help="ResNet-56 checkpoint")
    parser.add_argument("--student", default="resnet20")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--max-steps", type=int, help="stop after so many steps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


def splits(data: str) -> Any:
    """The data set with the very split that `compress` trains on."""
    from compressor.data.open import open_dataset
    from compressor.recipe import DataSettings

    return open_dataset(DataSettings(source=f"cifar:{data}"))


def pictures(samples: Any, transform: Callable[[Any], Any]) -> Any:
    """Samples as a map-style data set of PIL images behind a transform, as torchvision's CIFAR10 gives them."""
    import numpy as np
    from PIL import Image
    from torch.utils.data import Dataset

    class Pictures(Dataset[Any]):
        def __init__(self) -> None:
            self.images_NHWC = np.ascontiguousarray(samples.fetch(np.arange(len(samples))).transpose(0, 2, 3, 1))
            self.labels = samples.labels.tolist()

        def __len__(self) -> int:
            return len(self.labels)

        def __getitem__(self, position: int) -> Any:
            return transform(Image.fromarray(self.images_NHWC[position])), self.labels[position]

    return Pictures()


def transforms() -> tuple[Any, Any]:
    """What a training and an evaluation picture go through, as tutorials have it."""
    from torchvision import transforms as T

    normalise = [T.ToTensor(), T.Normalize(MEAN, STD)]
    return T.Compose([T.RandomCrop(32, padding=4), T.RandomHorizontalFlip(), *normalise]), T.Compose(normalise)


def networks(student: str, teacher: str) -> tuple[Any, Any]:
    """The student, and the teacher with its weights."""
    import torch

    from compressor.models import load

    def build(name: str) -> Any:
        return load.load(f"zoo:{name}", arch=None, num_classes=10, sample_shape=(3, 32, 32), options={}).network.module

    raw = torch.load(teacher, map_location="cpu", weights_only=True)["state_dict"]
    loaded = build("resnet56")
    loaded.load_state_dict({key.removeprefix("module."): value for key, value in raw.items()})
    return build(student), loaded.eval()


def factor(step: int, *, steps_per_epoch: int, epochs: int) -> float:
    """Linear warm-up over an epoch, then a cosine to zero: the schedule that `compress` has by default."""
    from compressor.training import schedules

    total = epochs * steps_per_epoch
    warm_up = min(round(WARM_UP_EPOCHS * steps_per_epoch), total // 2)
    return schedules.factor("cosine", step=step, total=total, warmup=warm_up, milestones=(), gamma=1.0)


def accuracy(network: Any, loader: Any) -> float:
    """Accuracy in percent."""
    import torch

    network.eval()
    right = count = 0
    with torch.no_grad():
        for inputs, labels, *_ in loader:
            right += int((network(inputs).argmax(1) == labels).sum())
            count += len(labels)
    return 100 * right / count


def write(out: Path, given: argparse.Namespace, watch: Stopwatch, **found: Any) -> None:
    """What a run has shown, as JSON."""
    raw = {
        "student": given.student,
        "seed": given.seed,
        "epochs": given.epochs,
        "steps": watch.steps,
        "blocks_images_per_s": watch.blocks,
        "epochs_s": watch.epochs,
        "wall_s": elapsed_s(),
        **found,
    }
    assert all(math.isfinite(rate) for rate in watch.blocks)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(raw, indent=1), encoding="utf-8")
