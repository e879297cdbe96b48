"""A model in a process of its own, seen from outside: a contestant whose threads, memory and imports are not ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from compressor import trust
from compressor.errors import MeasurementError
from compressor.measure import limits, machine
from compressor.measure.worker import Job
from compressor.runtimes._contract import OperatorTime

if TYPE_CHECKING:
    from numpy.typing import NDArray

_END_OF_STDERR = 2000
# The child imports what we import, in the same order of precedence, whether the package is installed or not.
_PROGRAM = "import sys; sys.path[:] = sys.argv[1:]; from compressor.measure.worker import main; main()"


@dataclass(frozen=True)
class Ready:
    """What it took to make a model ready, and what it then was.

    Attributes:
        load_ms: From the path to a loaded model.
        first_ms: The first inference, with whatever is set up in it.
        describe: Provider, threads and version that really run.
        memory_mb: Peak memory of the process so far, in 10^6 bytes.
        before_mb: What the process occupied before it loaded the model: the interpreter and the runtime's library.
    """

    load_ms: float
    first_ms: float
    describe: Mapping[str, str | int]
    memory_mb: float
    before_mb: float


class IsolatedModel:
    """A contestant in a process of its own; as a context manager it is started on entry and gone on exit.

    Args:
        path: The model, as the runtime takes it.
        runtime: Name of a member of `runtimes`, or `file.py:attr`.
        inputs: An `.npz` file of real samples by name, each `[M, ...]`, taken in turn.
        batch: Samples in a batch.
        threads: Threads within an operator; 0 for all of `cpus`, or all cores this process may use.
        cpus: Cores to stay on, by number; empty for wherever the system puts it.
        options: Of the runtime.
        memory_mb: Most memory it may allocate, in 10^6 bytes.
        quota: A share of the processor that it has to do with.
        timeout_s: Longest wait for one answer.

    Attributes:
        ready: What starting it took, once it is started.
    """

    ready: Ready

    def __init__(
        self,
        path: Path,
        *,
        runtime: str,
        inputs: Path,
        batch: int = 1,
        threads: int = 0,
        cpus: tuple[int, ...] = (),
        options: Mapping[str, Any] | None = None,
        memory_mb: int | None = None,
        quota: limits.CpuQuota | None = None,
        timeout_s: float = 600.0,
    ) -> None:
        self._job = Job(
            runtime=runtime,
            path=str(path),
            threads=threads or len(cpus) or machine.usable_cores(),
            cpus=cpus,
            inputs=str(inputs),
            batch=batch,
            trusted=tuple(trust.granted()),
            options=dict(options or {}),
        )
        self._memory_mb = memory_mb
        self._quota = quota
        self._timeout_s = timeout_s
        self._timed_out = False
        self._process: subprocess.Popen[str] | None = None
        self._stderr: IO[bytes] | None = None

    def start(self) -> Ready:
        """Start the process, load the model and run it once.

        Raises:
            MeasurementError: The model cannot be loaded or run.
        """
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process, closed in `close`
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env={**os.environ, **_thread_variables(self._job.threads)},
            text=True,
            encoding="utf-8",
        )
        if self._quota is not None:
            self._quota.add(self._process.pid)
        if self._memory_mb is not None:
            limits.limit_memory(self._process.pid, megabytes=self._memory_mb)
        self.ready = Ready(**self._ask(asdict(self._job)))
        return self.ready

    @property
    def pid(self) -> int:
        """Number of the process, once it is started."""
        assert self._process is not None
        return self._process.pid

    def run(self, times: int) -> NDArray[np.float64]:
        """Milliseconds of each of `times` inferences.

        Raises:
            MeasurementError: The process is gone, or the model failed.
        """
        return np.array(self._ask({"run": times})["samples_ns"], dtype=np.float64) / 1e6

    def peak_memory_mb(self) -> float:
        """The most memory that the process has occupied, its libraries and samples included, in 10^6 bytes.

        Raises:
            MeasurementError: The process is gone.
        """
        return float(self._ask({"memory": True})["memory_mb"])

    def memory_mb(self) -> float:
        """What the process occupies now, in 10^6 bytes.

        Raises:
            MeasurementError: The process is gone.
        """
        return float(self._ask({"memory": True})["now_mb"])

    def operators(self, *, runs: int) -> list[OperatorTime]:
        """Where an inference spends its time, by the runtime's own profiler.

        Raises:
            MeasurementError: The process is gone, or the model failed.
        """
        return [OperatorTime(**each) for each in self._ask({"operators": runs})["operators"]]

    def close(self) -> None:
        """End the process at once; closing twice is fine."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()  # reaps it and closes the pipes
            self._process = None
        if self._stderr is not None:
            self._stderr.close()
            self._stderr = None

    def __enter__(self) -> IsolatedModel:
        """Start the process; nothing is left of it when that fails."""
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process, whatever happened."""
        self.close()

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Send a line, wait for the line that answers it."""
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise MeasurementError("the model's process has not been started, or is closed", where=self._job.path)
        silence = threading.Timer(self._timeout_s, self._stop_waiting)
        silence.start()
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            silence.cancel()
        if not line:
            raise self._death(process)
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            fault = answer["error"]
            raise MeasurementError(fault["message"], where=fault["where"] or self._job.path, hint=fault["hint"])
        return answer

    def _stop_waiting(self) -> None:
        self._timed_out = True
        assert self._process is not None
        self._process.kill()

    def _death(self, process: subprocess.Popen[str]) -> MeasurementError:
        code = process.wait()
        ran = f"the process that ran it with {self._job.runtime}"
        if self._timed_out:
            return MeasurementError(f"{ran} gave no answer within {self._timeout_s:g} s", where=self._job.path)
        assert self._stderr is not None
        self._stderr.seek(max(0, self._stderr.seek(0, os.SEEK_END) - _END_OF_STDERR))
        last_words = self._stderr.read().decode("utf-8", errors="replace").strip()
        return MeasurementError(
            f"{ran} ended with {_how(code)}"
            + (f"; its last words:\n{last_words}" if last_words else " and said nothing"),
            where=self._job.path,
        )


def _how(code: int) -> str:
    """An exit status in words; a negative one is a signal, and 9 is what running out of memory looks like."""
    if code >= 0:
        return f"exit code {code}"
    return f"signal {-code}" + (" (was it out of memory?)" if code == -9 else "")


def _thread_variables(threads: int) -> dict[str, str]:
    """What the numeric libraries read when they are imported."""
    # Idle OpenMP threads that spin take the cores from the other contestant, and wait in vain for one that has no core:
    # resnet18 in PyTorch, two threads on two cores that a third process shares, took 21 ms asleep and 490 ms spinning.
    counts = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
    return {**dict.fromkeys(counts, str(threads)), "OMP_WAIT_POLICY": "PASSIVE"}
