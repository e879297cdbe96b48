"""Every loss and every kind of teacher on one pair with one budget, beside the control: what does each give on real data?

    python -m benchmarks.methods --data data/cifar-10-batches-py --teachers data/resnet-cifar10 --runs runs/methods

CIFAR-10, a public ResNet-20 teaches a ResNet-8 through the command line: the first 5 000 training samples, five epochs, one
seed, the last epoch, judged on the whole test set. Each loss has its defaults; one on features has the labels beside it and
no other loss, so that its own worth shows. Those on transformers' attention are shown on a pair of small ViTs, trained here
on the same samples, with a control of their own. Each kind of teacher has the loss that its authors used. Differences to the
control are judged on the same samples by McNemar's test. With so few samples and epochs this ranks nothing: it shows which
methods work at all. Started again with the same `--runs` it goes on where it was.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import result
from benchmarks.result import Claim
from benchmarks.views import subset
from compressor import artifact, registry
from compressor import recipe as recipes
from compressor.artifact import Artifact
from compressor.data.open import open_dataset
from compressor.measure.accuracy import predict
from compressor.measure.statistics import paired_difference
from compressor.models import checkpoint
from compressor.recipe import DataSettings
from compressor.runtimes.torch import TorchEager
from compressor.tasks.classification import Classification

CONTROL = "control"
VIT_CONTROL = "control-vit"
ON_ATTENTION = ("attention_maps", "minilm")
VIT = "timm:vit_tiny_patch16_224"
VIT_STUDENT = ("--student", VIT, *(
    word
    for option in ("img_size=32", "patch_size=4", "embed_dim=64", "depth=2", "num_heads=2")
    for word in ("--set", f"student.options.{option}")
))  # fmt: skip
RESNET20, RESNET56 = "resnet20-12fca82f.th", "resnet56-4bfd9763.th"


@dataclass(frozen=True)
class Method:
    """One line of the table: what is added to `compress distill`, and the control that it is held against."""

    name: str
    words: Sequence[str]
    of: str = "loss"
    student: Sequence[str] = ("--student", "zoo:resnet8")
    control: str = CONTROL


def methods(teachers: Path, runs: Path) -> list[Method]:
    """Every loss beside a network, and every kind of teacher beside its usual loss."""
    halves, onnx, answers = _places(runs)
    one = [
        "--teacher",
        str(teachers / RESNET20),
        "--teacher-arch",
        "zoo:resnet20",
        "--set",
        "teacher.normalise=imagenet",
    ]
    two = ["--teacher", str(teachers / RESNET20), "--teacher", str(teachers / RESNET56)]
    two += ["--teacher-arch", "zoo:resnet20", "--teacher-arch", "zoo:resnet56"]
    two += ["--set", "teacher.normalise=imagenet", "--set", "teacher.members.0.normalise=imagenet"]
    known = {
        "network": one,
        "ensemble": two,
        "union": ["--teacher-kind", "union", "--teacher", str(halves[0]), "--teacher", str(halves[1])],
        "specialists": [*one, "--teacher-kind", "specialists"],
        "onnx": ["--teacher-kind", "onnx", "--teacher", str(onnx)],
        "outputs": ["--teacher-kind", "outputs", "--teacher", str(answers)],
    }
    none = ["--teacher-kind", "none"]
    found = [
        Method(CONTROL, none, "control"),
        Method(VIT_CONTROL, none, "control", student=VIT_STUDENT, control=VIT_CONTROL),
    ]
    for member in registry.members("losses"):
        if member.name in ON_ATTENTION:
            words = ["--teacher", str(runs / "vit" / "train"), "--loss", member.name, "--loss", "hard"]
            found.append(Method(member.name, words, student=VIT_STUDENT, control=VIT_CONTROL))
        elif member.name != "hard":
            on_features = any(option.name == "pairs" for option in member.options)
            losses = ["--loss", member.name, *(["--loss", "hard"] if on_features else [])]
            found.append(Method(member.name, [*one, *losses]))
    for member in registry.members("teachers"):
        if member.name not in ("none", "network"):
            found.append(Method(member.name, known.get(member.name, ["--teacher-kind", member.name]), "teacher"))
    found.append(Method("assistant", [*one, "--via", "zoo:resnet14"], "teacher"))
    found.append(Method("no labels", [*one, "--no-labels", "--alpha", "1"], "teacher"))
    return found


def main() -> None:
    """Train with each method and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of the CIFAR-10 batches")
    parser.add_argument("--teachers", required=True, type=Path, help=f"folder of {RESNET20} and {RESNET56}")
    parser.add_argument("--samples", type=int, default=5_000)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--teacher-epochs", type=int, default=8, help="of the teachers that are made here")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="comma between; by default all of them")
    parser.add_argument("--jobs", type=int, default=2, help="methods at a time, one thread each")
    parser.add_argument("--runs", type=Path, required=True, help="where runs are kept; the same place goes on")
    parser.add_argument("--results", type=Path, default=result.RESULTS, help="folder of the result file")
    given = parser.parse_args()
    given.runs.mkdir(parents=True, exist_ok=True)
    os.environ["COMPRESS_CACHE"] = str(given.runs.resolve() / "caches")
    data = subset(given.runs, given.data, given.samples)
    wanted = [each.strip() for each in given.only.split(",") if each.strip()]
    chosen = [
        each
        for each in methods(given.teachers, given.runs)
        if not wanted or each.name in (*wanted, CONTROL, VIT_CONTROL)
    ]
    _prepare(given, data, [each.name for each in chosen])
    with ThreadPoolExecutor(given.jobs) as pool:
        made = dict(
            zip([each.name for each in chosen], pool.map(lambda m: _distilled(m, given, data), chosen), strict=True)
        )
    found = _judged(chosen, made, data)
    samples = {"epochs": given.epochs, "samples": given.samples, "seed": given.seed, "methods": found}
    print(result.write("losses_methods", claims(found), samples=samples, folder=given.results))


