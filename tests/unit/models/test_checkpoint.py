"""A network in an artifact: it reads back the same, anywhere, and not at all when it was tampered with."""

from __future__ import annotations

import json
import os
import py_compile
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from compressor import artifact, trust
from compressor.artifact import Artifact, Manifest
from compressor.errors import ArtifactError, ModelError, TrustError
from compressor.models import checkpoint, load
from compressor.models.build import Fit, Loaded
from compressor.models.normalisation import Normalisation
from tests.small import with_manifest

FIT = Fit(3, (1, 4, 4))
INPUTS = torch.linspace(0, 1, 32).view(2, 1, 4, 4)
READ = """
import sys, json, torch
from compressor import artifact, trust
from compressor.models import checkpoint
from pathlib import Path
loaded = checkpoint.load(artifact.read(Path(sys.argv[1])))
print(json.dumps(loaded.network(torch.linspace(0, 1, 32).view(2, 1, 4, 4)).tolist()))
"""


def kept(loaded: Loaded, final: Path) -> Artifact:
    """`loaded` as a sealed artifact, compared as stages do."""
    with artifact.folder_for(final) as folder:
        details = checkpoint.write(folder, loaded, fit=FIT)
        checkpoint.compare_read_back(folder, details, network=loaded.network, inputs=INPUTS)
        manifest = Manifest("torch", "train", "teacher", "k", 0, {}, details={"network": details})
        made = artifact.seal(folder, final, manifest)
    trust.remember_made(made)
    return made


def answers(loaded: Loaded) -> Any:
    with torch.no_grad():
        return loaded.network(INPUTS).tolist()


def test_an_artifact_reads_back_after_its_source_is_gone(student: Path, tmp_path: Path) -> None:
    loaded = load.load(str(student), num_classes=3)
    loaded.network.set_normalisation(Normalisation("stated", (0.3,), (0.6,)))
    made = kept(loaded, tmp_path / "run" / "train")

    shutil.rmtree(student.parent)

    again = checkpoint.load(artifact.read(made.path))
    assert answers(again) == answers(loaded)
    assert again.network.normalisation == loaded.network.normalisation
    assert again.trained


def test_an_artifact_reads_back_in_a_fresh_process(student: Path, tmp_path: Path) -> None:
    loaded = load.load(str(student), num_classes=3)
    made = kept(loaded, tmp_path / "run" / "train")
    shutil.rmtree(student.parent)

    fresh = subprocess.run([sys.executable, "-c", READ, str(made.path)], check=True, capture_output=True, text=True)

    assert torch.tensor(json.loads(fresh.stdout)).sub(torch.tensor(answers(loaded))).abs().max() < 1e-6


def test_an_artifact_may_be_read_often_and_after_it_was_copied(student: Path, tmp_path: Path) -> None:
    made = kept(load.load(str(student), num_classes=3), tmp_path / "run" / "train")
    shutil.copytree(made.path, tmp_path / "copy")

    for _ in range(2):
        subprocess.run([sys.executable, "-c", READ, str(tmp_path / "copy")], check=True, capture_output=True)

    artifact.read(tmp_path / "copy").verify()
    assert sorted(made.manifest.files) == ["source/blocks.py", "source/s.py", "weights.safetensors"]


def test_an_artifact_made_from_an_artifact_reads_back(student: Path, tmp_path: Path) -> None:
    first = kept(load.load(str(student), num_classes=3), tmp_path / "run" / "train")

    second = kept(load.load(str(first.path)), tmp_path / "run" / "distill")

    shutil.rmtree(first.path)
    assert answers(checkpoint.load(second))


