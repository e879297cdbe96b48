"""Text of unknown origin as a terminal, or a reader of plain text, may be given it.

Names of classes, tensors and files, answers of devices and messages of other programs may hold characters that move the
cursor, change colors, rename the window, or turn the order of what follows around. They are shown as what they are.
"""

from __future__ import annotations

import re

# C0 without tab and line feed, DEL, C1; marks that change the direction of text; separators of lines and paragraphs;
# halves of pairs, which no encoding takes; the byte order mark; and tags, which nobody sees.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff\U000e0000-\U000e007f]"
)
_LINES = re.compile("[\t\n]")


def printable(text: str) -> str:
    """The text with control characters written as `\\x1b`; tabs and ends of lines stay."""
    return _CONTROL.sub(_written, text.replace("\r\n", "\n"))


def on_one_line(text: str) -> str:
    """As `printable`, with tabs and line feeds written out as well: for a cell of a table, or a name."""
    return _LINES.sub(_written, printable(text))


def _written(found: re.Match[str]) -> str:
    return {"\t": "\\t", "\n": "\\n"}.get(found[0]) or _number(ord(found[0]))


def _number(code: int) -> str:
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
