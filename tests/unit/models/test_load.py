"""A model spec becomes a network, whatever form it comes in; and nothing runs that was not trusted."""

from __future__ import annotations

import argparse
import contextlib
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from compressor import trust
from compressor.errors import ModelError, TrustError
from compressor.models import load

INPUTS = torch.linspace(0, 1, 32).view(2, 1, 4, 4)


def same(loaded: load.Loaded, network: nn.Module) -> bool:
    with torch.no_grad():
        return torch.equal(loaded.network(INPUTS), network(INPUTS))


def test_a_built_network_is_untrained_and_in_evaluation_mode(student: Path) -> None:
    loaded = load.load(str(student), num_classes=3, sample_shape=(1, 4, 4))

    assert not loaded.trained
    assert not loaded.network.training
    assert loaded.network.normalisation.name == "none"


@pytest.mark.parametrize("legacy", [False, True])
def test_weights_load_into_their_architecture(student: Path, network: nn.Module, tmp_path: Path, legacy: bool) -> None:
    torch.save({"state_dict": network.state_dict()}, tmp_path / "t.pt", _use_new_zipfile_serialization=not legacy)

    loaded = load.load(str(tmp_path / "t.pt"), arch=str(student), sample_shape=(1, 4, 4))

    assert loaded.trained
    assert loaded.steps == ("taken from 'state_dict'",)
    assert same(loaded, network)


def test_safetensors_load_into_their_architecture(student: Path, network: nn.Module, tmp_path: Path) -> None:
    save_file(network.state_dict(), tmp_path / "t.safetensors")

    assert same(load.load(str(tmp_path / "t.safetensors"), arch=str(student)), network)


def test_what_scripts_keep_beside_weights_does_not_matter(student: Path, network: nn.Module, tmp_path: Path) -> None:
    optimizer = torch.optim.AdamW(network.parameters())
    beside = {"best": np.float64(0.5), "step": np.int64(3), "curve": np.arange(3.0), "args": argparse.Namespace(lr=1)}
    torch.save({"model": network.state_dict(), "optimizer": optimizer.state_dict(), **beside}, tmp_path / "t.pt")

    assert same(load.load(str(tmp_path / "t.pt"), arch=str(student)), network)


def test_weights_without_an_architecture_say_what_to_add(saved: Path) -> None:
    with pytest.raises(ModelError, match=r"a state dict: .*--arch file\.py:callable"):
        load.load(str(saved))


def test_an_architecture_for_what_is_one_is_refused(student: Path) -> None:
    with pytest.raises(ModelError, match="needs no architecture — leave out"):
        load.load(str(student), arch="zoo:resnet8")


def test_weights_are_no_architecture(saved: Path) -> None:
    with pytest.raises(ModelError, match=r"is no architecture but a state_dict — write file\.py:callable"):
        load.load(str(saved), arch=str(saved))


def test_weights_of_another_network_are_refused_with_the_file(saved: Path) -> None:
    with pytest.raises(ModelError, match=r"t\.pt: the checkpoint does not fit"):
        load.load(str(saved), arch="zoo:resnet8")


def test_an_onnx_model_is_told_where_it_can_be_used(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"x")

    with pytest.raises(ModelError, match="use it with compress inspect, evaluate or bench"):
        load.load(str(tmp_path / "net.onnx"))


@pytest.mark.parametrize("with_architecture", [True, False])
def test_an_untrusted_pickle_is_refused_and_nothing_of_it_runs(
    trap: Path, mark: Path, student: Path, with_architecture: bool
) -> None:
    with pytest.raises((TrustError, ModelError), match=r"compress trust .*trap\.pt"):
        load.load(str(trap), arch=str(student) if with_architecture else None)

    assert not mark.exists()


def test_a_trusted_checkpoint_with_foreign_code_gives_its_weights(
    trap: Path, mark: Path, student: Path, network: nn.Module
) -> None:
    trust.remember(trap)

    assert same(load.load(str(trap), arch=str(student)), network)
    assert mark.exists()


def test_a_trusted_pickled_network_loads_with_the_code_beside_it(pickled: Path) -> None:
    trust.remember(pickled)

    loaded = load.load(str(pickled), num_classes=3, sample_shape=(1, 4, 4))

    assert loaded.trained
    assert [file.name for file in loaded.builder.sources] == ["net.pt", "net.py", "layers.py"]


def test_a_pickled_network_gives_its_weights_to_an_architecture(pickled: Path) -> None:
    trust.remember(pickled)

    loaded = load.load(str(pickled), arch=f"{pickled.parent / 'net.py'}:Net")

    assert same(loaded, load.load(str(pickled)).network)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_damaged_checkpoint_is_always_told_as_such(
    student: Path, network: nn.Module, tmp_path: Path, legacy: bool
) -> None:
    torch.save(network.state_dict(), tmp_path / "whole.pt", _use_new_zipfile_serialization=not legacy)
    content, random, file = (tmp_path / "whole.pt").read_bytes(), np.random.default_rng(0), tmp_path / "t.pt"
    cut = [content[:length] for length in np.linspace(0, len(content) - 1, 40, dtype=int)]
    changed = [bytearray(content) for _ in range(120)]
    for copy in changed:
        copy[random.integers(len(copy))] ^= int(random.integers(1, 256))
    for damaged in cut:
        file.write_bytes(damaged)
        with pytest.raises(ModelError, match=r"damaged|empty|not a file that torch|does not fit"):
            load.load(str(file), arch=str(student))
    for damaged in changed:
        file.write_bytes(damaged)
        with contextlib.suppress(ModelError, TrustError):  # a changed weight is no fault that can be seen
            load.load(str(file), arch=str(student))


def test_damaged_safetensors_are_told_as_such(student: Path, network: nn.Module, tmp_path: Path) -> None:
    save_file(network.state_dict(), tmp_path / "whole.safetensors")
    content = (tmp_path / "whole.safetensors").read_bytes()

    for damaged in (content[:-1], content[: len(content) // 2], content[:9] + b"#" + content[10:]):
        (tmp_path / "t.safetensors").write_bytes(damaged)
        with pytest.raises(ModelError, match="damaged"):
            load.load(str(tmp_path / "t.safetensors"), arch=str(student))


def test_torchscript_loads_once_it_is_trusted(network: nn.Module, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(network, INPUTS).save(tmp_path / "t.pt")
    with pytest.raises(TrustError, match=r"a TorchScript program.*compress trust .*t\.pt"):
        load.load(str(tmp_path / "t.pt"))
    trust.remember(tmp_path / "t.pt")

    loaded = load.load(str(tmp_path / "t.pt"), num_classes=3, sample_shape=(1, 4, 4))

    assert loaded.builder.target == "torchscript"
    assert same(loaded, network)


def test_a_network_that_does_not_fit_the_data_is_refused(student: Path) -> None:
    with pytest.raises(ModelError, match=r"does not take a batch of shape \[2, 3, 8, 8\]"):
        load.load(str(student), num_classes=3, sample_shape=(3, 8, 8))


def test_a_timm_network_brings_its_normalisation() -> None:
    loaded = load.load("timm:resnet10t")

    assert loaded.pretrained is not None
    assert loaded.pretrained.mean == pytest.approx((0.485, 0.456, 0.406))
