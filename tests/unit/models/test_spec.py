"""What a model spec is, found without running anything of it."""

from __future__ import annotations

import argparse
import pickle
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from compressor.errors import ModelError, UnknownNameError
from compressor.models import spec


def truncated(file: Path, *, count: int) -> list[bytes]:
    """The content of `file`, cut at `count` places."""
    content = file.read_bytes()
    return [content[: len(content) * part // count] for part in range(count)]


@pytest.mark.parametrize(
    ("text", "kind", "title"),
    [
        ("timm:resnet18", "timm", "resnet18"),
        ("timm:resnet18.a1_in1k", "timm", "resnet18"),
        ("torchvision:resnet18", "torchvision", "resnet18"),
        ("zoo:resnet20", "python", "resnet20"),
        ("zoo:resnet_cifar:resnet20", "python", "resnet20"),
        ("torchvision.models:resnet18", "module", "resnet18"),
    ],
)
def test_a_name_is_known_by_its_form(text: str, kind: str, title: str) -> None:
    found = spec.parse(text)

    assert (found.kind, found.title) == (kind, title)
    assert found.is_built


def test_a_python_file_is_known_with_and_without_its_callable(student: Path) -> None:
    plain, named = spec.parse(str(student)), spec.parse(f"{student}:build")

    assert (plain.kind, plain.attr, plain.title) == ("python", None, "s")
    assert (named.kind, named.attr, named.title) == ("python", "build", "s")


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".th", ".ckpt", ".bin", ".tar"])
def test_plain_weights_are_a_state_dict(tmp_path: Path, network: nn.Module, suffix: str, legacy: bool) -> None:
    file = tmp_path / f"t{suffix}"
    torch.save(network.state_dict(), file, _use_new_zipfile_serialization=not legacy)

    assert spec.parse(str(file)).kind == "state_dict"


def test_what_scripts_keep_beside_weights_is_no_foreign_code(tmp_path: Path, network: nn.Module) -> None:
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    beside = {
        "best": np.float64(0.9),
        "curve": np.arange(3),
        "args": argparse.Namespace(lr=0.1),
        "device": torch.device("cpu"),
    }
    torch.save({"model": network.state_dict(), "optimizer": optimizer.state_dict(), **beside}, tmp_path / "t.pt")

    assert spec.parse(str(tmp_path / "t.pt")).kind == "state_dict"


def test_safetensors_are_known_under_any_suffix(tmp_path: Path) -> None:
    for name in ("t.safetensors", "t.bin"):
        save_file({"weight": torch.zeros(2)}, tmp_path / name)

        assert spec.parse(str(tmp_path / name)).kind == "state_dict"


def test_looking_at_a_pickle_runs_nothing_of_it(trap: Path, mark: Path) -> None:
    found = spec.parse(str(trap))

    assert found.kind == "pickled"
    assert found.pickled_class is not None
    assert not mark.exists()


def test_a_pickled_network_is_known_by_its_class(pickled: Path) -> None:
    found = spec.parse(str(pickled))

    assert (found.kind, found.pickled_class) == ("pickled", "net.Net")
    assert "net.Net" in str(spec.needs_architecture(found))


def test_a_newer_pickle_protocol_is_not_taken_for_plain_weights(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(2)}, tmp_path / "t.pt", pickle_protocol=4)

    assert spec.parse(str(tmp_path / "t.pt")).pickled_class == "pickle protocol 4"


def test_a_pickle_that_torch_did_not_write_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.pt").write_bytes(pickle.dumps({"weight": [1.0]}))

    with pytest.raises(ModelError, match=r"a pickle that torch\.save did not write — write it with torch\.save"):
        spec.parse(str(tmp_path / "t.pt"))


def test_torchscript_is_known(tmp_path: Path, network: nn.Module) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(network, torch.zeros(1, 1, 4, 4)).save(tmp_path / "t.pt")

    assert spec.parse(str(tmp_path / "t.pt")).kind == "torchscript"


@pytest.mark.parametrize("legacy", [False, True])
def test_a_checkpoint_cut_anywhere_is_damaged_or_weights(tmp_path: Path, network: nn.Module, legacy: bool) -> None:
    torch.save(network.state_dict(), tmp_path / "whole.pt", _use_new_zipfile_serialization=not legacy)
    said = set()
    for content in truncated(tmp_path / "whole.pt", count=60):
        (tmp_path / "cut.pt").write_bytes(content)
        try:
            said.add(spec.parse(str(tmp_path / "cut.pt")).kind)
        except ModelError as fault:
            said.add(fault.message.split()[0])

    assert said <= {"damaged", "damaged,", "the", "not", "state_dict"}
    assert "damaged" in said


