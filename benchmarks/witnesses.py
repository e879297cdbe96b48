"""Whether a change that should not change numbers left them as they were, bit for bit.

    python -m benchmarks.witnesses write before.json                     # on the commit before
    python -m benchmarks.witnesses compare before.json                   # on the commit after, on the same machine
    python -m benchmarks.witnesses write before.json --cifar DIR --checkpoints DIR --parts cifar

Every part trains, distills, prunes, quantizes or evaluates something small with fixed seeds and one thread, and leaves the
hashes of all weights and ONNX files with their metrics and intervals. Latencies are no witnesses and are left out, and
nothing here is decided by one. Another machine rounds otherwise: files are compared where they were written.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from compressor import api, registry
from compressor.artifact import Artifact
from compressor.data.samples import class_numbers
from compressor.losses._features import FeatureLoss
from compressor.measure.accuracy import one_input

_TRAINING: Mapping[str, Any] = {"epochs": 2, "batch_size": 32, "lr": 0.02, "compile": False}
_PLAIN = ("data.views.crop=1", "data.views.flip=false")
_QUICK_BENCH: Mapping[str, Any] = {
    "profiles": ["edge"],
    "runtimes": ["ort_cpu"],
    "min_seconds": 0.05,
    "min_samples": 20,
    "blocks": 5,
    "starts": 1,
    "attempts": 1,
    "operators": False,
}
_STAGED = """
from torch import nn

def build(num_classes: int, in_channels: int = 1, width: int = {width}) -> nn.Module:
    def stage(i, o):
        return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU())
    return nn.Sequential(
        stage(in_channels, width), nn.MaxPool2d(2), stage(width, 2 * width), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(2 * width, num_classes),
    )
"""
_TOKENS = """
import timm

def build(num_classes: int, in_channels: int = 1, width: int = {width}):
    return timm.create_model(
        "vit_tiny_patch16_224", img_size=8, patch_size=4, embed_dim=width, depth=2, num_heads=2, in_chans=in_channels,
        num_classes=num_classes,
    )
"""
_ATTENTION = ("attention_maps", "minilm")
_WITHOUT_NETWORK = ("previous_epoch", "last_batch", "second_view", "same_class", "own_depth", "ema", "peers", "none")

Witness = dict[str, Any]


def main() -> None:
    """Write the witnesses of this commit, or compare those of another with them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["write", "compare"])
    parser.add_argument("file", type=Path)
    parser.add_argument("--parts", default="", help=f"some of {', '.join(PARTS)} (by default all that can be made)")
    parser.add_argument("--cifar", type=Path, help="folder of cifar-10-batches-py, for the part cifar")
    parser.add_argument("--checkpoints", type=Path, help="folder of resnet56-*.th, for the part cifar")
    given = parser.parse_args()
    known = json.loads(given.file.read_text(encoding="utf-8")) if given.action == "compare" else {}
    wanted = given.parts.split(",") if given.parts else list(known) or [name for name in PARTS if name != "cifar"]
    found = {name: made(name, cifar=given.cifar, checkpoints=given.checkpoints) for name in wanted}
    if given.action == "write":
        given.file.write_text(json.dumps(found, indent=1, sort_keys=True), encoding="utf-8")
        print(f"{sum(map(len, found.values()))} witnesses in {given.file}")
        return
    different = [line for name in wanted for line in differences(known[name], found[name], part=name)]
    print("\n".join(different) or f"{sum(map(len, found.values()))} witnesses are equal")
    sys.exit(bool(different))


def differences(before: Witness, after: Witness, *, part: str) -> list[str]:
    """One line for each witness that is not what it was."""
    names = sorted(before.keys() | after.keys())
    return [
        f"{part}  {name}: {before.get(name, 'absent')} → {after.get(name, 'absent')}"
        for name in names
        if before.get(name) != after.get(name)
    ]


