"""What a model is made of, on networks and ONNX files small enough to count by hand."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from compressor import artifact
from compressor.errors import ArtifactError, ModelError
from compressor.models import inspection


class Block(nn.Module):
    """A residual block, as user code has them."""

    def __init__(self, inside: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inside, out, 3, stride, 1, bias=False)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.relu(self.conv(inputs))


def small_network() -> nn.Sequential:
    stem = nn.Conv2d(1, 4, 3, padding=1)
    stage = nn.Sequential(Block(4, 8, 2), Block(8, 8, 1))
    return nn.Sequential(stem, stage, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))


def test_a_shared_parameter_counts_once() -> None:
    first = nn.Linear(4, 4, bias=False)
    second = nn.Linear(4, 4, bias=False)
    second.weight = first.weight

    assert inspection.count_parameters(nn.Sequential(first, second)) == 16


def test_macs_are_those_counted_by_hand() -> None:
    by_hand = 64 * 4 * 9 + 16 * 8 * 4 * 9 + 16 * 8 * 8 * 9 + 8 * 3

    assert inspection.count_macs(small_network(), (1, 8, 8)) == by_hand


def test_attention_counts_its_products() -> None:
    attention = nn.TransformerEncoderLayer(8, 2, dim_feedforward=16, batch_first=True)
    projections, feed_forward, products = 5 * 8 * 8 * 4, 2 * 5 * 8 * 16, 2 * 5 * 5 * 8

    assert inspection.count_macs(attention, (5, 8)) == projections + feed_forward + products


def test_macs_of_an_lstm_are_counted_at_every_step() -> None:
    lstm = nn.Sequential(nn.LSTM(16, 32, batch_first=True))

    assert inspection.count_macs(lstm, (10, 16)) == 10 * 4 * 32 * (16 + 32)


def test_macs_of_a_transposed_convolution_are_those_of_its_inputs(tmp_path: Path) -> None:
    network = nn.Sequential(nn.ConvTranspose2d(6, 4, 3, stride=2, groups=2), nn.Flatten())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (torch.zeros(1, 6, 8, 8),), str(tmp_path / "up.onnx"), dynamo=False)

    assert inspection.inspect_onnx(tmp_path / "up.onnx").macs == 6 * 64 * 2 * 9
    assert inspection.count_macs(network, (6, 8, 8)) == 6 * 64 * 2 * 9


def test_of_an_onnx_model_with_an_lstm_no_macs_are_told_rather_than_too_few(tmp_path: Path) -> None:
    node = onnx.helper.make_node("LSTM", ["input", "w", "r"], ["", "logits"], hidden_size=8)
    values = [
        onnx.helper.make_tensor_value_info(name, 1, shape) for name, shape in (("input", [5, 1, 4]), ("logits", None))
    ]
    weights = [onnx.numpy_helper.from_array(np.zeros((1, 32, n), np.float32), name) for name, n in (("w", 4), ("r", 8))]
    graph = onnx.helper.make_graph([node], "lstm", values[:1], values[1:], weights)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)]), tmp_path / "l.onnx")

    assert inspection.inspect_onnx(tmp_path / "l.onnx").macs is None


class Prompted(nn.Module):
    """A block that is handed a view of a parameter, as the class token of timm's PiT."""

    def __init__(self) -> None:
        super().__init__()
        self.token, self.block = nn.Parameter(torch.zeros(1, 4)), nn.Sequential(nn.Linear(4, 3))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return rows + self.block(self.token.expand(len(rows), -1))


def test_macs_are_counted_where_a_module_is_handed_a_view_of_a_parameter() -> None:
    network = Prompted()

    assert inspection.count_macs(network, (3,)) == 4 * 3
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_a_network_that_multiplies_nothing_has_no_macs() -> None:
    assert inspection.count_macs(nn.Flatten(), (1, 8, 8)) is None


def test_counting_leaves_every_module_in_its_mode() -> None:
    network = small_network()
    network[1].eval()

    inspection.count_macs(network, (1, 8, 8))

    assert network.training
    assert network[4].training
    assert not network[1].training


