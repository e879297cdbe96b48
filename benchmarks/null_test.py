"""A model against itself: how often the interval of a speed-up that is none holds 1.00.

    python -m benchmarks.null_test                                                       # ResNet-8, 100 runs
    python -m benchmarks.null_test --model M.onnx --runs 3 --seconds 0.2 --results DIR   # a try

Each run starts two processes with the same file, anew for each share of its blocks, and compares them as a bench does any
two models, so that it also sees what differs between two processes. An interval that is right 95 times in 100 on average
is so less than 95 times in 100 in about four of ten such tests: 93 says little, 80 that the interval is too narrow.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import onnx_models, result
from benchmarks.result import Claim
from compressor.measure.contest import time_models
from compressor.measure.statistics import paired_speedup, wilson_interval
from compressor.recipe import DEFAULT_PROFILES, BenchSettings

MODEL = "resnet8"
PROFILE = DEFAULT_PROFILES["edge"]
GOAL_PERCENT = 95.0
STARTS = BenchSettings().starts


def main() -> None:
    """Run all of them and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help=f"an ONNX file with one input; by default {MODEL}")
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=1.0, help="that each of the two is timed in a run")
    parser.add_argument("--blocks", type=int, default=20, help="of each in a run; at least two")
    parser.add_argument("--starts", type=int, default=STARTS, help="of both processes, for a share of the blocks each")
    parser.add_argument("--results", type=Path, default=result.RESULTS, help="folder of the result file")
    given = parser.parse_args()
    if given.runs < 1 or given.blocks < 2 or given.starts < 1:
        parser.error("it takes a run of two blocks and a start")
    with tempfile.TemporaryDirectory(prefix="compress-null-") as scratch:
        model = given.model or onnx_models.zoo_file(MODEL, Path(scratch))
        samples = compare(
            model, Path(scratch), runs=given.runs, seconds=given.seconds, blocks=given.blocks, starts=given.starts
        )
    made = claims(model.stem, samples)
    print(result.write(f"latency_null_{model.stem}", made, samples=samples, folder=given.results))


def compare(model: Path, folder: Path, *, runs: int, seconds: float, blocks: int, starts: int) -> dict[str, Any]:
    """Time a model against itself again and again, each time as a bench does.

    Returns:
        `profile`, `load_average` (when it began), and `runs`, each with `ratio`, `low`, `high` and `level` of the speed-up,
        and `blocks_p50_ms` of both.
    """
    inputs = folder / "inputs.npy"
    np.save(inputs, onnx_models.samples_for(model)[0])
    began, found = list(os.getloadavg()), []
    for number in range(runs):
        taken = time_models(
            {"a": model, "b": model},
            profile=PROFILE,
            inputs=inputs,
            blocks=blocks,
            min_seconds=seconds,
            min_samples=5 * blocks,
            starts=starts,
        )
        speedup = asdict(paired_speedup(taken["a"].blocks, taken["b"].blocks, starts=starts))
        medians = {name: [float(np.median(block)) for block in timing.blocks] for name, timing in taken.items()}
        found.append(speedup | {"blocks_p50_ms": medians})
        line = "run {}: {ratio:.4f} ({low:.4f}-{high:.4f})"
        print(line.format(number + 1, **speedup), file=sys.stderr, flush=True)
    return {"profile": PROFILE.model_dump(), "load_average": began, "starts": starts, "runs": found}


def claims(model: str, samples: Mapping[str, Any]) -> list[Claim]:
    """That the interval is as wide as it says; the claim states how sure the share of runs itself is."""
    runs = samples["runs"]
    right = sum(holds_one(run) for run in runs)
    low, high = (100 * end for end in wilson_interval(right, len(runs)))
    claim = (
        f"{model} against itself: of {len(runs)} runs, the interval holds 1.00 (share within {low:.0f}-{high:.0f} %)"
    )
    return [Claim(claim, GOAL_PERCENT, 100 * right / len(runs), "%")]


def holds_one(run: Mapping[str, Any]) -> bool:
    """Whether the interval of a speed-up holds 1.00."""
    return bool(run["low"] <= 1.0 <= run["high"])


if __name__ == "__main__":
    main()
