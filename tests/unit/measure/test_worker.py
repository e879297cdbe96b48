"""The worker's side of the conversation, spoken to directly."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from compressor.measure.worker import Job


@pytest.fixture
def job(tmp_path: Path) -> dict[str, object]:
    np.save(tmp_path / "inputs.npy", np.ones((4, 2), dtype=np.float32))
    (tmp_path / "table.json").write_text(json.dumps({"weights": [[1.0], [1.0]]}))
    made = Job(
        runtime="fake",
        path=str(tmp_path / "table.json"),
        threads=1,
        cpus=(),
        inputs=str(tmp_path / "inputs.npy"),
        batch=1,
        trusted=(),
    )
    return vars(made)


def converse(*lines: object) -> list[dict[str, object]]:
    """Send every line, close, and read what came back."""
    text = "".join(json.dumps(line) + "\n" for line in lines)
    command = [sys.executable, "-m", "compressor.measure.worker"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True, timeout=60)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_each_line_is_answered_in_turn_and_the_end_of_input_is_the_end(job: dict[str, object]) -> None:
    ready, timed, memory = converse(job, {"run": 3}, {"memory": True})

    assert set(ready) == {"load_ms", "first_ms", "describe", "memory_mb", "before_mb"}
    assert isinstance(timed["samples_ns"], list)
    assert [type(sample) for sample in timed["samples_ns"]] == [int] * 3
    assert set(memory) == {"memory_mb", "now_mb"}


def test_a_fault_of_ours_is_an_answer(job: dict[str, object]) -> None:
    (answer,) = converse({**job, "runtime": "fak"})

    assert answer == {
        "error": {
            "message": "no runtime is called 'fak'",
            "where": None,
            "hint": "did you mean 'fake'? (compress list runtimes)",
        }
    }
