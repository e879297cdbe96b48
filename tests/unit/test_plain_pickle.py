"""Pickles read as data: nothing is imported or called, and no file makes the process die."""

from __future__ import annotations

import collections
import os
import pickle
import time

import numpy as np
import pytest

from compressor import plain_pickle
from compressor.plain_pickle import DamagedPickleError, Made, Name

PLAIN = {
    "numbers": [1, -1, 2**40, 2**200, 0.5, float("inf"), True, False, None],
    "texts": ["a", "ü", "x" * 300, b"raw", b"y" * 300],
    "tuples": ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)),
    ("a", 1): collections.OrderedDict(b=1, a=2),
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values_are_read_as_python_reads_them(protocol: int) -> None:
    assert plain_pickle.read_bytes(pickle.dumps(PLAIN, protocol=protocol)).value == PLAIN


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_what_is_no_plain_value_becomes_a_record_of_its_name(protocol: int) -> None:
    read = plain_pickle.read_bytes(pickle.dumps([np.float64(2), np.arange(3)], protocol=protocol))

    assert isinstance(read.value, list)
    assert [type(each) for each in read.value] == [Made, Made]
    assert any(name.startswith("numpy") for name in read.names)


def test_shared_values_stay_shared() -> None:
    row = [1]

    read = plain_pickle.read_bytes(pickle.dumps([row, row])).value

    assert isinstance(read, list)
    assert read[0] is read[1]


def test_byte_strings_of_python_2_are_text_unless_bytes_are_asked_for() -> None:
    assert plain_pickle.read_bytes(b"U\2\xc3\xbc.").value == "ü"
    assert plain_pickle.read_bytes(b"U\2\xc3\xbc.", encoding=None).value == b"\xc3\xbc"


@pytest.mark.parametrize(
    "content",
    [
        b"cos\nsystem\n(S'exit 7'\ntR.",
        b"(S'exit 7'\nios\nsystem\n.",
        b"(cos\nsystem\nS'exit 7'\no.",
        b"\x80\4\x8c\2os\x8c\6system\x93\x8c\6exit 7\x85R.",
        b"\x80\2cos\nsystem\nU\6exit 7\x85\x81.",
        b"\x80\4cos\nsystem\n)}\x92.",
    ],
    ids=["reduce", "inst", "obj", "stack_global", "newobj", "newobj_ex"],
)
def test_no_way_of_calling_calls_anything(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "system", lambda _: pytest.fail("it was called"))

    read = plain_pickle.read_bytes(content)

    assert isinstance(read.value, Made)
    assert read.names == ("os.system",)


def test_a_state_is_noted_and_not_restored() -> None:
    crafted = b"cnumpy\ndtype\nU\2V8K\0K\1\x87R(K\3U\1|N)J\x41\x41\x41\x41K\1K\1K\x3ftb."

    found = plain_pickle.read_bytes(crafted).value

    assert isinstance(found, Made)
    assert found.state == (3, "|", None, (), 0x41414141, 1, 1, 0x3F)


DEEP = 300_000
HOSTILE = {
    "tuples in tuples": b")" + b"\x85" * DEEP + b".",
    "lists in lists": b"]" * DEEP + b"a" * (DEEP - 1) + b".",
    "a key of nested tuples": b"})" + b"\x85" * DEEP + b"K\1s.",
    "calls in calls": b"cx\ny\n)R" + b"q\0cx\ny\nh\0\x85R" * DEEP + b".",
    "deep by its second way": b"](" + b"]" * 60 + b"a" * 59 + b"q\1" + b"]" * 60 + b"h\1" + b"a" * 60 + b"e.",
    "a list that holds itself": b"]q\0h\0a.",
    "a dictionary that holds itself": b"}q\0U\1ah\0s.",
    "a tuple that is its own state": b"cx\ny\n)Rq\0h\0\x85b.",
    "more bytes than there are": b"\x8e" + (1 << 62).to_bytes(8, "little") + b"x.",
    "more text than there is": b"X\xff\xff\xff\x7fx.",
    "a negative length": b"T\xff\xff\xff\xffx.",
    "a huge integer": b"\x8b" + (1 << 16).to_bytes(4, "little") + b"\x7f" * (1 << 16) + b".",
    "many digits": b"L" + b"9" * 4000 + b"L\n.",
    "a line without an end": b"S'" + b"x" * (1 << 17),
    "a huge integer as a key": b"}\x8a\x10" + b"\x7f" * 16 + b"K\1s.",
    "a list as a key": b"}]K\1s.",
    "a memo that was never filled": b"h\7.",
    "an empty stack": b".",
    "a mark for a value": b"(.",
    "nothing to the mark": b"t.",
    "a call of a number": b"K\1)R.",
    "items for a number": b"K\1K\1a.",
    "a key without a value": b"}(K\1u.",
    "a state for a list": b"]K\1b.",
    "an extension": b"\x82\1.",
    "a buffer": b"\x97.",
    "no end": b"K\1",
    "nothing": b"",
    "an unknown opcode": b"\xff.",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickles_are_refused(name: str) -> None:
    with pytest.raises(DamagedPickleError):
        plain_pickle.read_bytes(HOSTILE[name])


def test_one_string_is_not_encoded_a_million_times() -> None:
    text = b"X" + (1 << 20).to_bytes(4, "little") + b"x" * (1 << 20) + b"q\0"
    again = b"c_codecs\nencode\nh\0X\6\0\0\0latin1\x86R0"

    with pytest.raises(DamagedPickleError, match="steps"):
        plain_pickle.read_bytes(text + again * 20 + b".")


def test_tuples_that_repeat_one_another_cost_no_more_than_their_steps() -> None:
    began = time.monotonic()

    read = plain_pickle.read_bytes(b")" + b"2\x86" * 90 + b".")

    assert isinstance(read.value, tuple)
    assert time.monotonic() - began < 10


def test_a_record_does_not_write_out_what_it_holds() -> None:
    read = plain_pickle.read_bytes(b"cx\ny\n)R" + b"q\0cx\ny\nh\0h\0\x86R" * 30 + b".")

    assert len(repr(read.value)) < 200


def test_names_are_their_own() -> None:
    assert isinstance(plain_pickle.read_bytes(b"cx\ny\n.").value, Name)
