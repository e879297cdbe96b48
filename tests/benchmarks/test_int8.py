"""The int8 comparison: its claims of made-up numbers, what peers are given, and the whole of it on a made-up CIFAR-10."""

from __future__ import annotations

import argparse
import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from benchmarks.peers import int8, int8_files
from compressor import recipe
from compressor.data.samples import Dataset
from compressor.models import load
from tests.named import class_samples, inputs_of

ROOT = Path(__file__).parents[2]
COUNT = 1001
"""Pictures of the made-up test set: not a multiple of 8, as the bits of the answers are packed."""


def _file(*, right=900, low=1.5, high=1.6):
    """A file that answers the first `right` pictures right."""
    answers = np.arange(COUNT) < right
    return {
        "accuracy": 100 * answers.mean(),
        "right": np.packbits(answers).tobytes().hex(),
        "agreement": 0.99,
        "p50_ms": 1.0,
        "speedup": {"ratio": (low + high) / 2, "low": low, "high": high, "level": 0.95},
        "size_bytes": 1000,
    }


def _samples(*, result="static", without=(), **files):
    """Made-up measurements in which ours keeps up with every peer."""
    there = {name: _file() for name in ("float", *int8.PEERS, *int8.OURS)} | files
    reports = {name: {"fault": "it was refused" if name in without else None} for name in int8.PEERS}
    reports |= {name: {"result": result} for name in int8.OURS}
    files = {name: found for name, found in there.items() if name not in without}
    return {"test_samples": COUNT, "reports": reports, "files": files}


def test_an_int8_that_is_faster_and_as_accurate_makes_claims_that_hold():
    claims = int8.claims("resnet", _samples())
    assert [claim.holds for claim in claims] == [True, True]


def test_an_int8_that_may_be_slower_than_float_does_not_hold():
    fast, lost = int8.claims("resnet", _samples(ours=_file(low=0.98, high=1.2)))
    assert (fast.holds, lost.holds) == (False, True)


def test_what_stays_in_float_need_not_be_faster_but_must_not_be_slower():
    same = _samples(result="float", ours=_file(low=0.99, high=1.01))
    slow = _samples(result="float", ours=_file(low=0.90, high=0.95))
    assert [int8.claims("mobilenet", each)[0].holds for each in (same, slow)] == [True, False]
    assert "stays in float" in int8.claims("mobilenet", same)[0].claim


@pytest.mark.parametrize(("right", "holds"), [(901, True), (900, True), (899, True), (898, False), (850, False)])
def test_ours_may_lose_one_standard_error_to_the_best_peer(right, holds):
    """With one picture that only the peer has right the difference is one standard error, with two it is the root of two."""
    lost = int8.claims("resnet", _samples(ours=_file(right=right)))[1]
    assert lost.holds is holds


def test_the_best_peer_counts_even_if_the_others_are_bad():
    samples = _samples(ort=_file(right=500), ort_advised=_file(right=600), nncf=_file(right=950))
    assert int8.best_peer(samples["files"]) == "nncf"
    lost = int8.claims("resnet", samples)[1]
    assert "NNCF" in lost.claim
    assert lost.value == pytest.approx(50 / 50**0.5)


def test_without_a_peer_that_runs_there_is_nothing_to_lose_to():
    samples = _samples(without=tuple(int8.PEERS))
    assert int8.best_peer(samples["files"]) is None
    assert len(int8.claims("resnet", samples)) == 1


def test_pictures_that_both_or_none_have_right_say_nothing():
    answers = np.random.default_rng(0).random((2, COUNT)) < 0.9
    peer, ours = ({"right": np.packbits(each).tobytes().hex()} for each in answers)
    only_peer, only_ours = (answers[0] & ~answers[1]).sum(), (answers[1] & ~answers[0]).sum()
    expected = (only_peer - only_ours) / np.sqrt(only_peer + only_ours)
    assert int8.lost_beyond(peer, ours, count=COUNT) == pytest.approx(expected)
    assert int8.lost_beyond(ours, peer, count=COUNT) == pytest.approx(-expected)
    assert int8.lost_beyond(ours, ours, count=COUNT) == 0.0


def test_the_table_has_a_line_for_each_file_and_the_reason_for_each_that_is_missing():
    lines = int8.table("vit", _samples(without=("nncf",))).splitlines()
    assert [line.split()[0] for line in lines] == ["vit", "float", "ort", "ort_advised", "ours_all", "ours", "nncf"]
    assert lines[-1].endswith("it was refused")


def _convolution(file, *, channels=16, size=8):
    """A convolution, ReLU and the mean over the picture, as an ONNX file with a free batch."""
    weight = np.random.default_rng(0).normal(size=(channels, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["images", "weight"], ["maps"], "conv", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["maps"], ["positive"], "relu"),
        helper.make_node("GlobalAveragePool", ["positive"], ["means"], "pool"),
        helper.make_node("Flatten", ["means"], ["logits"], "flatten"),
    ]
    taken = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, size, size])
    given = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", channels])
    graph = helper.make_graph(nodes, "net", [taken], [given], [numpy_helper.from_array(weight, "weight")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), file)
    return file


def _dataset(*, size=8):
    pixels = np.random.default_rng(1).integers(0, 256, (120, 3, size, size), dtype=np.uint8)
    labels = np.arange(120) % 16
    train, test = (class_samples(pixels[half], labels[half]) for half in (slice(0, 80), slice(80, 120)))
    classes = tuple(map(str, range(16)))
    return Dataset("made up", classes, train, None, test, fingerprint="", decisions=())


@pytest.fixture
def pictures(tmp_path):
    model = _convolution(tmp_path / "float.onnx")
    chosen = int8_files.calibration_pictures(model, _dataset(), number=40, seed=0)
    np.save(tmp_path / "pictures.npy", chosen)
    return tmp_path / "pictures.npy"


