"""PyTorch in eager mode, around a network of this process and from an artifact."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from compressor import artifact, trust
from compressor.errors import ArtifactError, MeasurementError, ModelError
from compressor.models import checkpoint
from compressor.models.build import Fit
from compressor.models.load import load
from compressor.runtimes.torch import TorchEager
from tests.named import predicted


def test_a_network_of_this_process_answers_without_gradients() -> None:
    network = nn.Linear(3, 2).eval()
    inputs = np.ones((4, 3), dtype=np.float32)

    answer = predicted(TorchEager.from_network(network), inputs)

    with torch.no_grad():
        assert np.array_equal(answer, network(torch.ones(4, 3)).numpy())


def test_threads_of_the_process_are_left_alone_unless_stated() -> None:
    before = torch.get_num_threads()
    try:
        TorchEager.from_network(nn.Identity().eval())
        unstated = torch.get_num_threads()
        described = TorchEager.from_network(nn.Identity().eval(), threads=1).describe()
    finally:
        torch.set_num_threads(before)

    assert unstated == before
    assert described["threads"] == 1


def test_half_precision_outputs_come_back_as_float32() -> None:
    class Half(nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return inputs.bfloat16()

    assert predicted(TorchEager.from_network(Half().eval()), np.ones((1, 2), dtype=np.float32)).dtype == np.float32


def test_a_network_in_training_mode_is_refused() -> None:
    with pytest.raises(AssertionError, match="eval mode"):
        TorchEager.from_network(nn.Linear(3, 2))


def test_what_the_network_cannot_take_is_a_measurement_error() -> None:
    runtime = TorchEager.from_network(nn.Linear(3, 2).eval())

    with pytest.raises(MeasurementError, match=r"cannot run a batch of \[1, 5\]: RuntimeError"):
        predicted(runtime, np.ones((1, 5), dtype=np.float32))


BUILDER = """
import torch
from tests.named import predicted
from tests.named import predicted

def build():
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 4))
"""


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, nn.Module]:
    """An artifact with a small network, and that network."""
    monkeypatch.setenv("COMPRESS_HOME", str(tmp_path / "home"))
    source, final = tmp_path / "student.py", tmp_path / "runs" / "train"
    source.write_text(BUILDER)
    network = load(f"{source}:build")
    with artifact.folder_for(final) as folder:
        details = {"network": checkpoint.write(folder, network, fit=Fit(4, (3, 2, 2)))}
        made = artifact.seal(folder, final, manifest("torch", details))
    trust.remember_made(made)
    return final, network.network


def manifest(kind: artifact.Kind, details: Mapping[str, object]) -> artifact.Manifest:
    return artifact.Manifest(kind=kind, stage="train", role="teacher", key="k", seed=0, settings={}, details=details)


def test_an_artifact_answers_as_the_network_it_was_made_from(trained: tuple[Path, nn.Module]) -> None:
    folder, network = trained
    inputs = np.random.default_rng(0).random((5, 3, 2, 2), dtype=np.float32)
    runtime = TorchEager(threads=torch.get_num_threads())

    runtime.load(folder)

    assert np.array_equal(predicted(runtime, inputs), predicted(TorchEager.from_network(network), inputs))
    assert runtime.describe()["provider"] == "cpu"


def test_size_is_that_of_the_weights_without_the_source(trained: tuple[Path, nn.Module]) -> None:
    folder, _network = trained

    assert TorchEager().file_size(folder) == (folder / "weights.safetensors").stat().st_size


def test_size_of_a_network_in_one_file_is_that_of_the_file(tmp_path: Path) -> None:
    final = tmp_path / "adopt"
    with artifact.folder_for(final) as folder:
        (folder / "source").mkdir()
        (folder / "source" / "t.pt").write_bytes(bytes(10))
        artifact.seal(folder, final, manifest("torch", {}))

    assert TorchEager().file_size(final) == 10


def test_an_artifact_of_another_kind_is_refused(tmp_path: Path) -> None:
    final = tmp_path / "export"
    with artifact.folder_for(final) as folder:
        artifact.seal(folder, final, manifest("onnx", {}))

    with pytest.raises(ModelError, match="of kind 'onnx', PyTorch runs those of kind 'torch'"):
        TorchEager().load(final)


def test_a_folder_that_is_no_artifact_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no artifact"):
        TorchEager().load(tmp_path)
