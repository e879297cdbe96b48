"""What a long change has done so far is there after an interruption, whole or not at all."""

from __future__ import annotations

import pytest
import torch

from compressor.data.open import open_dataset
from compressor.models import load
from compressor.recipe import DataSettings
from compressor.training.rounds import Rounds


@pytest.fixture(scope="module")
def dataset():
    return open_dataset(DataSettings(source="digits"))


def some_network():
    return load.load("zoo:resnet8", num_classes=10, sample_shape=(1, 8, 8))


def test_a_kept_network_comes_back_with_its_record(tmp_path, dataset):
    loaded = some_network()
    Rounds(tmp_path / "state", key="k").keep("round-1", loaded, {"after": 0.5}, dataset=dataset)

    found = Rounds(tmp_path / "state", key="k").find("round-1")

    assert found is not None
    images = torch.rand(2, 1, 8, 8)
    assert torch.equal(found[0].network(images), loaded.network(images))
    assert found[1] == {"after": 0.5}


def test_what_another_key_left_is_gone(tmp_path, dataset):
    Rounds(tmp_path / "state", key="k").keep("round-1", some_network(), {}, dataset=dataset)

    assert Rounds(tmp_path / "state", key="other").find("round-1") is None


@pytest.mark.parametrize("harm", ["delete", "cut", "flip", "another round", "add"])
def test_a_damaged_round_is_done_again_and_that_is_said(tmp_path, dataset, harm, capsys):
    rounds = Rounds(tmp_path / "state", key="k")
    rounds.keep("round-1", some_network(), {}, dataset=dataset)
    weights = tmp_path / "state" / "round-1" / "weights.safetensors"
    if harm == "delete":
        weights.unlink()
    elif harm == "cut":
        weights.write_bytes(weights.read_bytes()[:-40])
    elif harm == "flip":
        content = bytearray(weights.read_bytes())
        content[-3] ^= 1
        weights.write_bytes(content)
    elif harm == "add":
        (weights.parent / "surgery.json").write_text("{}")
    else:
        (tmp_path / "state" / "round-1").rename(tmp_path / "state" / "round-2")

    assert rounds.find("round-2" if harm == "another round" else "round-1") is None
    assert "is damaged" in capsys.readouterr().err


def test_there_is_nothing_before_the_first_round(tmp_path):
    assert Rounds(tmp_path / "state", key="k").find("round-1") is None
    assert not (tmp_path / "state").exists(), "what is refused leaves nothing"
