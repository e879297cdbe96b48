"""`compress inspect`: networks, ONNX files, artifacts and what they came from."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
import typer
from onnx import TensorProto, helper
from torch import nn
from typer.testing import CliRunner

from compressor import artifact, trust
from compressor.cli.inspect import inspect
from compressor.errors import CompressError, InputError, ModelError

app = typer.Typer()
app.command()(inspect)

NETWORK = """
from torch import nn

def build(num_classes=10, in_channels=3):
    return nn.Sequential(
        nn.Conv2d(in_channels, 4, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes)
    )
"""

DEEP = """
from torch import nn

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, inputs):
        return inputs + self.linear(inputs)

def build():
    return nn.Sequential(*(Block() for _ in range(40)), nn.Linear(4, 2))
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPRESS_HOME", str(tmp_path / "home"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "net.py"
    file.write_text(NETWORK, encoding="utf-8")
    return file


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments)
    if isinstance(result.exception, CompressError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def run_json(*arguments: str) -> Any:
    return json.loads(run(*arguments, "--json"))


def save_onnx(file: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Relu", ["input"], ["output"])],
        "relu",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", 4])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, {"classes": "a,b,c,d"})
    onnx.save(model, file)


def test_a_network_in_a_file_is_counted_at_the_stated_shape(source: Path) -> None:
    facts = run_json(str(source), "--shape", "1,8,8", "--num-classes", "3")

    assert facts["parameters"] == 4 * 9 + 4 + 4 * 3 + 3
    assert facts["macs"] == 64 * 4 * 9 + 4 * 3
    assert facts["input_shape_is"] == "stated"
    assert facts["taps"][0] == {"path": "0", "kind": "Conv2d", "shape": [4, 8, 8], "stage_end": True}


def test_the_shape_is_supposed_when_it_is_not_stated(source: Path) -> None:
    facts = run_json(str(source))

    assert facts["input_shape"] == [3, 32, 32]
    assert facts["input_shape_is"] == "supposed"


def test_a_network_whose_shape_cannot_be_supposed_still_shows_its_size(tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    file.write_text("from torch import nn\ndef build():\n    return nn.Flatten()\n", encoding="utf-8")

    facts = run_json(str(file))

    assert facts["parameters"] == 0
    assert facts["input_shape"] is None
    assert facts["taps"] == []


def test_the_table_names_the_modules_to_tap() -> None:
    output = run("zoo:resnet20")

    assert "layer3" in output
    assert "end of a stage" in output
    assert "(270 k)" in output


def test_many_blocks_are_cut_to_thirty_with_the_ends_of_stages_kept(tmp_path: Path) -> None:
    file = tmp_path / "deep.py"
    file.write_text(DEEP, encoding="utf-8")

    facts = run_json(str(file))
    whole = run_json(str(file), "--all")

    assert len(facts["taps"]) == 30
    assert facts["taps_left_out"] == 11
    assert [tap["path"] for tap in facts["taps"] if tap["stage_end"]] == ["39", "40"]
    assert len(whole["taps"]) == 2 * 40 + 1


def test_a_state_dict_shows_its_weights_and_asks_for_its_architecture(source: Path, tmp_path: Path) -> None:
    file = tmp_path / "weights.pt"
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))
    torch.save({"epoch": 3, "state_dict": network.state_dict()}, file)

    told = CliRunner().invoke(app, [str(file)]).output
    alone = run_json(str(file))

    assert "a state dict: weights without the network" in told
    assert "--arch file.py:callable" in told
    assert alone["parameters"] == sum(weight.numel() for weight in network.parameters())
    assert alone["weights"][0] == {"name": "0.weight", "shape": [4, 3, 3, 3]}
    assert alone["loading"] == ["taken from 'state_dict'"]

    facts = run_json(str(file), "--arch", str(source))
    assert facts["trained"] is True
    assert facts["size_bytes"] == file.stat().st_size


def test_a_pickled_network_runs_only_when_trusted(tmp_path: Path) -> None:
    file = tmp_path / "whole.pt"
    torch.save(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), file)

    with pytest.raises(ModelError, match="compress trust"):
        run(str(file))

    assert run_json(str(file), "--trust")["parameters"] == 26


def test_an_onnx_file_shows_opset_names_and_metadata(tmp_path: Path) -> None:
    save_onnx(tmp_path / "relu.onnx")

    output = run(str(tmp_path / "relu.onnx"))

    assert "ai.onnx 18" in output
    assert "batch x 4" in output
    assert "a,b,c,d" in output


