"""Damage it anywhere: whoever reads a damaged file refuses it, or comes to the very result of the whole one.

A run of the whole chain with its measurements, a pack and the result of a device; what was kept of a training, a pruning and
a sweep that were killed; and the caches. One of their files is damaged at random (a flipped bit, a zeroed block, cut short,
deleted, two blocks or two files swapped) and read as the program reads it. It is a violation where another result comes of
it without a word, or where anything else than one of our errors is raised.

Not covered: what is trained after a kept state was refused (`kill` and the tests of training are about that); damage to data
and to models of the user's own, which have no hashes.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from compressor import api, artifact, console
from compressor import recipe as recipes
from compressor.data.open import open_dataset
from compressor.data.samples import Dataset, class_numbers
from compressor.errors import CompressError
from compressor.measure import on_device, recorded
from compressor.measure.accuracy import one_input
from compressor.models import checkpoint, inspection, load
from compressor.recipe import DataSettings
from compressor.report import data as report_json
from compressor.report.collect import collect
from compressor.stages.adopt import onnx_as_fed
from compressor.teachers._codecs import Half
from compressor.teachers._records import AnswerStore, Form
from compressor.training import resume, sweep
from compressor.training.rounds import Rounds
from tests.campaigns import _runs
from tests.small import measured_elsewhere, write_project

_NUM_CLASSES = 4


class RefusedError(Exception):
    """A reader has said that it does not take what it found."""


@dataclass(frozen=True)
class Subject:
    """Files of one kind, and how the program reads them.

    Attributes:
        kind: What they are.
        root: Folder that is put back as it was after each damage.
        files: Those that are damaged.
        read: What comes of them, as a digest; raises a CompressError or `RefusedError` where they are not believed.
    """

    kind: str
    root: Path
    files: tuple[Path, ...]
    read: Callable[[], str]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.damage", description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="damages")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    started, chance = time.monotonic(), random.Random(given.seed)
    _runs.warm_up()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="compress-damage-") as folder:
        subjects = _made(Path(folder))
        console.be_quiet()
        counts: Counter[str] = Counter()
        violations = []
        whole = {subject.kind: subject.read() for subject in subjects}
        for number in range(given.count):
            subject = subjects[number % len(subjects)]
            told, came = _attacked(subject, whole[subject.kind], chance)
            counts[came] += 1
            if came in ("accepted", "tracebacks"):
                violations.append(f"{subject.kind}: {told}")
        num_files = sum(len(subject.files) for subject in subjects)
    for violation in violations:
        sys.stdout.write(f"VIOLATION {violation}\n")
    sys.stdout.write(
        f"damage: {given.count} damages to {num_files} files of {len(subjects)} kinds, seed {given.seed}: "
        f"{counts['refused']} refused, {counts['same']} with the same result, {counts['accepted']} accepted with another, "
        f"{counts['tracebacks']} tracebacks, {time.monotonic() - started:.0f} s\n"
    )
    return 1 if violations or not counts["refused"] else 0


def _attacked(subject: Subject, whole: str, chance: random.Random) -> tuple[str, str]:
    """What was done, and what came of it: `refused`, `same`, `accepted` or `tracebacks`."""
    file = chance.choice(subject.files)
    backup = _runs.copied(subject.root, subject.root.with_name(f"{subject.root.name}.whole"))
    try:
        told = f"{file.relative_to(subject.root.parent)}: {_damage(file, subject.files, chance)}"
        try:
            return told, "same" if subject.read() == whole else "accepted"
        except (CompressError, RefusedError):
            return told, "refused"
        except Exception as fault:  # noqa: BLE001 - whatever it is, it is a violation
            return f"{told}: {type(fault).__name__}: {fault}", "tracebacks"
    finally:
        shutil.rmtree(subject.root, ignore_errors=True)  # a reader may have thrown away what it refused
        backup.rename(subject.root)


def _damage(file: Path, others: Sequence[Path], chance: random.Random) -> str:
    """Change a file at random, and say how."""
    content = file.read_bytes()
    how = chance.choice(["flip", "flip", "zeros", "cut", "delete", "swap blocks", "swap files"])
    if how == "delete" or len(content) < 8:
        file.unlink()
        return "deleted"
    at = chance.randrange(len(content))
    size = min(chance.choice([1, 16, 64, 512, 4096]), len(content) // 2)
    if how == "swap files":
        known = [each for each in others if each.read_bytes() != content]
        if known:
            file.write_bytes(chance.choice(known).read_bytes())
            return "has the content of another file"
    if how == "cut":
        file.write_bytes(content[:at])
        return f"cut to {at} bytes"
    changed = bytearray(content)
    if how == "zeros":
        changed[at : at + size] = bytes(min(size, len(content) - at))
    elif how == "swap blocks":
        other = chance.randrange(len(content) - size + 1)
        at = min(at, len(content) - size)
        changed[at : at + size], changed[other : other + size] = content[other : other + size], content[at : at + size]
    if bytes(changed) == content:
        how = "flip"
    if how == "flip":
        changed[at] ^= 1 << chance.randrange(8)
    file.write_bytes(changed)
    return f"{how} at byte {at} of {len(content)}" + (f", {size} bytes" if how != "flip" else "")


def _digest(*parts: Any) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.tobytes() if isinstance(part, np.ndarray) else repr(part).encode())
    return digest.hexdigest()


def _state_digest(module: torch.nn.Module) -> str:
    return _digest(*(each for name, value in module.state_dict().items() for each in (name, value.numpy())))


# what is attacked


def _made(folder: Path) -> list[Subject]:
    """A finished run, what killed ones have kept, and the caches, with the readers of each."""
    project = write_project(folder / "project")
    home = folder / "home"
    raw = _runs.chain(project, runs=str(folder / "runs"))
    raw["stages"] = [*raw["stages"], "bench", "report"]

    def whole() -> None:
        done = api.run(raw)
        pack = api.pack(done.folder, samples=20).folder
        elsewhere = folder / "elsewhere"
        elsewhere.mkdir()
        measured_elsewhere(pack, elsewhere)
        api.report(done.folder, devices=[elsewhere / "pack" / "device.json"])

    _finish(whole, folder, home)
    long = {"epochs": 400, "batch_size": 32, "lr": 0.01, **_runs.SAME_EACH_TIME}
    kept = folder / "kept"
    _interrupt(
        lambda: api.run({**raw, "runs": str(kept), "name": "training", "stages": ["train"], "train": long}),
        kept / "training" / ".train.state" / resume.POSITION,
        folder,
        home,
    )
    shutil.copytree(folder / "runs" / "small", kept / "pruning")
    shutil.rmtree(kept / "pruning" / "prune")
    pruned = raw["prune"] | {"epochs": 800}
    _interrupt(
        lambda: api.run({**raw, "runs": str(kept), "name": "pruning", "stages": raw["stages"][:3], "prune": pruned}),
        kept / "pruning" / ".prune.state" / "cut-1" / "round.json",
        folder,
        home,
    )
    swept = raw["distill"] | {"losses": [{"name": "kd", "temperature": "auto", "alpha": "auto"}], "control": False}
    stages = ["train", "distill"]
    _interrupt(
        lambda: api.run({**raw, "runs": str(kept), "name": "sweeping", "stages": stages, "distill": swept}),
        kept / "sweeping" / ".distill.sweep" / "temperature-4_alpha-0.5.json",
        folder,
        home,
    )
    os.environ["COMPRESS_HOME"] = str(home)
    dataset = open_dataset(DataSettings.model_validate(raw["data"]))
    return [
        *_of_the_run(folder / "runs" / "small", dataset),
        *_of_interrupted(kept, project),
        *_of_caches(folder, home),
    ]


def _finish(work: Callable[[], object], folder: Path, home: Path) -> None:
    log = folder / "log"
    code = _runs.ended(_runs.in_child(work, log=log, home=home), within_s=600)
    assert code == 0, log.read_text()


def _interrupt(work: Callable[[], object], until: Path, folder: Path, home: Path) -> None:
    """Begin some work, and kill it once a file is there."""
    log = folder / "log"
    pid = _runs.in_child(work, log=log, home=home)
    while not until.exists():
        code = _runs.ended(pid, within_s=0.02)
        assert code is None, f"it ended with {code} before {until} was there: {log.read_text()}"
    _runs.kill(pid)
    _runs.end_rest(pid)


def _files(folder: Path, *patterns: str) -> tuple[Path, ...]:
    found = {file for pattern in patterns for file in folder.glob(pattern) if file.is_file()}
    kept = tuple(sorted(file for file in found if "__pycache__" not in file.parts))
    assert kept, f"nothing to damage below {folder}"
    return kept


def _of_the_run(run: Path, dataset: Dataset) -> Iterator[Subject]:
    def network(place: Path) -> str:
        made = artifact.read(place)
        return _digest(made.manifest, _state_digest(checkpoint.load(made).network))

    def model(place: Path) -> str:
        made = artifact.read(place)
        answers, _ = onnx_as_fed(place, "auto", dataset=dataset)
        facts = inspection.inspect_onnx(made.file("model.onnx"))
        return _digest(made.manifest, facts, answers(dataset.test.fetch(np.arange(8))))

    for name in ("train", "control", "distill", "prune"):
        yield Subject(f"network {name}", run / name, _files(run / name, "**/*"), lambda at=run / name: network(at))
    for name in ("export", "export-teacher", "quantize"):
        yield Subject(f"ONNX {name}", run / name, _files(run / name, "**/*"), lambda at=run / name: model(at))
    bench = run / "bench"
    said: list[Any] = []

    def report() -> str:
        found = collect(artifact.read(bench), devices=sorted((run / "devices").glob("*.json")))
        said.append((found.missing, found.outdated))
        if said[-1] != said[0] or found.recipe is None or not found.devices:
            raise RefusedError("it says what is missing")
        return _digest(report_json.render(found), found)

    def device() -> str:
        found = [recorded.device(file) for file in sorted((run / "devices").glob("*.json"))]
        return _told(found or None)

    yield Subject("measurements", run, _files(run, "bench/*"), report)
    yield Subject("manifests of the chain", run, _files(run, f"[!.]*/{artifact.MANIFEST}"), report)
    yield Subject("results of devices", run, _files(run, "devices/*"), report)
    yield Subject("the run's recipe in its report", run, (run / "recipe.json", run / ".recipe.sha256"), report)
    yield Subject("the run's recipe", run, (run / "recipe.json",), lambda: _told(recipes.kept_in(run)))
    yield Subject("one device", run, _files(run, "devices/*"), device)

    def pack() -> str:
        on_device._require_whole(run / "pack")
        samples = on_device._samples(run / "pack" / "samples.npz")
        return _digest(
            on_device._told(run / "pack"), *(each for name in sorted(samples) for each in (name, samples[name]))
        )

    yield Subject(
        "a pack", run / "pack", _files(run / "pack", "pack.json", "samples.npz", "manifest.json", "lib/**/*.py"), pack
    )


def _told(found: Any) -> str:
    if found is None:
        raise RefusedError("there is none")
    return _digest(found)


def _of_interrupted(kept: Path, project: Path) -> Iterator[Subject]:
    state = kept / "training" / ".train.state"
    position_key = _key_in(state / resume.POSITION)

    def training() -> str:
        found, why_not = resume.position(state, key=position_key)
        if why_not is not None or found.step == 0:
            raise RefusedError(str(why_not))
        network = load.load(str(project / "teacher.py"), num_classes=_NUM_CLASSES, sample_shape=(1, 8, 8)).network
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        why_not = resume.restore(state, modules={"network": network}, optimizer=optimizer)
        if why_not is not None:
            raise RefusedError(why_not)
        kept_tensors = [value.numpy() for entry in optimizer.state_dict()["state"].values() for value in entry.values()]
        return _digest(found, _state_digest(network), *kept_tensors)

    yield Subject("a kept training", state, _files(state, "*"), training)
    rounds = kept / "pruning" / ".prune.state"
    rounds_key = (rounds / "key.txt").read_text()
    names = [name for name in ("whole", "cut-1", "round-1", "cut-2") if (rounds / name).is_dir()]

    def pruning() -> str:
        there = Rounds(rounds, key=rounds_key)
        found = [there.find(name) for name in names]
        if None in found:
            raise RefusedError("a round is done again")
        return _digest(*(each for one in found if one for each in (_state_digest(one[0].network), one[1])))

    yield Subject("kept rounds", rounds, _files(rounds, "key.txt", "whole/**/*", "cut-*/**/*", "round-*/**/*"), pruning)
    trials = kept / "sweeping" / ".distill.sweep"
    trials_key = _key_in(trials / "temperature-4_alpha-0.5.json")

    def sweeping() -> str:
        found = sweep._Records(trials, key=trials_key).finished
        expected = len(_files(trials_whole, "*.json"))
        if len(found) < expected:
            raise RefusedError("a trial is made again")
        return _digest(sorted(found.items()))

    trials_whole = _runs.copied(trials, trials.with_name("trials as they were"))
    yield Subject("trials of a sweep", trials, _files(trials, "*.json"), sweeping)


def _key_in(file: Path) -> str:
    import json

    return str(json.loads(file.read_text())["key"])


def _of_caches(folder: Path, home: Path) -> Iterator[Subject]:
    cache = next(place for place in sorted((home / "caches" / "teacher").iterdir()) if list(place.glob("view-*.bin")))
    views = _files(cache, "view-*.bin")
    form = Form((("logits", Half((_NUM_CLASSES,))),))
    num_samples = views[0].stat().st_size // form.record_bytes
    store = AnswerStore(cache, key=cache.name, num_samples=num_samples, form=form)
    every = np.arange(num_samples)
    right = {file.name: store.read(int(file.stem.split("-")[1]), every) for file in views}
    assert any(there.any() for _, there in right.values())

    def predictions() -> str:
        """What is still there must be right; what is not is asked of the teacher again."""
        lost = False
        for name, (answers, were_there) in right.items():
            found, there = store.read(int(name.removesuffix(".bin").split("-")[1]), every)
            if not np.array_equal(found["logits"][there], answers["logits"][there]) or (there & ~were_there).any():
                return "another answer"
            lost |= not np.array_equal(there, were_there)
        if lost:
            raise RefusedError("a record is asked for again")
        return "all right"

    yield Subject("the teacher's predictions", cache, views, predictions)
    pictures = _pictures(folder / "pictures")

    def decoded() -> str:
        dataset = open_dataset(DataSettings(source=f"images:{pictures}", options={"image_size": 32, "decode": "once"}))
        shown = one_input(dataset.train.fetch(np.arange(len(dataset.train))))
        return _digest(dataset.fingerprint, dataset.classes, shown, class_numbers(dataset.train))

    decoded()
    store_of_pixels = next((home / "caches" / "pixels").iterdir())
    yield Subject("decoded pictures", store_of_pixels, _files(store_of_pixels, "*"), decoded)


def _pictures(folder: Path) -> Path:
    generator = np.random.default_rng(0)
    for name in ("cats", "dogs"):
        (folder / name).mkdir(parents=True)
        for number in range(20):
            pixels = generator.integers(0, 255, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


if __name__ == "__main__":
    sys.exit(main())