def test_an_input_of_the_wrong_shape_is_told_in_a_sentence() -> None:
    with pytest.raises(ModelError, match=r"Sequential does not take an input of shape 3,8,8: .*--shape"):
        inspection.count_macs(small_network(), (3, 8, 8))


def test_taps_are_the_blocks_and_the_ends_of_stages() -> None:
    points = inspection.tap_points(small_network(), (1, 8, 8))

    assert [(point.path, point.shape, point.stage_end) for point in points] == [
        ("0", (4, 8, 8), True),
        ("1.0", (8, 4, 4), False),
        ("1", (8, 4, 4), True),
        ("2", (8, 1, 1), True),
        ("3", (8,), True),
        ("4", (3,), True),
    ]
    assert points[1].kind == "Block"


def test_a_wrapped_network_shows_its_inside() -> None:
    points = inspection.tap_points(nn.Sequential(small_network(), nn.Softmax(1)), (1, 8, 8))

    assert "0.1.0" in [point.path for point in points]


def test_every_module_is_listed_when_asked_for() -> None:
    paths = [point.path for point in inspection.tap_points(small_network(), (1, 8, 8), every=True)]

    assert "1.0.conv" in paths
    assert len(paths) == 11


def test_no_hook_stays_on_the_network() -> None:
    network = small_network()

    inspection.tap_points(network, (1, 8, 8))

    assert not any(module._forward_hooks for module in network.modules())


def test_the_insides_of_torchscript_cannot_be_tapped_but_are_counted() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch announces the end of TorchScript at each use
        script = torch.jit.trace(small_network().eval(), torch.zeros(1, 1, 8, 8))

    assert inspection.tap_points(script, (1, 8, 8)) == []
    assert inspection.count_macs(script, (1, 8, 8)) == inspection.count_macs(small_network(), (1, 8, 8))


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (small_network(), (1, 32, 32)),
        (nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), (12,)),
        (nn.Flatten(), None),
    ],
)
def test_the_shape_of_the_input_is_supposed_from_the_first_weights(network: nn.Module, shape: object) -> None:
    assert inspection.likely_input_shape(network, side=32) == shape


def test_the_shape_that_a_network_states_comes_first() -> None:
    network = small_network()
    network.pretrained_cfg = {"input_size": (1, 24, 24)}

    assert inspection.likely_input_shape(network, side=32) == (1, 24, 24)


@pytest.fixture
def onnx_file(tmp_path: Path) -> Path:
    """A 3x3 convolution of 1x8x8 to 4 channels, and a Gemm of its 256 numbers to 3, with a dynamic batch."""
    weights = [
        numpy_helper.from_array(np.zeros((4, 1, 3, 3), np.float32), "kernel"),
        numpy_helper.from_array(np.zeros((3, 256), np.float32), "matrix"),
    ]
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["input", "kernel"], ["maps"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["maps"], ["active"]),
            helper.make_node("Flatten", ["active"], ["flat"]),
            helper.make_node("Gemm", ["flat", "matrix"], ["logits"], transB=1),
        ],
        "small",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, {"classes": '["a", "b", "c"]'})
    file = tmp_path / "small.onnx"
    onnx.save(model, file)
    return file


def test_an_onnx_file_tells_its_facts(onnx_file: Path) -> None:
    facts = inspection.inspect_onnx(onnx_file)

    assert facts.opsets == {"ai.onnx": 18}
    assert facts.ir_version == 10
    assert facts.inputs == (inspection.TensorFact("input", "float", ("batch", 1, 8, 8)),)
    assert facts.operators == {"Conv": 1, "Flatten": 1, "Gemm": 1, "Relu": 1}
    assert facts.parameters == 36 + 768
    assert facts.macs == 64 * 36 + 768
    assert facts.metadata == {"classes": '["a", "b", "c"]'}
    assert facts.size_bytes == onnx_file.stat().st_size


