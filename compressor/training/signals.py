"""Ctrl-C and SIGTERM ask a run to stop; the loop answers at the end of the step it is in.

Several processes under a launcher stop after the same step, and may get each signal twice: SLURM sends it to all, and the
launcher passes on what it gets itself.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from compressor import processes
from compressor.errors import ProcessLostError


@dataclass
class StopRequest:
    """Whether, and by which signal, the run was asked to stop."""

    signal_name: str | None = None

    def __bool__(self) -> bool:
        return self.signal_name is not None


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """While open, SIGINT and SIGTERM are noted instead of killing; a second one kills as usual, unless under a launcher."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, _frame: FrameType | None) -> None:
        request.signal_name = signal.Signals(number).name
        if processes.world_size() > 1:
            return
        for each, handler in before.items():
            signal.signal(each, handler)

    try:
        for number in before:
            signal.signal(number, note)
        yield request
    except ProcessLostError:
        before[signal.SIGTERM] = signal.SIG_IGN  # the launcher is about to end this process, which has to say why
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
