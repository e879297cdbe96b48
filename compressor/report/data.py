"""The report as plain JSON, for programs.

Not covered: the single latencies and the pictures, which stay in the bench artifact.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

from compressor import plain_json
from compressor.report.facts import ReportData

SCHEMA = 3

KEPT_IN_THE_BENCH = ("samples_ms", "blocks")


def as_json(data: ReportData) -> dict[str, Any]:
    """Everything the report shows; shares in 0–1, milliseconds, bytes. NaN and infinities become null."""
    without_pictures = replace(data, worst=None if data.worst is None else replace(data.worst, pictures=None))
    content: dict[str, Any] = plain_json.plain(asdict(without_pictures))
    timings = [*content["timings"], *(timing for device in content["devices"] for timing in device["timings"])]
    for timing in timings:
        for name in KEPT_IN_THE_BENCH:
            del timing[name]
    if content["worst"] is not None:
        del content["worst"]["pictures"]
    return {"schema": SCHEMA, **content}


def render(data: ReportData) -> str:
    """The same as text, ending in a newline."""
    return json.dumps(as_json(data), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