def test_an_onnx_file_is_inspected_without_torch(tmp_path: Path) -> None:
    save_onnx(tmp_path / "relu.onnx")
    code = (
        "import sys; from compressor.cli.inspect import inspect;"
        f"inspect({str(tmp_path / 'relu.onnx')!r}, None, None, None, False, False, True);"
        "assert 'torch' not in sys.modules"
    )

    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def sealed(
    folder: Path, *, stage: str, parents: dict[str, artifact.Artifact], kind: artifact.Kind
) -> artifact.Artifact:
    manifest = artifact.Manifest(
        kind=kind,
        stage=stage,
        role=stage,
        key=stage,
        seed=0,
        settings={"opset": 18, "nested": {"deep": True}},
        metrics={"test": {"accuracy": 0.97}},
        decisions=(artifact.Decision("opset", "18", "the exporter's own"),),
        parents={role: artifact.parent_entry(parent, folder) for role, parent in parents.items()},
    )
    with artifact.folder_for(folder) as temporary:
        if kind == "onnx":
            save_onnx(temporary / "model.onnx")
        return artifact.seal(temporary, folder, manifest)


def test_an_artifact_tells_what_made_it_and_from_what(tmp_path: Path) -> None:
    bench = sealed(tmp_path / "bench", stage="bench", parents={}, kind="measurements")
    export = sealed(tmp_path / "export", stage="export", parents={"source": bench}, kind="onnx")

    facts = run_json(str(export.path))
    output = run(str(export.path))

    assert facts["provenance"]["parents"][0]["stage"] == "bench"
    assert facts["operators"] == {"Relu": 1}
    assert facts["decisions"][0]["reason"] == "the exporter's own"
    assert "└ source" in output
    assert "nested.deep" in output


def torch_artifact(folder: Path, source: Path) -> Path:
    from compressor.models import checkpoint
    from compressor.models.build import Fit
    from compressor.models.load import load

    loaded = load(str(source), num_classes=3, sample_shape=(1, 8, 8))
    with artifact.folder_for(folder) as temporary:
        network = checkpoint.write(temporary, loaded, fit=Fit(3, (1, 8, 8)))
        manifest = artifact.Manifest(
            kind="torch", stage="distill", role="student", key="k", seed=0, settings={}, details={"network": network}
        )
        made = artifact.seal(temporary, folder, manifest)
    trust.remember_made(made)
    return folder


def test_a_network_in_an_artifact_is_counted_at_its_recorded_shape(tmp_path: Path, source: Path) -> None:
    folder = torch_artifact(tmp_path / "distill", source)

    facts = run_json(str(folder))

    assert facts["parameters"] == 4 * 9 + 4 + 4 * 3 + 3
    assert facts["input_shape"] == [1, 8, 8]
    assert facts["input_shape_is"] == "recorded"


def test_an_artifact_made_elsewhere_tells_its_manifest_before_it_is_trusted(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = torch_artifact(tmp_path / "distill", source)
    monkeypatch.setenv("COMPRESS_HOME", str(tmp_path / "another home"))

    facts = run_json(str(folder))

    assert facts["stage"] == "distill"
    assert "compress trust" in facts["not_looked_into"]
    assert "parameters" not in facts


def test_measurements_have_a_manifest_and_no_network(tmp_path: Path) -> None:
    bench = sealed(tmp_path / "bench", stage="bench", parents={}, kind="measurements")

    facts = run_json(str(bench.path))

    assert facts["metrics"] == {"test": {"accuracy": 0.97}}
    assert "parameters" not in facts


@pytest.mark.parametrize("shape", ["3,a,8", "", "0,8,8"])
def test_a_shape_that_is_none_is_refused(source: Path, shape: str) -> None:
    with pytest.raises(InputError, match=r"--shape: .* is no shape of a sample"):
        run(str(source), "--shape", shape)


def test_a_stated_shape_that_does_not_fit_is_an_error(source: Path) -> None:
    with pytest.raises(ModelError, match="does not take"):
        run(str(source), "--shape", "8")


def test_a_missing_model_is_named() -> None:
    with pytest.raises(ModelError, match=r"gone\.onnx: no such file"):
        run("gone.onnx")


@pytest.mark.parametrize("name", ["doctor", "inspect", "init", "list", "trust"])
def test_importing_a_command_loads_nothing_heavy(name: str) -> None:
    heavy = "{'torch', 'numpy', 'onnx', 'pydantic', 'compressor.models'}"
    code = f"import sys, compressor.cli.{name}; assert not {heavy} & set(sys.modules)"

    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
