"""The report as plain JSON, for programs.

Not covered: the single latencies and the pictures, which stay in the bench artifact.
"""

from __future__ import annotations

import json
from typing import Any

from compressor import plain_json
from compressor.plain_records import as_json as of_record
from compressor.report.facts import ReportData

SCHEMA = 3


def as_json(data: ReportData) -> dict[str, Any]:
    """Everything the report shows; shares in 0–1, milliseconds, bytes. NaN and infinities become null."""
    return {"schema": SCHEMA, **plain_json.plain(of_record(data, whole=True))}


def render(data: ReportData) -> str:
    """The same as text, ending in a newline."""
    return json.dumps(as_json(data), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
