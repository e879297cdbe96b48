"""Names that lead out of a folder: weights of ONNX models, members of zip files, files of a manifest.

    python -m tests.campaigns.external_data

Promise: not a byte that lies outside comes into a result, and not a byte is written outside.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from onnx import TensorProto, helper
from torch import nn

from compressor import artifact
from compressor.data.open import open_dataset
from compressor.models import checkpoint, inspection, load, onnx_copy, plain_weights, programs, spec
from compressor.pipeline import keys
from compressor.recipe import DataSettings
from compressor.runtimes.ort_cpu import OrtCpu
from tests.campaigns._files import Campaign, command, files_below, intact
from tests.named import predicted

SECRET = np.float32(1234.5) + np.arange(12, dtype=np.float32)


def locations(scratch: Path, secret: Path) -> dict[str, str]:
    """Ways to name `secret` from the folder of a model; the links that some take are made in that folder."""
    models = scratch / "models"
    (models / "link.bin").symlink_to(secret)
    (models / "folder").symlink_to(secret.parent)
    (models / "chain.bin").symlink_to("link.bin")
    (models / "inner").mkdir()
    (models / "inner" / "up").symlink_to("../..")
    return {
        "dots": f"../{secret.name}",
        "dots behind a folder": f"inner/../../{secret.name}",
        "dots and back": f"../models/../{secret.name}",
        "an absolute path": str(secret),
        "an absolute path with dots": f"{models}/../{secret.name}",
        "a link": "link.bin",
        "a link to a link": "chain.bin",
        "a folder that is a link": f"folder/{secret.name}",
        "a link upwards": f"inner/up/{secret.name}",
        "a file URL": f"file://{secret}",
        "two slashes": f"/{secret}",
        "a dot first": f"./../{secret.name}",
        "backslashes": f"..\\{secret.name}",
        "a proc link": f"/proc/self/cwd/{secret.name}",
        "the home": f"~/{secret.name}",
        "the system's": "/etc/hostname",
        "a device": "/dev/zero",
        "nothing": "",
        "the folder itself": ".",
        "a NUL": f"../{secret.name}\0.bin",
        "a long name": "a" * 5000,
    }


def model(file: Path, location: str, *, holder: str) -> Path:
    """A product with weights that lie at `location`, held as an initializer, a constant, or in a branch."""
    weights = TensorProto(name="w", dims=[4, 3], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", "0"), ("length", "48")):
        entry = weights.external_data.add()
        entry.key, entry.value = key, value
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b", 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["b", 3])
    product = helper.make_node("MatMul", ["x", "w"], ["y"], name="product")
    if holder == "initializer":
        graph = helper.make_graph([product], "g", [x], [y], [weights])
    elif holder == "constant":
        graph = helper.make_graph([helper.make_node("Constant", [], ["w"], value=weights), product], "g", [x], [y])
    else:
        inner = helper.make_tensor_value_info("w", TensorProto.FLOAT, [4, 3])
        branch = helper.make_graph([helper.make_node("Constant", [], ["w"], value=weights)], "b", [], [inner])
        yes = helper.make_tensor("yes", TensorProto.BOOL, [], [True])
        nodes = [helper.make_node("If", ["yes"], ["w"], then_branch=branch, else_branch=branch), product]
        graph = helper.make_graph(nodes, "g", [x], [y], [yes])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    file.write_bytes(made.SerializeToString())
    return file


def roads(file: Path, out: Path) -> dict[str, Callable[[], object]]:
    """Every way in which a command comes to an ONNX file; what they leave lies in `out`."""
    text, data, runs = str(file), ("--data", "npz:data.npz"), ("--runs", str(out / "runs"))

    def answers() -> None:
        runtime = OrtCpu()
        runtime.load(file)
        (out / "answers.bin").write_bytes(predicted(runtime, np.ones((1, 4), np.float32)).tobytes())

    def copied() -> None:
        out.joinpath("copy").mkdir()
        target = out / "copy" / "model.onnx"
        onnx_copy.write_copy(file, target, normalisation=None, gives_probabilities=False, smallest=1e-12)

    def copied_beside() -> None:
        onnx_copy._LARGEST = 10  # as if it were more than one file can hold
        copied()

    return {
        "answers": answers,
        "copy": copied,
        "copy with files beside": copied_beside,
        "whole": lambda: (out / "whole.onnx").write_bytes(onnx_copy.whole(file).SerializeToString()),
        "facts": lambda: (out / "facts.txt").write_text(str(inspection.inspect_onnx(file))),
        "key": lambda: (out / "key.txt").write_text(str((keys.identity(text), keys.content_key(file)))),
        "size": lambda: (out / "size.txt").write_text(str(OrtCpu().file_size(file))),
        "inspect": command("inspect", text),
        "evaluate": command("evaluate", text, *data, "--save-outputs", str(out / "outputs.npz")),
        "bench": command("bench", text, *data, *runs, "--set", "bench.min_seconds=0.01", "--set", "bench.starts=1"),
        "quantize": command("quantize", text, *data, *runs),
        "distill": command(
            "distill", "--teacher", text, "--student", "net.py", *data, *runs, "--set", "distill.epochs=1"
        ),
    }


def leaked(out: Path, secret: Path) -> bool:
    """Whether the secret, its hash or its products are in what was left."""
    hashed = artifact.sha256(secret).encode()
    sums = (np.ones((1, 4), np.float32) @ SECRET.reshape(4, 3)).tobytes()
    wanted = (SECRET.tobytes()[:16], SECRET[:1].tobytes(), hashed, hashed[:16], sums[:8])
    return any(each in file.read_bytes() for file in files_below(out) for each in wanted)


def zips(scratch: Path) -> Iterator[tuple[str, Path, Callable[[Path], object]]]:
    """Zip files with members that lead out of a folder, for every place that reads one."""
    torch.save(nn.Linear(4, 3).state_dict(), "sound.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(nn.Linear(4, 3)).save("sound.ts")
    np.savez(
        "sound.npz",
        x_train=np.zeros((8, 4), np.float32),
        y_train=np.arange(8) % 2,
        x_test=np.zeros((8, 4), np.float32),
        y_test=np.arange(8) % 2,
    )
    readers: dict[str, list[Callable[[Path], object]]] = {
        "sound.pt": [
            lambda file: load.weights_of(spec.parse(str(file))),
            plain_weights.read,
            lambda file: load.load(str(file), arch="net.py"),
        ],
        "sound.ts": [lambda file: programs.look_into(file, kind="torchscript"), lambda file: spec.parse(str(file))],
        "sound.npz": [lambda file: open_dataset(DataSettings(source=f"npz:{file}"))],
    }
    names = (
        "../victim",
        "/tmp/compress-campaign-victim",
        "a/../../victim",
        str(scratch / "victim"),
        "..\\victim",
        "link/victim",
    )
    for sound, ways in readers.items():
        for number, evil in enumerate(names):
            for how in ("beside", "instead", "first"):
                file = scratch / f"zip{number}{how}{Path(sound).suffix}"
                with zipfile.ZipFile(sound) as there, zipfile.ZipFile(file, "w") as changed:
                    if how == "first":
                        changed.writestr(evil, "XXXX")
                    for position, name in enumerate(there.namelist()):
                        changed.writestr(evil if how == "instead" and position == 1 else name, there.read(name))
                    if how == "beside":
                        link = zipfile.ZipInfo("link")
                        link.external_attr = 0o120777 << 16
                        changed.writestr(link, str(scratch))
                        changed.writestr(evil, "XXXX")
                for way, read in enumerate(ways):
                    yield f"{sound} with {evil} {how}, way {way}", file, read


def manifests(scratch: Path, secret: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    """Received artifacts whose manifest names files outside of their folder."""
    for number, name in enumerate((f"../../../{secret.name}", str(secret), "link.bin")):
        place = scratch / "received" / f"run{number}" / "teacher"
        with artifact.folder_for(place) as folder:
            shutil.copyfile("sound.pt", folder / "weights.safetensors")
            network = {"form": "library", "target": "timm:resnet10t", "options": {}, "sources": [name], "origin": "x"}
            network |= {"title": "t", "num_classes": 3, "sample_shape": [4], "params": 1}
            network |= {"normalisation": {"name": "none", "mean": [], "std": []}}
            made = artifact.seal(
                folder, place, artifact.Manifest("torch", "adopt", "teacher", "k", 0, {}, details={"network": network})
            )
        if name == "link.bin":
            (place / name).symlink_to(secret)
        raw = json.loads((place / "manifest.json").read_text())
        raw["files"][name] = artifact.sha256(secret)
        (place / "manifest.json").write_text(json.dumps(raw))
        yield f"a manifest that names {name}", lambda made=made: checkpoint.load(artifact.read(made.path))


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="external-") as folder:
        campaign = Campaign("external_data", Path(folder))
        scratch = campaign.scratch
        secret = scratch / "secret.bin"
        secret.write_bytes(SECRET.tobytes())
        (scratch / "models").mkdir()
        (scratch / "net.py").write_text("from torch import nn\n\ndef build():\n    return nn.Linear(4, 3)\n")
        x, y = np.ones((24, 4), np.float32), np.arange(24) % 3
        np.savez(scratch / "data.npz", x_train=x, y_train=y, x_test=x, y_test=y)
        outside = [scratch / "victim", scratch.parent / "victim", Path("/tmp/compress-campaign-victim")]
        untouched = intact(secret, *outside)
        for name, location in locations(scratch, secret).items():
            for holder in ("initializer", "constant", "branch"):
                file = model(scratch / "models" / "model.onnx", location, holder=holder)
                ways = roads(file, scratch / "out")
                for road in list(ways) if holder == "initializer" and name in ("dots", "a link") else list(ways)[:8]:
                    shutil.rmtree(scratch / "out", ignore_errors=True)
                    (scratch / "out").mkdir()
                    case = f"weights at {name} in a {holder}, {road}"
                    campaign.attempt(case, ways[road], untouched=untouched)
                    campaign.must(not leaked(scratch / "out", secret), f"{case}: what lies outside is in the result")
        for name, file, read in zips(scratch):
            campaign.attempt(name, lambda file=file, read=read: read(file), untouched=untouched)
        for name, look in manifests(scratch, secret):
            campaign.attempt(name, look, untouched=untouched)
        beside_it_is_read(campaign)
        campaign.end(promise="0 bytes from outside in a result, 0 bytes written outside")


def beside_it_is_read(campaign: Campaign) -> None:
    """Weights that lie beside their model are read: else nothing would have been shown."""
    (campaign.scratch / "models" / "own.bin").write_bytes(SECRET.tobytes())
    file = model(campaign.scratch / "models" / "model.onnx", "own.bin", holder="initializer")
    out = campaign.scratch / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    outcome = campaign.attempt("weights beside it", roads(file, out)["answers"], untouched=lambda: None)
    campaign.must(outcome == "read" and leaked(out, campaign.scratch / "secret.bin"), "weights beside it are not read")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
    sys.exit(0)
