"""What is written where."""

from __future__ import annotations

import json
import logging
import signal
import sys
import time
import warnings
from collections.abc import Iterator

import pytest

from compressor import console
from compressor.errors import BudgetMissedError, InputError, InterruptedRunError, ProcessLostError


@pytest.fixture(autouse=True)
def _loud_again() -> Iterator[None]:
    yield
    console._state.quiet = False  # `be_quiet` would ask which process this is, which a test may have changed


def test_results_go_out_and_notes_to_the_side(capsys: pytest.CaptureFixture[str]) -> None:
    console.show("a result [bold]")
    console.note("a note [1/2]")

    assert capsys.readouterr() == ("a result [bold]\n", "a note [1/2]\n")


def test_quiet_keeps_results_and_errors(capsys: pytest.CaptureFixture[str]) -> None:
    console.be_quiet()

    console.show("result")
    console.note("note")
    console.error(InputError("wrong"))

    assert capsys.readouterr() == ("result\n", "error: wrong\n")


def test_an_error_has_its_place_and_what_to_try(capsys: pytest.CaptureFixture[str]) -> None:
    console.error(InputError("no [loss] is called 'x'", where="distill.losses.0", hint="did you mean [kd]?"))

    assert capsys.readouterr().err == "error: distill.losses.0: no [loss] is called 'x'\n  try: did you mean [kd]?\n"


@pytest.mark.parametrize(
    ("fault", "word"), [(BudgetMissedError("slow"), "missed"), (InterruptedRunError("x"), "stopped")]
)
def test_what_is_no_error_is_not_called_one(fault: Exception, word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(fault, BudgetMissedError | InterruptedRunError)

    console.error(fault)

    assert capsys.readouterr().err.startswith(f"{word}: ")


def test_tables_show_brackets_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    console.table(["name", "p50 [ms]"], [["[red]net[/red]", 1.5]], title="latency [ms]")

    out = capsys.readouterr().out
    assert "latency [ms]" in out
    assert "p50 [ms]" in out
    assert "[red]net[/red]" in out


def test_columns_of_equal_name_are_judged_by_their_own_cells(capsys: pytest.CaptureFixture[str]) -> None:
    console.table(["x", "x"], [["12", "longer words"], ["1", "b"]])

    rows = [line.split("│") for line in capsys.readouterr().out.splitlines()[2:]]
    assert rows[1][0].startswith(" 1")
    assert rows[1][1].startswith(" b")


def test_json_holds_null_for_what_json_cannot_say(capsys: pytest.CaptureFixture[str]) -> None:
    console.as_json({"a": float("nan"), "b": [float("inf"), (1.5, -float("inf"))], "c": "é"})

    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [None, [1.5, None]], "c": "é"}


def test_training_prints_one_line_an_epoch_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with console.training("student", epochs=2, steps=4) as progress:
        progress.step(epoch=0, done=1, of=4, losses={"kd": 1.0}, images_per_s=10)
        progress.epoch(epoch=0, of=2, losses={"kd": 1.0}, score="val accuracy 50 %", images_per_s=10)

    assert capsys.readouterr() == ("", "student  epoch 1/2  kd 1.0000  val accuracy 50 %  10 samples/s  0 s\n")


def test_training_is_silent_when_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    console.be_quiet()

    with console.training("student", epochs=1, steps=1) as progress:
        progress.step(epoch=0, done=1, of=1, losses={}, images_per_s=1)
        progress.epoch(epoch=0, of=1, losses={}, score="", images_per_s=1)

    assert capsys.readouterr() == ("", "")


def test_training_draws_a_bar_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")

    with console.training("student", epochs=1, steps=2) as progress:
        progress.step(epoch=0, done=1, of=2, losses={"kd": 1.0}, images_per_s=10)
        progress.epoch(epoch=0, of=1, losses={"kd": 1.0}, score="[1]", images_per_s=10)

    assert "student  epoch 1/1  kd 1.0000  [1]  10 samples/s" in capsys.readouterr().err


HOSTILE = "\x1b]0;owned\x07\x9b31m\u202etac"
SHOWN = r"\x1b]0;owned\x07\x9b31m\u202etac"


def show_a_table() -> None:
    console.table([HOSTILE], [[HOSTILE]], title=HOSTILE)


def train_a_little() -> None:
    with console.training(HOSTILE, epochs=1, steps=1) as progress:
        progress.step(epoch=0, done=1, of=1, losses={HOSTILE: 1.0}, images_per_s=10)
        progress.epoch(epoch=0, of=1, losses={HOSTILE: 1.0}, score=HOSTILE, images_per_s=10)


def warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        sys.stderr.write(warnings.formatwarning(HOSTILE, UserWarning, "file.py", 1))


def log() -> None:
    assert logging.lastResort is not None
    logging.lastResort.handle(logging.LogRecord("any", logging.WARNING, "file.py", 1, "%s", (HOSTILE,), None))


@pytest.mark.parametrize(
    ("say", "times"),
    [
        (lambda: console.show(HOSTILE), 1),
        (lambda: console.note(HOSTILE), 1),
        (lambda: console.error(InputError(HOSTILE, where=HOSTILE, hint=HOSTILE)), 3),
        (lambda: console.complain(HOSTILE), 1),
        (show_a_table, 3),
        (train_a_little, 3),
        (warn, 1),
        (log, 1),
    ],
)
def test_no_name_or_message_of_others_commands_the_terminal(say, times, capsys, monkeypatch):
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    before = logging.lastResort.formatter
    console.hold_libraries_to_it()
    try:
        say()
    finally:
        logging.lastResort.setFormatter(before)
    told = "".join(capsys.readouterr())
    assert told.count(SHOWN) == times
    assert not set(told) & set("\x1b\x07\x9b\u202e")


def test_a_bar_on_a_terminal_shows_names_as_they_are(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "300")
    train_a_little()
    told = "".join(capsys.readouterr())
    assert SHOWN in told
    assert not set(told) & set("\x07\x9b\u202e")
    assert "\x1b]" not in told


def test_json_for_programs_stays_json_whatever_a_name_holds(capsys):
    console.as_json({HOSTILE: HOSTILE})
    told = capsys.readouterr().out
    assert json.loads(told) == {HOSTILE: HOSTILE}
    assert not set(told) & set("\x1b\x07\x9b\u202e")


@pytest.fixture
def as_one_of_two(monkeypatch):
    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setattr(console, "_MAIN_SPEAKS_S", 0.2)
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("as_one_of_two")
def test_a_fault_that_only_another_process_has_is_told_by_it_when_the_main_one_has_had_time(capsys):
    began = time.monotonic()
    console.error(InputError("no such file", where="data"))
    assert time.monotonic() - began >= 0.2
    assert "error: data: no such file" in capsys.readouterr().err


@pytest.mark.usefixtures("as_one_of_two")
def test_a_lost_process_is_told_at_once_and_a_stop_by_the_main_process_alone(capsys, monkeypatch):
    monkeypatch.setattr(console, "_MAIN_SPEAKS_S", 60.0)
    console.error(InterruptedRunError("by SIGTERM"))
    assert capsys.readouterr().err == ""
    console.error(ProcessLostError("another has gone"))
    assert "error: another has gone" in capsys.readouterr().err
