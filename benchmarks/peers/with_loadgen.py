"""MLPerf LoadGen around a bare ONNX Runtime session: the scenarios SingleStream and Offline, PerformanceOnly.

    python -m benchmarks.peers.with_loadgen --scenario SingleStream --model M.onnx --inputs I.npy --seconds 5 --out O.json

Settings are those of the MLPerf Inference rules but for the time a run takes. Offline hands all samples over at once; they
are still inferred one by one, as the batch is 1 everywhere here. The core is the model's alone, as with every contestant:
LoadGen's own threads, one of which wakes every few milliseconds to write its log, get the others. What LoadGen finds holds
its own way into Python and back; each inference is timed inside its callback as well, so that the two can be told apart.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import mlperf_loadgen
import numpy as np
from numpy.typing import NDArray

from benchmarks.peers import bare_session

_PREFIX = ":::MLLOG "


def main() -> None:
    """Warm up, let LoadGen time, and write what its log says."""
    given = bare_session.arguments(__doc__)
    infer, count = bare_session.started(given)
    in_turn = itertools.cycle(range(count))
    warm_ms = bare_session.timed_for(bare_session.WARM_UP_SECONDS, lambda: infer(next(in_turn)))
    wanted = settings(given.scenario, seconds=given.seconds, warm_ms=warm_ms)
    with tempfile.TemporaryDirectory(prefix="compress-loadgen-") as folder:
        inside_ms = run(infer, count, wanted, core=given.core, logs=Path(folder))
        told = results((Path(folder) / "mlperf_log_detail.txt").read_text(encoding="utf-8"))
    if told["result_validity"] != "VALID":
        sys.exit(f"LoadGen does not accept its own run: {told}")
    inside = {f"inside_{name}": value for name, value in bare_session.summary(inside_ms).items()}
    bare_session.finish(given, figures(given.scenario, told) | inside)


def settings(scenario: str, *, seconds: float, warm_ms: NDArray[np.float64]) -> Any:
    """Of a run that takes about so many seconds, at least as many if the scenario is SingleStream."""
    found = mlperf_loadgen.TestSettings()
    found.scenario = getattr(mlperf_loadgen.TestScenario, scenario)
    found.mode = mlperf_loadgen.TestMode.PerformanceOnly
    found.min_duration_ms = round(seconds * 1000)
    found.min_query_count = 100 if scenario == "SingleStream" else 1
    # From these LoadGen works out how many queries to make ready; a run that is out of them too early is not valid.
    found.single_stream_expected_latency_ns = round(float(warm_ms.min()) * 1e6)
    # of the fastest: a machine that becomes faster must not run out of samples before the time that it has to last
    found.offline_expected_qps = 1000 / float(warm_ms.min())
    return found


def run(
    infer: Callable[[int], object], count: int, wanted: Any, *, core: int | None, logs: Path
) -> NDArray[np.float64]:
    """Run LoadGen; it writes its logs into a folder.

    Args:
        infer: Answers one sample by its position.
        count: How many samples there are.
        wanted: From `settings`.
        core: The one that inferences run on; None for any.
        logs: Where LoadGen writes.

    Returns:
        Milliseconds of each inference as its callback finds them.
    """
    inside_ns: list[int] = []

    def issue(queries: list[Any]) -> None:
        if core is not None and not inside_ns:
            os.sched_setaffinity(0, {core})  # of this thread
        for query in queries:
            begin = time.perf_counter_ns()
            infer(query.index)
            inside_ns.append(time.perf_counter_ns() - begin)
            mlperf_loadgen.QuerySamplesComplete([mlperf_loadgen.QuerySampleResponse(query.id, 0, 0)])

    def nothing(*_: object) -> None:
        """All samples are in memory from the start, and no query waits."""

    log = mlperf_loadgen.LogSettings()
    log.log_output.outdir = str(logs)
    log.log_output.copy_summary_to_stdout = False
    log.enable_trace = False
    sut = mlperf_loadgen.ConstructSUT(issue, nothing)
    library = mlperf_loadgen.ConstructQSL(count, count, nothing, nothing)
    if core is not None:
        os.sched_setaffinity(0, range(os.cpu_count() or 1))  # which threads that begin from here on inherit
    try:
        mlperf_loadgen.StartTestWithLogSettings(sut, library, wanted, log)
    finally:
        mlperf_loadgen.DestroyQSL(library)
        mlperf_loadgen.DestroySUT(sut)
    return np.array(inside_ns, dtype=np.float64) / 1e6


def results(log: str) -> dict[str, Any]:
    """The results in the text of LoadGen's detailed log, by their keys."""
    lines = (json.loads(line.removeprefix(_PREFIX)) for line in log.splitlines() if line.startswith(_PREFIX))
    return {line["key"]: line["value"] for line in lines if line["key"].startswith("result_")}


def figures(scenario: str, told: Mapping[str, Any]) -> dict[str, float]:
    """What is compared, of what LoadGen has told."""
    if scenario == "Offline":
        return {"samples_per_s": float(told["result_samples_per_second"])}
    return {
        "p50_ms": told["result_50.00_percentile_latency_ns"] / 1e6,
        "p90_ms": told["result_90.00_percentile_latency_ns"] / 1e6,
        "mean_ms": told["result_mean_latency_ns"] / 1e6,
    }


if __name__ == "__main__":
    main()
