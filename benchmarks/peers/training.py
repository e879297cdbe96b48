"""Distillation side by side: the usual hand-written loop, torchdistill, ours, and ours with no teacher.

    python -m benchmarks.peers.training --data D --teacher T
    python -m benchmarks.peers.training --data D --teacher T --students resnet8 --accuracy-epochs 3 --seeds 3

CIFAR-10, ResNet-56 → ResNet-20 and ResNet-8, batch 128, the same samples, loss, optimiser and schedule for all. The first
form measures speed: the peers over a bounded number of steps, ours over two epochs that fill the teacher cache and two that
read it. Neither the peers' steps nor ours change from epoch to epoch, so the whole run is start-up + compiling + epochs ×
the time of an epoch with its validation, which the claims call projected. The second form trains all of them to the end
of a short schedule and compares their accuracy; it does not mind other load.

Two things are not alike. Ours keeps weight decay off norms and biases, the peers decay every parameter, as tutorials and
examples do. And the peers' whole runs leave out the test, ours has it.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from benchmarks import result
from benchmarks.peers.contender import BATCH_SIZE
from benchmarks.result import Claim

GOALS = {"resnet20": 5.0, "resnet8": 8.0}
PEERS = {"usual_loop": "the usual loop", "with_torchdistill": "torchdistill"}


def main() -> None:
    """Run the contenders and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of the CIFAR-10 batches")
    parser.add_argument("--teacher", required=True, help="ResNet-56 checkpoint")
    parser.add_argument("--students", default="resnet20,resnet8")
    parser.add_argument("--epochs", type=int, default=30, help="of the whole run that is projected")
    parser.add_argument("--peer-steps", type=int, default=100, help="of a peer in a round: two blocks of 25 at least")
    parser.add_argument("--accuracy-epochs", type=int, help="compare accuracy after so many epochs instead of speed")
    parser.add_argument("--steady", action="store_true", help="compiled steps alone: minutes instead of an hour")
    parser.add_argument("--rounds", type=int, default=2, help="how often the contenders take turns")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--keep", type=Path, help="keep the runs of the second form here; one that has ended is not run again"
    )
    given = parser.parse_args()
    if given.keep and not given.accuracy_epochs:
        parser.error("--keep goes with --accuracy-epochs: a run that is timed starts from nothing")
    students = given.students.split(",")
    with nullcontext(given.keep) if given.keep else tempfile.TemporaryDirectory(prefix="compress-peers-") as folder:
        for student in students:
            if given.steady:
                runs = _steady_runs(student, given, Path(folder))
                print(result.write(f"training_steady_{student}", steady_claims(student, runs), samples=runs))
            elif given.accuracy_epochs:
                runs = _accuracy_runs(student, given, Path(folder))
                print(result.write(f"training_accuracy_{student}", accuracy_claims(student, runs), samples=runs))
            else:
                runs = _speed_runs(student, given, Path(folder))
                print(
                    result.write(f"training_peers_{student}", speed_claims(student, runs, given.epochs), samples=runs)
                )


