"""Tests of `compressor.report.write`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from compressor import artifact
from compressor.errors import UnknownNameError
from compressor.report.write import key_for, write

if TYPE_CHECKING:
    from tests.unit.report.conftest import MakeRun


def test_the_report_is_an_artifact_with_every_format(make_run: MakeRun, tmp_path: Path) -> None:
    bench = make_run()
    report = write(bench, tmp_path / "runs" / "digits" / "report")
    assert sorted(report.manifest.files) == ["report.card.md", "report.html", "report.json", "report.md"]
    assert (report.manifest.kind, report.manifest.stage, report.manifest.role) == ("report", "report", "report")
    assert report.parent("bench") == artifact.read(bench.path)
    report.verify()


def test_only_the_asked_formats_are_written(make_run: MakeRun, tmp_path: Path) -> None:
    report = write(make_run(), tmp_path / "report", formats=("md",))
    assert list(report.manifest.files) == ["report.md"]


def test_an_unknown_format_is_refused_before_anything_is_written(make_run: MakeRun, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"no report format is called 'htm'.*did you mean 'html'"):
        write(make_run(), tmp_path / "report", formats=("htm",))
    assert not (tmp_path / "report").exists()


def test_the_key_depends_on_the_formats_and_not_on_their_order(make_run: MakeRun) -> None:
    bench = make_run()
    assert key_for(bench, formats=("md", "json")) == key_for(bench, formats=("json", "md"))
    assert key_for(bench, formats=("md",)) != key_for(bench)


def test_names_that_are_no_valid_text_do_not_stop_the_report(make_run: MakeRun, tmp_path: Path) -> None:
    report = write(make_run(classes=["\udc80", *"123456789"]), tmp_path / "report")
    assert report.file("report.html").read_text(encoding="utf-8")
