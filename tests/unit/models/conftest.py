"""Small networks as users have them: a Python file with a sibling, and the checkpoints people save from it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from compressor import registry

SOURCE = """
from torch import nn
from blocks import block

def build(num_classes=3, width=4):
    return nn.Sequential(block(width), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, num_classes))
"""
BLOCKS = """
from torch import nn

def block(width):
    return nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
"""


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def student(tmp_path: Path) -> Path:
    """`s.py`, which imports `blocks.py` beside it."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "blocks.py").write_text(BLOCKS)
    (folder / "s.py").write_text(SOURCE)
    return folder / "s.py"


@pytest.fixture
def network(student: Path) -> nn.Module:
    """What `s.py` builds."""
    torch.manual_seed(0)
    built: nn.Module = registry.import_file(student).build()
    return built.eval()


@pytest.fixture
def saved(tmp_path: Path, network: nn.Module) -> Path:
    """The plain weights of `network`."""
    torch.save(network.state_dict(), tmp_path / "t.pt")
    return tmp_path / "t.pt"


class Trap:
    """Its pickle creates a file when it is read."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.mark,)


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """The file that the trap creates."""
    return tmp_path / "code-has-run"


@pytest.fixture(params=["zip", "legacy"])
def trap(request: pytest.FixtureRequest, tmp_path: Path, network: nn.Module, mark: Path) -> Path:
    """A checkpoint whose reading would run code."""
    holds = {"state_dict": network.state_dict(), "extra": Trap(mark)}
    torch.save(holds, tmp_path / "trap.pt", _use_new_zipfile_serialization=request.param == "zip")
    return tmp_path / "trap.pt"


PICKLED = """
from torch import nn
from layers import Head

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = Head(16, 3)

    def forward(self, inputs):
        return self.head(inputs.flatten(1))
"""


@pytest.fixture
def pickled(tmp_path: Path) -> Path:
    """A whole network, pickled, with its code beside it."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "layers.py").write_text("from torch import nn\n\nclass Head(nn.Linear):\n    pass\n")
    (folder / "net.py").write_text(PICKLED)
    with registry.importable(folder):
        torch.save(__import__("net").Net().eval(), folder / "net.pt")
    for name in ("net", "layers"):
        del sys.modules[name]
    return folder / "net.pt"
