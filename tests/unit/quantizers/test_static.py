"""Static int8: what is quantized, how, and what a CPU without VNNI needs."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from compressor.errors import InputError, ModelError
from compressor.quantizers import _graph
from compressor.quantizers._targets import cpu
from compressor.quantizers.dynamic import Dynamic
from compressor.quantizers.static import Static
from compressor.quantizers.weight_only import WeightOnly
from tests.unit.quantizers.conftest import answers, answers_in_wide_sums, write


class LogOf(nn.Module):
    """What turns probabilities into logits, as for a teacher that gives probabilities."""

    def forward(self, probabilities):
        return (probabilities + 1e-38).log()


def prepared(source, pictures, folder, *, target="this", **options):
    """What runs here is made for the CPU that is here; what is made for another is judged by what the file holds."""
    return Static(**options).prepare(source, calibration=pictures, cpu=cpu(target), scratch=folder)


def written(source, pictures, folder, *, keep_float=(), **options):
    file = folder / "out.onnx"
    prepared(source, pictures, folder, **options).write(file, keep_float=keep_float)
    return file


def weights_of(file) -> dict[str, np.ndarray]:
    return {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in onnx.load(file).graph.initializer
        if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) == 4
    }


def test_weights_keep_to_seven_bits_where_sums_of_sixteen_would_saturate(convolutions, pictures, tmp_path):
    weights = weights_of(written(convolutions, pictures, tmp_path, target="x86-avx2"))

    assert len(weights) == 3
    assert max(int(np.abs(each).max()) for each in weights.values()) == 64


def test_weights_use_eight_bits_where_the_cpu_adds_up_in_32(convolutions, pictures, tmp_path):
    weights = weights_of(written(convolutions, pictures, tmp_path, target="x86-vnni"))

    assert max(int(np.abs(each).max()) for each in weights.values()) == 127


@pytest.mark.parametrize(("target", "kind"), [("x86-vnni", "UINT8"), ("arm64", "INT8")])
def test_activations_have_the_type_of_the_target(convolutions, pictures, tmp_path, target, kind):
    model = onnx.load(written(convolutions, pictures, tmp_path, target=target))
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    quantized = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]

    assert quantized
    assert {tensors[node.input[2]].data_type for node in quantized} == {getattr(onnx.TensorProto, kind)}


@pytest.mark.parametrize("target", ["x86-avx2", "x86-vnni", "arm64"])
def test_what_is_made_for_any_cpu_answers_as_the_float_model_where_sums_are_wide(
    convolutions, pictures, tmp_path, target
):
    file = written(convolutions, pictures, tmp_path, target=target)

    expected = answers(convolutions, pictures.pixels)
    found = answers_in_wide_sums(file, pictures.pixels)
    assert np.abs(found - expected).mean() < 0.15 * expected.std()


def test_each_output_channel_has_a_scale_of_its_own(convolutions, pictures, tmp_path):
    model = onnx.load(written(convolutions, pictures, tmp_path))
    scales = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer if tensor.name.endswith("_scale")}

    assert (16,) in scales.values()


def test_batch_norm_is_folded_before_anything_is_quantized(convolutions, pictures, tmp_path):
    found = prepared(convolutions, pictures, tmp_path)

    assert "BatchNormalization" not in {node.op_type for node in onnx.load(found.float_model).graph.node}


def test_what_is_left_in_float_has_float_weights(convolutions, pictures, tmp_path):
    nodes = [n.name for n in onnx.load(prepared(convolutions, pictures, tmp_path).float_model).graph.node]
    convolution = next(name for name in nodes if "conv" in name.lower())

    file = written(convolutions, pictures, tmp_path, keep_float=[convolution])

    assert len(weights_of(file)) == 2


@pytest.mark.parametrize("calibration", ["minmax", "entropy", "percentile"])
def test_every_way_to_find_ranges_gives_a_model_that_answers_alike(convolutions, pictures, tmp_path, calibration):
    file = written(convolutions, pictures, tmp_path, calibration=calibration)

    expected = answers(convolutions, pictures.pixels)
    assert np.abs(answers(file, pictures.pixels) - expected).mean() < 0.15 * expected.std()


def test_bias_correction_takes_out_the_mean_error(convolutions, pictures, tmp_path):
    """With coarse weights the shift is large; corrected, the mean of each output is nearly that of the float model."""
    expected = answers(convolutions, pictures.pixels).mean(0)
    options = {"target": "x86-avx2", "per_channel": False}
    plain = answers(written(convolutions, pictures, tmp_path, correct_bias=False, **options), pictures.pixels).mean(0)
    corrected = answers(written(convolutions, pictures, tmp_path, correct_bias=True, **options), pictures.pixels).mean(
        0
    )

    assert np.abs(corrected - expected).mean() < 0.6 * np.abs(plain - expected).mean()


def test_bias_correction_is_decided_by_its_error(convolutions, pictures, tmp_path):
    (decision,) = prepared(convolutions, pictures, tmp_path).decisions

    assert decision.what == "bias correction"
    assert decision.choice in ("on", "off")
    assert "mean squared error of the logits" in decision.reason


def test_a_model_with_nothing_to_quantize_is_refused(tmp_path, pictures):
    value = onnx.helper.make_tensor_value_info
    shape = ["batch", 3, 8, 8]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["input"], ["logits"])],
        "nothing",
        [value("input", 1, shape)],
        [value("logits", 1, shape)],
    )
    file = tmp_path / "nothing.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10), file)

    with pytest.raises(ModelError, match="no convolution or matrix product"):
        prepared(file, pictures, tmp_path)


@pytest.mark.parametrize(
    ("options", "what"), [({"calibration": "mean"}, "none of minmax"), ({"percentile": 20.0}, "must lie in 50 to 100")]
)
def test_options_out_of_range_are_refused(options, what):
    with pytest.raises(InputError, match=what):
        Static(**options)


@pytest.mark.parametrize(("bits", "size"), [(3, 32), (8, 24), (4, 8)])
def test_weights_come_in_four_or_eight_bits_and_blocks_of_a_power_of_two(bits, size):
    with pytest.raises(InputError):
        WeightOnly(bits=bits, block_size=size)


def test_fewer_bits_make_a_smaller_file(products, pictures, tmp_path):
    sizes = {}
    for bits in (8, 4):
        found = WeightOnly(bits=bits).prepare(products, calibration=pictures, cpu=cpu("this"), scratch=tmp_path)
        found.write(tmp_path / "out.onnx")
        sizes[bits] = (tmp_path / "out.onnx").stat().st_size

    assert sizes[4] < sizes[8] < products.stat().st_size


def test_dynamic_leaves_convolutions_in_float_and_says_so(convolutions, pictures, tmp_path):
    found = Dynamic().prepare(convolutions, calibration=pictures, cpu=cpu("this"), scratch=tmp_path)
    found.write(tmp_path / "out.onnx")

    assert [(each.what, each.choice) for each in found.decisions] == [("convolutions", "float")]
    assert "ConvInteger" not in {node.op_type for node in onnx.load(tmp_path / "out.onnx").graph.node}


def test_probabilities_at_the_end_stay_in_float(pictures, tmp_path):
    logits = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
    source = write(nn.Sequential(logits, nn.Softmax(1), LogOf()), tmp_path / "probabilities.onnx")
    file = written(source, pictures, tmp_path)
    model = onnx.load(file)
    softmax = next(node for node in model.graph.node if node.op_type == "Softmax")

    assert np.isfinite(answers(file, next(pictures.batches())["input"])).all()
    assert not [
        node for node in model.graph.node if node.op_type == "QuantizeLinear" and softmax.output[0] in node.input
    ]
    assert len([node for node in model.graph.node if node.op_type == "QuantizeLinear"]) >= 2


def test_a_softmax_between_products_is_quantized_like_the_rest(tmp_path):
    between = nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.Softmax(1), nn.Linear(8, 5), nn.ReLU())
    source = write(between, tmp_path / "between.onnx")

    assert _graph.probabilities_at_the_end(source, frozenset({"MatMul", "Gemm"})) == ()


@pytest.fixture
def transformer(tmp_path):
    block = nn.TransformerEncoderLayer(16, 2, 32, activation="gelu", batch_first=True)
    return write(
        nn.Sequential(nn.Flatten(2), nn.Linear(64, 16), block, nn.Flatten(), nn.Linear(48, 5)), tmp_path / "t.onnx"
    )


def test_in_a_transformer_only_what_layers_read_is_rounded_and_what_lies_between_stays_float(
    transformer, pictures, tmp_path
):
    ready = prepared(transformer, pictures, tmp_path, target="x86-avx2")
    ready.write(tmp_path / "out.onnx")

    nodes = onnx.load(tmp_path / "out.onnx").graph.node
    rounded = {node.input[0] for node in nodes if node.op_type == "QuantizeLinear"}
    given = {output for node in nodes if node.op_type in ("MatMul", "Gemm") for output in node.output}
    assert [(each.what, each.choice) for each in ready.decisions if each.what == "between layers"] == [
        ("between layers", "float")
    ]
    assert len(ready.nodes) == 6
    assert rounded
    assert not rounded & given
    pixels = next(pictures.batches())["input"]
    np.testing.assert_allclose(answers(tmp_path / "out.onnx", pixels), answers(transformer, pixels), atol=0.1)


def test_int8_may_be_asked_for_between_the_layers_of_a_transformer(transformer, pictures, tmp_path):
    ready = prepared(transformer, pictures, tmp_path, between="int8")

    assert "between layers" not in [each.what for each in ready.decisions]
    assert len(ready.nodes) > 6


def test_a_softmax_at_the_end_makes_no_transformer_of_layers(products, pictures, tmp_path):
    assert "between layers" not in [each.what for each in prepared(products, pictures, tmp_path).decisions]


def error(file, source, pixels) -> float:
    """Mean squared error of the quantized model's answers, over the variance of the float model's."""
    expected = answers(source, pixels)
    return float(np.square(answers(file, pixels) - expected).mean() / expected.var())


class Crops(nn.Module):
    """A Gemm that sees four rows for each sample, as in a network that looks at several crops."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(48, 16), nn.Linear(64, 5)

    def forward(self, images):
        return self.last(self.first(images.reshape(-1, 48).abs()).relu().reshape(-1, 64))


