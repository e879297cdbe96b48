"""JSON that anyone may have written ends in a value or in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from compressor import plain_json


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[" * 100_000, "nested deeper than 64 levels"),
        (b'{"a":' * 70 + b"1" + b"}" * 70, "nested deeper than 64 levels"),
        (b'{"seed": ' + b"9" * 5000 + b"}", "a whole number of thousands of digits"),
        (b'{"seed": 99999999999999999999}', "a whole number of more than 64 bits"),
        (b'{"name": "\xff"}', r"no UTF-8 text \(byte 10\)"),
        (b"{", "Expecting property name"),
        (b"", "Expecting value"),
    ],
)
def test_what_is_beyond_all_measure_is_one_sentence(content: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        plain_json.parse(content)


@pytest.mark.parametrize("word", ["Infinity", "-Infinity", "NaN", "1e999"])
def test_numbers_are_finite_where_they_must_be(word: str) -> None:
    plain_json.parse(f'{{"p50_ms": {word}}}')
    with pytest.raises(ValueError, match="a number that is not finite"):
        plain_json.parse(f'{{"p50_ms": {word}}}', finite=True)


def test_no_more_is_read_of_a_file_than_may_be_in_it(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(f'"{"x" * 2**20}"')

    with pytest.raises(ValueError, match="larger than the 1 MB that are read of such a file"):
        plain_json.read(tmp_path / "a.json", most_bytes=2**20)
    with pytest.raises(ValueError, match="larger than the 1 MB"):
        plain_json.read(Path("/dev/zero"), most_bytes=2**20)


def test_what_was_written_reads_back_equal(tmp_path: Path) -> None:
    value = {"a": [1, 2.5, None, True, "ü"], "b": {"c": 2**64 - 1}}
    (tmp_path / "a.json").write_text(plain_json.text(value))

    assert plain_json.read(tmp_path / "a.json") == value
