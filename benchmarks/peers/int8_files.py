"""The files of the int8 comparison: how each contender makes its own, and how all of them are measured."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressor import api
from compressor.artifact import Artifact
from compressor.data.samples import Dataset, class_numbers
from compressor.errors import CompressError
from compressor.measure.accuracy import one_input, predict
from compressor.measure.contest import time_models
from compressor.measure.statistics import paired_speedup, summarise
from compressor.quantizers._calibration import TrainingSamples
from compressor.recipe import DEFAULT_PROFILES
from compressor.runtimes.ort_cpu import OrtCpu
from compressor.tensors import LOGITS

_INPUTS = 64
_BLOCKS = 20


def calibration_pictures(file: Path, dataset: Dataset, *, number: int, seed: int) -> NDArray[np.float32]:
    """The pictures of the training set that ours calibrates with, as the model takes them `[N, C, H, W]`."""
    runtime = OrtCpu()
    runtime.load(file)
    try:
        chosen = TrainingSamples(dataset.train, number=number, seed=seed, prepare=runtime.prepare)
        return np.concatenate([one_input(batch) for batch in chosen.batches()])
    finally:
        runtime.close()


def by_peer(name: str, model: Path, pictures: Path, out: Path, *, transformer: bool) -> dict[str, Any]:
    """A peer's file, made in a process of its own.

    Returns:
        `fault`: None, or why there is no file or none that ONNX Runtime takes.
    """
    module = "with_nncf" if name == "nncf" else "with_ort"
    command = [sys.executable, "-m", f"benchmarks.peers.{module}", "--model", str(model)]
    command += ["--calibration", str(pictures), "--out", str(out)]
    command += ["--advised"] if name == "ort_advised" else []
    command += ["--transformer"] if name == "nncf" and transformer else []
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return {"fault": done.stderr.strip().rpartition("\n")[2]}
    return {"fault": refused(out, np.load(pictures)[:1])}


def refused(file: Path, picture: NDArray[np.float32]) -> str | None:
    """Why ONNX Runtime does not run a file on a picture `[1, C, H, W]`, or None."""
    runtime = OrtCpu(threads=1)
    try:
        runtime.load(file)
        runtime({"input": picture})
    except CompressError as fault:
        return fault.message
    finally:
        runtime.close()
    return None


def by_us(network: Artifact, out: Path, *, mixed: bool, calibration: int) -> dict[str, Any]:
    """Our file, by `compress quantize`.

    Returns:
        `result`: the method, or float where it did not pay; `quantization` and `decisions` of the manifest.
    """
    made = api.quantize(network.path, options={"mixed": mixed, "calibration": calibration})
    shutil.copyfile(made.file("model.onnx"), out)
    return {
        "result": made.manifest.details["result"],
        "quantization": dict(made.manifest.details["quantization"]),
        "decisions": [asdict(each) for each in made.manifest.decisions],
    }


def measure(files: Mapping[str, Path], dataset: Dataset, *, seconds: float, folder: Path) -> dict[str, Any]:
    """Accuracy on the test set, time of one picture on one thread, and size.

    Args:
        files: Of ONNX Runtime by name, `float` among them.
        dataset: Whose test set judges, and gives the pictures that are timed.
        seconds: About how long each file is timed.
        folder: Where those pictures are written.

    Returns:
        By name: `accuracy` (percent), `right` (a bit for each test sample, as hex), `agreement` (share of the top-1 answers
        that are those of `float`), `p50_ms`, `p90_ms`, `timed` (how often), `blocks_p50_ms`, `speedup` over `float` (median
        of paired blocks, 95 % interval), `size_bytes`.
    """
    inputs = folder / "inputs.npy"
    np.save(inputs, one_input(dataset.test.fetch(np.arange(min(_INPUTS, len(dataset.test)), dtype=np.int64))))
    answers_N = {name: _answers(file, dataset) for name, file in files.items()}
    right_N = {name: answers == class_numbers(dataset.test) for name, answers in answers_N.items()}
    taken = time_models(
        files,
        profile=DEFAULT_PROFILES["edge"],
        inputs=inputs,
        blocks=_BLOCKS,
        min_seconds=seconds,
        min_samples=10 * _BLOCKS,
    )
    found = {}
    for name, file in files.items():
        summary = summarise(taken[name].samples_ms)
        found[name] = {
            "accuracy": 100 * float(right_N[name].mean()),
            "right": np.packbits(right_N[name]).tobytes().hex(),
            "agreement": float((answers_N[name] == answers_N["float"]).mean()),
            "p50_ms": summary.p50_ms,
            "p90_ms": summary.p90_ms,
            "timed": summary.count,
            "blocks_p50_ms": [float(np.median(block)) for block in taken[name].blocks],
            "speedup": asdict(paired_speedup(taken["float"].blocks, taken[name].blocks)),
            "size_bytes": file.stat().st_size,
        }
    return found


def _answers(file: Path, dataset: Dataset) -> NDArray[np.int64]:
    runtime = OrtCpu()
    runtime.load(file)
    try:
        return np.asarray(predict(runtime, dataset.test)[LOGITS].argmax(1))
    finally:
        runtime.close()