def test_bias_correction_takes_the_mean_over_rows_and_not_over_samples(pictures, tmp_path):
    source = write(Crops(), tmp_path / "crops.onnx")
    options = {"target": "x86-avx2", "per_channel": False}

    plain, corrected = (
        error(written(source, pictures, tmp_path, correct_bias=wanted, **options), source, pictures.pixels)
        for wanted in (False, True)
    )

    assert corrected < plain


class SoftPool(nn.Module):
    """The mean over places, weighted by how much each is looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.looks, self.head = nn.Conv2d(3, 16, 1), nn.Conv2d(3, 1, 1), nn.Linear(16, 5)

    def forward(self, images):
        images = nn.functional.interpolate(images, scale_factor=4)
        weights = self.looks(images).flatten(2).softmax(dim=2)
        return self.head((self.features(images).relu().flatten(2) * weights).sum(dim=2))


def test_a_softmax_over_many_places_is_not_rounded_to_nothing(pictures, tmp_path):
    source = write(SoftPool(), tmp_path / "softpool.onnx")
    file = written(source, pictures, tmp_path)

    assert error(file, source, pictures.pixels) < 0.01
    assert len(weights_of(file)) == 2, "the convolutions are quantized all the same"


@pytest.mark.parametrize(("low", "high"), [(0.3, 2.0), (-2.0, -0.3)])
def test_the_bound_of_a_clamp_that_excludes_zero_is_kept(pictures, tmp_path, low, high):
    clamp = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Hardtanh(low, high), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    source = write(nn.Sequential(clamp, nn.Linear(8, 5)), tmp_path / "clamp.onnx")

    assert error(written(source, pictures, tmp_path), source, pictures.pixels) < 0.01


def test_what_is_written_does_not_depend_on_what_was_written_before(convolutions, pictures, tmp_path):
    made = prepared(convolutions, pictures, tmp_path)
    every_other = made.nodes[::2]
    made.write(tmp_path / "first.onnx", keep_float=every_other)
    made.write(tmp_path / "whole.onnx")
    made.write(tmp_path / "again.onnx", keep_float=every_other)

    assert (tmp_path / "first.onnx").read_bytes() == (tmp_path / "again.onnx").read_bytes()


def test_a_transposed_convolution_in_groups_stays_in_float(pictures, tmp_path):
    up = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ConvTranspose2d(8, 8, 2, groups=2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    source = write(nn.Sequential(up, nn.Linear(8, 5)), tmp_path / "up.onnx")

    assert error(written(source, pictures, tmp_path), source, pictures.pixels) < 0.01
    assert len(weights_of(written(source, pictures, tmp_path, per_channel=False))) == 2


def test_the_factors_of_a_product_are_in_its_weights(pictures, tmp_path):
    source = write(nn.Sequential(nn.Flatten(), nn.Linear(192, 5)), tmp_path / "factors.onnx")
    model = onnx.load(source)
    (product,) = (node for node in model.graph.node if node.op_type == "Gemm")
    del product.attribute[:]
    product.attribute.extend(
        onnx.helper.make_attribute(*each) for each in (("alpha", 0.5), ("beta", 3.0), ("transB", 1))
    )
    onnx.save(model, source)

    assert error(written(source, pictures, tmp_path, correct_bias=True), source, pictures.pixels) < 0.01


class Tied(nn.Module):
    """One stored weight, read along its rows on the way in and along its columns on the way out."""

    def __init__(self, *, by_matmul: bool) -> None:
        super().__init__()
        self.by_matmul = by_matmul
        self.inner, self.outer = nn.Parameter(torch.randn(24)), nn.Parameter(torch.randn(192))
        self.weight = nn.Parameter(torch.randn(16, 3, 3, 3) if not by_matmul else torch.randn(24, 192))
        with torch.no_grad():
            self.weight.mul_(torch.logspace(-0.3, 0.3, len(self.weight)).reshape(-1, *[1] * (self.weight.dim() - 1)))

    def forward(self, images):
        if self.by_matmul:
            return (
                torch.relu(nn.functional.linear(images.flatten(1), self.weight, self.inner)) @ self.weight + self.outer
            )
        return nn.functional.conv_transpose2d(
            torch.relu(nn.functional.conv2d(images, self.weight)), self.weight
        ).flatten(1)


class Twice(nn.Module):
    """One layer applied twice, to activations of quite another size."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.last = nn.Linear(192, 192), nn.Linear(192, 5)
        with torch.no_grad():
            self.layer.bias.copy_(torch.randn(192))

    def forward(self, images):
        once = torch.relu(self.layer(20 * images.flatten(1)))
        return self.last(torch.relu(self.layer(0.02 * once)))


