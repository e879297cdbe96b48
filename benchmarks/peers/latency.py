"""Whether our times are true: the same ONNX file timed by us, by MLPerf LoadGen, and by the plainest loop.

    python -m benchmarks.peers.latency                                                  # ResNet-8 and ResNet-20
    python -m benchmarks.peers.latency --model M.onnx --seconds 1 --rounds 3 --results DIR      # a try

One sample at a time, one thread, one core, the options of the `edge` profile, the same samples. Each contestant has a
process of its own that warms up first. They take turns in rounds, forwards and backwards, and are compared within a round,
so that a machine that drifts cannot make a difference: a value is the median over rounds of our figure over theirs.

LoadGen's SingleStream and the loop give latencies. SingleStream's inferences are timed once more inside its callback, which
tells how much of what it finds is the way into Python. Its Offline takes all samples at once and gives a throughput:
ours is what the mean latency comes to.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import onnx_models, result
from benchmarks.peers.bare_session import summary
from benchmarks.result import Claim
from compressor.measure.contest import time_models
from compressor.measure.statistics import Interval, paired_speedup
from compressor.recipe import DEFAULT_PROFILES

MODELS = ("resnet8", "resnet20")
PROFILE = DEFAULT_PROFILES["edge"]
PEERS: Mapping[str, tuple[str, ...]] = {
    "single_stream": ("with_loadgen", "--scenario", "SingleStream"),
    "loop": ("bare_session",),
    "offline": ("with_loadgen", "--scenario", "Offline"),
}
"""Peers by name, and what is run for them."""

LATENCIES = (
    ("single_stream", "", "LoadGen's SingleStream"),
    ("single_stream", "inside_", "the same inferences, timed inside LoadGen's callback"),
    ("loop", "", "a bare loop"),
)
"""Whose latencies ours are held against: the peer, what its figures' names begin with, and what it is called."""

GOAL_PERCENT = 3.0
_BLOCKS = 10
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

Round = Mapping[str, Mapping[str, float]]
"""What each contestant found in a round, by name: `p50_ms`, `p90_ms`, `mean_ms`, `samples_per_s`."""


@dataclass(frozen=True)
class Files:
    """What is timed: the model, samples as they are stored and as its session takes them, and where peers write."""

    model: Path
    stored: Path
    prepared: Path
    out: Path


