"""The side-by-side benchmark of training: its arithmetic, its claims, and each contender for a few real steps."""

from __future__ import annotations

import argparse
import json
import os
import pickle
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.peers import contender, training, usual_loop
from compressor.losses.kd import KD
from compressor.models import load
from compressor.tasks.classification import Classification
from compressor.tensors import Outputs
from tests.named import named_batch

ROOT = Path(__file__).parents[2]
EPOCH = 44_928
"""Images of the full batches of an epoch."""


def _peer_run(**changes):
    """Four blocks of 25 steps at 128 images a second after a slow first; a validation of 3 s; a start of 7 s."""
    run = {"blocks_images_per_s": [64.0, 128.0, 128.0, 128.0], "steps": 100, "validations_s": [3.0], "wall_s": 110.0}
    return run | changes


def _our_run(**changes):
    """Four epochs of 2 s validation each, the first with 20 s of compiling; 10 s before and after the training."""
    epochs_s = [60.0, 40.0, 20.0, 20.0]
    rates = [EPOCH / seconds for seconds in epochs_s]
    run = {"images_per_s": rates, "epochs": 4, "trained_s": sum(epochs_s) + 4 * 2.0, "asked": 0}
    return run | {"wall_s": run["trained_s"] + 10.0} | changes


def _runs(**changes):
    """Made-up runs that reach every goal of ResNet-8."""
    slow = _peer_run()
    runs = {peer: [slow, slow] for peer in training.PEERS}
    runs |= {"ours": _our_run(), "alone": [_our_run(), _our_run()], "warm": [_our_run(), _our_run()]}
    return runs | changes


def test_the_steady_rate_of_a_peer_leaves_out_the_block_that_starts_its_workers():
    assert training.steady_of_peer([_peer_run(), _peer_run()]) == 128.0


def test_the_whole_run_of_a_peer_is_its_start_its_epochs_and_their_validations():
    assert training.peer_run_s([_peer_run()], epochs=30) == pytest.approx(7.0 + 30 * (EPOCH / 128 + 3.0))


def test_our_whole_run_pays_for_compiling_once_for_each_view_and_for_every_validation():
    expected = 10.0 + (60.0 - 40.0) + 8 * 40.0 + 22 * 20.0 + 30 * 2.0
    assert training.whole_run_s(_our_run(), views=8, epochs=30) == pytest.approx(expected)


def test_the_run_that_was_measured_is_projected_onto_itself():
    assert training.whole_run_s(_our_run(), views=2, epochs=4) == pytest.approx(_our_run()["wall_s"])


def test_a_warm_run_is_held_against_the_run_beside_it_and_the_median_counts():
    slow, quick = [1.0, 100.0, 100.0], [1.0, 200.0, 200.0]
    warm = [{"images_per_s": slow}, {"images_per_s": quick}, {"images_per_s": slow}]
    alone = [{"images_per_s": slow}, {"images_per_s": quick}, {"images_per_s": quick}]
    assert training.warm_against_alone(warm, alone) == 1.0


def test_runs_that_reach_every_goal_make_claims_that_hold():
    claims = training.speed_claims("resnet8", _runs(), 30)
    assert len(claims) == 6
    assert [claim.claim for claim in claims if not claim.holds] == []


@pytest.mark.parametrize(
    ("changes", "missed"),
    [
        (
            {"usual_loop": [_peer_run(blocks_images_per_s=[500.0] * 4)]},
            "steady images per second against the usual loop",
        ),
        (
            {"with_torchdistill": [_peer_run(blocks_images_per_s=[500.0] * 4)]},
            "steady images per second against torchd",
        ),
        ({"ours": _our_run(wall_s=5_000.0)}, "wall time against the usual loop"),
        ({"ours": _our_run(wall_s=5_000.0)}, "wall time against torchdistill"),
        ({"warm": [_our_run(images_per_s=[1.0, 1_000.0, 1_000.0])] * 2}, "with a warm teacher cache"),
        ({"warm": [_our_run(), _our_run(asked=1)]}, "samples the teacher is asked for"),
    ],
)
def test_a_missed_goal_of_speed_gives_a_claim_that_does_not_hold(changes, missed):
    claims = training.speed_claims("resnet8", _runs(**changes), 30)
    assert missed in " | ".join(claim.claim for claim in claims if not claim.holds)


