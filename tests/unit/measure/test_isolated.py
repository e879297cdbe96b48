"""A model in a process of its own: real processes, what they answer, and how they die."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from compressor import trust
from compressor.errors import MeasurementError
from compressor.measure.clock import time_alternating, warm_until_steady
from compressor.measure.isolated import IsolatedModel
from compressor.measure.statistics import Interval, paired_speedup

# A runtime from outside the package, whose behaviour the test fills in.
OUTSIDE = '''
import os, sys, time
import numpy as np

class Outside:
    """A runtime for one test."""

    def __init__(self, *, threads: int) -> None:
        self.threads = threads
        self.calls = 0

    def load(self, path):
        pass

    def prepare(self, inputs):
        return inputs

    def __call__(self, inputs):
        self.calls += 1
        {body}
        return inputs

    def close(self):
        pass

    def describe(self):
        return {{"threads": self.threads, "told": str({told})}}
'''


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    file = tmp_path / "inputs.npy"
    np.save(file, np.ones((4, 2), dtype=np.float32))
    return file


def fake(folder: Path, name: str, ms_per_call: float) -> Path:
    file = folder / f"{name}.json"
    file.write_text(json.dumps({"weights": [[1.0], [1.0]], "ms_per_call": ms_per_call}))
    return file


def outside(folder: Path, *, body: str = "pass", told: str = "None") -> str:
    file = folder / "outside.py"
    file.write_text(OUTSIDE.format(body=body, told=told))
    return f"{file}:Outside"


def measured(folder: Path, inputs: Path, *, base_ms: float, other_ms: float) -> Interval:
    with (
        IsolatedModel(fake(folder, "base", base_ms), runtime="fake", inputs=inputs, threads=1) as base,
        IsolatedModel(fake(folder, "other", other_ms), runtime="fake", inputs=inputs, threads=1) as other,
    ):
        timings = time_alternating({"base": base, "other": other}, blocks=8, min_seconds=0.2, min_samples=40)
    return paired_speedup(timings["base"].blocks, timings["other"].blocks)


def test_the_same_model_twice_is_not_faster_than_itself(tmp_path: Path, inputs: Path) -> None:
    found = measured(tmp_path, inputs, base_ms=5.0, other_ms=5.0)

    assert found.ratio == pytest.approx(1.0, abs=0.05)
    assert found.low - 0.02 <= 1.0 <= found.high + 0.02


def test_a_model_twice_as_slow_is_measured_as_such(tmp_path: Path, inputs: Path) -> None:
    found = measured(tmp_path, inputs, base_ms=16.0, other_ms=8.0)

    assert found.ratio == pytest.approx(2.0, abs=0.15)


def test_it_says_what_it_took_to_be_ready(tmp_path: Path, inputs: Path) -> None:
    with IsolatedModel(fake(tmp_path, "m", 2.0), runtime="fake", inputs=inputs, threads=1) as model:
        assert model.ready.load_ms > 0
        assert model.ready.first_ms >= 2.0
        assert model.ready.describe["provider"] == "fake"
        assert 5 < model.ready.memory_mb <= model.peak_memory_mb()


def test_onnx_runtime_runs_without_torch_and_with_the_threads_stated(tmp_path: Path, inputs: Path) -> None:
    rows = helper.make_tensor_value_info("in", TensorProto.FLOAT, ["batch", 2])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, ["batch", 2])
    graph = helper.make_graph([helper.make_node("Relu", ["in"], ["out"])], "g", [rows], [out])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, str(tmp_path / "model.onnx"))

    with IsolatedModel(tmp_path, runtime="ort_cpu", inputs=inputs, batch=3, threads=1) as isolated:
        assert isolated.ready.describe["threads"] == 1
        assert warm_until_steady(isolated, tolerance=0.5, max_seconds=2.0).runs > 1
        assert len(isolated.run(7)) == 7
        maps = Path(f"/proc/{isolated._process.pid}/maps").read_text() if isolated._process else ""
    assert "onnxruntime" in maps
    assert "libtorch" not in maps


def test_what_a_library_prints_does_not_disturb(tmp_path: Path, inputs: Path) -> None:
    noisy = outside(tmp_path, body="print('hello'); os.write(1, b'from C\\n'); sys.stdout.flush()")

    with IsolatedModel(tmp_path, runtime=noisy, inputs=inputs) as model:
        assert len(model.run(3)) == 3


def test_libraries_read_the_threads_before_they_are_imported(tmp_path: Path, inputs: Path) -> None:
    curious = outside(tmp_path, told="[os.environ[f'{name}_NUM_THREADS'] for name in ('OMP', 'OPENBLAS')]")

    with IsolatedModel(tmp_path, runtime=curious, inputs=inputs, threads=3) as model:
        assert model.ready.describe == {"threads": 3, "told": "['3', '3']"}


def test_a_process_stays_on_the_cores_it_is_given(tmp_path: Path, inputs: Path) -> None:
    core = min(os.sched_getaffinity(0))
    curious = outside(tmp_path, told="os.sched_getaffinity(0)")

    with IsolatedModel(tmp_path, runtime=curious, inputs=inputs, cpus=(core,)) as model:
        assert model.ready.describe == {"threads": 1, "told": str({core})}


def test_a_process_trusts_what_its_parent_trusts_for_now(
    tmp_path: Path, inputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust, "_this_process", {"some hash"})
    curious = outside(tmp_path, told="__import__('compressor.trust').trust.granted()")

    with IsolatedModel(tmp_path, runtime=curious, inputs=inputs) as model:
        assert model.ready.describe["told"] == "['some hash']"


def test_a_batch_larger_than_the_samples_repeats_them(tmp_path: Path, inputs: Path) -> None:
    picky = outside(tmp_path, body="assert [each.shape for each in inputs.values()] == [(10, 2)]")

    with IsolatedModel(tmp_path, runtime=picky, inputs=inputs, batch=10) as model:
        assert len(model.run(2)) == 2


def test_a_model_that_cannot_be_loaded_is_a_measurement_error_with_its_reason(tmp_path: Path, inputs: Path) -> None:
    model = IsolatedModel(tmp_path / "none.onnx", runtime="ort_cpu", inputs=inputs)

    with pytest.raises(MeasurementError, match=r"none\.onnx: no such model — compress export"), model:
        pass
    assert model._process is None


def test_a_process_that_dies_is_quoted(tmp_path: Path, inputs: Path) -> None:
    dying = outside(tmp_path, body="if self.calls > 2: print('the disk is on fire'); sys.stdout.flush(); os._exit(7)")

    with (
        pytest.raises(MeasurementError, match=r"ended with exit code 7; its last words:\nthe disk is on fire"),
        IsolatedModel(tmp_path, runtime=dying, inputs=inputs) as model,
    ):
        model.run(5)


def test_a_process_that_is_killed_says_by_which_signal(tmp_path: Path, inputs: Path) -> None:
    killed = outside(tmp_path, body="if self.calls > 1: os.kill(os.getpid(), 9)")

    with (
        pytest.raises(MeasurementError, match=r"signal 9 \(was it out of memory\?\) and said nothing"),
        IsolatedModel(tmp_path, runtime=killed, inputs=inputs) as model,
    ):
        model.run(1)


def test_an_error_that_is_not_ours_comes_with_its_traceback(tmp_path: Path, inputs: Path) -> None:
    broken = outside(tmp_path, body="raise KeyError('a bug of the network')")

    with (
        pytest.raises(MeasurementError, match="KeyError: 'a bug of the network'"),
        IsolatedModel(tmp_path, runtime=broken, inputs=inputs),
    ):
        pass


def test_a_model_that_never_answers_is_given_up(tmp_path: Path, inputs: Path) -> None:
    stuck = outside(tmp_path, body="if self.calls > 1: time.sleep(60)")

    with (
        pytest.raises(MeasurementError, match="gave no answer within 2 s"),
        IsolatedModel(tmp_path, runtime=stuck, inputs=inputs, timeout_s=2.0) as model,
    ):
        model.run(1)


def test_nothing_is_left_of_a_process_that_is_closed(tmp_path: Path, inputs: Path) -> None:
    with IsolatedModel(fake(tmp_path, "m", 0.0), runtime="fake", inputs=inputs) as model:
        assert model._process is not None
        pid = model._process.pid

    assert not Path(f"/proc/{pid}").exists()
    model.close()
    with pytest.raises(MeasurementError, match="not been started, or is closed"):
        model.run(1)
