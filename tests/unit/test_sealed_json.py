"""JSON with a checksum: what was changed is noticed, what only looks otherwise is not."""

from __future__ import annotations

import json

import pytest

from compressor import sealed_json

CONTENT = {"name": "ä", "score": 0.1, "list": [1, 2.5, None, True], "deep": {"b": {}, "a": float("nan")}}


def test_what_is_written_reads_back_without_its_checksum() -> None:
    found = sealed_json.read(sealed_json.text(CONTENT, indent=2, sort_keys=True))

    assert repr(found) == repr({name: CONTENT[name] for name in sorted(CONTENT)} | {"deep": found["deep"]})
    assert list(found["deep"]) == ["a", "b"]


def test_tuples_and_keys_that_are_no_text_are_read_as_json_has_them() -> None:
    assert sealed_json.read(sealed_json.text({"t": (1, 2), "keys": {3: "x"}})) == {"t": [1, 2], "keys": {"3": "x"}}


def test_any_flipped_bit_is_found_or_changes_nothing() -> None:
    text = sealed_json.text({"epoch": 3, "curve": [{"loss": 0.25}], "key": "abc"}, indent=1).encode()
    whole, found = sealed_json.read(text.decode()), 0
    for position in range(len(text)):
        for bit in range(8):
            changed = bytearray(text)
            changed[position] ^= 1 << bit
            try:
                assert sealed_json.read(changed.decode()) == whole
            except ValueError:
                found += 1
    assert found > 7 * len(text)


def test_another_layout_is_the_same_table() -> None:
    text = sealed_json.text(CONTENT, indent=2)

    assert sealed_json.read(json.dumps(json.loads(text), sort_keys=True)) is not None


@pytest.mark.parametrize("content", ["[1]", "1", "null", "", "{"])
def test_what_is_no_table_is_refused(content: str) -> None:
    with pytest.raises(ValueError, match=r"no table|Expecting"):
        sealed_json.read(content)


def test_a_table_without_a_checksum_is_taken_only_where_earlier_versions_wrote_none() -> None:
    assert sealed_json.read('{"a": 1}', required=False) == {"a": 1}
    with pytest.raises(ValueError, match="it has no checksum"):
        sealed_json.read('{"a": 1}')


@pytest.mark.parametrize("required", [True, False])
def test_a_checksum_that_does_not_fit_is_refused_in_any_case(required: bool) -> None:
    with pytest.raises(ValueError, match="changed after it was written"):
        sealed_json.read('{"a": 1, "checksum": "0"}', required=required)
