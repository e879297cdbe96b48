"""A model against itself: the claim of made-up intervals, and the whole command on a small model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from benchmarks import null_test

ROOT = Path(__file__).parents[2]


def _runs(*, right, wrong):
    return {"runs": [{"low": 0.99, "high": 1.01}] * right + [{"low": 1.001, "high": 1.01}] * wrong}


@pytest.mark.parametrize(("right", "holds"), [(100, True), (95, True), (94, False)])
def test_the_interval_must_hold_one_in_95_of_100_runs(right, holds):
    (claim,) = null_test.claims("resnet8", _runs(right=right, wrong=100 - right))
    assert claim.value == right
    assert claim.holds is holds


def test_the_claim_states_how_sure_the_share_is():
    (claim,) = null_test.claims("resnet8", _runs(right=95, wrong=5))
    assert "of 100 runs" in claim.claim
    assert "89-98 %" in claim.claim


@pytest.mark.parametrize(("low", "high", "holds"), [(1.0, 1.1, True), (0.9, 1.0, True), (1.001, 1.1, False)])
def test_the_ends_of_an_interval_are_part_of_it(low, high, holds):
    assert null_test.holds_one({"low": low, "high": high}) is holds


@pytest.mark.slow
def test_the_whole_command_records_every_ratio_and_interval(tmp_path):
    shape = ("batch", 3, 8, 8)
    taken, given = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("images", "positive"))
    graph = helper.make_graph([helper.make_node("Relu", ["images"], ["positive"])], "small", [taken], [given])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, tmp_path / "relu.onnx")
    command = [sys.executable, "-m", "benchmarks.null_test", "--model", str(tmp_path / "relu.onnx"), "--runs", "2"]
    command += ["--seconds", "0.02", "--blocks", "4", "--results", str(tmp_path / "results")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    (file,) = (tmp_path / "results").iterdir()
    written = json.loads(file.read_text())
    assert written["benchmark"] == "latency_null_relu"
    assert len(written["samples"]["runs"]) == 2
    for run in written["samples"]["runs"]:
        assert run["low"] <= run["ratio"] <= run["high"]
        assert [len(run["blocks_p50_ms"][name]) for name in ("a", "b")] == [4, 4]
