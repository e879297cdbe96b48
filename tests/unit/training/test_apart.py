"""Functions in processes of their own: results in order, faults as they are, signals passed on, orphans that end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from compressor.errors import DivergenceError, InterruptedRunError, ProcessLostError
from compressor.training import apart
from compressor.training.signals import stop_requests


def double(number: int) -> tuple[int, int, str]:
    os.write(1, b"this is no result")
    return 2 * number, os.getpid(), os.environ["OMP_NUM_THREADS"]


def diverge() -> None:
    raise DivergenceError("NaN at step 3", where="training", hint="a smaller lr")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def train_until_stopped(started: Path) -> str:
    with stop_requests() as stop:
        started.write_text("here", encoding="utf-8")
        while not stop:
            time.sleep(0.01)
    raise InterruptedRunError(f"by {stop.signal_name} after 3 of 9 steps", hint="its own line")


def run(*calls: apart.Call, at_once: int = 2):
    return apart.run(calls, at_once=at_once, threads=1, resume_line="compress run r.toml")


def test_results_come_in_order_from_other_processes_with_their_threads():
    found = run(*(apart.Call(f"n{n}", double, {"number": n}) for n in (3, 1, 2)))

    assert [result for result, _, _ in found] == [6, 2, 4]
    assert len({os.getpid(), *(pid for _, pid, _ in found)}) == 4
    assert {threads for _, _, threads in found} == {"1"}


def test_a_fault_comes_as_it_is_and_the_others_are_asked_to_stop(tmp_path):
    other = apart.Call("other", train_until_stopped, {"started": tmp_path / "started"})

    with pytest.raises(DivergenceError, match="NaN at step 3") as caught:
        run(other, apart.Call("bad", diverge, {}))

    assert (caught.value.where, caught.value.hint) == ("training", "a smaller lr")


def test_a_process_that_is_killed_is_named():
    with pytest.raises(ProcessLostError, match=r"the process of lost ended with signal 9 \(out of memory\?\)"):
        run(apart.Call("lost", die, {}))


def test_a_signal_stops_all_and_the_line_of_the_whole_run_goes_on(tmp_path):
    started = tmp_path / "started"

    def interrupt() -> None:
        while not started.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(InterruptedRunError, match="by SIGINT; what was done of long, next is kept") as caught:
        run(
            apart.Call("long", train_until_stopped, {"started": started}),
            apart.Call("next", double, {"number": 1}),
            at_once=1,
        )

    assert caught.value.hint == "compress run r.toml"


def test_a_process_whose_parent_has_gone_ends(tmp_path):
    started = tmp_path / "started"
    program = (
        "from pathlib import Path; from compressor.training import apart; from tests.unit.training import test_apart as t; "
        f"apart.run([apart.Call('a', t.train_until_stopped, {{'started': Path({str(started)!r})}})], "
        "at_once=1, threads=1, resume_line='')"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, cwd=Path(__file__).parents[3])
    while not started.exists():
        time.sleep(0.01)

    parent.kill()

    assert parent.stderr is not None
    parent.stderr.read()  # the child holds it open no longer than it lives
    parent.stderr.close()
    assert parent.wait() == -signal.SIGKILL
