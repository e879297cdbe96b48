"""The only module that writes to the terminal: tables, progress, JSON.

Results go to standard output; progress, notes and errors to standard error, so that `--json` output can be piped.
Whatever is shown passes `plain_text`, so that no name or message of others reaches the terminal as a command to it.
"""

from __future__ import annotations

import logging
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from compressor import plain_json, processes
from compressor.errors import CompressError, InterruptedRunError, ProcessLostError
from compressor.plain_text import on_one_line, printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

_MAIN_SPEAKS_S = 5.0  # by how much processes may come later to a fault that all of them have


@dataclass
class _State:
    quiet: bool = not processes.is_main()  # one process of a job talks for all
    has_written_json: bool = False


_state = _State()


def be_quiet(quiet: bool = True) -> None:
    """Silence progress and notes; errors and results still show."""
    _state.quiet = quiet or not processes.is_main()


def note(text: str) -> None:
    """One line of progress on standard error."""
    if not _state.quiet:
        _stderr().print(printable(text), highlight=False, markup=False, emoji=False, soft_wrap=True)


def first_few(names: Sequence[str], count: int) -> str:
    """The first of some names, and whether there are more."""
    return ", ".join(names[:count]) + (", ..." if len(names) > count else "")


def show(text: str) -> None:
    """One line of result on standard output."""
    if not processes.is_main():
        return
    _stdout().print(printable(text), highlight=False, markup=False, emoji=False, soft_wrap=True)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str | None = None) -> None:
    """A table of results on standard output; titles and cells are shown as they are, never as markup."""
    from rich.table import Table
    from rich.text import Text

    if not processes.is_main():
        return
    grid = Table(
        title=None if title is None else Text(on_one_line(title)), title_justify="left", show_edge=False, pad_edge=False
    )
    for index, column in enumerate(columns):
        numeric = bool(rows) and all(_looks_numeric(row[index]) for row in rows)
        grid.add_column(Text(on_one_line(column)), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        grid.add_row(*(Text(on_one_line(str(cell))) for cell in row))
    _stdout().print(grid)


def as_json(result: object) -> None:
    """A result as JSON on standard output; NaN and infinities become null, as JSON knows none."""
    if not processes.is_main():
        return
    _state.has_written_json = True
    sys.stdout.write(plain_json.text(result, indent=2, default=str) + "\n")


def has_written_json() -> bool:
    """Whether a result stands on standard output as JSON already."""
    return _state.has_written_json


def error(fault: CompressError) -> None:
    """A fault as one sentence, where it is, and the next thing to type.

    Of several processes the main one speaks for all. Another speaks of a lost process, which may be the main one, and of
    a fault that it alone has: where the main one has it too, the launcher ends the others before their turn comes.
    """
    from rich.text import Text

    if not processes.is_main() and not isinstance(fault, ProcessLostError):
        if isinstance(fault, InterruptedRunError):
            return  # all processes stop at once
        processes.wait_to_be_ended(_MAIN_SPEAKS_S)
    word, style = {1: ("missed", "bold yellow"), 130: ("stopped", "bold yellow")}.get(
        fault.exit_code, ("error", "bold red")
    )
    line = Text(f"{word}: ", style=style)
    line.append(printable(f"{fault.where}: {fault.message}" if fault.where else fault.message), style="default")
    _stderr().print(line, highlight=False, soft_wrap=True)
    if fault.hint:
        _stderr().print(Text(printable(f"  try: {fault.hint}"), style="dim"), highlight=False, soft_wrap=True)


def complain(text: str) -> None:
    """What is said of a command line that cannot be read, or of a fault that is nobody's: lines on standard error."""
    sys.stderr.write(printable(text))


def hold_libraries_to_it() -> None:
    """Let warnings and log messages that nobody else has a place for pass as everything else does."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(_Printable())
    unescaped = warnings.formatwarning
    warnings.formatwarning = lambda *args, **options: printable(unescaped(*args, **options))


class _Printable(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


class TrainingProgress(Protocol):
    """What the training loop tells whoever watches."""

    def step(self, *, epoch: int, done: int, of: int, losses: Mapping[str, float], images_per_s: float) -> None:
        """A step is done."""
        ...

    def epoch(self, *, epoch: int, of: int, losses: Mapping[str, float], score: str, images_per_s: float) -> None:
        """An epoch is done; `score` is the validation metric in words, or nothing."""
        ...


@contextmanager
def training(title: str, *, epochs: int, steps: int, first_step: int = 0) -> Iterator[TrainingProgress]:
    """Progress of a training run: a live bar on a terminal, one line an epoch elsewhere, nothing when quiet."""
    if _state.quiet:
        yield _Silent()
    elif _stderr().is_terminal:
        from rich import progress as rich
        from rich.table import Column

        bar = rich.Progress(
            rich.TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
            rich.BarColumn(bar_width=10),
            rich.TimeRemainingColumn(),
            rich.TextColumn("{task.fields[status]}", markup=False, table_column=Column(no_wrap=True)),
            console=_stderr(),
            transient=True,
        )
        with bar:
            task = bar.add_task(on_one_line(title), total=steps, completed=first_step, status="")
            yield _Bar(bar, task, title, epochs)
    else:
        yield _Lines(title)


class _Silent:
    def step(self, *, epoch: int, done: int, of: int, losses: Mapping[str, float], images_per_s: float) -> None:
        pass

    def epoch(self, *, epoch: int, of: int, losses: Mapping[str, float], score: str, images_per_s: float) -> None:
        pass


@dataclass
class _Lines:
    title: str
    started: float = field(default_factory=time.monotonic)
    first: int | None = None

    def step(self, *, epoch: int, done: int, of: int, losses: Mapping[str, float], images_per_s: float) -> None:
        pass

    def epoch(self, *, epoch: int, of: int, losses: Mapping[str, float], score: str, images_per_s: float) -> None:
        elapsed = time.monotonic() - self.started
        self.first = epoch if self.first is None else self.first
        left = elapsed / (epoch + 1 - self.first) * (of - epoch - 1)
        then = f", about {left:.0f} s left" if left >= 1 else ""
        note(f"{self.title}  {_epoch_line(epoch, of, losses, score, images_per_s)}  {elapsed:.0f} s{then}")


@dataclass
class _Bar:
    bar: Progress
    task: TaskID
    title: str
    epochs: int
    score: str = ""

    def step(self, *, epoch: int, done: int, of: int, losses: Mapping[str, float], images_per_s: float) -> None:
        parts = " ".join(f"{name} {value:.3f}" for name, value in losses.items())
        shown = [f"{epoch + 1}/{self.epochs}", parts, self.score, f"{images_per_s:.0f} samples/s"]
        status = on_one_line("  ".join(part for part in shown if part))
        self.bar.update(self.task, completed=done, total=of, status=status)

    def epoch(self, *, epoch: int, of: int, losses: Mapping[str, float], score: str, images_per_s: float) -> None:
        self.score = score
        line = _epoch_line(epoch, of, losses, score, images_per_s)
        told = printable(f"{self.title}  {line}")
        self.bar.console.print(told, highlight=False, markup=False, emoji=False, soft_wrap=True)


def _epoch_line(epoch: int, of: int, losses: Mapping[str, float], score: str, images_per_s: float) -> str:
    parts = "  ".join(f"{name} {value:.4f}" for name, value in losses.items())
    shown = [f"epoch {epoch + 1}/{of}", parts, score, f"{images_per_s:.0f} samples/s"]
    return "  ".join(part for part in shown if part)


def _stdout() -> Console:
    from rich.console import Console

    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else 140)


def _stderr() -> Console:
    from rich.console import Console

    return Console(file=sys.stderr, stderr=True)


def _looks_numeric(cell: object) -> bool:
    text = str(cell).strip()
    return not text or text[0] in "0123456789-+−–×<>.±"
