"""Records come back from JSON as they were, and whatever is wrong with one is a sentence that names the place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from compressor.plain_records import as_json, described, read


@dataclass(frozen=True)
class Part:
    name: str
    size: int
    share: float | None = field(default=None, metadata=described(absent=lambda made: made.share is None))


@dataclass(frozen=True)
class Whole:
    parts: tuple[Part, ...]
    since: str = field(metadata=described(older=lambda: "always"))
    ms: float = field(metadata=described(positive=True))
    ends: tuple[float, float] | None
    metrics: Mapping[str, float]
    calm: bool
    anything: Mapping[str, Any]
    apart: Any = field(default=None, metadata=described(kept_apart=True))


def written() -> dict[str, Any]:
    """A whole with everything in it."""
    return {
        "parts": [{"name": "a", "size": 3}, {"name": "b", "size": 4, "share": 0.5}],
        "since": "today",
        "ms": 2.5,
        "ends": [1.0, 2.0],
        "metrics": {"accuracy": 0.9},
        "calm": True,
        "anything": {"a": [1, None, "b"]},
    }


def test_what_is_written_is_what_was_read_with_the_same_keys_in_the_same_order() -> None:
    assert json.dumps(as_json(read(Whole, written()))) == json.dumps(written())


def test_a_whole_record_has_every_field_but_those_that_are_kept_apart() -> None:
    told = as_json(read(Whole, written()), whole=True)

    assert told["parts"][0] == {"name": "a", "size": 3, "share": None}
    assert "apart" not in told


def test_an_older_file_lacks_a_field_that_whoever_makes_the_record_must_state() -> None:
    older = {name: value for name, value in written().items() if name != "since"}

    assert read(Whole, older).since == "always"


def test_keys_of_a_later_version_are_left_aside() -> None:
    assert read(Whole, written() | {"later": 1}) == read(Whole, written())


def test_a_metric_that_could_not_be_computed_is_not_there() -> None:
    assert read(Whole, written() | {"metrics": {"r2": None, "mae": 1}}).metrics == {"mae": 1.0}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"parts": [{"name": "a"}]}, r"^parts\[0\] lacks 'size'$"),
        ({"parts": [{"name": 5, "size": 3}]}, r"^parts\[0\].name is 5, not text$"),
        ({"parts": [{"name": "a", "size": 3.5}]}, r"^parts\[0\].size is 3.5, not a whole number$"),
        ({"parts": [{"name": "a", "size": True}]}, r"^parts\[0\].size is True, not a whole number$"),
        ({"parts": {"name": "a"}}, r"^parts is .*, not a list$"),
        ({"parts": ["a"]}, r"^parts\[0\] is 'a', not a table$"),
        ({"ms": 0}, "^ms is 0, not above 0$"),
        ({"ms": None}, "^ms is None, not a number$"),
        ({"ms": float("nan")}, "^ms is nan, not a number$"),
        ({"ends": [1.0]}, "^ends has 1 entries, not 2$"),
        ({"ends": [1.0, "2"]}, r"^ends\[1\] is '2', not a number$"),
        ({"metrics": {"accuracy": "high"}}, "^metrics.accuracy is 'high', not a number$"),
        ({"metrics": []}, r"^metrics is \[\], not a table$"),
        ({"calm": "yes"}, "^calm is 'yes', not true or false$"),
    ],
)
def test_what_is_wrong_is_one_sentence_with_the_place(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read(Whole, written() | changed)


def test_a_list_is_no_record() -> None:
    with pytest.raises(ValueError, match=r"^it is \[\], not a table$"):
        read(Whole, [])
