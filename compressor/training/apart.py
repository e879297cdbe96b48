"""Trainings in processes of their own, side by side: each with its share of the threads.

What a process says is told here, a fault of ours is raised here as it is, and a signal ends all of them after the step
they are in. A process whose parent has gone ends by itself, in the same way.

Not covered: one training spread over processes (`together.py`).
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from compressor import console, trust
from compressor.errors import CompressError, InterruptedRunError, ProcessLostError
from compressor.training import events
from compressor.training.signals import stop_requests

# The child imports what we import, in the same order of precedence, whether the package is installed or not.
_PROGRAM = "import sys; sys.path[:] = sys.argv[1:]; from compressor.training.apart import main; main()"
_POLL_S = 0.05
_KEPT_LINES = 20


@dataclass(frozen=True)
class Call:
    """One function to run.

    Attributes:
        name: What it is called where it is lost.
        function: Defined at the top of a module.
        arguments: By name; plain data, settings and paths, which another process can be sent.
    """

    name: str
    function: Callable[..., Any]
    arguments: Mapping[str, Any]


def run(calls: Sequence[Call], *, at_once: int, threads: int, resume_line: str) -> list[Any]:
    """What each call returns, in order, from processes of their own.

    Args:
        calls: What to run.
        at_once: How many processes there are at most.
        threads: Of each process.
        resume_line: What the user types to go on after an interruption.

    Raises:
        CompressError: The first fault of any of them; the others are asked to stop, and keep their state.
        InterruptedRunError: A signal came, or one of them was stopped.
        ProcessLostError: One ended without a word (out of memory, killed).
    """
    waiting = deque(calls)
    children: dict[str, _Child] = {}
    faults: list[CompressError] = []
    with stop_requests() as stop:
        try:
            while waiting or any(child.runs for child in children.values()):
                if stop or faults:
                    waiting.clear()
                    for child in children.values():
                        child.ask_to_stop()
                while waiting and sum(child.runs for child in children.values()) < at_once:
                    call = waiting.popleft()
                    children[call.name] = _Child(call, threads=threads)
                for child in children.values():
                    fault = child.fault()
                    if fault is not None and fault not in faults:
                        faults.append(fault)
                time.sleep(_POLL_S)
            faults += [fault for child in children.values() if (fault := child.fault()) and fault not in faults]
        finally:
            for child in children.values():
                child.end()
    told = [fault for fault in faults if not isinstance(fault, InterruptedRunError)]
    if told:
        raise told[0]
    if stop:
        unfinished = ", ".join(call.name for call in calls if call.name not in children or children[call.name].fault())
        kept = unfinished or ", ".join(children)
        raise InterruptedRunError(f"by {stop.signal_name}; what was done of {kept} is kept", hint=resume_line)
    if faults:  # somebody else stopped it
        raise InterruptedRunError(faults[0].message, hint=resume_line)
    return [children[call.name].result for call in calls]


def main() -> None:
    """Run the call that standard input holds; what it gives goes to what was standard output."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a user's code prints must not mix with it
    function, arguments, granted, writes_events = pickle.load(sys.stdin.buffer)
    trust.grant(granted)
    events.switch_on(writes_events)
    threading.Thread(target=_stop_without_parent, daemon=True).start()
    answer: tuple[str, Any]
    try:
        answer = ("result", function(**arguments))
    except CompressError as fault:
        answer = ("fault", fault)
    pickle.dump(answer, answers)
    answers.close()


def _stop_without_parent() -> None:
    """Wait for the end of standard input, which the parent holds open as long as it lives."""
    os.read(0, 1)  # not through `sys.stdin`, whose lock a thread must not hold while Python ends
    os.kill(os.getpid(), signal.SIGTERM)


class _Child:
    """One call in its process; what it says is read as it comes, so that no pipe fills up."""

    def __init__(self, call: Call, *, threads: int) -> None:
        self.call = call
        self.result: Any = None
        self._asked = False
        self._fault: CompressError | None = None
        self._answer = b""
        self._last_words: deque[str] = deque(maxlen=_KEPT_LINES)
        counts = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **dict.fromkeys(counts, str(threads))},
            start_new_session=True,  # Ctrl-C comes to us alone, and each process gets one signal from us
        )
        assert self._process.stdin is not None
        request = (call.function, dict(call.arguments), trust.granted(), events.is_on())
        try:
            self._process.stdin.write(pickle.dumps(request))
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended already, which is seen below
        self._readers = [threading.Thread(target=self._listen), threading.Thread(target=self._collect)]
        for reader in self._readers:
            reader.start()

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    def ask_to_stop(self) -> None:
        if not self._asked and self.runs:
            self._process.terminate()
        self._asked = True

    def fault(self) -> CompressError | None:
        """What was wrong with a process that has ended."""
        if self.runs or self._fault is not None or self.result is not None:
            return self._fault
        for reader in self._readers:
            reader.join()
        if self._answer:
            kind, value = pickle.loads(self._answer)
            if kind == "result":
                self.result = value
            else:
                self._fault = value
            return self._fault
        code = self._process.returncode
        if self._asked:
            self._fault = InterruptedRunError(f"{self.call.name} was stopped before its first step")
            return self._fault
        how = f"exit code {code}" if code >= 0 else f"signal {-code}" + (" (out of memory?)" if code == -9 else "")
        words = "\n".join(self._last_words)
        self._fault = ProcessLostError(
            f"the process of {self.call.name} ended with {how}" + (f"; its last words:\n{words}" if words else ""),
            hint="the state is kept; fewer at once need less memory: --set specialists.processes=1",
        )
        return self._fault

    def end(self) -> None:
        """Leave nothing of it."""
        if self.runs:
            self._process.kill()
        self._process.wait()
        for reader in self._readers:
            reader.join()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()

    def _listen(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            text = line.decode("utf-8", errors="replace").rstrip()
            self._last_words.append(text)
            console.note(text)

    def _collect(self) -> None:
        assert self._process.stdout is not None
        self._answer = self._process.stdout.read()
