"""Every loss and every kind of teacher on one pair with one budget and several seeds, beside the control.

    python -m benchmarks.papers.methods --data data/cifar-10-batches-py --teachers data/resnet-cifar10 --runs runs/methods

CIFAR-10, the public ResNet-56 teaches a ResNet-8 through the command line: the first 5 000 training samples, six epochs in
steps of 64, the last epoch, judged on the whole test set. Each loss has its defaults; one on features has the labels beside
it and no other loss, so that its own worth shows. Those on transformers' attention are shown on a pair of small ViTs, made
here on the same samples, with a control of their own. Each kind of teacher has the loss that its authors used. All runs of
one seed come before those of the next. Started again with the same `--runs` it goes on where it was; with `--judge` it only
writes what is there. With `--beside FILE`, an earlier result file, the seeds that it has are not trained again and stand
beside those made here: another day, or another machine, can add seeds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import result
from benchmarks.papers.runs import compress, kept, metric, network, of_classes, spread
from benchmarks.result import Claim
from benchmarks.views import subset
from compressor import recipe as recipes
from compressor import registry
from compressor.artifact import Artifact

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
VARIANTS: Mapping[str, Sequence[str]] = {
    "kd T=1": ("--loss", "kd", "--temperature", "1"),
    "kd T=2": ("--loss", "kd", "--temperature", "2"),
    "kd T=8": ("--loss", "kd", "--temperature", "8"),
    "kd alpha=0.5": ("--loss", "kd", "--alpha", "0.5"),
    "kd alpha=1": ("--loss", "kd", "--alpha", "1"),
    "kd standardised": ("--loss", "kd", "--set", "distill.losses.0.standardise=true"),
    "kd standardised as its authors": (
        *("--loss", "kd", "--temperature", "2", "--alpha", "0.989"),
        *("--set", "distill.losses.0.standardise=true", "--set", "distill.losses.0.weight=9.1"),
    ),
    "kd and fitnet": ("--loss", "kd", "--loss", "fitnet"),
    "dkd warmed up": (
        "--loss",
        "dkd",
        "--set",
        "distill.losses.0.beta=8.0",
        "--set",
        "distill.losses.0.weight={start=0.0,end=1.0,until=0.3}",
    ),
    "dkd beta=8": ("--loss", "dkd", "--set", "distill.losses.0.beta=8.0"),
}
"""Losses with other options than their defaults, to see what the defaults should be; Sun et al. 2024 have 9 KL + 0.1 CE."""


@dataclass(frozen=True)
class Method:
    """One line of the table: what is added to `compress distill`, and the control that it is held against."""

    name: str
    words: Sequence[str]
    of: str = "loss"
    student: Sequence[str] = ("--student", "zoo:resnet8")
    control: str = CONTROL

    def run(self, seed: int) -> str:
        """The name of its run with this seed."""
        return f"{recipes.safe_name(self.name)}-{seed}"


def methods(teachers: Path, runs: Path) -> list[Method]:
    """Every loss beside a network, and every kind of teacher beside its usual loss; those that take longest come last."""
    halves, onnx, answers = _places(runs)
    normalise = ("--set", "teacher.normalise=imagenet")
    small = ["--teacher", str(teachers / RESNET20), "--teacher-arch", "zoo:resnet20", *normalise]
    one = ["--teacher", str(teachers / RESNET56), "--teacher-arch", "zoo:resnet56", *normalise]
    two = ["--teacher", str(teachers / RESNET56), "--teacher", str(teachers / RESNET20), *normalise]
    two += ["--teacher-arch", "zoo:resnet56", "--teacher-arch", "zoo:resnet20"]
    two += ["--set", "teacher.members.0.normalise=imagenet"]
    known = {
        "ensemble": two,
        "union": ["--teacher-kind", "union", "--teacher", str(halves[0]), "--teacher", str(halves[1])],
        "specialists": [*small, "--teacher-kind", "specialists", "--set", "specialists.epochs=2"],
        "onnx": ["--teacher-kind", "onnx", "--teacher", str(onnx)],
        "outputs": ["--teacher-kind", "outputs", "--teacher", str(answers)],
    }
    none = ["--teacher-kind", "none"]
    controls = [
        Method(CONTROL, none, "control"),
        Method(VIT_CONTROL, none, "control", student=VIT_STUDENT, control=VIT_CONTROL),
    ]
    on_answers, on_features = [Method(name, [*one, *words]) for name, words in VARIANTS.items()], []
    for member in registry.members("losses"):
        if member.name in ON_ATTENTION:
            words = ["--teacher", str(runs / "vit" / "train"), "--loss", member.name, "--loss", "hard"]
            on_answers.append(Method(member.name, words, student=VIT_STUDENT, control=VIT_CONTROL))
        elif recipes.Asking.reading(member, {}, where="").on_features_alone:
            on_features.append(Method(member.name, [*one, "--loss", member.name, "--loss", "hard"]))
        elif member.name != "hard":
            on_answers.append(Method(member.name, [*one, "--loss", member.name]))
    kinds = [
        Method(member.name, known.get(member.name, ["--teacher-kind", member.name]), "teacher")
        for member in registry.members("teachers")
        if member.name not in ("none", "network")
    ]
    ways = [
        Method("assistant", [*one, "--via", "zoo:resnet20"], "teacher"),
        Method("no labels", [*one, "--no-labels", "--alpha", "1"], "teacher"),
    ]
    return [*controls, *on_answers, *kinds, *ways, *on_features]


def main() -> None:
    """Train with each method and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of the CIFAR-10 batches")
    parser.add_argument("--teachers", required=True, type=Path, help=f"folder of {RESNET20} and {RESNET56}")
    parser.add_argument("--samples", type=int, default=5_000)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--teacher-epochs", type=int, default=8, help="of the teachers that are made here")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", help="comma between; by default all of them")
    parser.add_argument("--jobs", type=int, default=2, help="methods at a time, one thread each")
    parser.add_argument("--called", default="methods", help="what the result file's name ends with")
    parser.add_argument("--runs", type=Path, required=True, help="where runs are kept; the same place goes on")
    parser.add_argument("--beside", type=Path, help="an earlier result file, whose seeds are not trained again")
    parser.add_argument("--judge", action="store_true", help="train nothing: write the result file of what is there")
    parser.add_argument("--results", type=Path, default=result.RESULTS, help="folder of the result file")
    given = parser.parse_args()
    given.runs.mkdir(parents=True, exist_ok=True)
    os.environ["COMPRESS_CACHE"] = str(given.runs.resolve() / "caches")
    wanted = [each.strip() for each in given.only.split(",") if each.strip()]
    chosen = [
        each
        for each in methods(given.teachers, given.runs)
        if not wanted or each.name in (*wanted, CONTROL, VIT_CONTROL)
    ]
    earlier = json.loads(given.beside.read_text("utf-8"))["samples"]["methods"] if given.beside else {}
    if not given.judge:
        data = subset(given.runs, given.data, given.samples)
        _prepare(given, data, [each.name for each in chosen])
        with ThreadPoolExecutor(given.jobs) as pool:
            waiting = [
                pool.submit(_distil, method, seed, given, data)
                for seed in range(given.seeds)
                for method in chosen
                if seed not in earlier.get(method.name, {"seeds": ()})["seeds"]
            ]
            for each in waiting:
                each.result()
    found = judged(chosen, given.runs, given.seeds, earlier)
    print(table(found))
    samples = {"epochs": given.epochs, "samples": given.samples, "seeds": given.seeds, "methods": found}
    if given.beside:
        samples["beside"] = given.beside.name
    print(result.write(f"losses_{given.called}", claims(found), samples=samples, folder=given.results))