def test_two_artifacts_with_siblings_of_equal_name_do_not_mix(student: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(student.parent, other)
    (other / "blocks.py").write_text((other / "blocks.py").read_text().replace("nn.ReLU()", "nn.Tanh()"))
    made = [
        kept(load.load(str(file)), tmp_path / "run" / name) for name, file in (("a", student), ("b", other / "s.py"))
    ]

    found = [checkpoint.load(one).network.module[0][2] for one in made]

    assert [type(layer).__name__ for layer in found] == ["ReLU", "Tanh"]


def test_tied_weights_stay_tied(tmp_path: Path) -> None:
    (tmp_path / "tied.py").write_text(
        "from torch import nn\ndef build():\n    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 16), nn.Linear(16, 16))\n"
        "    net[2].weight = net[1].weight\n    return net\n"
    )
    loaded = load.load(str(tmp_path / "tied.py"))

    again = checkpoint.load(kept(loaded, tmp_path / "run" / "train"))

    assert again.network.module[2].weight is again.network.module[1].weight
    assert answers(again) == answers(loaded)


def test_a_network_at_module_level_reads_back(tmp_path: Path) -> None:
    (tmp_path / "s.py").write_text("from torch import nn\n\nclass Net(nn.Linear):\n    pass\n\nmodel = Net(4, 3)\n")

    assert answers(checkpoint.load(kept(load.load(str(tmp_path / "s.py")), tmp_path / "run" / "train")))


@pytest.mark.parametrize("text", ["timm:resnet10t", "torchvision:squeezenet1_1", "zoo:resnet8"])
def test_library_and_reference_networks_read_back(text: str, tmp_path: Path) -> None:
    loaded = load.load(text, num_classes=3)
    inputs = torch.linspace(0, 1, 2 * 3 * 32 * 32).view(2, 3, 32, 32)

    details = checkpoint.write(tmp_path, loaded, fit=Fit(3, None))

    checkpoint.compare_read_back(tmp_path, details, network=loaded.network, inputs=inputs)
    assert details["params"] == sum(p.numel() for p in loaded.network.parameters())


def test_torchscript_travels_as_its_file(network: nn.Module, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(network, INPUTS).save(tmp_path / "t.pt")
    trust.remember(tmp_path / "t.pt")
    loaded = load.load(str(tmp_path / "t.pt"))

    made = kept(loaded, tmp_path / "run" / "train")

    assert list(made.manifest.files) == ["source/t.pt"]
    assert answers(checkpoint.load(made)) == answers(loaded)


def test_a_trusted_pickle_travels_with_the_code_beside_it(pickled: Path, tmp_path: Path) -> None:
    trust.remember(pickled)
    loaded = load.load(str(pickled))

    made = kept(loaded, tmp_path / "run" / "train")

    shutil.rmtree(pickled.parent)
    assert sorted(made.manifest.files) == ["source/layers.py", "source/net.pt", "source/net.py"]
    assert answers(checkpoint.load(made)) == answers(loaded)


@pytest.fixture
def made(student: Path, tmp_path: Path) -> Artifact:
    """An artifact of `s.py`, made here."""
    return kept(load.load(str(student), num_classes=3), tmp_path / "run" / "train")


@pytest.fixture
def foreign(made: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Artifact:
    """The same artifact, as it is for somebody else."""
    monkeypatch.setenv("COMPRESS_HOME", str(tmp_path / "home of another"))
    monkeypatch.setattr(trust, "_this_process", set())
    return made


def resealed(made: Artifact) -> Artifact:
    """The artifact with hashes that fit what lies there now, as whoever tampers would leave it."""
    hashes = {name: artifact.sha256(made.path / name) for name in made.manifest.files}
    return artifact.read(with_manifest(made.path, lambda raw: raw.update(files=hashes)))


@pytest.mark.parametrize("name", ["weights.safetensors", "source/s.py", "source/blocks.py"])
def test_a_tampered_file_is_refused(made: Artifact, name: str) -> None:
    with (made.path / name).open("ab") as stream:
        stream.write(b"\n# more")

    with pytest.raises(ArtifactError, match=f"'{name}' is not what was written"):
        checkpoint.load(made)


@pytest.mark.parametrize("name", ["s.py", "blocks.py"])
def test_source_edited_together_with_its_hash_needs_trust(made: Artifact, mark: Path, name: str) -> None:
    file = made.path / "source" / name
    file.write_text(file.read_text() + f"\nopen({str(mark)!r}, 'w').close()\n")

    with pytest.raises(TrustError, match="from an artifact that was not made here"):
        checkpoint.load(resealed(made))

    assert not mark.exists()


def test_a_foreign_artifact_is_refused_until_it_is_trusted(foreign: Artifact) -> None:
    with pytest.raises(TrustError, match="compress trust"):
        checkpoint.load(foreign)

    trust.remember(foreign.path)

    assert answers(checkpoint.load(foreign))


@pytest.mark.parametrize("name", ["timm.py", "json.pyc", "hidden/x.py", "fast.so"])
def test_code_smuggled_beside_trusted_source_is_refused(made: Artifact, name: str) -> None:
    (made.path / "source" / name).parent.mkdir(exist_ok=True)
    (made.path / "source" / name).write_bytes(b"x")

    with pytest.raises(ArtifactError, match="was not written with the others"):
        checkpoint.load(made)


def test_a_whole_network_in_an_artifact_made_here_needs_no_trust_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = torch.export.export(nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), (INPUTS,))
    torch.export.save(program, tmp_path / "t.pt2")
    trust.for_this_process(tmp_path / "t.pt2")
    made = kept(load.load(str(tmp_path / "t.pt2")), tmp_path / "run" / "teacher")
    monkeypatch.setattr(trust, "_this_process", set())

    assert answers(checkpoint.load(made))


@pytest.mark.parametrize("kind", ["torchscript", "exported", "pickled"])
def test_a_program_in_an_artifact_from_elsewhere_is_refused_until_the_artifact_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    network, file = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).eval(), tmp_path / "t.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind == "exported":
            torch.export.save(torch.export.export(network, (INPUTS,)), file.with_suffix(".pt2"))
            file = file.with_suffix(".pt2")
        else:
            torch.jit.trace(network, INPUTS).save(file) if kind == "torchscript" else torch.save(network, file)
    trust.for_this_process(file)
    made = kept(load.load(str(file)), tmp_path / "run" / "teacher")
    monkeypatch.setenv("COMPRESS_HOME", str(tmp_path / "home of another"))
    monkeypatch.setattr(trust, "_this_process", set())
    trust.remember(file)  # the file alone: what lies beside it in the artifact is not known by it

    with pytest.raises(TrustError, match="that is its network would run, from an artifact that was not made here"):
        checkpoint.load(made)

    trust.remember(made.path)
    assert answers(checkpoint.load(made))


def edited(made: Artifact, **changes: Any) -> Artifact:
    """The artifact with another builder reference in its manifest, as whoever tampers would leave it."""
    return artifact.read(with_manifest(made.path, lambda raw: raw["details"]["network"].update(changes)))


@pytest.mark.parametrize("source", ["evil.py", "source/evil.txt", "source/__pycache__/evil.py", "../evil.py"])
def test_a_manifest_cannot_name_other_files_as_source(made: Artifact, mark: Path, source: str) -> None:
    (made.path / source).parent.mkdir(exist_ok=True)
    (made.path / source).write_text(f"open({str(mark)!r}, 'w').close()")

    with pytest.raises(TrustError):
        checkpoint.load(edited(made, sources=[source]))

    assert not mark.exists()


@pytest.mark.parametrize("form", ["library", "file", "source"])
def test_a_manifest_cannot_call_what_it_likes(made: Artifact, mark: Path, form: str) -> None:
    with pytest.raises(TrustError):
        checkpoint.load(edited(made, form=form, target="os:system", options={"command": f"touch {mark}"}, sources=[]))

    assert not mark.exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("form", None),
        ("options", []),
        ("sources", [3]),
        ("sample_shape", ["1"]),
        ("normalisation", {"name": "data", "mean": ["a"], "std": [1.0]}),
        ("num_classes", "three"),
    ],
)
def test_a_reference_with_a_value_of_another_kind_is_damaged(made: Artifact, name: str, value: object) -> None:
    with pytest.raises(ArtifactError, match=rf"manifest\.json is damaged: details\.network\.{name}"):
        checkpoint.load(edited(made, **{name: value}))


