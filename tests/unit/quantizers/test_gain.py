"""Time is booked to the layer it belongs to."""

from __future__ import annotations

import numpy as np
import pytest

from compressor.quantizers import _gain, _sensitivity
from compressor.quantizers._targets import cpu
from compressor.quantizers.static import Static
from compressor.runtimes._contract import OperatorTime


@pytest.fixture
def quantized(convolutions, pictures, tmp_path):
    made = Static(correct_bias=False).prepare(convolutions, calibration=pictures, cpu=cpu("this"), scratch=tmp_path)
    made.write(tmp_path / "quantized.onnx")
    return made, tmp_path / "quantized.onnx"


def test_every_layer_of_float_and_quantized_model_has_its_time(quantized, pictures, tmp_path):
    made, file = quantized
    layers = _gain.layers_of(made.float_model)
    assert sorted(layers.values()) == ["Conv", "Conv", "Conv", "Gemm"]

    for model in (made.float_model, file):
        times = _gain.layer_times(model, like=made.float_model, inputs={"input": pictures.pixels[:1]}, threads=1)
        assert set(times.by_layer) == set(layers)
        assert all(spent > 0 for spent in times.by_layer.values())


def test_no_profile_is_left_behind(quantized, pictures, tmp_path):
    made, file = quantized
    before = set(tmp_path.iterdir())

    _gain.layer_times(file, like=made.float_model, inputs={"input": pictures.pixels[:1]}, threads=1)

    assert set(tmp_path.iterdir()) == before


def test_events_go_to_the_layer_before_them_whatever_the_runtime_calls_them():
    owner = {"conv_1": "conv_1", "relu": "conv_1"}
    spent = {"conv_1_token_7": 0.1, "relu_nchwc": 0.05, "relu_QuantizeLinear": 0.01, "conv_1_Q8": 0.2, "Reorder": 0.005}
    times = [OperatorTime(name, "Any", "CPUExecutionProvider", ms) for name, ms in spent.items()]

    booked = _gain._booked(times, owner=owner)

    assert booked.by_layer == pytest.approx({"conv_1": 0.36})
    assert booked.left_over == pytest.approx(0.005)


def test_the_layer_with_the_coarse_weights_harms_most(quantized, pictures, tmp_path):
    """Every layer left in float takes an error away; all of them in float leave none."""
    made, _ = quantized
    layers = list(_gain.layers_of(made.float_model))

    harm = _sensitivity.harms(made, layers, batches=list(pictures.batches()), scratch=tmp_path)

    assert set(harm) == set(layers)
    assert max(harm.values()) > 0
    rest = _sensitivity.harms(
        made, layers, batches=list(pictures.batches()), scratch=tmp_path, keep_float=frozenset(layers[:-1])
    )
    assert list(rest) == layers[-1:]
    assert np.isfinite(list(rest.values())).all()
