"""A kept state is gone on from as it was written, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from compressor import sealed_json
from compressor.training import resume

OTHER = "the kept state belongs to other settings or data, so training starts anew"


def parts() -> tuple[dict[str, nn.Module], torch.optim.Optimizer]:
    """A network after one step, and its optimizer."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4))
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1)
    network(torch.rand(5, 6)).square().sum().backward()
    optimizer.step()
    return {"network": network}, optimizer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    modules, optimizer = parts()
    position = resume.Position("k", epoch=1, batch=2, step=9, curve=[{"epoch": 0, "val": {"accuracy": 0.5}}])
    resume.save(tmp_path / "state", position, modules=modules, optimizer=optimizer)
    return tmp_path / "state"


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :]


DAMAGES: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "a flipped bit among the tensors": (resume.TENSORS, flipped),
    "a zeroed block among the tensors": (resume.TENSORS, lambda content: content[:-64] + bytes(64)),
    "tensors that are cut short": (resume.TENSORS, lambda content: content[:-1]),
    "a renamed tensor": (resume.TENSORS, lambda content: content.replace(b"network/", b"netwerk/")),
    "no tensors": (resume.TENSORS, lambda content: b""),
    "a flipped bit in the position": (resume.POSITION, flipped),
    "an epoch before the first": (resume.POSITION, lambda content: content.replace(b'"epoch": 1', b'"epoch": -1')),
    "no UTF-8": (resume.POSITION, lambda content: b"\xff" + content),
    "a table too deep": (resume.POSITION, lambda content: 100_000 * b"["),
    "no table": (resume.POSITION, lambda content: b"[1]"),
    "no position": (resume.POSITION, lambda content: b""),
}


def test_what_is_kept_comes_back_bit_for_bit(folder: Path) -> None:
    modules, optimizer = parts()
    before = {name: value.clone() for name, value in modules["network"].state_dict().items()}
    for value in modules["network"].state_dict().values():
        value.zero_()

    position, why_not = resume.position(folder, key="k")

    assert (position.epoch, position.batch, position.step, why_not) == (1, 2, 9, None)
    assert resume.restore(folder, modules=modules, optimizer=optimizer) is None
    assert all(torch.equal(value, before[name]) for name, value in modules["network"].state_dict().items())


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_in_any_way_begins_anew_with_a_sentence(folder: Path, damage: str) -> None:
    name, harm = DAMAGES[damage]
    whole = (folder / name).read_bytes()
    assert harm(whole) != whole
    (folder / name).write_bytes(harm(whole))

    position, why_not = resume.position(folder, key="k")

    assert position == resume.Position("k")
    assert why_not is not None
    assert why_not.startswith("the kept state is damaged (")
    assert why_not.endswith("), so training starts anew")


@pytest.mark.parametrize("name", [resume.TENSORS, resume.POSITION])
def test_a_state_that_lacks_a_file_is_damaged(folder: Path, name: str) -> None:
    (folder / name).unlink()

    _, why_not = resume.position(folder, key="k")

    assert why_not == f"the kept state is damaged ({name}: No such file or directory), so training starts anew"


def test_where_nothing_is_kept_there_is_nothing_to_say(tmp_path: Path) -> None:
    assert resume.position(tmp_path / "state", key="k") == (resume.Position("k"), None)


def test_a_state_under_another_key_is_left_alone_whatever_its_tensors(folder: Path) -> None:
    (folder / resume.TENSORS).unlink()

    assert resume.position(folder, key="another") == (resume.Position("another"), OTHER)


def test_a_position_of_another_version_is_damaged_rather_than_a_traceback(folder: Path) -> None:
    raw = sealed_json.read((folder / resume.POSITION).read_text())
    (folder / resume.POSITION).write_text(sealed_json.text(raw | {"mood": "sunny"}))

    assert "unexpected keyword argument 'mood'" in str(resume.position(folder, key="k")[1])


@pytest.mark.parametrize("other", [nn.Linear(7, 4), nn.Linear(6, 5)])
def test_a_state_whose_tensors_do_not_fit_changes_nothing(folder: Path, other: nn.Linear) -> None:
    modules: dict[str, nn.Module] = {"network": nn.Sequential(other, nn.BatchNorm1d(other.out_features))}
    before = other.weight.detach().clone()
    optimizer = torch.optim.AdamW(other.parameters(), lr=0.1)

    why = resume.restore(folder, modules=modules, optimizer=optimizer)

    assert why is not None
    assert why.startswith("the kept state does not fit the network (network/0.")
    assert torch.equal(other.weight, before)


def test_a_state_that_lacks_a_tensor_does_not_fit(folder: Path) -> None:
    modules, optimizer = parts()

    why = resume.restore(folder, modules=modules | {"average": nn.Linear(2, 2)}, optimizer=optimizer)

    assert why == "the kept state does not fit the network (average/bias), so training starts anew"