def test_a_manifest_cannot_make_a_library_fetch_weights(made: Artifact) -> None:
    with pytest.raises(ArtifactError, match="asks for 'pretrained'"):
        checkpoint.load(edited(made, form="library", target="timm:resnet18", options={"pretrained": True}, sources=[]))


def test_bytecode_smuggled_beside_trusted_source_does_not_run(made: Artifact, mark: Path) -> None:
    for name in ("s", "blocks"):
        source = made.path / "source" / f"{name}.py"
        evil = source.with_name("evil.py.txt")
        evil.write_text(f"open({str(mark)!r}, 'w').close()\n" + source.read_text())
        cached = source.parent / "__pycache__" / f"{name}.{sys.implementation.cache_tag}.pyc"
        py_compile.compile(
            str(evil), cfile=str(cached), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
        )
        evil.unlink()

    subprocess.run([sys.executable, "-c", READ, str(made.path)], check=True, capture_output=True, env=dict(os.environ))

    assert not mark.exists()


def test_weights_of_another_network_are_refused(made: Artifact, student: Path, tmp_path: Path) -> None:
    wide = kept(load.load(str(student), options={"width": 8}), tmp_path / "run" / "wide")
    shutil.copyfile(wide.file("weights.safetensors"), made.path / "weights.safetensors")

    mixed = resealed(made)
    trust.remember(mixed.path)

    with pytest.raises(ArtifactError, match="the weights do not fit"):
        checkpoint.load(mixed)


def test_an_artifact_without_a_network_is_refused(made: Artifact) -> None:
    with_manifest(made.path, lambda raw: raw.update(kind="onnx"))

    with pytest.raises(ArtifactError, match="holds no network but onnx"):
        checkpoint.load(artifact.read(made.path))


def test_a_builder_that_builds_another_network_each_time_is_found_out(tmp_path: Path) -> None:
    (tmp_path / "s.py").write_text(
        "import random\nfrom torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.shift = random.random()\n"
        "    def forward(self, inputs):\n        return inputs.flatten(1) + self.shift\n"
    )

    with pytest.raises(ArtifactError, match="the network read back answers differently"):
        kept(load.load(str(tmp_path / "s.py")), tmp_path / "run" / "train")


def test_state_that_is_no_tensor_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Linear):\n"
        "    def __init__(self):\n        super().__init__(1, 1)\n"
        "    def get_extra_state(self):\n        return {'a': 1}\n    def set_extra_state(self, state):\n        pass\n"
    )

    with pytest.raises(ModelError, match="'_extra_state' in the network's state is dict"):
        kept(load.load(str(tmp_path / "s.py")), tmp_path / "run" / "train")
