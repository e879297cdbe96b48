"""An ONNX Runtime session with nothing of ours around it, and the plainest way to time it: a loop that reads the clock.

    python -m benchmarks.peers.bare_session --model M.onnx --inputs I.npy --seconds 5 --core 0 --out O.json

Runs on its own and imports nothing of `compressor`. Its options are written out here, as whoever checks our times would do.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

WARM_UP_SECONDS = 1.0


def main() -> None:
    """Warm up, time, and write what it comes to."""
    given = arguments(__doc__)
    infer, count = started(given)
    in_turn = itertools.cycle(range(count))
    timed_for(WARM_UP_SECONDS, lambda: infer(next(in_turn)))
    latencies_ms = timed_for(given.seconds, lambda: infer(next(in_turn)))
    finish(given, summary(latencies_ms))


def arguments(description: str | None) -> argparse.Namespace:
    """The flags of every process that times a bare session."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--inputs", type=Path, required=True, help="samples as the session takes them, `[N, ...]`")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--core", type=int, help="number of the core to stay on")
    parser.add_argument("--arena", action="store_true", help="the session keeps memory for the next inference")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scenario", help="of LoadGen")
    return parser.parse_args()


def started(given: argparse.Namespace) -> tuple[Callable[[int], object], int]:
    """The inference of a sample by its number, in a batch of its own, and how many samples there are."""
    if given.core is not None:
        os.sched_setaffinity(0, {given.core})
    import onnxruntime  # its threads stay on the core of the thread that starts them

    session = onnxruntime.InferenceSession(
        str(given.model), options(arena=given.arena), providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name
    batches = [np.ascontiguousarray(sample[None]) for sample in np.load(given.inputs)]
    return lambda number: session.run(None, {name: batches[number]}), len(batches)


def options(*, arena: bool) -> Any:
    """Of a session with one thread that nothing wakes or spins."""
    import onnxruntime

    found = onnxruntime.SessionOptions()
    found.intra_op_num_threads = 1
    found.inter_op_num_threads = 1
    found.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    found.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    found.log_severity_level = 3
    found.enable_cpu_mem_arena = arena
    found.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return found


def timed_for(seconds: float, call: Callable[[], object]) -> NDArray[np.float64]:
    """Milliseconds of each call, until they have gone on for so many seconds."""
    samples_ns: list[int] = []
    end = time.perf_counter_ns() + round(seconds * 1e9)
    while not samples_ns or time.perf_counter_ns() < end:
        begin = time.perf_counter_ns()
        call()
        samples_ns.append(time.perf_counter_ns() - begin)
    return np.array(samples_ns, dtype=np.float64) / 1e6


def summary(latencies_ms: NDArray[np.float64]) -> dict[str, float]:
    """What a round of latencies comes to."""
    p50, p90 = np.percentile(latencies_ms, [50, 90])
    return {
        "p50_ms": float(p50),
        "p90_ms": float(p90),
        "mean_ms": float(latencies_ms.mean()),
        "timed": len(latencies_ms),
    }


def finish(given: argparse.Namespace, found: Mapping[str, float]) -> None:
    """Write what was measured as JSON."""
    given.out.write_text(json.dumps(found, allow_nan=False), encoding="utf-8")


if __name__ == "__main__":
    main()
