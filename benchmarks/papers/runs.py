"""What the papers' benchmarks share: runs through the command line, what they came to, means over seeds."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressor import artifact
from compressor.artifact import Artifact
from compressor.data.open import open_dataset
from compressor.measure.accuracy import predict
from compressor.models import checkpoint
from compressor.recipe import DataSettings
from compressor.runtimes.torch import TorchEager

RECIPES = Path(__file__).parent / "recipes"


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


def network(folder: Path) -> Artifact | None:
    """The network that lies there, where a run has made one."""
    return artifact.read(folder) if artifact.is_artifact(folder) else None


def metric(made: Artifact, name: str) -> float:
    """A metric of a network on the test set, as its own training measured it after the last epoch."""
    return float(made.manifest.metrics["test"]["metrics"][name])


def answers(made: Artifact, source: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Logits `[N, K]` of a network for the test set of a source, and the labels `[N]`."""
    test = open_dataset(DataSettings(source=source, val_share=0.0)).test
    return predict(TorchEager.from_network(checkpoint.load(made).network.eval()), test), test.labels


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Mean and standard deviation (of a sample; 0 for one value), and the values."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": statistics.mean(values), "std": deviation, "values": list(values)}
