"""The published schema is the one the code derives, and every report fits it."""

from __future__ import annotations

import json
from dataclasses import replace

import jsonschema
import numpy as np
import pytest

from compressor.measure.record import (
    Interference,
    Operator,
    OperatorTimes,
    Paired,
    ReliabilityBin,
    Worst,
    WorstSample,
)
from compressor.report import data as json_format
from compressor.report import schema
from compressor.report.facts import ReportData
from tests import records


def test_what_is_published_is_what_the_facts_say() -> None:
    published = schema.published().read_text(encoding="utf-8")

    assert published == schema.as_text(), "python -m compressor.report.schema > " + str(schema.published().name)


def test_a_report_fits(data: ReportData) -> None:
    jsonschema.Draft202012Validator.check_schema(schema.schema())
    jsonschema.validate(json.loads(json_format.render(data)), schema.schema())


def test_a_report_with_everything_in_it_fits(data: ReportData) -> None:
    candidate = data.candidates[-1]
    entry = replace(
        candidate.accuracy[0],
        reliability=(ReliabilityBin(0.0, 0.1, 5, 0.05, 0.2),),
        paired=(Paired("teacher", 3, 1, -0.1, -0.2, 0.0, 0.6),),
        confusion=((3, 1), (0, 4)),
        metrics={"accuracy": float("nan")},
    )
    full = replace(
        data,
        candidates=(*data.candidates[:-1], replace(candidate, accuracy=(entry,))),
        curves=(records.curve_point("student", profile="server", batch=8),),
        operators=(OperatorTimes("student", "ort_cpu", "edge", (Operator("a", "Conv", "CPU", 0.1),)),),
        interference=(Interference("edge", 0.1, None, None, (2000.0, 1900.0), 1, True),),
        worst=Worst("student", "teacher", "ort_cpu", (WorstSample(1, 2, 2, 0.9, 3, 0.8),), np.zeros((1, 1, 8, 8))),
    )

    jsonschema.validate(json.loads(json_format.render(full)), schema.schema())


def test_what_is_not_in_the_schema_does_not_fit(data: ReportData) -> None:
    content = json.loads(json_format.render(data))
    content["candidates"][0]["acuracy"] = []

    with pytest.raises(jsonschema.ValidationError, match="acuracy"):
        jsonschema.validate(content, schema.schema())