def main() -> None:
    """Time every model, and write a result file for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help=f"an ONNX file with one input; by default {' and '.join(MODELS)}")
    parser.add_argument("--seconds", type=float, default=5.0, help="that a contestant is timed in a round")
    parser.add_argument("--rounds", type=int, default=20, help="at least two")
    parser.add_argument("--results", type=Path, default=result.RESULTS, help="folder of the result files")
    given = parser.parse_args()
    if given.rounds < 2:
        parser.error("it takes two rounds to compare")
    if importlib.util.find_spec("mlperf_loadgen") is None:
        parser.error("LoadGen is not here; make peers installs it")
    with tempfile.TemporaryDirectory(prefix="compress-latency-") as scratch:
        folder = Path(scratch)
        for model in [given.model] if given.model else [onnx_models.zoo_file(name, folder) for name in MODELS]:
            samples = compare(model, folder, seconds=given.seconds, rounds=given.rounds)
            samples["loadgen"] = importlib.metadata.version("mlcommons-loadgen")
            print(table(model.stem, samples), file=sys.stderr, flush=True)
            made = claims(model.stem, samples)
            print(result.write(f"latency_{model.stem}", made, samples=samples, folder=given.results))


def compare(model: Path, folder: Path, *, seconds: float, rounds: int) -> dict[str, Any]:
    """Time one model in rounds.

    Returns:
        `profile`, `load_average` (when it began), and `rounds`, as `Round` describes them.
    """
    files = Files(model, folder / "stored.npy", folder / "prepared.npy", folder / "found.json")
    stored, prepared = onnx_models.samples_for(model)
    np.save(files.stored, stored)
    np.save(files.prepared, prepared)
    began = list(os.getloadavg())
    taken: list[Round] = []
    for number in range(rounds):
        names = ["ours", *PEERS]
        found = {}
        for name in names if number % 2 == 0 else reversed(names):
            found[name] = by_us(files, seconds=seconds) if name == "ours" else by_peer(name, files, seconds=seconds)
        taken.append(found)
        print(f"{model.stem}: round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    return {
        "profile": PROFILE.model_dump(),
        "load_average": began,
        "rounds": taken,
    }


def by_us(files: Files, *, seconds: float) -> dict[str, float]:
    """Our figures."""
    taken = time_models(
        {"model": files.model},
        profile=PROFILE,
        inputs=files.stored,
        blocks=_BLOCKS,
        min_seconds=seconds,
        min_samples=10 * _BLOCKS,
    )
    found = summary(taken["model"].samples_ms)
    return found | {"samples_per_s": 1000 / found["mean_ms"]}


def by_peer(name: str, files: Files, *, seconds: float) -> dict[str, float]:
    """A peer's figures, from a process of its own on the core that ours stays on.

    Raises:
        RuntimeError: It failed; with its last words.
    """
    module, *more = PEERS[name]
    command = [sys.executable, "-m", f"benchmarks.peers.{module}", *more, "--seconds", str(seconds)]
    command += ["--model", str(files.model), "--inputs", str(files.prepared), "--out", str(files.out)]
    command += ["--core", str(min(os.sched_getaffinity(0))), *(["--arena"] if PROFILE.arena else [])]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | dict.fromkeys(_THREADS, "1"))
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr.strip().rpartition(chr(10))[2]}")
    return dict(json.loads(files.out.read_text(encoding="utf-8")))


def claims(model: str, samples: Mapping[str, Any]) -> list[Claim]:
    """That ours are the times that others find; how far apart they are counts, not which is the larger."""
    rounds: Sequence[Round] = samples["rounds"]
    made = [
        Claim(
            f"{model}: our {figure} differs from that of {title}",
            GOAL_PERCENT,
            apart(rounds, peer, f"{figure}_ms", prefix),
            "%",
            "at most",
        )
        for peer, prefix, title in LATENCIES
        for figure in ("p50", "p90")
    ]
    offline = f"{model}: our throughput (1 / mean latency) differs from that of LoadGen's Offline"
    return [*made, Claim(offline, GOAL_PERCENT, apart(rounds, "offline", "samples_per_s"), "%", "at most")]


def apart(rounds: Sequence[Round], peer: str, figure: str, prefix: str = "") -> float:
    """How far our figure is from a peer's, in percent of the peer's."""
    return 100 * abs(ratio(rounds, peer, figure, prefix).ratio - 1)


def ratio(rounds: Sequence[Round], peer: str, figure: str, prefix: str = "") -> Interval:
    """Our figure over a peer's, `prefix` before its name: the median of all rounds, with its 95 % interval."""
    ours = [np.array([each["ours"][figure]]) for each in rounds]
    theirs = [np.array([each[peer][prefix + figure]]) for each in rounds]
    return paired_speedup(ours, theirs)


def table(model: str, samples: Mapping[str, Any]) -> str:
    """The medians of all contestants, a line each, and ours over theirs."""
    rounds: Sequence[Round] = samples["rounds"]
    lines = [f"{model:18}{'p50 ms':>10}{'p90 ms':>10}{'per s':>10}   ours / theirs"]
    for title, (name, prefix) in {
        "ours": ("ours", ""),
        "single_stream": ("single_stream", ""),
        "inside its calls": ("single_stream", "inside_"),
        "loop": ("loop", ""),
        "offline": ("offline", ""),
    }.items():
        cells, ratios = [], []
        for figure in ("p50_ms", "p90_ms", "samples_per_s"):
            there = [each[name][prefix + figure] for each in rounds if prefix + figure in each[name]]
            cells.append(f"{np.median(there):10.4g}" if there else f"{'-':>10}")
            if there and name != "ours":
                found = asdict(ratio(rounds, name, figure, prefix))
                ratios.append("{ratio:.3f} ({low:.3f}-{high:.3f})".format(**found))
        lines.append(f"{title:18}{''.join(cells)}   {'  '.join(ratios)}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
