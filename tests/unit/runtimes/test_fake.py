"""The fake runtime: a table, a stated time, and refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from compressor.errors import MeasurementError, ModelError
from compressor.runtimes.fake import Fake
from tests.named import predicted


def test_it_takes_the_stated_time_for_each_call(tmp_path: Path) -> None:
    table = tmp_path / "table.json"
    table.write_text(json.dumps({"weights": [[1.0], [2.0]], "ms_per_call": 3.0}))
    slept: list[float] = []
    fake = Fake(sleep=slept.append)
    fake.load(table)

    answer = predicted(fake, np.array([[1.0, 1.0]]))

    assert answer.tolist() == [[3.0]]
    assert slept == [0.003]


def test_a_given_answer_needs_no_file() -> None:
    fake = Fake(answer=lambda inputs: np.zeros((len(inputs), 2), dtype=np.float32))

    assert predicted(fake, np.ones((3, 1))).shape == (3, 2)


@pytest.mark.parametrize(
    "text",
    [
        "not json",
        "[]",
        "{}",
        '{"weights": [[1.0], [1.0, 2.0]]}',
        '{"weights": [[1.0]], "ms_per_call": "soon"}',
        '{"weights": [[1.0]], "ms_per_call": null}',
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, text: str) -> None:
    table = tmp_path / "table.json"
    table.write_text(text)

    with pytest.raises(ModelError, match="not a table for the fake runtime"):
        Fake().load(table)


def test_a_table_that_is_a_plain_row_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "table.json"
    table.write_text('{"weights": [1.0, 2.0]}')

    with pytest.raises(ModelError, match=r"shape \[2\]"):
        Fake().load(table)


def test_samples_that_do_not_fit_the_table_are_refused(tmp_path: Path) -> None:
    table = tmp_path / "table.json"
    table.write_text('{"weights": [[1.0], [2.0]]}')
    fake = Fake()
    fake.load(table)

    with pytest.raises(MeasurementError, match="samples have 3 numbers, the table has 2 rows"):
        predicted(fake, np.ones((1, 3)))