def test_the_goal_is_that_of_the_student():
    ours = _our_run(images_per_s=[300.0, 400.0, 128 * 5.3, 128 * 5.3])
    steady = {student: training.speed_claims(student, _runs(ours=ours), 30)[0] for student in ("resnet20", "resnet8")}
    assert (steady["resnet20"].holds, steady["resnet8"].holds) == (True, False)


@pytest.mark.slow
def test_a_run_that_has_ended_is_not_run_again_unless_something_else_is_asked(tmp_path):
    given = argparse.Namespace(data="nowhere", teacher="none")
    kept = tmp_path / "resnet8-usual_loop-0.json"
    kept.write_text('{"steps": 2}')
    with pytest.raises(subprocess.CalledProcessError):  # it does not say what it came from, so it is run, on no data
        training._run("usual_loop", "resnet8", given, tmp_path, "usual_loop-0", [])
    command = [sys.executable, "-m", "benchmarks.peers.usual_loop", "--data", "nowhere", "--teacher", "none"]
    command += ["--student", "resnet8", "--out", str(kept)]
    kept.with_suffix(".command").write_text(shlex.join(command))
    assert training._run("usual_loop", "resnet8", given, tmp_path, "usual_loop-0", []) == {"steps": 2}
    with pytest.raises(subprocess.CalledProcessError):
        training._run("usual_loop", "resnet8", given, tmp_path, "usual_loop-0", ["--seed", "1"])


def test_runs_that_are_timed_start_from_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["training", "--data", "D", "--teacher", "T", "--keep", str(tmp_path)])
    with pytest.raises(SystemExit, match="2"):
        training.main()
    assert "a run that is timed starts from nothing" in capsys.readouterr().err


@pytest.mark.parametrize(("ours", "holds"), [([80.0, 82.0, 84.0], True), ([79.0, 80.0, 81.0], False)])
def test_accuracy_is_compared_by_the_mean_of_the_seeds(ours, holds):
    runs = {name: [{"test_accuracy": 82.0}] * 3 for name in (*training.PEERS, "alone")}
    runs["ours"] = [{"test_accuracy": each, "epochs": 5} for each in ours]
    claims = training.accuracy_claims("resnet8", runs)
    assert [claim.holds for claim in claims] == [holds, holds]


def test_a_stopwatch_keeps_whole_blocks_and_says_when_to_stop():
    watch = contender.Stopwatch(max_steps=60)
    watch.epoch_begins()
    stops = [watch.step_is_done() for _ in range(60)]
    assert stops == [False] * 59 + [True]
    assert len(watch.blocks) == 60 // contender.BLOCK
    assert all(rate > 0 for rate in watch.blocks)


def test_a_block_does_not_reach_over_the_end_of_an_epoch(monkeypatch):
    clock = iter([0.0, 25.0, 100.0, 125.0])  # epoch begins, block ends, epoch begins, block ends
    monkeypatch.setattr(contender.time, "perf_counter", lambda: next(clock))
    watch = contender.Stopwatch(max_steps=None)
    for steps in (contender.BLOCK + 1, contender.BLOCK):
        watch.epoch_begins()
        for _ in range(steps):
            watch.step_is_done()
    assert watch.blocks == [contender.BATCH_SIZE, contender.BATCH_SIZE]


def test_the_time_of_a_process_counts_from_its_start_and_not_from_an_import():
    code = "import time; time.sleep(0.5); from benchmarks.peers import contender; print(contender.elapsed_s())"
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert 0.5 <= float(told.stdout) < 60


def _answers():
    generator = torch.Generator().manual_seed(0)
    student_BK, teacher_BK = (3 * torch.randn(16, 10, generator=generator) for _ in range(2))
    return student_BK, teacher_BK, torch.arange(16) % 10


def test_the_usual_loop_and_ours_have_one_loss():
    student_BK, teacher_BK, labels_B = _answers()
    task = Classification()
    batch = named_batch(torch.zeros(16, 1), labels_B, torch.arange(16), -1, task)
    loss = KD(temperature=contender.TEMPERATURE, alpha=contender.ALPHA)
    ours = loss(Outputs.of(student_BK), Outputs.of(teacher_BK), batch)
    torch.testing.assert_close(usual_loop.distillation_loss(student_BK, teacher_BK, labels_B), ours)


