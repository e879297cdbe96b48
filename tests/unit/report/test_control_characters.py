"""No form of the report holds a character that commands a terminal or turns text around, whatever a class is called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from plotly.offline import get_plotlyjs

from compressor.plain_text import printable
from compressor.report import card, html, markdown
from compressor.report.facts import ReportData

NAME = "\x1b]0;owned\x07\x9b31m\u202etac\u2066"
SHOWN = r"\x1b]0;owned\x07\x9b31m\u202etac\u2066"


@pytest.fixture
def turned_around(make_run: Callable[..., Any]) -> ReportData:
    from compressor.report.collect import collect
    from tests.unit.report.conftest import DIGITS

    found = collect(make_run(classes=[NAME, *DIGITS[1:]]))
    return replace(found, run=NAME, command=f"compress run {NAME}")


@pytest.mark.parametrize("render", [markdown.render, card.render, html.render])
def test_names_are_shown_as_what_they_are(render: Callable[[ReportData], str], turned_around: ReportData) -> None:
    text = render(turned_around).replace(get_plotlyjs(), "")
    strange = {char for char in text if printable(char) != char}
    assert not strange
    assert SHOWN in text.replace("\\\\", "\\").replace("\\]", "]")
