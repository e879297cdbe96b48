"""Runs numbered cases in a child process that may hang, crash or run out of memory, and judges what each comes to.

A case may end well or with one of the exit codes that are documented. A traceback, another exit code, more than five
seconds of CPU, or the death of the process is a violation. The child writes one line a case; where it says nothing while its
CPU time goes on, or dies, the case is written down and a new child goes on with the next one.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from typer import Typer
from typer.main import get_command

from compressor.cli import main as command_line
from compressor.errors import CompressError

MOST_CPU_S = 5.0
DOCUMENTED = frozenset({0, 1, 2, 3, 130})
_MOST_MEMORY = 4 * 2**30
_SLOW_TO_START_S = 120
_REPOSITORY = Path(__file__).parents[2]


class Hang(BaseException):
    """More CPU than a case may take; no `except Exception` catches it."""


@dataclass
class Outcome:
    """What a case came to: the exit code, and what is wrong with it, if anything is."""

    code: int
    violation: str | None = None


@dataclass
class Tally:
    """What many cases came to."""

    codes: Counter[int] = field(default_factory=Counter)
    violations: list[tuple[int, str]] = field(default_factory=list)


def run_words(words: list[str]) -> Outcome:
    """What a command line comes to, in this process."""
    said, results = io.StringIO(), io.StringIO()
    before = sys.argv
    sys.argv = ["compress", *words]
    code = 0
    if isinstance(command_line.app, Typer):  # is built anew at each call, which would take most of the time
        command_line.app = get_command(command_line.app)  # type: ignore[assignment]
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(results):
            command_line.main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    finally:
        sys.argv = before
    told = said.getvalue() + results.getvalue()
    if "Traceback (most recent call last)" in told:
        return Outcome(code, f"traceback: {' '.join(words)[:300]}\n{told[-3000:]}")
    if code not in DOCUMENTED:
        return Outcome(code, f"exit code {code}: {' '.join(words)[:300]}\n{told[-500:]}")
    return Outcome(code)


def run_call(call: Callable[[], object]) -> Outcome:
    """What a call of the library comes to: it ends, or raises one of our own errors."""
    try:
        call()
    except CompressError as fault:
        return Outcome(fault.exit_code)
    except Exception:  # noqa: BLE001 -- what the campaign looks for
        return Outcome(3, f"traceback: {traceback.format_exc()[-3000:]}")
    return Outcome(0)


def supervise(command: list[str], *, count: int, show: Callable[[str], None]) -> Tally:
    """Run the cases 0 to `count` − 1 of a part in children and tell what they came to.

    Args:
        command: Arguments of this package's script that run cases; `--first N` is added.
        count: How many.
        show: Takes a line of progress.
    """
    tally, done, begun = Tally(), 0, time.monotonic()
    while done < count:
        first = done
        words = [sys.executable, "-m", "tests.campaigns.fuzz", *command, "--first", str(done), "--count", str(count)]
        with tempfile.TemporaryFile() as last_words:
            child = subprocess.Popen(words, cwd=_REPOSITORY, stdout=subprocess.PIPE, stderr=last_words)
            for told in _lines_of(child):
                done = told["case"] + 1
                tally.codes[told["code"]] += 1
                if told["violation"]:
                    tally.violations.append((told["case"], told["violation"]))
                    show(f"case {told['case']}: {told['violation']}")
                if done % 1000 == 0:
                    show(
                        f"{done} of {count} after {time.monotonic() - begun:.0f} s, {len(tally.violations)} violations"
                    )
            child.kill()
            code = child.wait()
            last_words.seek(0)
            said = last_words.read()[-2000:].decode(errors="replace")
        if done < count:  # the child came to an end in the middle of a case
            if code == 1 and done == first:
                raise SystemExit(f"the campaign itself does not run: {said}")
            what = f"hang: {said}" if code == -signal.SIGKILL else f"the process ended with {code}: {said}"
            tally.violations.append((done, what))
            tally.codes[code] += 1
            show(f"case {done}: {what}")
            done += 1
    return tally


def serve(first: int, count: int, case: Callable[[int], Outcome]) -> None:
    """Run cases in this process, one line of JSON on standard output for each."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    resource.setrlimit(resource.RLIMIT_DATA, (_MOST_MEMORY, _MOST_MEMORY))
    signal.signal(signal.SIGPROF, _too_long)
    for number in range(first, count):
        signal.setitimer(signal.ITIMER_PROF, MOST_CPU_S)
        try:
            outcome = case(number)
        except Hang:
            outcome = Outcome(3, f"hang: {traceback.format_exc()[-3000:]}")
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        told = {"case": number, "code": outcome.code, "violation": outcome.violation}
        answers.write(json.dumps(told) + "\n")
        answers.flush()


def _too_long(_number: int, _frame: FrameType | None) -> NoReturn:
    raise Hang


def _lines_of(child: subprocess.Popen[bytes]) -> Iterator[Mapping[str, Any]]:
    """What a child tells, until it ends, or says nothing for more CPU than a case may take."""
    assert child.stdout is not None
    waited_from, used, allowed = time.monotonic(), _cpu_s(child.pid), 60.0  # importing torch takes some
    pending = b""
    while True:
        ready, _, _ = select.select([child.stdout], [], [], 1.0)
        if ready:
            part = os.read(child.stdout.fileno(), 1 << 16)
            if not part:
                return
            *lines, pending = (pending + part).split(b"\n")
            yield from map(json.loads, lines)
            waited_from, used, allowed = time.monotonic(), _cpu_s(child.pid), 2 * MOST_CPU_S
        elif _cpu_s(child.pid) - used > allowed or time.monotonic() - waited_from > _SLOW_TO_START_S:
            return


def _cpu_s(pid: int) -> float:
    """Seconds of CPU that a process has used; 0 for one that has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