@pytest.mark.slow
def test_the_usual_loop_and_torchdistill_have_one_loss():
    from torchdistill.losses.registry import get_high_level_loss

    from benchmarks.peers import with_torchdistill

    student_BK, teacher_BK, labels_B = _answers()
    given = type("Given", (), {"epochs": 1, "workers": 0})
    criterion = get_high_level_loss(with_torchdistill._config(given, steps_per_epoch=1)["criterion"])
    answers = {role: {".": {"output": logits}} for role, logits in (("student", student_BK), ("teacher", teacher_BK))}
    theirs = criterion(answers, {}, labels_B)
    torch.testing.assert_close(usual_loop.distillation_loss(student_BK, teacher_BK, labels_B), theirs)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Flags: a CIFAR-10 of 300 made-up training samples, so two steps an epoch, and a ResNet-56 nobody trained."""
    folder = tmp_path_factory.mktemp("small")
    data = folder / "cifar-10-batches-py"
    data.mkdir()
    generator = np.random.default_rng(0)
    for name, count in {**{f"data_batch_{number}": 60 for number in range(1, 6)}, "test_batch": 40}.items():
        pixels = generator.integers(0, 256, (count, 3072), dtype=np.uint8)
        batch = {b"data": pixels, b"labels": [position % 10 for position in range(count)]}
        (data / name).write_bytes(pickle.dumps(batch, protocol=2))
    names = [f"class {number}".encode() for number in range(10)]
    (data / "batches.meta").write_bytes(pickle.dumps({b"label_names": names}, protocol=2))
    torch.manual_seed(0)
    built = load.load("zoo:resnet56", arch=None, num_classes=10, sample_shape=(3, 32, 32), options={}).network.module
    state = {f"module.{key}": value for key, value in built.state_dict().items()}
    torch.save({"state_dict": state}, folder / "teacher.th")
    return ["--data", str(data), "--teacher", str(folder / "teacher.th"), "--student", "resnet8", "--epochs", "1"]


def _run(module, flags, out):
    command = [sys.executable, "-m", f"benchmarks.peers.{module}", *flags, "--out", str(out)]
    environment = os.environ | {"COMPRESS_CACHE": str(out.parent / "caches")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(out.read_text())


def _check_a_peer(module, flags, tmp_path):
    whole = _run(module, [*flags, "--workers", "1"], tmp_path / "whole.json")
    assert whole["steps"] == 2
    assert len(whole["epochs_s"]) == len(whole["validations_s"]) == 1
    assert 0 < whole["validations_s"][0] < whole["epochs_s"][0] < whole["wall_s"]
    assert 0 <= whole["test_accuracy"] <= 100
    trained = torch.load(tmp_path / "whole.pt", weights_only=True)
    assert all(bool(torch.isfinite(value).all()) for value in trained.values())

    stopped = _run(module, [*flags, "--workers", "1", "--max-steps", "1"], tmp_path / "stopped.json")
    assert (stopped["steps"], stopped["epochs_s"], stopped["test_accuracy"]) == (1, [], None)
    assert len(stopped["validations_s"]) == 1


@pytest.mark.slow
def test_the_usual_loop_trains_a_student_or_stops_after_so_many_steps(small, tmp_path):
    _check_a_peer("usual_loop", small, tmp_path)


@pytest.mark.slow
def test_torchdistill_trains_a_student_or_stops_after_so_many_steps(small, tmp_path):
    _check_a_peer("with_torchdistill", small, tmp_path)


@pytest.mark.slow
def test_ours_asks_the_teacher_once_for_all_temperatures_and_never_alone(small, tmp_path):
    flags = [*small, "--runs", str(tmp_path / "runs"), "--views", "1", "--compile", "false"]
    cold = _run("ours", flags, tmp_path / "cold.json")
    warm = _run("ours", [*flags, "--temperature", "2"], tmp_path / "warm.json")
    alone = _run("ours", [*flags, "--alone"], tmp_path / "alone.json")
    assert (cold["asked"] > 0, warm["asked"], alone["asked"]) == (True, 0, 0)
    for run in (cold, warm, alone):
        assert len(run["images_per_s"]) == 1
        assert 0 < run["trained_s"] < run["wall_s"]
