"""TorchScript and torch.export programs are looked into without being run."""

from __future__ import annotations

import json
import warnings
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from compressor import trust
from compressor.cli.main import app
from compressor.errors import ModelError, TrustError
from compressor.models import load, programs, whole_file
from tests.traps import WritesAtLoading, WritesInForward

INPUTS = torch.zeros(2, 1, 4, 4)


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    """A file that nobody may write."""
    (tmp_path / "precious").write_text("mine")
    return tmp_path / "precious"


@pytest.fixture(params=[WritesInForward, WritesAtLoading])
def evil(request: pytest.FixtureRequest, tmp_path: Path, precious: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(request.param(str(precious)).eval()).save(tmp_path / "evil.pt")
    return tmp_path / "evil.pt"


def test_nothing_of_a_program_runs_before_trust(evil: Path, precious: Path, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("from torch import nn\n\ndef build():\n    return nn.Linear(16, 3)\n")
    for read in (whole_file.load, whole_file.weights):
        with pytest.raises(TrustError, match="compress trust"):
            read(evil, kind="torchscript")
    for arch in (None, str(tmp_path / "net.py")):
        with pytest.raises(TrustError, match="compress trust"):
            load.load(str(evil), arch=arch, sample_shape=(1, 4, 4))
    assert CliRunner().invoke(app, ["inspect", str(evil)]).exit_code == 0
    assert CliRunner().invoke(app, ["inspect", str(evil), "--shape", "1,4,4"]).exit_code == 0

    assert precious.read_text() == "mine"


def test_the_trap_is_a_real_one(evil: Path, precious: Path) -> None:
    trust.remember(evil)

    load.load(str(evil)).network(INPUTS)

    assert precious.read_text() == "XXXX"


@pytest.fixture(params=["torchscript", "exported"])
def program(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3)).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if request.param == "torchscript":
            torch.jit.script(network).save(tmp_path / "t.ts")
            return tmp_path / "t.ts", request.param
        torch.export.save(torch.export.export(network, (INPUTS,)), tmp_path / "t.pt2")
        return tmp_path / "t.pt2", request.param


def test_its_tensors_and_its_code_are_told_without_running_it(program: tuple[Path, str]) -> None:
    found = programs.look_into(program[0], kind=program[1])

    assert found.unread is None
    assert found.code_bytes > 500
    told = {tensor.name: (tensor.dtype, tensor.shape) for tensor in found.tensors}
    assert told["0.weight"] == ("float32", (2, 1, 3, 3))
    assert told["1.num_batches_tracked"] == ("int64", ())
    assert len(told) == 9


def test_inspect_shows_them_and_says_how_to_see_more(program: tuple[Path, str]) -> None:
    shown = CliRunner().invoke(app, ["inspect", str(program[0])])
    facts = json.loads(CliRunner().invoke(app, ["inspect", str(program[0]), "--json"]).stdout)

    assert "float32" in shown.stdout
    assert "compress trust" in shown.output
    assert facts["parameters"] == 18 + 2 + 2 + 2 + 24 + 3
    assert facts["weights"][0] == {"name": "0.weight", "shape": [2, 1, 3, 3], "dtype": "float32"}
    assert "macs" not in facts


def test_a_damaged_program_is_told(program: tuple[Path, str], tmp_path: Path) -> None:
    content = program[0].read_bytes()
    for length in range(0, len(content) - 1, len(content) // 20):
        (tmp_path / "cut.pt").write_bytes(content[:length])
        with pytest.raises(ModelError, match="damaged or truncated program"):
            programs.look_into(tmp_path / "cut.pt", kind=program[1])


def test_modules_that_repeat_one_another_are_listed_once(tmp_path: Path) -> None:
    nested = b"c__torch__\nNet\n)\x81}b" + b"q\0c__torch__\nNet\n)\x81}(X\1\0\0\0ah\0X\1\0\0\0bh\0ub" * 40
    with zipfile.ZipFile(tmp_path / "t.pt", "w") as archive:
        archive.writestr("x/data.pkl", b"\x80\2" + nested + b".")
        archive.writestr("x/code/net.py", b"")
        archive.writestr("x/constants.pkl", b"\x80\2).")

    assert programs.look_into(tmp_path / "t.pt", kind="torchscript").tensors == ()
