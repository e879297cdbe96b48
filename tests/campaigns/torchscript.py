"""Programs (TorchScript, torch.export) that write a file when they are loaded or run, by every road that takes a model.

    python -m tests.campaigns.torchscript

Promise: not a byte is written before `compress trust`; and after it they do run, so that the traps are real ones.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from compressor import artifact, trust
from compressor.models import checkpoint, load, programs, spec, whole_file
from tests.campaigns._files import Campaign, command, intact
from tests.traps import WritesAtLoading, WritesInForward

NETWORK = """
from torch import nn

def build(num_classes=3):
    return nn.Sequential(nn.Flatten(), nn.Linear(16, num_classes))
"""
SUFFIXES = (".pt", ".pth", ".ts", ".torchscript", ".bin", ".ckpt", ".tar", ".pt2")


class Holds(nn.Module):
    """A sound network around one that is not."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x)


def evil_programs(scratch: Path, place: Path) -> Iterator[tuple[str, Path]]:
    """Files that write `place`, and what they are."""
    for kind in (WritesInForward, WritesAtLoading):
        for name, module in ((kind.__name__, kind(str(place))), (f"{kind.__name__} inside", Holds(kind(str(place))))):
            scripted = torch.jit.script(module.eval())
            for suffix in SUFFIXES:
                file = scratch / f"{name.replace(' ', '-')}{suffix}"
                scripted.save(str(file))
                yield f"{name} {suffix}", file
    yield "an exported program with a pickle", exported(scratch / "pickle.pt2", place)


class Trap:
    """Its pickle writes a file when it is obeyed."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.write_text, (self.place, "XXXX")


def exported(file: Path, place: Path) -> Path:
    """A torch.export program whose sample inputs are a pickle that writes."""
    sound = file.with_name("sound.pt2")
    torch.export.save(torch.export.export(nn.Linear(16, 3).eval(), (torch.zeros(2, 16),)), sound)
    torch.save(Trap(place), file.with_name("trap.bin"))
    with zipfile.ZipFile(sound) as there, zipfile.ZipFile(file, "w") as changed:
        for name in there.namelist():
            is_pickle = name.endswith("sample_inputs/model.pt")
            changed.writestr(name, file.with_name("trap.bin").read_bytes() if is_pickle else there.read(name))
    return file


def roads(file: Path) -> dict[str, Callable[[], object]]:
    """Every way in which a command comes to a model file."""
    text, data = str(file), ("--data", "npz:data.npz")
    kind = "exported" if file.suffix == ".pt2" and "pickle" in file.stem else "torchscript"
    return {
        "parse": lambda: (spec.parse(text), spec.identity(text)),
        "look into": lambda: programs.look_into(file, kind=kind),
        "load": lambda: load.load(text, sample_shape=(1, 4, 4)),
        "load with an architecture": lambda: load.load(text, arch="net.py"),
        "weights": lambda: load.weights_of(spec.parse(text)),
        "whole file": lambda: whole_file.load(file, kind=kind),
        "as a pickle": lambda: whole_file.load(file, kind="pickled"),
        "inspect": command("inspect", text),
        "inspect with a shape": command("inspect", text, "--shape", "1,4,4", "--all", "--json"),
        "evaluate": command("evaluate", text, *data),
        "evaluate with an architecture": command("evaluate", text, *data, "--arch", "net.py"),
        "distill": command("distill", "--teacher", text, "--student", "net.py", *data, "--set", "distill.epochs=1"),
        "distill as the student": command("distill", "--teacher", "net.py", "--student", text, *data),
        "export": command("export", text, *data, "--onnx"),
        "prune": command("prune", text, *data, "--params", "0.5"),
        "quantize": command("quantize", text, *data),
        "bench": command("bench", text, *data),
        "pack": command("pack", text, *data),
        "report": command("report", text),
        "train": command("train", text, *data),
    }


def received(campaign: Campaign, file: Path, number: int) -> Path:
    """An artifact from elsewhere whose network is a program; it was made without being run."""
    place = campaign.scratch / "received" / f"run{number}" / "teacher"
    with artifact.folder_for(place) as folder:
        (folder / "source").mkdir()
        shutil.copyfile(file, folder / "source" / file.name)
        network = {
            "form": "file",
            "target": "exported" if file.stem == "pickle" else "torchscript",
            "options": {},
            "sources": [f"source/{file.name}"],
            "origin": file.name,
            "title": "t",
            "num_classes": 3,
            "sample_shape": [1, 4, 4],
            "normalisation": {"name": "none", "mean": [], "std": []},
            "params": 51,
        }
        manifest = artifact.Manifest(
            "torch", "adopt", "teacher", "k", 0, {"data": {"source": "npz:data.npz"}}, details={"network": network}
        )
        return artifact.seal(folder, place, manifest).path


def main() -> None:
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory(prefix="torchscript-") as folder:
        campaign = Campaign("torchscript", Path(folder))
        precious = campaign.scratch / "precious"
        precious.write_text("mine")
        (campaign.scratch / "net.py").write_text(NETWORK)
        x, y = np.zeros((24, 1, 4, 4), np.float32), np.arange(24) % 3
        np.savez(campaign.scratch / "data.npz", x_train=x, y_train=y, x_test=x, y_test=y)
        untouched = intact(precious, campaign.scratch / "net.py")
        for number, (name, file) in enumerate(evil_programs(campaign.scratch, precious)):
            campaign.must(precious.read_text() == "mine", f"{name}: its making wrote")
            precious.write_text("mine")
            ways = roads(file)
            few = ways if file.suffix in (".pt", ".ts") or file.stem == "pickle" else dict(list(ways.items())[:9])
            for road, read in few.items():
                campaign.attempt(f"{name}, {road}", read, untouched=untouched)
            if file.suffix == ".pt" or file.stem == "pickle":
                made = received(campaign, file, number)
                for words in (
                    ("inspect",),
                    ("evaluate",),
                    ("export", "--onnx"),
                    ("bench",),
                    ("prune", "--params", "0.5"),
                ):
                    line = command(words[0], str(made), *words[1:])
                    campaign.attempt(f"received {name}, {' '.join(words)}", line, untouched=untouched)
                one = artifact.read(made)
                campaign.attempt(f"received {name}, load", lambda one=one: checkpoint.load(one), untouched=untouched)
        the_traps_are_real(campaign, precious)
        campaign.end(promise="0 bytes written before trust")


def the_traps_are_real(campaign: Campaign, precious: Path) -> None:
    """After `compress trust` the same files do write: else nothing would have been shown."""
    for name in ("WritesInForward.ts", "WritesAtLoading.ts"):
        precious.write_text("mine")
        trust.remember(campaign.scratch / name)
        load.load(name, sample_shape=(1, 4, 4))
        campaign.must(precious.read_text() == "XXXX", f"{name} writes nothing after trust either")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
    sys.exit(0)
