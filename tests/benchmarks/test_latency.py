"""The comparison of stopwatches: its claims of made-up numbers, and the peers that need nothing installed."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from benchmarks import onnx_models
from benchmarks.peers import bare_session, latency
from compressor.errors import ModelError
from compressor.runtimes.ort_cpu import OrtCpu

ROOT = Path(__file__).parents[2]


def _rounds(*, ours=1.0, drift=(1.0, 1.5, 0.7)):
    """Rounds on a machine that drifts, in which we find `ours` times what the peers find."""
    latencies = {"p50_ms": 1.0, "p90_ms": 1.2, "mean_ms": 1.1}

    def scaled(by):
        return {figure: by * value for figure, value in latencies.items()}

    return [
        {
            "ours": scaled(ours * slower) | {"samples_per_s": 900 / (ours * slower)},
            "single_stream": scaled(slower) | {f"inside_{name}": value for name, value in scaled(slower).items()},
            "loop": scaled(slower),
            "offline": {"samples_per_s": 900 / slower},
        }
        for slower in drift
    ]


def _relu(file, *, shape=("batch", 3, 8, 8), kind=TensorProto.FLOAT):
    """ReLU and the mean over the picture, as an ONNX file."""
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Relu", ["floats"], ["positive"]),
        helper.make_node("GlobalAveragePool", ["positive"], ["means"]),
    ]
    taken, given = (
        helper.make_tensor_value_info(name, type_, sizes)
        for name, type_, sizes in [("images", kind, shape), ("means", TensorProto.FLOAT, None)]
    )
    graph = helper.make_graph(nodes, "small", [taken], [given])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), file)
    return file


@pytest.mark.parametrize(("ours", "holds"), [(1.0, True), (1.02, True), (0.98, True), (1.05, False), (0.95, False)])
def test_our_times_may_be_three_percent_off_either_way_and_drift_does_not_count(ours, holds):
    claims = latency.claims("resnet8", {"rounds": _rounds(ours=ours)})
    assert len(claims) == 7
    assert {claim.holds for claim in claims} == {holds}
    assert claims[0].value == pytest.approx(100 * abs(ours - 1))


def test_one_round_that_was_disturbed_does_not_count():
    rounds = _rounds()
    rounds[1]["ours"]["p90_ms"] *= 10
    assert all(claim.holds for claim in latency.claims("resnet8", {"rounds": rounds}))


def test_the_table_has_a_line_for_each_contestant():
    lines = latency.table("resnet8", {"rounds": _rounds(ours=1.5)}).splitlines()
    assert [line.split()[0] for line in lines] == ["resnet8", "ours", "single_stream", "inside", "loop", "offline"]
    assert all("1.500 (1.500-1.500)" in line for line in lines[2:5])


def test_the_bare_session_has_the_options_of_ours():
    ours = OrtCpu(threads=1, spinning=latency.PROFILE.spinning, arena=latency.PROFILE.arena)._options()
    bare = bare_session.options(arena=latency.PROFILE.arena)
    names = ["execution_mode", "graph_optimization_level", "inter_op_num_threads", "intra_op_num_threads"]
    for name in [*names, "enable_cpu_mem_arena", "enable_mem_pattern", "enable_profiling"]:
        assert getattr(bare, name) == getattr(ours, name), name
    spinning = "session.intra_op.allow_spinning"
    assert bare.get_session_config_entry(spinning) == ours.get_session_config_entry(spinning) == "0"


@pytest.mark.parametrize("seconds", [0.0, 0.02])
def test_the_loop_goes_on_for_so_long_and_times_every_call(seconds):
    calls = itertools.count()
    latencies_ms = bare_session.timed_for(seconds, lambda: next(calls))
    assert len(latencies_ms) == next(calls) >= 1
    assert (latencies_ms >= 0).all()
    assert latencies_ms.sum() <= 1000 * seconds + latencies_ms[-1]


@pytest.mark.parametrize(("kind", "dtype"), [(TensorProto.FLOAT, np.float32), (TensorProto.UINT8, np.uint8)])
def test_samples_are_of_the_kind_that_a_model_takes(tmp_path, kind, dtype):
    stored, prepared = onnx_models.samples_for(_relu(tmp_path / "relu.onnx", kind=kind), number=5)
    assert stored.shape == prepared.shape == (5, 3, 8, 8)
    assert stored.dtype == prepared.dtype == dtype


def test_a_model_of_no_fixed_size_is_refused(tmp_path):
    with pytest.raises(ModelError, match="leaves more open than its batch"):
        onnx_models.samples_for(_relu(tmp_path / "open.onnx", shape=("batch", 3, "height", "width")))


def test_we_and_the_loop_time_the_same_file(tmp_path, monkeypatch):
    monkeypatch.setattr(latency, "PEERS", {"loop": latency.PEERS["loop"]})
    samples = latency.compare(_relu(tmp_path / "relu.onnx"), tmp_path, seconds=0.02, rounds=2)
    assert [list(each) for each in samples["rounds"]] == [["ours", "loop"], ["loop", "ours"]]
    assert all(0 < each[name]["p50_ms"] <= each[name]["p90_ms"] for each in samples["rounds"] for name in each)


def test_a_peer_that_fails_is_reported_with_its_last_words(tmp_path):
    absent = tmp_path / "absent.onnx"
    files = latency.Files(absent, tmp_path / "stored.npy", tmp_path / "prepared.npy", tmp_path / "found.json")
    with pytest.raises(RuntimeError, match=r"loop: .*absent\.onnx"):
        latency.by_peer("loop", files, seconds=0.02)


@pytest.mark.slow
def test_the_whole_command_writes_a_result_for_each_network(tmp_path):
    command = [sys.executable, "-m", "benchmarks.peers.latency", "--seconds", "0.1", "--rounds", "2"]
    done = subprocess.run([*command, "--results", str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    written = [json.loads(file.read_text()) for file in sorted(tmp_path.iterdir())]
    assert [each["benchmark"] for each in written] == ["latency_resnet20", "latency_resnet8"]
    for each in written:
        assert len(each["claims"]) == 7
        assert all(set(found) == {"ours", *latency.PEERS} for found in each["samples"]["rounds"])


@pytest.mark.slow
def test_what_loadgen_tells_is_read_from_its_log():
    from benchmarks.peers import with_loadgen

    log = """not a line of results
:::MLLOG {"key": "loadgen_version", "value": "6.0"}
:::MLLOG {"key": "result_50.00_percentile_latency_ns", "value": 2000000}
:::MLLOG {"key": "result_90.00_percentile_latency_ns", "value": 3000000}
:::MLLOG {"key": "result_mean_latency_ns", "value": 2500000}
"""
    told = with_loadgen.results(log)
    assert with_loadgen.figures("SingleStream", told) == {"p50_ms": 2.0, "p90_ms": 3.0, "mean_ms": 2.5}
    assert with_loadgen.figures("Offline", {"result_samples_per_second": 400}) == {"samples_per_s": 400.0}