def made(part: str, *, cifar: Path | None, checkpoints: Path | None) -> Witness:
    """The witnesses of one part, made in a folder of its own with a home and caches of its own."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="witnesses-") as scratch, contextlib.chdir(scratch):
        os.environ |= {"COMPRESS_HOME": f"{scratch}/home", "COMPRESS_CACHE": f"{scratch}/cache"}
        if part == "cifar":
            if cifar is None or checkpoints is None:
                sys.exit("the part cifar needs --cifar DIR and --checkpoints DIR")
            found = _cifar(cifar, checkpoints)
        else:
            found = PARTS[part]()
    print(f"{part}: {len(found)} witnesses in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return found


def of(made_here: Artifact, name: str) -> Witness:
    """What an artifact shows: the hash of each file of numbers, and every metric of its manifest."""
    files = {
        f"{name}/{file}": digest
        for file, digest in made_here.manifest.files.items()
        if Path(file).suffix in (".safetensors", ".onnx", ".npz")
    }
    return files | {f"{name}/metrics": _rounded_nowhere(made_here.manifest.metrics.get("test", {}))}


def of_run(done: api.Finished, name: str) -> Witness:
    """What every artifact of a run shows, and the accuracies and paired tests of its bench."""
    found: Witness = {}
    for role, each in (*done.artifacts.items(), *((f"{role}-onnx", each) for role, each in done.onnx.items())):
        found |= of(each, f"{name}/{role}")
    if done.measurements is not None:
        told = api.measurements_of(done.measurements)
        for candidate in told["candidates"]:
            found[f"{name}/bench/{candidate['role']}"] = _rounded_nowhere(candidate["accuracy"])
    return found


def _rounded_nowhere(value: Any) -> Any:
    """Floats as hexadecimal, so that equal means equal; times are left out, and what a number means (`metric`)."""
    if isinstance(value, float):
        return value.hex()
    if isinstance(value, Mapping):
        kept = {str(key): each for key, each in value.items() if not str(key).endswith(("_s", "_ms"))}
        return {key: _rounded_nowhere(each) for key, each in kept.items() if key != "metric" or isinstance(each, float)}
    if isinstance(value, list | tuple):
        return [_rounded_nowhere(each) for each in value]
    return value


def _demo() -> Witness:
    from compressor.cli import init

    with contextlib.redirect_stdout(sys.stderr):
        init.init(Path("demo"))
    with contextlib.chdir("demo"):
        import tomllib

        raw = tomllib.loads(Path("recipe.toml").read_text(encoding="utf-8"))
        return of_run(api.run(raw | {"bench": {**raw.get("bench", {}), **_QUICK_BENCH}}), "demo")


def _pictures(count: int, seed: int) -> tuple[Any, Any]:
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 4
    pictures = generator.integers(0, 120, (count, 1, 8, 8))
    for picture, label in zip(pictures, labels, strict=True):
        row, column = divmod(int(label), 2)
        picture[0, 4 * row + 1 : 4 * row + 3, 4 * column + 1 : 4 * column + 3] += 90
    return pictures.astype(np.uint8), labels.astype(np.int64)


def _small_project(y: Callable[[Any, Any], Any] = lambda _pictures, labels: labels) -> None:
    """Write data.npz, teacher.py, student.py and mid.py; `y` makes the labels of pictures of known classes."""
    arrays: dict[str, Any] = {}
    for split, count, seed in (("train", 256, 7), ("test", 96, 8)):
        x, labels = _pictures(count, seed)
        arrays |= {f"x_{split}": x, f"y_{split}": y(x, labels)}
    np.savez("data.npz", **arrays)
    for name, width in (("teacher", 16), ("mid", 10), ("student", 6)):
        Path(f"{name}.py").write_text(_STAGED.format(width=width), encoding="utf-8")
        Path(f"{name}_tokens.py").write_text(_TOKENS.format(width=2 * width), encoding="utf-8")


def _trained(name: str, *, model: str = "teacher.py", seed: int = 0, assignments: tuple[str, ...] = ()) -> Artifact:
    return api.train(
        model, data="npz:data.npz", name=name, seed=seed, options=_TRAINING, assignments=(*_PLAIN, *assignments)
    )


def _distilled(name: str, teacher: Any, *, student: str = "student.py", **asked: Any) -> Artifact:
    assignments = (*_PLAIN, *asked.pop("assignments", ()))
    return api.distill(
        teacher, student, data="npz:data.npz", name=name, options=_TRAINING, assignments=assignments, **asked
    )


def _teachers() -> Witness:
    """One run of each kind of teacher."""
    _small_project()
    first, second = _trained("first"), _trained("second", seed=1)
    found = of(first, "teacher") | of(second, "second teacher")
    for kind in _WITHOUT_NETWORK:
        found |= of(_distilled(kind, None, kind=kind), kind)
    found |= of(_distilled("network", first.path), "network")
    counted = ("data.views.count=2",)
    found |= of(_distilled("cached", first.path, assignments=counted), "network, predictions kept")
    found |= of(_distilled("again", first.path, assignments=counted), "network, predictions kept, again")
    found |= of(_distilled("ensemble", [first.path, second.path]), "ensemble")
    found |= of(_distilled("born", None, kind="born_again", kind_options={"generations": 2}), "born_again")
    found |= of(_distilled("via", first.path, via=["mid.py"]), "assistant")
    file = api.export(first.path).file("model.onnx")
    found |= of(_distilled("from-onnx", str(file)), "onnx")
    api.evaluate(str(first.path), save_outputs="outputs.npz")
    found |= of(_distilled("from-outputs", "outputs.npz"), "outputs")
    found |= of(_distilled("unlabelled", first.path, labels=False), "labels hidden")
    mixed = ("data.views.mixup=0.4",)
    return found | of(_distilled("mixed", first.path, assignments=mixed), "mixup")


def _losses() -> Witness:
    """One run with each loss that compares two networks."""
    _small_project()
    maps = _trained("maps")
    tokens = _trained("tokens", model="teacher_tokens.py")
    found: Witness = {}
    for member in registry.members("losses"):
        if member.name == "hard":
            continue
        over_tokens = member.name in _ATTENTION
        student = "student_tokens.py" if over_tokens else "student.py"
        beside = [{"name": "kd"}] if isinstance(member.load(), type) and issubclass(member.load(), FeatureLoss) else []
        taught = _distilled(
            member.name,
            (tokens if over_tokens else maps).path,
            student=student,
            loss=[*beside, {"name": member.name}],
        )
        found |= of(taught, member.name)
    return found


def _multilabel() -> Witness:
    generator = np.random.default_rng(11)
    _small_project(lambda x, labels: (generator.random((len(x), 4)) < 0.3) | (np.arange(4) == labels[:, None]))
    raw = np.load("data.npz")
    np.savez("data.npz", **{name: raw[name].astype(np.int64 if name[0] == "y" else np.uint8) for name in raw})
    return _whole_run("multilabel")


def _regression() -> Witness:
    _small_project(lambda x, _labels: x.reshape(len(x), -1)[:, [9, 13]].astype(np.float32) * 7 + 1000)
    return _whole_run("regression")


def _whole_run(task: str) -> Witness:
    raw = {
        "name": task,
        "data": {"source": "npz:data.npz", "views": {"crop": 1, "flip": False}},
        "task": {"name": task},
        "teacher": {"model": "teacher.py"},
        "student": {"model": "student.py"},
        "train": dict(_TRAINING),
        "distill": {**_TRAINING, "control": True},
        "bench": dict(_QUICK_BENCH),
    }
    done = api.run(raw)
    judged = api.evaluate(str(done.artifacts["student"].path))
    return of_run(done, task) | {f"{task}/evaluate": _rounded_nowhere({k: judged[k] for k in ("metrics", "interval")})}


def _compression() -> Witness:
    """Prune, then quantize in each way; nothing that is decided by a clock."""
    _small_project()
    teacher = _trained("teacher")
    student = _distilled("student", teacher.path)
    found = of(teacher, "teacher") | of(student, "student") | of(api.export(student.path), "student.onnx")
    cut = api.prune(student.path, options={"macs": 0.6, "epochs": 2, "rounds": 2, "batch_size": 32, "round_to": 1})
    found |= of(cut, "pruned") | of(api.export(cut.path), "pruned.onnx")
    for method in ("static", "dynamic", "float16"):
        made_small = api.quantize(cut.path, options={"method": method, "mixed": False, "calibration": 128})
        found |= of(made_small, f"pruned, {method}")
    learned = {"method": "qat", "mixed": False, "epochs": 1, "batch_size": 32, "calibration": 128}
    return found | of(api.quantize(cut.path, options=learned), "pruned, qat")


def _cifar(folder: Path, checkpoints: Path) -> Witness:
    """A public ResNet-56 on real pictures: evaluated, and a ResNet-8 distilled with `kd` and with `fitnet`."""
    from compressor.data.formats.cifar import cifar

    splits = cifar(folder)
    assert splits.test is not None
    some, few = np.arange(2048, dtype=np.int64), np.arange(1000, dtype=np.int64)
    np.savez(
        "cifar.npz",
        x_train=one_input(splits.train.fetch(some)),
        y_train=class_numbers(splits.train)[some],
        x_test=one_input(splits.test.fetch(few)),
        y_test=class_numbers(splits.test)[few],
    )
    weights = next(iter(sorted(checkpoints.glob("resnet56-*.th"))))
    named: dict[str, Any] = {"data": "npz:cifar.npz", "assignments": ("teacher.normalise=imagenet",)}
    judged = api.evaluate(str(weights), arch="zoo:resnet56", **named)
    found: Witness = {"evaluate": _rounded_nowhere({key: judged[key] for key in ("metrics", "interval")})}
    for name, loss in (("kd", [{"name": "kd"}]), ("fitnet", [{"name": "kd"}, {"name": "fitnet"}])):
        taught = api.distill(
            str(weights),
            "zoo:resnet8",
            teacher_arch="zoo:resnet56",
            name=name,
            loss=loss,
            options={**_TRAINING, "epochs": 1, "batch_size": 128},
            **named,
        )
        found |= of(taught, name)
    return found


PARTS: Mapping[str, Callable[[], Witness]] = {
    "demo": _demo,
    "teachers": _teachers,
    "losses": _losses,
    "multilabel": _multilabel,
    "regression": _regression,
    "compression": _compression,
    "cifar": dict,
}

if __name__ == "__main__":
    main()
