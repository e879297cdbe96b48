"""Tests of `compressor.report.markdown`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from compressor.report import markdown
from compressor.report.collect import collect
from compressor.report.facts import ReportData

if TYPE_CHECKING:
    from tests.unit.report.conftest import MakeRun


def test_the_text_opens_with_the_answer(data: ReportData) -> None:
    title, _, sentence, _, verdict = markdown.render(data).splitlines()[:5]
    assert title == "## digits: teacher → student"
    assert sentence == data.headline.sentence
    assert verdict.startswith(f"✅ **The budget is met.** {data.headline.gain_sentence}")


def test_every_row_of_a_table_has_as_many_cells_as_its_head(hostile_data: ReportData) -> None:
    tables = [block for block in markdown.render(hostile_data).split("\n\n") if block.startswith("|")]
    assert len(tables) >= 5
    for table in tables:
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(widths) == 1


def test_hostile_names_are_inert(hostile_data: ReportData) -> None:
    text = markdown.render(hostile_data)
    assert "<img" not in text
    assert "&lt;img src=x onerror=alert(1)&gt;" in text


def test_a_missing_control_is_said(make_run: MakeRun) -> None:
    text = markdown.render(collect(make_run(roles=("teacher", "student"))))
    assert "### What is not here" in text
    assert "no control was measured" in text


def test_the_command_is_in_a_fence_it_cannot_leave(make_run: MakeRun) -> None:
    bench = make_run()
    (bench.path.parent / "recipe.toml").write_text('name = "digits"\n')
    assert "```sh\ncompress run runs/digits/recipe.toml\n```" in markdown.render(collect(bench))
