"""What the campaigns of hostile files share: each case in a child of its own, which may die, hang or run what it should not.

A child is a fork of this process, which has everything imported, so that a case costs milliseconds. What it prints goes to
a file; what became of it is told by its exit status: a `CompressError` is the sentence a user gets, anything else that is
raised would have been a traceback.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from compressor import trust
from compressor.errors import CompressError

LIMIT_S = 120
ROOM_BYTES = 2 << 30
_SLOW_S = 10
_READ, _REFUSED, _TRACEBACK = 40, 41, 42
_WORDS = {_READ: "read", _REFUSED: "refused with a sentence", _TRACEBACK: "a traceback"}


@dataclass
class Campaign:
    """Cases that were tried, and the promises that broke.

    Attributes:
        name: What is told at the end.
        scratch: A folder of its own, with a home for what is trusted.
    """

    name: str
    scratch: Path
    outcomes: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        (self.scratch / "home").mkdir(parents=True)
        os.environ["COMPRESS_HOME"] = str(self.scratch / "home")
        os.chdir(self.scratch)

    def attempt(self, case: str, read: Callable[[], object], *, untouched: Callable[[], str | None]) -> str:
        """Read something hostile in a child.

        Args:
            case: What it is, in words.
            read: What a command does with it.
            untouched: Asked afterwards; why something has happened that must not, or None.
        """
        began = time.monotonic()
        outcome, said = _in_a_child(read, self.scratch / "said.txt")
        if time.monotonic() - began > _SLOW_S:
            sys.stderr.write(f"slow ({time.monotonic() - began:.0f} s): {case}\n")
        self.outcomes[outcome] += 1
        if outcome not in (_WORDS[_READ], _WORDS[_REFUSED]):
            self.broken.append(f"{case}: {outcome}\n{said}")
        damage = untouched()
        if damage is not None:
            self.broken.append(f"{case}: {damage}")
        return outcome

    def must(self, holds: bool, case: str) -> None:
        """Note a promise that a case has shown to be broken, unless it holds."""
        if not holds:
            self.broken.append(case)

    def end(self, *, promise: str) -> NoReturn:
        """Print the one line, and end with 1 where a promise broke."""
        for each in self.broken[:20]:
            sys.stderr.write(f"BROKEN {each}\n")
        cases = sum(self.outcomes.values())
        counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(self.outcomes.items()))
        took = time.monotonic() - self.began
        sys.stdout.write(
            f"{self.name}: {cases} cases ({counts}); {len(self.broken)} broken promises ({promise}); {took:.0f} s\n"
        )
        sys.exit(1 if self.broken or not cases else 0)


def _in_a_child(read: Callable[[], object], said: Path) -> tuple[str, str]:
    child = os.fork()
    if child == 0:
        _run_and_leave(read, said)
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        time.sleep(0.002)
    else:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return f"a hang ({LIMIT_S} s)", ""
    told = said.read_text(encoding="utf-8", errors="replace")[-2000:]
    if os.WIFSIGNALED(status):
        return f"a crash by {signal.Signals(os.WTERMSIG(status)).name}", told
    return _WORDS.get(os.WEXITSTATUS(status), f"exit code {os.WEXITSTATUS(status)}"), told


def _run_and_leave(read: Callable[[], object], said: Path) -> NoReturn:
    """Never returns into the campaign: a child that did would go on with the cases of its parent."""
    ended = _TRACEBACK
    try:
        output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (used + ROOM_BYTES, used + ROOM_BYTES))
        trust.grant([])
        read()
        ended = _READ
    except CompressError as fault:
        sys.stderr.write(f"{fault}\n")
        ended = _REFUSED
    except SystemExit as left:
        ended = _READ if left.code in (None, 0) else _REFUSED if left.code in (1, 2) else int(str(left.code))
    except BaseException:  # noqa: BLE001 -- whatever a hostile file brings about is what is looked for
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(ended)


def command(*words: str) -> Callable[[], object]:
    """A command line, as the process of a user would run it."""

    def typed() -> None:
        from compressor.cli import main

        sys.argv = ["compress", *words]
        main.main()

    return typed


def intact(*files: Path) -> Callable[[], str | None]:
    """Whether files are as they are now; one that is not there must not appear. A file that changed is put back."""
    before = {file: file.read_bytes() if file.is_file() else None for file in files}

    def changed() -> str | None:
        found = None
        for file, content in before.items():
            now = file.read_bytes() if file.is_file() else None
            if now != content:
                found = f"{file.name} was written"
                file.write_bytes(content) if content is not None else file.unlink()
        return found

    return changed


def files_below(folder: Path) -> Iterator[Path]:
    """Every file in a folder."""
    yield from (file for file in sorted(folder.rglob("*")) if file.is_file() and not file.is_symlink())
