"""What all contenders of the training benchmark share: the same samples, networks, optimiser, schedule and stopwatch."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms as T

from compressor.data.open import open_dataset
from compressor.data.samples import Samples, class_numbers
from compressor.measure.accuracy import one_input
from compressor.models import load
from compressor.recipe import DataSettings
from compressor.training import schedules

BATCH_SIZE, LR, MOMENTUM, DECAY, WARM_UP_EPOCHS = 128, 0.1, 0.9, 5e-4, 1.0
TEMPERATURE, ALPHA = 4.0, 0.9
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # what the teacher was trained with
BLOCK = 25


@dataclass
class Stopwatch:
    """Images per second of every block of steps, and the time of every epoch.

    Attributes:
        blocks: Images per second of each block of `BLOCK` steps; what is left over at the end of an epoch is in none.
        epochs: Seconds of each whole epoch, validation included.
        validations: Seconds of each validation.
    """

    max_steps: int | None
    blocks: list[float] = field(default_factory=list)
    epochs: list[float] = field(default_factory=list)
    validations: list[float] = field(default_factory=list)
    steps: int = 0
    _steps_before: int = 0
    _block_began: float = 0.0
    _epoch_began: float = 0.0

    def epoch_begins(self) -> None:
        """An epoch begins, and the next batch is being asked for."""
        self._steps_before = self.steps
        self._epoch_began = self._block_began = time.perf_counter()

    def step_is_done(self) -> bool:
        """A step is done; returns whether to stop here."""
        self.steps += 1
        if (self.steps - self._steps_before) % BLOCK == 0:
            now = time.perf_counter()
            self.blocks.append(BLOCK * BATCH_SIZE / (now - self._block_began))
            self._block_began = now
        return self.max_steps is not None and self.steps >= self.max_steps

    def epoch_is_done(self) -> None:
        """An epoch is done, its validation too."""
        self.epochs.append(time.perf_counter() - self._epoch_began)

    def validate(self, network: nn.Module, loader: Any) -> float:
        """The accuracy in percent, timed."""
        began = time.perf_counter()
        percent = accuracy(network, loader)
        self.validations.append(time.perf_counter() - began)
        return percent


def elapsed_s() -> float:
    """Seconds since this process was started, so that importing torch counts for everybody (Linux: proc(5), `stat`)."""
    after_the_name = Path("/proc/self/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    started_s = int(after_the_name[19]) / os.sysconf("SC_CLK_TCK")  # field 22, `starttime`; the name is field 2
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started_s


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


def splits(data: str) -> tuple[Samples, Samples, Samples]:
    """Training, validation and test samples, split as `compress` splits them."""
    dataset = open_dataset(DataSettings(source=f"cifar:{data}"))
    assert dataset.val is not None
    return dataset.train, dataset.val, dataset.test


class Pictures(Dataset[Any]):
    """Samples as a map-style data set of PIL images behind a transform, as torchvision's CIFAR10 gives them.

    Args:
        samples: Of the data set.
        transform: A PIL image -> what is trained on.
    """

    def __init__(self, samples: Samples, transform: Callable[[Any], Any]) -> None:
        self.images_NHWC = np.ascontiguousarray(one_input(samples.fetch(np.arange(len(samples)))).transpose(0, 2, 3, 1))
        self.labels = class_numbers(samples).tolist()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, position: int) -> Any:
        return self.transform(Image.fromarray(self.images_NHWC[position])), self.labels[position]


def transforms() -> tuple[Any, Any]:
    """What a training and an evaluation picture go through, as tutorials have it."""
    normalise = [T.ToTensor(), T.Normalize(MEAN, STD)]
    return T.Compose([T.RandomCrop(32, padding=4), T.RandomHorizontalFlip(), *normalise]), T.Compose(normalise)


def networks(student: str, teacher: str) -> tuple[nn.Module, nn.Module]:
    """The student, and the teacher with its weights."""

    def build(name: str) -> nn.Module:
        return load.load(f"zoo:{name}", arch=None, num_classes=10, sample_shape=(3, 32, 32), options={}).network.module

    raw = torch.load(teacher, map_location="cpu", weights_only=True)["state_dict"]
    loaded = build("resnet56")
    loaded.load_state_dict({key.removeprefix("module."): value for key, value in raw.items()})
    return build(student), loaded.eval()


def factor(step: int, *, steps_per_epoch: int, epochs: int) -> float:
    """Linear warm-up over an epoch, then a cosine to zero: the schedule that `compress` has by default."""
    total = epochs * steps_per_epoch
    warm_up = min(round(WARM_UP_EPOCHS * steps_per_epoch), total // 2)
    return schedules.factor("cosine", step=step, total=total, warmup=warm_up, milestones=(), gamma=1.0)


def accuracy(network: nn.Module, loader: Any) -> float:
    """Accuracy in percent."""
    network.eval()
    right = count = 0
    with torch.no_grad():
        for inputs, labels, *_ in loader:
            right += int((network(inputs).argmax(1) == labels).sum())
            count += len(labels)
    return 100 * right / count


def finish(given: argparse.Namespace, watch: Stopwatch, student: nn.Module, test: Pictures, *, contender: str) -> None:
    """Save the student, judge it when it was trained to the end, and write what the run has shown as JSON."""
    stopped = len(watch.epochs) < given.epochs
    given.out.parent.mkdir(parents=True, exist_ok=True)
    torch.save(student.state_dict(), given.out.with_suffix(".pt"))
    test_accuracy = None if stopped else accuracy(student, DataLoader(test, batch_size=512))
    raw = {
        "contender": contender,
        "student": given.student,
        "seed": given.seed,
        "epochs": given.epochs,
        "steps": watch.steps,
        "blocks_images_per_s": watch.blocks,
        "epochs_s": watch.epochs,
        "validations_s": watch.validations,
        "wall_s": elapsed_s(),
        "test_accuracy": test_accuracy,
    }
    given.out.write_text(json.dumps(raw, indent=1, allow_nan=False), encoding="utf-8")