def claims(found: Mapping[str, Mapping[str, Any]]) -> list[Claim]:
    """That each method beats the same student trained from the labels alone."""
    return [
        Claim(
            f"{each['of']} {name}: points above the control",
            0.0,
            each["accuracy"] - found[each["control"]]["accuracy"],
            "points",
        )
        for name, each in found.items()
        if each["of"] != "control" and each["accuracy"] is not None
    ]


def _places(runs: Path) -> tuple[list[Path], Path, Path]:
    """Where the teachers lie that are made first: two halves, an ONNX file, a file of answers."""
    exported = runs / recipes.safe_name(Path(RESNET20).stem) / "export-teacher" / "model.onnx"
    return [runs / f"half{number}" / "train" for number in (0, 1)], exported, runs / "answers.npz"


def _prepare(given: argparse.Namespace, data: str, names: Sequence[str]) -> None:
    """Make the teachers that cannot be had ready."""
    whole = dict(np.load(data.removeprefix("npz:")))
    classes = [str(name) for name in whole["classes"]]
    for number, known in enumerate((classes[:5], classes[5:]) if "union" in names else ()):
        file = given.runs / f"half{number}.npz"
        if not file.exists():
            np.savez(file, **_of_classes(whole, classes, known))
        words = ["--model", "zoo:resnet20", "--data", f"npz:{file}", "--name", f"half{number}"]
        _compress("train", *words, "--epochs", str(given.teacher_epochs), *_common(given, "train"))
    if set(ON_ATTENTION) & set(names):
        options = ("img_size=32", "patch_size=4", "embed_dim=96", "depth=4", "num_heads=3")
        built = [word for option in options for word in ("--set", f"teacher.options.{option}")]
        words = ["--model", VIT, *built, "--data", data, "--name", "vit", "--epochs", str(given.teacher_epochs)]
        _compress("train", *words, *_common(given, "train", "adamw"))
    arch = ("--arch", "zoo:resnet20", "--data", data, "--runs", str(given.runs))
    weights = str(given.teachers / RESNET20)
    _, onnx, answers = _places(given.runs)
    if "onnx" in names and not onnx.exists():
        _compress("export", weights, *arch, "--set", "teacher.normalise=imagenet", "--json")
    if "outputs" in names and not answers.exists():
        _compress("evaluate", weights, *arch[:4], "--save-outputs", str(answers), "--json")


