"""What a terminal is given."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from compressor.plain_text import on_one_line, printable

MOVES_TEXT = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\x9b2J", "\\x9b2J"),
        ("bell\x07", "bell\\x07"),
        ("over\rwritten", "over\\x0dwritten"),
        ("gnp.\u202etac", "gnp.\\u202etac"),
        ("\udc9b", "\\udc9b"),
        ("\U000e0041", "\\U000e0041"),
        ("two\r\nlines\t1", "two\nlines\t1"),
        ("naïve 猫 שלום می‌خواهم 👩‍👩‍👧 −1 × µs", "naïve 猫 שלום می‌خواهم 👩‍👩‍👧 −1 × µs"),
    ],
)
def test_control_characters_are_written_out_and_words_are_not(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(shown) == shown


def test_no_control_character_of_unicode_passes() -> None:
    everything = "".join(map(chr, range(sys.maxunicode + 1)))
    left = [char for char in printable(everything) if unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp")]
    assert left == ["\t", "\n"]
    assert not set(MOVES_TEXT) & set(printable(everything))


def test_a_name_stays_on_its_line() -> None:
    assert on_one_line("cat\nerror:\tall is lost") == "cat\\nerror:\\tall is lost"