def test_external_data_counts_into_the_size(onnx_file: Path) -> None:
    outside = onnx_file.with_name("outside.onnx")
    onnx.save(onnx.load(onnx_file), outside, save_as_external_data=True, location="weights.bin", size_threshold=0)

    facts = inspection.inspect_onnx(outside)

    assert facts.size_bytes == outside.stat().st_size + outside.with_name("weights.bin").stat().st_size
    assert facts.macs == 64 * 36 + 768


def test_the_exported_network_counts_as_many_macs_as_its_source(tmp_path: Path) -> None:
    network = small_network().eval()
    file = tmp_path / "exported.onnx"
    torch.onnx.export(network, (torch.zeros(2, 1, 8, 8),), file, dynamo=True, verbose=False)

    macs = inspection.inspect_onnx(file).macs

    assert macs is not None
    assert macs == inspection.count_macs(network, (1, 8, 8))


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x0a"])
def test_a_file_that_is_no_onnx_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "fake.onnx"
    file.write_bytes(content)

    with pytest.raises(ModelError, match="not an ONNX model"):
        inspection.inspect_onnx(file)


def test_a_missing_onnx_file_is_named() -> None:
    with pytest.raises(ModelError, match=r"gone\.onnx: cannot be read: No such file"):
        inspection.inspect_onnx(Path("gone.onnx"))


def stored(folder: Path, *, key: str, parents: dict[str, artifact.Artifact] | None = None) -> artifact.Artifact:
    manifest = artifact.Manifest(
        kind="torch",
        stage=folder.name,
        role=folder.name,
        key=key,
        seed=0,
        settings={},
        parents={role: artifact.parent_entry(parent, folder) for role, parent in (parents or {}).items()},
    )
    with artifact.folder_for(folder) as temporary:
        return artifact.seal(temporary, folder, manifest)


def test_lineage_follows_parents_to_the_first(tmp_path: Path) -> None:
    teacher = stored(tmp_path / "train", key="t")
    student = stored(tmp_path / "distill", key="s", parents={"teacher": teacher})
    export = stored(tmp_path / "export", key="e", parents={"source": student})

    root = inspection.lineage(export)

    assert root.parents[0].role == "source"
    assert root.parents[0].parents[0].path == teacher.path
    assert not root.parents[0].changed


def test_lineage_says_when_a_source_is_gone_or_is_another(tmp_path: Path) -> None:
    teacher = stored(tmp_path / "train", key="t")
    student = stored(tmp_path / "distill", key="s", parents={"teacher": teacher})
    stored(tmp_path / "train", key="another")
    changed = inspection.lineage(student).parents[0]
    (tmp_path / "train" / "manifest.json").unlink()
    gone = inspection.lineage(student).parents[0]

    assert changed.changed
    assert gone.artifact is None


def test_an_artifact_that_names_itself_has_no_lineage(tmp_path: Path) -> None:
    made = stored(tmp_path / "distill", key="s")
    again = stored(tmp_path / "distill", key="s", parents={"source": made})

    with pytest.raises(ArtifactError, match="is named among its own sources"):
        inspection.lineage(again)


@pytest.mark.timeout(60)
def test_a_lineage_that_doubles_with_every_step_is_not_followed_to_its_end(tmp_path: Path) -> None:
    made = stored(tmp_path / "0", key="0")
    for step in range(1, 30):
        made = stored(tmp_path / str(step), key=str(step), parents={"source": made, "teacher": made})

    with pytest.raises(ArtifactError, match="name more than 1000 sources"):
        inspection.lineage(made)


def test_the_macs_of_a_network_of_several_inputs_are_those_of_a_sample_by_name():
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(3, 4), nn.Linear(5, 4)

        def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return self.first(a) + self.second(b)

    assert inspection.count_macs(Two(), {"a": torch.rand(1, 3), "b": torch.rand(1, 5)}) == 3 * 4 + 5 * 4
    with pytest.raises(ModelError, match=r"does not take an input of shape a \[3\]; b \[6\]"):
        inspection.count_macs(Two(), {"a": torch.rand(1, 3), "b": torch.rand(1, 6)})
