"""How many views of each sample are enough: accuracy with V counted views against fresh ones, over seeds.

    python -m benchmarks.views --data data/cifar-10-batches-py --teacher data/resnet20-12fca82f.th

CIFAR-10, ResNet-20 → ResNet-8, a tenth of the training set, where repeating a view does most harm. With as many views as
epochs each is shown once, which is what fresh views are; those runs share their teacher's answers with the others.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks import result
from benchmarks.result import Claim
from compressor import api
from compressor.data.open import open_dataset
from compressor.data.samples import class_numbers
from compressor.files import replacing
from compressor.measure.accuracy import one_input
from compressor.recipe import DataSettings


def main() -> None:
    """Run all of them and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of the CIFAR-10 batches")
    parser.add_argument("--teacher", required=True, help="ResNet-20 checkpoint")
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--counts", default="2,4,8,15", help="numbers of views beside the number of epochs")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    counts = [int(count) for count in given.counts.split(",")]
    accuracy: dict[int, list[float]] = {count: [] for count in (given.epochs, *counts)}
    with tempfile.TemporaryDirectory(prefix="compress-views-") as folder:
        os.environ["COMPRESS_CACHE"] = str(Path(folder) / "caches")
        data = subset(Path(folder), given.data, given.samples)
        for seed in range(given.seeds):
            for count in accuracy:
                made = api.distill(
                    given.teacher,
                    "zoo:resnet8",
                    data=data,
                    teacher_arch="zoo:resnet20",
                    name=f"views-{count}-{seed}",
                    runs=folder,
                    seed=seed,
                    options={"epochs": given.epochs, "optimizer": "sgd", "compile": False},
                    assignments=[f"data.views.count={count}", "data.val_share=0.0", "teacher.normalise=imagenet"],
                )
                accuracy[count].append(100 * made.manifest.metrics["test"]["metrics"]["accuracy"])
    samples = {"epochs": given.epochs, "samples": given.samples, "test_accuracy_by_views": accuracy}
    print(result.write("training_views", claims(accuracy, epochs=given.epochs), samples=samples))


def claims(accuracy: Mapping[int, Sequence[float]], *, epochs: int) -> list[Claim]:
    """That V views are as good as fresh ones, up to the spread of the seeds."""
    fresh = accuracy[epochs]
    spread = statistics.stdev(fresh)
    return [
        Claim(
            f"{count} views in {epochs} epochs are within the seeds' spread ({spread:.2f} points) of fresh ones",
            -spread,
            statistics.mean(accuracies) - statistics.mean(fresh),
            "points",
        )
        for count, accuracies in sorted(accuracy.items())
        if count != epochs
    ]


def subset(folder: Path, source: str, number: int) -> str:
    """The first `number` training samples, and the whole test set, as a file of arrays."""
    whole = open_dataset(DataSettings(source=f"cifar:{source}", val_share=0.0))
    train, test = np.arange(number), np.arange(len(whole.test))
    with replacing(folder / "subset.npz") as written, written.open("wb") as stream:
        np.savez(
            stream,
            x_train=one_input(whole.train.fetch(train)),
            y_train=class_numbers(whole.train)[train],
            x_test=one_input(whole.test.fetch(test)),
            y_test=class_numbers(whole.test)[test],
            classes=np.array(whole.classes),
        )
    return f"npz:{folder / 'subset.npz'}"


if __name__ == "__main__":
    main()