def claims(found: Mapping[str, Mapping[str, Any]]) -> list[Claim]:
    """That each method beats the same student trained from the labels alone."""
    return [
        Claim(f"{each['of']} {name}: mean points above the control", 0.0, each["above_control"]["mean"], "points")
        for name, each in found.items()
        if each["of"] != "control"
    ]


def judged(
    chosen: Sequence[Method], runs: Path, seeds: int, earlier: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """What each method came to, over the seeds that it was run with, here or in an earlier result file.

    A method that was not run is left out, and so is a seed that its control was not run with.
    """
    made = {method.name: _made(method, runs, seeds, earlier.get(method.name)) for method in chosen}
    found: dict[str, dict[str, Any]] = {}
    for method in chosen:
        shared = [seed for seed in sorted(made[method.name]) if seed in made[method.control]]
        if not shared:
            continue
        students = [made[method.name][seed] for seed in shared]
        control = [made[method.control][seed] for seed in shared]
        found[method.name] = {
            "of": method.of,
            "control": method.control,
            "seeds": shared,
            "accuracy": spread([each.accuracy for each in students]),
            "above_control": spread([a.accuracy - c.accuracy for a, c in zip(students, control, strict=True)]),
            "ece": spread([each.ece for each in students]),
            "seconds_an_epoch": spread([each.seconds_an_epoch for each in students]),
            "here": [seed for seed in shared if made[method.name][seed].artifact],
            **_chosen(students[-1].artifact, earlier.get(method.name, {})),
        }
    return found


@dataclass(frozen=True)
class Made:
    """One student: accuracy and ECE in percent; its artifact where it was trained here."""

    accuracy: float
    ece: float
    seconds_an_epoch: float
    artifact: Artifact | None = None


def _made(method: Method, runs: Path, seeds: int, earlier: Mapping[str, Any] | None) -> dict[int, Made]:
    found = {}
    if earlier:
        columns = [earlier[name]["values"] for name in ("accuracy", "ece", "seconds_an_epoch")]
        found = {seed: Made(*values) for seed, *values in zip(earlier["seeds"], *columns, strict=True)}
    trained = {seed: _trained(method, runs, seed) for seed in range(seeds) if seed not in found}
    return found | {seed: made for seed, made in trained.items() if made}


def _trained(method: Method, runs: Path, seed: int) -> Made | None:
    student = network(runs / method.run(seed) / "distill")
    if student is None:
        return None
    accuracy, ece = (100 * metric(student, name) for name in ("accuracy", "ece"))
    return Made(accuracy, ece, _seconds_an_epoch(student), student)


def _chosen(student: Artifact | None, earlier: Mapping[str, Any]) -> dict[str, Any]:
    """The losses of a method and what was decided for it, from one of its students."""
    if student is None:
        return {name: earlier[name] for name in ("losses", "chosen")}
    return {
        "losses": student.manifest.settings["training"].get("losses", []),
        "chosen": [
            f"{each.choice} {each.reason}".strip()
            for each in student.manifest.decisions
            if each.what.startswith("features of") or each.what == "teacher"
        ],
    }


def table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The lines of a Markdown table, the best first."""
    lines = [
        "| method | accuracy, % | points above the control | ECE, % | seconds an epoch | seeds |",
        "|---|---|---|---|---|---|",
    ]
    for name, each in sorted(found.items(), key=lambda entry: -entry[1]["above_control"]["mean"]):
        cells = [
            f"`{name}`",
            _cell(each["accuracy"]),
            "" if each["of"] == "control" else _cell(each["above_control"], sign="+"),
            _cell(each["ece"]),
            f"{each['seconds_an_epoch']['mean']:.1f}",
            str(len(each["seeds"])),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(spread: Mapping[str, Any], sign: str = "") -> str:
    several = len(spread["values"]) > 1
    return f"{spread['mean']:{sign}.2f}" + (f" ± {spread['std']:.2f}" if several else "")


def _seconds_an_epoch(student: Artifact) -> float:
    rates = [epoch["images_per_s"] for epoch in student.manifest.details["curve"]]
    samples: int = student.manifest.data["sizes"]["train"]
    return float(samples / statistics.median(rates))


def _places(runs: Path) -> tuple[list[Path], Path, Path]:
    """Where the teachers lie that are made first: two halves, an ONNX file, a file of answers."""
    exported = runs / recipes.safe_name(Path(RESNET56).stem) / "export-teacher" / "model.onnx"
    return [runs / f"half{number}" / "train" for number in (0, 1)], exported, runs / "answers.npz"


def _prepare(given: argparse.Namespace, data: str, names: Sequence[str]) -> None:
    """Make the teachers that cannot be had ready."""
    whole = dict(np.load(data.removeprefix("npz:")))
    classes = [str(name) for name in whole["classes"]]
    for number, known in enumerate((classes[:5], classes[5:]) if "union" in names else ()):
        half = kept(given.runs / f"half{number}.npz", of_classes(whole, known))
        words = ["--model", "zoo:resnet20", "--data", half, "--name", f"half{number}"]
        compress("train", *words, "--epochs", str(given.teacher_epochs), *_common(given, "train"))
    if set(ON_ATTENTION) & set(names):
        options = ("img_size=32", "patch_size=4", "embed_dim=96", "depth=4", "num_heads=3")
        built = [word for option in options for word in ("--set", f"teacher.options.{option}")]
        words = ["--model", VIT, *built, "--data", data, "--name", "vit", "--epochs", str(given.teacher_epochs)]
        compress("train", *words, *_common(given, "train", "adamw"))
    arch = ("--arch", "zoo:resnet56", "--data", data, "--runs", str(given.runs))
    weights = str(given.teachers / RESNET56)
    _, onnx, answers = _places(given.runs)
    if "onnx" in names and not onnx.exists():
        compress("export", weights, *arch, "--set", "teacher.normalise=imagenet", "--json")
    if "outputs" in names and not answers.exists():
        compress("evaluate", weights, *arch[:4], "--save-outputs", str(answers), "--json")


def _distil(method: Method, seed: int, given: argparse.Namespace, data: str) -> None:
    """Make one student, and say so; a method that fails is told, and the others go on."""
    optimizer = "adamw" if method.student is VIT_STUDENT else "sgd"
    words = [*method.student, "--data", data, "--name", method.run(seed), "--epochs", str(given.epochs)]
    told = compress("distill", *words, *method.words, *_common(given, "distill", optimizer, seed=seed), check=False)
    made = network(given.runs / method.run(seed) / "distill")
    if told.returncode or made is None:
        print(f"{method.name:<24} seed {seed}  {told.stderr.strip().splitlines()[-1]}", flush=True)
        return
    print(
        f"{method.name:<24} seed {seed}  {100 * metric(made, 'accuracy'):6.2f} %  {made.manifest.elapsed_s:6.0f} s",
        flush=True,
    )


def _common(given: argparse.Namespace, section: str, optimizer: str = "sgd", *, seed: int = 0) -> list[str]:
    rate = ["--lr", "0.05"] if optimizer == "sgd" else []
    budget = ["--optimizer", optimizer, *rate, "--batch-size", "64", "--seed", str(seed), "--runs", str(given.runs)]
    return [*budget, "--json", "--set", "data.val_share=0.0", "--set", f"{section}.compile=false"]


if __name__ == "__main__":
    main()
