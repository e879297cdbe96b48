"""What the papers' benchmarks share: runs through the command line, what they came to, means over seeds."""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks import result
from compressor import artifact
from compressor.artifact import Artifact
from compressor.data.open import open_dataset
from compressor.data.samples import class_numbers
from compressor.files import replacing
from compressor.measure.accuracy import one_input, predict
from compressor.models import checkpoint
from compressor.recipe import DataSettings
from compressor.runtimes.torch import TorchEager
from compressor.tensors import LOGITS

RECIPES = Path(__file__).parent / "recipes"
Arrays = dict[str, NDArray[Any]]
"""What an `.npz` data set holds: x_train, y_train, x_test, y_test, and the names of the classes."""


def options(description: str | None, *, samples: int = 60_000) -> argparse.ArgumentParser:
    """The options that every benchmark of this folder takes, but for those of its data."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", required=True, type=Path, help="where runs are kept; the same place goes on")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=samples, help="training images")
    parser.add_argument("--results", type=Path, default=result.RESULTS, help="folder of the result file")
    return parser


def work_in(folder: Path) -> None:
    """Make the folder of runs, and keep caches in it."""
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["COMPRESS_CACHE"] = str(folder.resolve() / "caches")


def compress(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Type `compress ...` with one thread.

    Raises:
        SystemExit: It failed, and `check`.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    told = subprocess.run(
        [sys.executable, "-m", "compressor", *words], env=environment, capture_output=True, text=True, check=False
    )
    if check and told.returncode:
        raise SystemExit(f"compress {' '.join(words)}\n{told.stderr}")
    return told


def made(recipe: str, folder: Path, link: str, settings: Sequence[str] = ()) -> Artifact:
    """A network that a recipe of this folder leaves in a run; one that is there and unchanged is not made again.

    Args:
        recipe: Name of the recipe's file, without its ending.
        folder: Of the run.
        link: Folder of the network in it.
        settings: `a.b=value` over the recipe.
    """
    words = [f"name={folder.name}", f"runs={folder.parent}", *settings]
    compress("run", str(RECIPES / f"{recipe}.toml"), *(word for each in words for word in ("--set", each)))
    return artifact.read(folder / link)


def network(folder: Path) -> Artifact | None:
    """The network that lies there, where a run has made one."""
    return artifact.read(folder) if artifact.is_artifact(folder) else None


def metric(made: Artifact, name: str) -> float:
    """A metric of a network on the test set, as its own training measured it after the last epoch."""
    return float(made.manifest.metrics["test"]["metrics"][name])


def percent(made: Artifact) -> float:
    """Accuracy on the test set after the last epoch, in percent."""
    return 100 * metric(made, "accuracy")


def answers(
    made: Artifact, source: str, split: Literal["train", "test"] = "test"
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Logits `[N, K]` of a network for a split of a source, and the labels `[N]`."""
    whole = open_dataset(DataSettings(source=source, val_share=0.0))
    samples = {"train": whole.train, "test": whole.test}[split]
    outputs = predict(TorchEager.from_network(checkpoint.load(made).network.eval()), samples)
    return outputs[LOGITS], class_numbers(samples)


def report_of(folder: Path) -> str:
    """The report of a run as Markdown."""
    return (folder / "report" / "report.md").read_text(encoding="utf-8")


def agreement(folder: Path) -> float:
    """Share of samples to which the exported student of a run answers as the network does."""
    return float(artifact.read(folder / "export").manifest.details["parity"]["agreement"])


def beginning(source: str, samples: int, folder: Path) -> str:
    """The source itself, or, where it has more training images than so many, a file of the first of them."""
    whole = arrays(source)
    if samples >= len(whole["y_train"]):
        return source
    return kept(folder / f"first-{samples}.npz", training_part(whole, np.arange(samples)))


def arrays(source: str) -> Arrays:
    """The training and test images of a source, their labels and the names of the classes."""
    whole = open_dataset(DataSettings(source=source, val_share=0.0))
    return {
        "x_train": one_input(whole.train.fetch(np.arange(len(whole.train)))),
        "y_train": class_numbers(whole.train),
        "x_test": one_input(whole.test.fetch(np.arange(len(whole.test)))),
        "y_test": class_numbers(whole.test),
        "classes": np.array(whole.classes),
    }


def kept(file: Path, held: Arrays) -> str:
    """The source of these arrays, written to a file unless it is there."""
    if not file.exists():
        with replacing(file) as written, written.open("wb") as stream:
            np.savez(stream, **held)  # type: ignore[arg-type]
    return f"npz:{file}"


def training_part(whole: Arrays, chosen: NDArray[Any]) -> Arrays:
    """Some of the training images, by mask or by position, and all test images."""
    return {**whole, "x_train": whole["x_train"][chosen], "y_train": whole["y_train"][chosen]}


def of_classes(whole: Arrays, names: Sequence[str]) -> Arrays:
    """The images of some classes alone, training and test, numbered in the order of `names`."""
    classes = [str(name) for name in whole["classes"]]
    found: Arrays = {"classes": np.array(names)}
    for split in ("train", "test"):
        labels = whole[f"y_{split}"]
        wanted = np.isin(labels, [classes.index(name) for name in names])
        found[f"x_{split}"] = whole[f"x_{split}"][wanted]
        found[f"y_{split}"] = np.array([names.index(classes[label]) for label in labels[wanted]])
    return found


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Mean and standard deviation (of a sample; 0 for one value), and the values."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": statistics.mean(values), "std": deviation, "values": list(values)}