def _of_classes(whole: Mapping[str, Any], classes: Sequence[str], names: Sequence[str]) -> dict[str, Any]:
    kept: dict[str, Any] = {"classes": np.array(names)}
    for split in ("train", "test"):
        labels = whole[f"y_{split}"]
        wanted = np.isin(labels, [classes.index(name) for name in names])
        kept[f"x_{split}"] = whole[f"x_{split}"][wanted]
        kept[f"y_{split}"] = np.array([names.index(classes[label]) for label in labels[wanted]])
    return kept


def _distilled(method: Method, given: argparse.Namespace, data: str) -> tuple[Artifact | None, float, str]:
    """The student of one method, the seconds it took, and what went wrong if it did."""
    name = method.name.replace(" ", "-")
    began = time.monotonic()
    optimizer = "adamw" if method.student is VIT_STUDENT else "sgd"
    words = [*method.student, "--data", data, "--name", name, "--epochs", str(given.epochs)]
    told = _compress("distill", *words, *method.words, *_common(given, "distill", optimizer), check=False)
    seconds = time.monotonic() - began
    print(
        f"{method.name:<24}{seconds:6.0f} s  {told.stderr.strip().splitlines()[-1] if told.returncode else ''}",
        flush=True,
    )
    if told.returncode:
        return None, seconds, told.stderr.strip().splitlines()[-1]
    return artifact.read(given.runs / name / "distill"), seconds, ""


def _common(given: argparse.Namespace, section: str, optimizer: str = "sgd") -> list[str]:
    budget = ["--optimizer", optimizer, "--seed", str(given.seed), "--runs", str(given.runs), "--json"]
    return [*budget, "--set", "data.val_share=0.0", "--set", f"{section}.compile=false"]


def _compress(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    told = subprocess.run(
        [sys.executable, "-m", "compressor", *words], env=environment, capture_output=True, text=True, check=False
    )
    if check and told.returncode:
        raise SystemExit(f"compress {' '.join(words)}\n{told.stderr}")
    return told


def _judged(
    chosen: Sequence[Method], made: Mapping[str, tuple[Artifact | None, float, str]], data: str
) -> dict[str, dict[str, Any]]:
    """Accuracy of each, and its difference to the control on the same samples."""
    test = open_dataset(DataSettings(source=data, val_share=0.0)).test
    right: dict[str, np.ndarray[Any, Any]] = {}
    found: dict[str, dict[str, Any]] = {}
    for method in chosen:
        student, seconds, fault = made[method.name]
        found[method.name] = {
            "of": method.of,
            "control": method.control,
            "accuracy": None,
            "seconds": seconds,
            "fault": fault,
        }
        if student is None:
            continue
        runtime = TorchEager.from_network(checkpoint.load(student).network.eval())
        right[method.name] = Classification().correct(predict(runtime, test), test.labels)
        paired = paired_difference(right[method.control], right[method.name])
        found[method.name] |= {
            "accuracy": 100 * float(right[method.name].mean()),
            "against_control": vars(paired),
            "losses": student.manifest.settings["training"]["losses"],
            "chosen": [
                f"{each.choice} {each.reason}".strip()
                for each in student.manifest.decisions
                if each.what.startswith("features of") or each.what == "teacher"
            ],
        }
        print(_line(method, found[method.name]), flush=True)
    return found


def _line(method: Method, found: Mapping[str, Any]) -> str:
    paired = found["against_control"]
    change = f"{100 * paired['difference']:+.2f} ({100 * paired['low']:+.2f} to {100 * paired['high']:+.2f})"
    return f"{method.of:<8}{method.name:<24}{found['accuracy']:7.2f} %  {change}  p {paired['p_value']:.4f}"


if __name__ == "__main__":
    main()