@pytest.mark.parametrize("legacy", [False, True])
def test_a_checkpoint_with_a_changed_byte_never_escapes_as_another_error(
    tmp_path: Path, network: nn.Module, legacy: bool
) -> None:
    torch.save(network.state_dict(), tmp_path / "whole.pt", _use_new_zipfile_serialization=not legacy)
    content = (tmp_path / "whole.pt").read_bytes()
    random = np.random.default_rng(0)
    refused = 0
    for place in random.integers(0, len(content), 150):
        changed = bytearray(content)
        changed[place] ^= int(random.integers(1, 256))
        (tmp_path / "t.pt").write_bytes(changed)
        try:
            spec.parse(str(tmp_path / "t.pt"))
        except ModelError:
            refused += 1

    assert refused > 0


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.pt", b"", "the file is empty"),
        (
            "t.pt",
            b"dear diary, today I trained",
            "not a file that torch or safetensors wrote — is the download complete",
        ),
        ("t.pt", b"version https://git-lfs.github.com/spec/v1", "not a file that torch or safetensors wrote"),
        ("t.safetensors", b"abc", "truncated safetensors"),
        ("t.safetensors", b"\xff" * 64, "truncated safetensors"),
        ("t.csv", b"1,2", "'.csv' is no model file"),
    ],
)
def test_what_is_no_model_file_says_so(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(ModelError, match=said):
        spec.parse(str(tmp_path / name))


def test_a_zip_of_other_things_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "t.pt", "w") as archive:
        archive.writestr("holiday.jpg", "x")

    with pytest.raises(ModelError, match="a zip file, but none that torch wrote"):
        spec.parse(str(tmp_path / "t.pt"))


def test_a_misspelt_file_is_answered_with_the_nearest(student: Path) -> None:
    with pytest.raises(ModelError, match=r"no such file — did you mean .*blocks\.py"):
        spec.parse(str(student.parent / "block.py"))


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"there is no folder .*elsewhere"):
        spec.parse(str(tmp_path / "elsewhere" / "t.pt"))


def test_a_folder_that_holds_artifacts_names_them(tmp_path: Path) -> None:
    (tmp_path / "run" / "train").mkdir(parents=True)
    (tmp_path / "run" / "train" / "manifest.json").write_text("{}")

    with pytest.raises(ModelError, match=r"it holds artifacts: .*run/train"):
        spec.parse(str(tmp_path / "run"))


@pytest.mark.parametrize("text", ["zoo:resnett20", "zoo:resnet_cifar:resnet_20", "zoo:vgg_cifar:resnet20"])
def test_an_unknown_reference_network_is_answered_with_the_nearest(text: str) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'resnet20'"):
        spec.parse(text)


def test_a_library_needs_a_name() -> None:
    with pytest.raises(ModelError, match="write timm:resnet18"):
        spec.parse("timm:")


def test_local_sources_follow_imports_through_files_and_packages(student: Path) -> None:
    (student.parent / "parts").mkdir()
    (student.parent / "parts" / "deep.py").write_text("")
    (student.parent / "blocks.py").write_text("import torch, parts.deep\nfrom s import build")
    (student.parent / "unused.py").write_text("")

    found = [file.relative_to(student.parent).as_posix() for file in spec.local_sources(student)]

    assert found == ["s.py", "blocks.py", "parts/deep.py"]


def test_a_source_that_is_no_python_is_named(student: Path) -> None:
    (student.parent / "blocks.py").write_text("def f(:")

    with pytest.raises(ModelError, match=r"blocks\.py: not valid Python: .*, line 1"):
        spec.identity(str(student))


def test_the_identity_follows_the_content_of_every_source(student: Path) -> None:
    before = spec.identity(str(student))

    (student.parent / "blocks.py").write_text(BLOCKS_CHANGED)

    assert spec.identity(str(student)) != before


BLOCKS_CHANGED = "def block(width): return None"


@pytest.mark.parametrize("inner", ["", ".deep"])
@pytest.mark.parametrize("edited", ["deep.py", "parts.py"])
def test_the_identity_of_a_module_follows_its_source_and_not_its_name_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inner: str, edited: str
) -> None:
    package = tmp_path / f"nets{inner[1:]}{Path(edited).stem}"  # a module that was imported once is known for ever
    package.mkdir()
    (package / "__init__.py").write_text("from .deep import build")
    (package / "deep.py").write_text("from . import parts\ndef build(): ...")
    (package / "parts.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    before = spec.identity(f"{package.name}{inner}:build")

    (package / edited).write_text("from . import parts\ndef build(): return 1")

    assert spec.identity(f"{package.name}{inner}:build") != before


@pytest.mark.parametrize("module", ["sys", "math", "no.such"])
def test_a_module_without_source_is_known_by_its_name(module: str) -> None:
    assert spec.identity(f"{module}:build")["name"] == module


def test_the_identity_of_weights_holds_that_of_their_architecture(student: Path, saved: Path) -> None:
    assert spec.identity(str(saved), arch=str(student)) != spec.identity(str(saved))
