"""Tests of `compressor.report.data`."""

from __future__ import annotations

import json
from dataclasses import replace

from compressor.report import data as json_format
from compressor.report.facts import ReportData


def test_the_json_has_a_schema_and_the_headline(data: ReportData) -> None:
    content = json.loads(json_format.render(data))
    assert content["schema"] == 3
    assert content["headline"]["student"] == 0.9741
    assert len(content["candidates"]) == 3
    assert len(content["links"]) == 7


def test_single_latencies_stay_in_the_bench(data: ReportData) -> None:
    timings = json_format.as_json(data)["timings"]
    assert timings
    assert not any("samples_ms" in timing or "blocks" in timing for timing in timings)


def test_numbers_that_json_cannot_hold_become_null(data: ReportData) -> None:
    odd = replace(data, machine={"memory_gb": float("inf")})
    assert json.loads(json_format.render(odd))["machine"] == {"memory_gb": None}