def _speed_runs(student: str, given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Peers and ours in turns, so that a machine that changes meanwhile changes for all."""
    runs: dict[str, Any] = {peer: [] for peer in PEERS} | {"alone": [], "warm": []}
    steps = ["--epochs", str(given.epochs), "--max-steps", str(given.peer_steps)]
    short = ["--epochs", "3", "--compile", "true"]
    for round_ in range(given.rounds):
        for peer in PEERS:
            runs[peer].append(_run(peer, student, given, folder, f"{peer}-{round_}", steps))
        if round_ == 0:
            cold = ["--epochs", "4", "--views", "2", "--compile", "true"]
            runs["ours"] = _run("ours", student, given, folder, "cold", cold)
        runs["alone"].append(_run("ours", student, given, folder, f"alone-{round_}", [*short, "--alone"]))
        warm = [*short, "--views", "2", "--temperature", str(2 + round_)]
        runs["warm"].append(_run("ours", student, given, folder, f"warm-{round_}", warm))
    return runs


def _steady_runs(student: str, given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Steps of each in turns: the peers as they are, ours by `compress bench --training`."""
    from compressor import api

    shared: dict[str, Any] = {"data": {"source": f"cifar:{given.data}"}}
    training = {"optimizer": "sgd", "batch_size": BATCH_SIZE, "compile": True}
    alone = shared | {"teacher": {"model": f"zoo:{student}"}, "train": training, "stages": ["train"]}
    teacher = {"model": given.teacher, "arch": "zoo:resnet56", "normalise": "imagenet"}
    taught = shared | {"teacher": teacher, "student": {"model": f"zoo:{student}"}, "distill": training}
    runs: dict[str, Any] = {peer: [] for peer in PEERS} | {"alone": [], "asked": [], "kept": []}
    steps = ["--epochs", str(given.epochs), "--max-steps", str(given.peer_steps)]
    for round_ in range(given.rounds):
        for peer in PEERS:
            runs[peer].append(_run(peer, student, given, folder, f"{peer}-{round_}", steps))
        runs["alone"] += api.profile(alone, steps=given.peer_steps)
        asked, kept = api.profile(taught, steps=given.peer_steps)
        runs["asked"].append(asked)
        runs["kept"].append(kept)
    return runs


def steady_claims(student: str, runs: Mapping[str, Any]) -> list[Claim]:
    """What can be said of steps alone."""
    ours = statistics.median(run["images_per_s"] for run in runs["kept"])
    ratios = [a["images_per_s"] / k["images_per_s"] for a, k in zip(runs["alone"], runs["kept"], strict=True)]
    return [
        *(
            Claim(
                f"{student}: images per second of compiled steps with a warm cache against {title}",
                GOALS[student],
                ours / steady_of_peer(runs[peer]),
                "×",
            )
            for peer, title in PEERS.items()
        ),
        Claim(
            f"{student}: time of a step with a warm teacher cache against training alone",
            1.05,
            statistics.median(ratios),
            "×",
            "at most",
        ),
    ]


def _accuracy_runs(student: str, given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    runs: dict[str, Any] = {name: [] for name in (*PEERS, "ours", "alone")}
    for seed in range(given.seeds):
        flags = ["--epochs", str(given.accuracy_epochs), "--seed", str(seed)]
        for peer in PEERS:
            runs[peer].append(_run(peer, student, given, folder, f"{peer}-{seed}", [*flags, "--workers", "1"]))
        runs["ours"].append(_run("ours", student, given, folder, f"ours-{seed}", flags))
        runs["alone"].append(_run("ours", student, given, folder, f"alone-{seed}", [*flags, "--alone"]))
    return runs


def _run(
    module: str, student: str, given: argparse.Namespace, folder: Path, name: str, flags: Sequence[str]
) -> dict[str, Any]:
    out = folder / f"{student}-{name}.json"
    command = [sys.executable, "-m", f"benchmarks.peers.{module}", "--data", given.data, "--teacher", given.teacher]
    command += ["--student", student, "--out", str(out), *flags]
    if module == "ours":
        command += ["--runs", str(folder / "runs")]
    environment = os.environ | {
        "COMPRESS_CACHE": str(folder / "caches"),
        "TORCHINDUCTOR_CACHE_DIR": str(folder / f"compiled-{student}-{name}"),  # every run pays for its compiling
    }
    typed = out.with_suffix(".command")
    if not (out.is_file() and typed.is_file() and typed.read_text(encoding="utf-8") == shlex.join(command)):
        print(f"{student}: {name}", file=sys.stderr, flush=True)
        out.parent.mkdir(parents=True, exist_ok=True)
        typed.unlink(missing_ok=True)  # what an interruption leaves must not pass for a run that ended
        subprocess.run(command, check=True, env=environment)
        typed.write_text(shlex.join(command), encoding="utf-8")
    found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return found


def speed_claims(student: str, runs: Mapping[str, Any], epochs: int) -> list[Claim]:
    """What the issue of speed sets out to show, for one student."""
    usual, torchdistill = (steady_of_peer(runs[peer]) for peer in PEERS)
    steady = steady_of_ours(runs["ours"])
    whole = whole_run_s(runs["ours"], views=-(-epochs // 4), epochs=epochs)
    projected = f"(whole run of {epochs} epochs, projected)"
    return [
        Claim(f"{student}: steady images per second against the usual loop", GOALS[student], steady / usual, "×"),
        Claim(f"{student}: steady images per second against torchdistill", GOALS[student], steady / torchdistill, "×"),
        *(
            Claim(
                f"{student}: wall time against {title} {projected}",
                4.0,
                peer_run_s(runs[peer], epochs=epochs) / whole,
                "×",
            )
            for peer, title in PEERS.items()
        ),
        Claim(
            f"{student}: time of an epoch with a warm teacher cache against training alone",
            1.05,
            warm_against_alone(runs["warm"], runs["alone"]),
            "×",
            "at most",
        ),
        Claim(
            f"{student}: samples the teacher is asked for in a second run with another temperature",
            0.0,
            float(max(run["asked"] for run in runs["warm"])),
            "samples",
            "at most",
        ),
    ]


def steady_of_peer(runs: Sequence[Mapping[str, Any]]) -> float:
    """Median images per second of all blocks but the first of each run, which starts the workers."""
    rates: list[float] = [rate for run in runs for rate in run["blocks_images_per_s"][1:]]
    return statistics.median(rates)


def steady_of_ours(run: Mapping[str, Any]) -> float:
    """Mean images per second of the last two epochs, which compile nothing and fill no cache; validation left out."""
    rates: list[float] = run["images_per_s"][-2:]
    return statistics.mean(rates)


def warm_against_alone(warm: Sequence[Mapping[str, Any]], alone: Sequence[Mapping[str, Any]]) -> float:
    """Steps with a warm cache in times of steps without a teacher: the median over pairs of runs that stood side by side."""
    pairs = zip(warm, alone, strict=True)
    return statistics.median(steady_of_ours(without) / steady_of_ours(cached) for cached, without in pairs)


def peer_run_s(runs: Sequence[Mapping[str, Any]], *, epochs: int) -> float:
    """Wall time of a whole run of a peer: what its start took, its epochs at its steady rate, their validations."""
    steady = steady_of_peer(runs)
    start_s = statistics.median(
        run["wall_s"] - run["steps"] * BATCH_SIZE / steady - sum(run["validations_s"]) for run in runs
    )
    validation_s = statistics.median(each for run in runs for each in run["validations_s"])
    whole_s: float = max(0.0, start_s) + epochs * (_images_per_epoch() / steady + validation_s)
    return whole_s


def whole_run_s(run: Mapping[str, Any], *, views: int, epochs: int) -> float:
    """Wall time of a whole run of ours: start, compiling, epochs that fill the cache, epochs that read it, validations.

    The run has an epoch of filling and compiling, one of filling, and others of reading. What its training took beyond
    its steps is validation.
    """
    steps_s = [_images_per_epoch() / rate for rate in run["images_per_s"]]
    first_s, filling_s, *readings_s = steps_s
    reading_s = statistics.mean(readings_s)
    validation_s = (run["trained_s"] - sum(steps_s)) / run["epochs"]
    other_s: float = run["wall_s"] - run["trained_s"] + (first_s - filling_s)
    whole_s: float = other_s + views * filling_s + (epochs - views) * reading_s + epochs * validation_s
    return whole_s


def _images_per_epoch() -> int:
    return 45_000 // BATCH_SIZE * BATCH_SIZE


def accuracy_claims(student: str, runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Claim]:
    """That the fast loop teaches as well as the others do."""
    means = {name: statistics.mean(run["test_accuracy"] for run in each) for name, each in runs.items()}
    epochs, seeds = runs["ours"][0]["epochs"], len(runs["ours"])
    about = f"(test accuracy after {epochs} epochs, mean of {seeds} seeds)"
    return [
        Claim(f"{student}: ours against {title} {about}", -0.5, means["ours"] - means[peer], "points")
        for peer, title in PEERS.items()
    ]


if __name__ == "__main__":
    main()
