"""Networks of several inputs, and of inputs whose length varies, as ONNX files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from compressor.models import onnx_file
from compressor.models.network import Network
from compressor.models.normalisation import Normalisation
from compressor.recipe import ExportSettings
from compressor.runtimes.ort_cpu import OrtCpu
from compressor.tensors import Schema, TensorSpec

NONE = Normalisation("none", (0.0,), (1.0,))
TOKENS = Schema.of(TensorSpec("input_ids", "int64", ("tokens",)), TensorSpec("attention_mask", "int64", ("tokens",)))


class TextNetwork(nn.Module):
    """Tokens with places, attended to where the mask says so."""

    def __init__(self, *, longest: int = 32) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(50, 8), nn.Embedding(longest, 8)
        self.register_buffer("positions", torch.arange(longest)[None], persistent=False)
        self.head = nn.Linear(8, 3)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        known = self.words(input_ids) + self.places(self.positions[:, : input_ids.shape[1]])
        there = attention_mask[..., None].to(known.dtype)
        return self.head((known * there).sum(1) / there.sum(1))


class TwoInputs(nn.Module):
    """A picture and some numbers beside it; something for each pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.picture, self.numbers = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(5, 4)

    def forward(self, image: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        return self.picture(image) + self.numbers(numbers)[:, :, None, None]


def written(module: nn.Module, file: Path, samples: dict[str, np.ndarray], schema: Schema) -> tuple[Network, OrtCpu]:
    torch.manual_seed(0)
    network = Network(module, NONE).eval()
    onnx_file.write(network, file, settings=ExportSettings(), samples=samples, inputs=schema)
    runtime = OrtCpu(threads=1)
    runtime.load(file)
    return network, runtime


def tokens(batch: int, length: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(length)
    mask = np.arange(length)[None] < generator.integers(1, length + 1, (batch, 1))
    return {"input_ids": generator.integers(0, 50, (batch, length)), "attention_mask": mask.astype(np.int64)}


def test_a_file_takes_any_batch_and_any_length_that_the_network_takes(tmp_path: Path) -> None:
    network, runtime = written(TextNetwork(), tmp_path / "text.onnx", tokens(2, 9), TOKENS)

    assert runtime.inputs.names == TOKENS.names
    for batch, length in ((1, 1), (1, 9), (3, 20), (2, 32)):
        given = tokens(batch, length)
        with torch.no_grad():
            expected = network({name: torch.from_numpy(array) for name, array in given.items()}).numpy()
        np.testing.assert_allclose(runtime(given)["logits"], expected, atol=1e-5)


def test_inputs_of_several_kinds_keep_their_names(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    schema = Schema.of(TensorSpec("image", "float32", (3, 6, 8)), TensorSpec("numbers", "float32", (5,)))
    samples = {spec.name: generator.random((2, *spec.at({})), np.float32) for spec in schema}

    network, runtime = written(TwoInputs(), tmp_path / "two.onnx", samples, schema)

    with torch.no_grad():
        expected = network({name: torch.from_numpy(array) for name, array in samples.items()}).numpy()
    np.testing.assert_allclose(runtime(dict(reversed(samples.items())))["logits"], expected, atol=1e-5)
    assert runtime({name: array[:1] for name, array in samples.items()})["logits"].shape == (1, 4, 6, 8)


@pytest.mark.parametrize("fixed", [9])
def test_a_network_that_fixes_its_length_is_refused_by_name(tmp_path: Path, fixed: int) -> None:
    class OneLength(TextNetwork):
        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            return super().forward(input_ids.reshape(-1, fixed), attention_mask)

    from compressor.errors import ModelError

    with pytest.raises(ModelError, match=r"cannot be exported|fixes the number of tokens"):
        written(OneLength(), tmp_path / "one.onnx", tokens(2, fixed), TOKENS)
