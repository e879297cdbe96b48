"""What a network costs: times on one scale, and no more files than are timed at once."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from compressor.measure import costs
from compressor.measure.costs import Costs
from compressor.models.network import Network
from compressor.models.normalisation import Normalisation
from compressor.recipe import ExportSettings, ProfileSettings
from compressor.tensors import Schema, TensorSpec


@pytest.fixture
def contests(monkeypatch) -> list[set[str]]:
    """Files hold a width, and an inference takes 2 ms for each of it; gives the files there were in each contest."""
    seen: list[set[str]] = []

    def write(network, file, **_):
        file.write_text(str(network.module.out_features))

    def time_models(files, **_):
        seen.append({file.name for each in files.values() for file in each.parent.glob("*.onnx")})
        taken = {name: 2.0 * float(file.read_text()) for name, file in files.items()}
        return {
            name: SimpleNamespace(samples_ms=np.full(20, ms), blocks=tuple(np.full(2, ms) for _ in range(10)))
            for name, ms in taken.items()
        }

    monkeypatch.setattr(costs.onnx_file, "write", write)
    monkeypatch.setattr(costs, "time_models", time_models)
    return seen


def some_costs(folder: Path, *, whole_ms: float | None = None) -> Costs:
    return Costs(
        Network(nn.Linear(2, 8), Normalisation("none", (), ())).eval(),
        export=ExportSettings(),
        profile=ProfileSettings(),
        samples={"input": np.zeros((2, 2), np.float32)},
        scratch=folder,
        whole_ms=whole_ms,
    )


def test_a_time_is_that_of_the_whole_over_how_many_times_faster_it_is(contests, tmp_path):
    assert some_costs(tmp_path).times({"half": nn.Linear(2, 4)}) == {"half": pytest.approx(8.0)}


def test_times_of_an_interrupted_run_are_on_the_scale_that_it_began_with(contests, tmp_path):
    """The clock says 16 ms of the whole now; it said 48 before."""
    again = some_costs(tmp_path, whole_ms=48.0)

    assert again.of(again._network.module, "latency") == 48.0
    assert again.times({"half": nn.Linear(2, 4)}) == {"half": pytest.approx(24.0)}


def test_files_of_candidates_are_gone_once_they_are_timed(contests, tmp_path):
    some_costs(tmp_path).times({f"{number}": nn.Linear(2, 4) for number in range(14)})

    assert max(map(len, contests)) == 7
    assert [file.name for file in tmp_path.glob("*.onnx")] == ["whole.onnx"]


def test_a_network_of_several_inputs_costs_what_it_takes_for_all_of_them(tmp_path):
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Embedding(9, 4), nn.Linear(5, 4)

        def forward(self, ids: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
            return self.first(ids).mean(1) + self.second(numbers)

    costs = Costs(
        Network(Two(), Normalisation("none", (), ())).eval(),
        export=ExportSettings(),
        profile=ProfileSettings(),
        samples={"ids": np.zeros((2, 3), np.int64), "numbers": np.zeros((2, 5), np.float32)},
        inputs=Schema.of(TensorSpec("ids", "int64", ("tokens",)), TensorSpec("numbers", "float32", (5,))),
        scratch=tmp_path,
    )

    assert costs.of(costs._network.module, "macs") == 5 * 4
    assert costs.of(costs._network.module, "size_mb") > 4 * (9 * 4 + 5 * 4 + 4) / 1e6
    assert set(np.load(costs._inputs).files) == {"ids", "numbers"}
