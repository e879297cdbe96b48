"""A signal asks the loop to stop; only where nobody passes signals on does a second one kill."""

from __future__ import annotations

import os
import signal

import pytest

from compressor.errors import ProcessLostError
from compressor.training.signals import stop_requests


class KilledError(Exception):
    pass


@pytest.fixture
def kills_as_usual():
    """SIGTERM raises `KilledError`, as the command line's own handler raises an error of ours."""

    def handler(_number, _frame):
        raise KilledError

    before = signal.signal(signal.SIGTERM, handler)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def as_one_of_two(monkeypatch):
    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")


@pytest.mark.usefixtures("kills_as_usual")
def test_a_second_signal_kills_one_process():
    with stop_requests() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.signal_name == "SIGTERM"
        with pytest.raises(KilledError):
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.usefixtures("kills_as_usual", "as_one_of_two")
def test_a_signal_that_comes_twice_through_the_launcher_is_one_signal():
    with stop_requests() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.signal_name == "SIGTERM"
    with pytest.raises(KilledError):
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.usefixtures("kills_as_usual", "as_one_of_two")
def test_what_is_left_of_a_job_that_lost_a_process_is_not_ended_before_it_has_said_so():
    with pytest.raises(ProcessLostError, match="gone"), stop_requests():
        raise ProcessLostError("gone")
    os.kill(os.getpid(), signal.SIGTERM)