class OfHeads(nn.Module):
    """A matrix for each head, and a norm that keeps what lies between in float."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.norm, self.last = nn.Linear(192, 32), nn.LayerNorm(8), nn.Linear(24, 5)
        self.heads = nn.Parameter(torch.randn(4, 8, 6))

    def forward(self, images):
        parts = self.norm(self.into(images.flatten(1)).reshape(-1, 4, 8)).transpose(0, 1)
        return self.last((parts @ self.heads).transpose(0, 1).reshape(-1, 24))


def relative_error(source, made, pixels) -> float:
    expected = answers(source, pixels)
    return float(np.abs(answers(made, pixels) - expected).max() / expected.std())


@pytest.mark.parametrize("by_matmul", [False, True])
def test_a_weight_that_is_read_along_two_axes_is_quantized_along_each(pictures, tmp_path, by_matmul):
    source = write(Tied(by_matmul=by_matmul), tmp_path / "tied.onnx")

    assert relative_error(source, written(source, pictures, tmp_path), pictures.pixels) < 0.15


def test_a_layer_in_float_shares_nothing_with_its_other_call_in_int8(pictures, tmp_path):
    source = write(Twice(), tmp_path / "twice.onnx")
    first, second, _ = _graph.nodes_of(source, frozenset({"Gemm"}))

    for kept in (first, second):
        made = written(source, pictures, tmp_path, keep_float=[kept], correct_bias=False)
        stored = {tensor.name: tensor.data_type for tensor in onnx.load(made).graph.initializer}
        (node,) = (node for node in onnx.load(made).graph.node if node.name == kept)
        assert [stored[name] for name in node.input[1:]] == 2 * [onnx.TensorProto.FLOAT]
        assert relative_error(source, made, pictures.pixels) < 0.1


@pytest.mark.parametrize("quantizer", [Static, Dynamic], ids=["static", "dynamic"])
def test_a_stack_of_matrices_stays_in_float_where_its_scales_would_not_fit(pictures, tmp_path, quantizer):
    source = write(OfHeads(), tmp_path / "heads.onnx")
    made = quantizer().prepare(source, calibration=pictures, cpu=cpu("this"), scratch=tmp_path)
    made.write(tmp_path / "out.onnx")

    assert len([name for name in made.nodes if "MatMul" in name or "linear" in name]) == 2
    assert relative_error(source, tmp_path / "out.onnx", pictures.pixels) < 0.1
