"""Networks that come whole in one file."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from compressor import trust
from compressor.errors import ModelError, TrustError
from compressor.models import spec, whole_file

INPUTS = torch.linspace(0, 1, 48).view(3, 1, 4, 4)


@pytest.fixture(scope="module")
def program_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A torch.export program with a dynamic batch."""
    file = tmp_path_factory.mktemp("program") / "t.pt2"
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).eval()
    batch = torch.export.Dim("batch", min=1, max=1024)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(network, (torch.zeros(2, 1, 4, 4),), dynamic_shapes=({0: batch},)), file)
    return file


def test_an_exported_program_is_known_and_needs_trust(program_file: Path) -> None:
    assert spec.parse(str(program_file)).kind == "exported"
    with pytest.raises(TrustError, match="compress trust"):
        whole_file.load(program_file, kind="exported")


def test_a_trusted_program_runs_and_can_change_its_mode(program_file: Path) -> None:
    trust.remember(program_file)

    network = whole_file.load(program_file, kind="exported").eval()

    assert network(INPUTS).shape == (3, 3)
    assert not network.training
    assert network.train().training


def test_a_damaged_program_is_told(program_file: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "t.pt2"
    damaged.write_bytes(program_file.read_bytes()[:-200])
    trust.remember(damaged)

    with pytest.raises(ModelError, match="the exported program cannot be read"):
        whole_file.load(damaged, kind="exported")


def test_damaged_torchscript_is_told(tmp_path: Path) -> None:
    (tmp_path / "t.pt").write_bytes(b"PK nothing")
    trust.remember(tmp_path / "t.pt")

    with pytest.raises(ModelError, match="TorchScript cannot be read"):
        whole_file.load(tmp_path / "t.pt", kind="torchscript")


def test_a_pickle_runs_nothing_before_it_is_trusted(trap: Path, mark: Path) -> None:
    for read in (whole_file.load, whole_file.weights):
        with pytest.raises(TrustError, match="compress trust"):
            read(trap, kind="pickled")

    assert not mark.exists()


def test_a_trusted_pickled_network_is_found_inside_a_dictionary(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "model": nn.Linear(2, 2)}, tmp_path / "t.pt")
    trust.remember(tmp_path / "t.pt")

    assert isinstance(whole_file.load(tmp_path / "t.pt", kind="pickled"), nn.Linear)
    assert whole_file.weights(tmp_path / "t.pt", kind="pickled").keys() == {"epoch", "model"}


def test_a_trusted_pickle_without_a_network_says_what_it_holds(trap: Path) -> None:
    trust.remember(trap)

    with pytest.raises(ModelError, match="the pickle holds a dict, not a network — if it holds weights"):
        whole_file.load(trap, kind="pickled")


def test_a_pickled_network_whose_code_is_missing_says_so(pickled: Path) -> None:
    (pickled.parent / "net.py").unlink()
    trust.remember(pickled)

    with pytest.raises(ModelError, match=r"needs code that is not here.*put its source beside the file"):
        whole_file.load(pickled, kind="pickled")


def test_a_damaged_trusted_pickle_is_told(trap: Path) -> None:
    trap.write_bytes(trap.read_bytes()[:300])
    trust.remember(trap)

    with pytest.raises(ModelError, match="the pickle cannot be read"):
        whole_file.load(trap, kind="pickled")