def test_the_peers_get_training_pictures_as_the_model_takes_them(pictures):
    found = np.load(pictures)
    train = _dataset().train
    known = {picture.tobytes() for picture in inputs_of(train, np.arange(len(train)))}
    assert found.shape == (40, 3, 8, 8)
    assert found.dtype == np.float32
    assert {np.rint(255 * picture).astype(np.uint8).tobytes() for picture in found} <= known
    assert len({picture.tobytes() for picture in found}) == 40


@pytest.mark.parametrize(("name", "weights"), [("ort", (1,)), ("ort_advised", (16,))])
def test_onnx_runtime_quantizes_and_advice_gives_each_channel_a_scale(name, weights, tmp_path, pictures):
    out = tmp_path / "int8.onnx"
    report = int8_files.by_peer(name, tmp_path / "float.onnx", pictures, out, transformer=False)
    assert report == {"fault": None}
    assert _scales_of_weights(out) == [weights]


@pytest.mark.slow
def test_nncf_quantizes_into_what_onnx_runtime_takes(tmp_path, pictures):
    out = tmp_path / "int8.onnx"
    report = int8_files.by_peer("nncf", tmp_path / "float.onnx", pictures, out, transformer=False)
    assert report == {"fault": None}
    assert _scales_of_weights(out) == [(16,)]


def _scales_of_weights(file):
    """Shapes of the scales of stored tensors that are convolved with."""
    graph = onnx.load(file).graph
    stored = {tensor.name: tuple(tensor.dims) or (1,) for tensor in graph.initializer}
    made_by = {node.output[0]: node for node in graph.node}
    weights = [made_by[node.input[1]] for node in graph.node if node.op_type == "Conv"]
    assert [node.op_type for node in weights] == ["DequantizeLinear"]
    return [stored[node.input[1]] for node in weights]


def test_a_peer_that_fails_is_reported_with_its_last_words(tmp_path, pictures):
    report = int8_files.by_peer("ort", tmp_path / "absent.onnx", pictures, tmp_path / "int8.onnx", transformer=False)
    assert "absent.onnx" in report["fault"]


def test_a_file_that_onnx_runtime_refuses_is_reported(tmp_path, pictures):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"this is no model")
    assert "cannot load" in int8_files.refused(broken, np.load(pictures)[:1])
    assert int8_files.refused(tmp_path / "float.onnx", np.load(pictures)[:1]) is None


def test_files_are_measured_against_float(tmp_path):
    model, large = _convolution(tmp_path / "float.onnx", size=32), _convolution(tmp_path / "large.onnx", size=32)
    found = int8_files.measure({"float": model, "same": large}, _dataset(size=32), seconds=0.1, folder=tmp_path)
    assert found["float"]["speedup"]["ratio"] == 1.0
    assert found["same"]["agreement"] == 1.0
    assert found["same"]["right"] == found["float"]["right"]
    right = int8.right_answers(found["same"], count=40)
    assert 100 * right.mean() == pytest.approx(found["same"]["accuracy"])
    assert found["same"]["timed"] >= 200
    assert len(found["same"]["blocks_p50_ms"]) == 20


def _made_up_cifar(folder):
    data = folder / "cifar-10-batches-py"
    data.mkdir()
    generator = np.random.default_rng(0)
    for name, count in {**{f"data_batch_{number}": 60 for number in range(1, 6)}, "test_batch": 40}.items():
        pixels = generator.integers(0, 256, (count, 3072), dtype=np.uint8)
        batch = {b"data": pixels, b"labels": [position % 10 for position in range(count)]}
        (data / name).write_bytes(pickle.dumps(batch, protocol=2))
    names = [f"class {number}".encode() for number in range(10)]
    (data / "batches.meta").write_bytes(pickle.dumps({b"label_names": names}, protocol=2))
    return data


@pytest.mark.slow
def test_the_whole_command_trains_once_and_writes_a_result_for_each_network(tmp_path, capsys):
    torch.manual_seed(0)
    built = load.load("zoo:resnet20", arch=None, num_classes=10, sample_shape=(3, 32, 32), options={}).network.module
    torch.save({"state_dict": built.state_dict()}, tmp_path / "resnet.th")
    data, runs, results = _made_up_cifar(tmp_path), tmp_path / "runs", tmp_path / "results"
    command = [sys.executable, "-m", "benchmarks.peers.int8", "--data", str(data), "--models", "resnet,vit"]
    command += ["--resnet", str(tmp_path / "resnet.th"), "--epochs", "1", "--calibration", "16", "--seconds", "0.1"]
    done = subprocess.run(
        [*command, "--keep", str(runs), "--results", str(results)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    written = [json.loads(file.read_text()) for file in sorted(results.iterdir())]
    assert [each["benchmark"] for each in written] == ["int8_resnet", "int8_vit"]
    for each in written:
        assert set(each["samples"]["files"]) == {"float", *int8.PEERS, *int8.OURS}
        assert each["samples"]["test_samples"] == 40
        assert len(each["claims"]) == 2
    int8.network_of("vit", argparse.Namespace(data=str(data), epochs=1), runs)
    assert "train: unchanged" in capsys.readouterr().err


@pytest.mark.parametrize("model", sorted(int8.TRAINED))
def test_the_networks_that_are_trained_take_pictures_of_cifar(model):
    asked = int8.TRAINED[model]
    settings = recipe.override({"teacher": {"model": asked["model"]}}, asked["assignments"])["teacher"]
    built = load.load(
        settings["model"], arch=None, num_classes=10, sample_shape=(3, 32, 32), options=settings["options"]
    )
    assert built.network.eval()(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
