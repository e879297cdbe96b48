"""The process of one model that is measured: `python -m compressor.measure.worker`, spoken to by `isolated.py`.

It reads lines of JSON on standard input and answers each with one line on what was its standard output when it started:

    {"runtime": ..., "path": ..., ...}   the job (`Job`)   -> {"load_ms", "first_ms", "describe", "memory_mb", "before_mb"}
    {"run": 100}                         infer and time    -> {"samples_ns": [...]}
    {"memory": true}                     memory            -> {"memory_mb" (the peak), "now_mb"}
    {"operators": 30}                    profile           -> {"operators": [{"name", "op", "provider", "ms"}, ...]}
    end of input                         leave

A fault of ours is answered as {"error": {"message", "where", "hint"}}; any other ends the process with a traceback on
standard error. Numeric libraries are imported only after the process is pinned, since their threads inherit the cores.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from compressor import registry, trust
from compressor.errors import CompressError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from compressor.measure.clock import Contestant
    from compressor.runtimes._contract import Runtime


@dataclass(frozen=True)
class Job:
    """Which model to run, how, and on what.

    Attributes:
        runtime: Name of a member of the family, or `file.py:attr`.
        path: The model, as that runtime takes it.
        threads: Threads within an operator; at least 1.
        cpus: Cores to stay on, by number; empty for wherever the system puts it.
        inputs: An `.npz` file of samples by name, each `[M, ...]` (or `.npy` of the one input); batches are taken in turn.
        batch: Samples in a batch.
        trusted: Hashes of the sources that this process may run.
        options: Of the runtime.
    """

    runtime: str
    path: str
    threads: int
    cpus: tuple[int, ...]
    inputs: str
    batch: int
    trusted: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)


def main() -> None:
    """Serve one job until the end of standard input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; whoever started us decides
    requests, answers = _private_streams()
    for answer in _serve(requests):
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _serve(requests: TextIO) -> Iterator[dict[str, Any]]:
    job = Job(**json.loads(requests.readline()))
    trust.grant(list(job.trusted))
    if job.cpus and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, job.cpus)
    try:
        runtime, batches, contestant, ready = _start(job)
        yield ready
        for line in requests:
            request = json.loads(line)
            if "operators" in request:
                yield {"operators": [vars(each) for each in runtime.operators(batches[0], runs=request["operators"])]}
            else:
                yield _answer(contestant, request)
    except CompressError as fault:
        yield {"error": {"message": fault.message, "where": fault.where, "hint": fault.hint}}


def _start(job: Job) -> tuple[Runtime, list[Mapping[str, NDArray[Any]]], Contestant, dict[str, Any]]:
    """Load the model, run it once, and say what that took."""
    from compressor.measure import clock, memory

    runtime: Runtime = registry.find("runtimes", job.runtime).load()(threads=job.threads, **job.options)
    before_mb = memory.current_mb()
    begin = time.perf_counter_ns()
    runtime.load(Path(job.path))
    load_ms = (time.perf_counter_ns() - begin) / 1e6
    batches = _batches(runtime, job)
    in_turn = itertools.cycle(batches)
    contestant = clock.Calls(lambda: runtime(next(in_turn)))
    first_ms = float(contestant.run(1)[0])
    gc.freeze()  # what was loaded stays; looking through it before every block would only take time
    ready = {
        "load_ms": load_ms,
        "first_ms": first_ms,
        "describe": runtime.describe(),
        "memory_mb": memory.peak_mb(),
        "before_mb": before_mb,
    }
    return runtime, batches, contestant, ready


def _answer(contestant: Contestant, request: dict[str, Any]) -> dict[str, Any]:
    from compressor.measure import memory

    if "run" in request:
        samples_ms = contestant.run(request["run"])
        return {"samples_ns": [round(sample * 1e6) for sample in samples_ms.tolist()]}
    assert "memory" in request, f"not a request: {request}"
    return {"memory_mb": memory.peak_mb(), "now_mb": memory.current_mb()}


def _batches(runtime: Runtime, job: Job) -> list[Mapping[str, NDArray[Any]]]:
    """As many whole batches as the samples give, at least one; a batch larger than their number repeats them."""
    import numpy as np

    kept = np.load(job.inputs, allow_pickle=False)
    samples = {"input": kept} if isinstance(kept, np.ndarray) else dict(kept)
    count = len(next(iter(samples.values())))
    whole = max(1, count // job.batch)
    positions = np.arange(whole * job.batch).reshape(whole, job.batch) % count
    return [runtime.prepare({name: array[rows] for name, array in samples.items()}) for rows in positions]


def _private_streams() -> tuple[TextIO, TextIO]:
    """Our ends of the conversation; what anything else prints goes to standard error from here on."""
    requests = os.fdopen(os.dup(0), "r", encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, answers


if __name__ == "__main__":
    main()
