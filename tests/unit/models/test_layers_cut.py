"""Students cut from a teacher: which layers, whose weights, and that they read back by themselves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from compressor.errors import ModelError
from compressor.models import checkpoint, layers_cut
from compressor.models import spec as specs
from compressor.models.build import Builder, Fit, Loaded
from compressor.models.load import load
from compressor.models.network import Network
from compressor.models.normalisation import Normalisation
from compressor.surgery.record import Surgery

SOURCE = """
from torch import nn


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.one, self.two = nn.Linear(width, 16), nn.Linear(16, width)

    def forward(self, x):
        return x + self.two(self.one(x).relu())


class Net(nn.Module):
    def __init__(self, num_classes=3, depth=6):
        super().__init__()
        self.first = nn.Linear(4, 8)
        self.blocks = nn.ModuleList(Block(8) for _ in range(depth))
        self.last = nn.Linear(8, num_classes)

    def forward(self, x):
        x = self.first(x)
        for block in self.blocks:
            x = block(x)
        return self.last(x)


def build(num_classes=3, depth=6):
    return Net(num_classes, depth)


def two_lists():
    net = Net()
    net.others = nn.ModuleList(Block(8) for _ in range(2))
    return net
"""


@pytest.fixture
def whole(tmp_path: Path) -> Loaded:
    (tmp_path / "net.py").write_text(SOURCE)
    torch.manual_seed(0)
    return load(str(tmp_path / "net.py") + ":build", num_classes=3)


@pytest.mark.parametrize(("layers", "kept"), [(1, [0]), (2, [0, 5]), (3, [0, 2, 5]), (6, [0, 1, 2, 3, 4, 5])])
def test_layers_are_evenly_spaced_and_keep_their_weights(whole: Loaded, layers: int, kept: list[int]) -> None:
    student = layers_cut.cut(whole, {"layers": layers}, where="cut:teacher")

    own, theirs = student.network.module.state_dict(), whole.network.module.state_dict()
    assert len(student.network.module.blocks) == layers  # type: ignore[arg-type]
    for place, number in enumerate(kept):
        assert torch.equal(own[f"blocks.{place}.one.weight"], theirs[f"blocks.{number}.one.weight"])
    assert torch.equal(own["last.weight"], theirs["last.weight"])
    assert len(whole.network.module.blocks) == 6  # type: ignore[arg-type]


def test_the_layers_can_be_named(whole: Loaded) -> None:
    student = layers_cut.cut(whole, {"keep": [1, 4]}, where="cut:teacher")

    own, theirs = student.network.module.state_dict(), whole.network.module.state_dict()
    assert torch.equal(own["blocks.1.two.bias"], theirs["blocks.4.two.bias"])


def test_what_is_kept_reads_back_by_itself_also_when_it_is_cut_again(whole: Loaded, tmp_path: Path) -> None:
    once = layers_cut.cut(whole, {"layers": 4}, where="cut:teacher")
    twice = layers_cut.cut(once, {"keep": [1, 3]}, where="cut:teacher")
    some = torch.randn(2, 4)
    for number, student in enumerate((once, twice)):
        folder = tmp_path / str(number)
        folder.mkdir()
        details = json.loads(json.dumps(checkpoint.write(folder, student, fit=Fit(3, (4,)))))

        again = checkpoint.read(folder, details)

        with torch.no_grad():
            assert torch.equal(again.network(some), student.network(some))
    assert twice.surgery is not None
    assert twice.surgery.blocks == {"blocks": (2, 5)}


def test_widths_that_were_cut_before_move_with_their_layers() -> None:
    narrow = Surgery({"blocks.5.one": {"out_features": 9}}, {"blocks.0.one.bias": (7,), "blocks.5.one.bias": (9,)})

    both = narrow.then(Surgery(blocks={"blocks": (1, 5)}))

    assert both.numbers == {"blocks.1.one": {"out_features": 9}}
    assert both.shapes == {"blocks.1.one.bias": (9,)}
    assert Surgery.from_json(json.loads(json.dumps(both.as_json()))) == both


def test_a_record_without_blocks_is_written_as_it_always_was() -> None:
    assert Surgery({}, {"a.weight": (1,)}).as_json() == {"numbers": {}, "shapes": {"a.weight": [1]}}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "a cut needs either layers or keep"),
        ({"layers": 7}, "layers is 7"),
        ({"layers": 0}, "layers is 0"),
        ({"keep": [3, 1]}, r"keep is \[3, 1\]"),
        ({"layer": 2}, "a cut has no option 'layer'"),
        ({"layers": 2, "blocks": "first"}, "'first' is not a list of blocks"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(whole: Loaded, options: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        layers_cut.cut(whole, options, where="cut:teacher")


def test_of_several_lists_one_must_be_named(whole: Loaded) -> None:
    torch.manual_seed(0)
    builder = Builder("source", "two_lists", {}, whole.builder.sources, whole.builder.root)
    module = checkpoint.rebuild(builder, Fit(3))
    several = Loaded(Network(module, Normalisation("none", (), ())), "two", "two", builder, trained=True)

    with pytest.raises(ModelError, match="several lists of blocks: blocks, others") as raised:
        layers_cut.cut(several, {"layers": 1}, where="cut:teacher")
    assert "student.options.blocks=PATH" in str(raised.value.hint)
    assert layers_cut.cut(several, {"layers": 1, "blocks": "others"}, where="cut:teacher").trained


def test_a_network_without_such_a_list_is_refused() -> None:
    flat = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    loaded = Loaded(
        Network(flat, Normalisation("none", (), ())), "flat", "flat", Builder("source", "build"), trained=True
    )

    with pytest.raises(ModelError, match="no list of blocks of one kind"):
        layers_cut.cut(loaded, {"layers": 1}, where="cut:teacher")


def test_an_onnx_file_cannot_be_cut(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"x")

    with pytest.raises(ModelError, match="has no layers that can be taken out"):
        specs.parse(f"cut:{tmp_path / 'net.onnx'}")
