"""What every member of `teachers` must do; a new file joins because it exists."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from compressor import registry
from compressor.data.keys import content_keys
from compressor.data.samples import SubsetSamples
from compressor.losses.kd import KD
from compressor.models.network import Network
from compressor.models.normalisation import Normalisation
from compressor.models.onnx_copy import write_copy
from compressor.models.onnx_file import write
from compressor.models.taps import tapped
from compressor.recipe import ExportSettings
from compressor.recipe.capabilities import TRAINED
from compressor.tasks.classification import Classification
from compressor.teachers._contract import Lesson, Showing, Teacher
from compressor.tensors import Batch, Outputs
from tests.named import class_samples, inputs_of, labels_of, named_batch

MEMBERS = registry.members("teachers")
NAMES = [member.name for member in MEMBERS]
VOCABULARY = {"network", "networks", "file", "classes", "known", "peers", "previous", "samples"}
N, B, K = 24, 6, 3
CLASSES = ("cat", "dog", "owl")
OPTIONS: dict[str, dict[str, Any]] = {"specialists": {"clusters": ((0, 1),)}}  # the few that cannot do without


def network(seed: int, *, outputs: int = K) -> Network:
    torch.manual_seed(seed)
    body = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2))
    head = nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), nn.ReLU(), nn.Dropout(0.3))
    end = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, outputs))
    return Network(nn.Sequential(body, head, end), Normalisation("none", (), ()))


SAMPLES = class_samples(
    np.random.default_rng(0).random((N, 1, 8, 8), dtype=np.float32), np.arange(N, dtype=np.int64) % K
)


def batch_of(positions: Sequence[int], *, view: int = 0) -> Batch:
    ids = np.asarray(positions, dtype=np.int64)
    inputs = torch.from_numpy(inputs_of(SAMPLES, ids)) * (1 - 0.1 * (view > 0))
    return named_batch(inputs, torch.from_numpy(labels_of(SAMPLES)[ids]), torch.from_numpy(ids), view, Classification())


def made(member: registry.Member, folder: Path) -> Teacher:
    """A teacher around small networks, with whatever else its constructor takes."""
    networks = [network(1), network(2)]
    offered: dict[str, Callable[[], object]] = {
        "network": lambda: networks[0],
        "networks": lambda: networks,
        "previous": lambda: networks[0],
        "classes": lambda: CLASSES,
        "known": lambda: [CLASSES, CLASSES],
        "peers": lambda: [network(3)],
        "samples": lambda: SAMPLES,
        "file": lambda: FILES[member.name](folder),
    }
    teacher: Teacher = member.load()(*(offered[name]() for name in takes_of(member)), **OPTIONS.get(member.name, {}))
    return teacher


def takes_of(member: registry.Member) -> list[str]:
    """What its constructor takes by position, in its order."""
    return [option.name for option in member.positional]


def onnx_file(folder: Path) -> Path:
    """A network as a file of another framework's would be; what it takes is written in it."""
    file = folder / "teacher.onnx"
    if not file.is_file():
        write(network(1).eval(), file, settings=ExportSettings(), samples=SAMPLES.fetch(np.arange(2)))
        plain = Normalisation("none", (), ())
        write_copy(file, file, normalisation=plain, gives_probabilities=False, smallest=0.0)
    return file


def stored_outputs(folder: Path) -> Path:
    """Predictions for three quarters of the samples, in another order."""
    file = folder / "answers.npz"
    rows = np.random.default_rng(1).permutation(N * 3 // 4)
    with torch.no_grad():
        logits = network(1).eval()(torch.from_numpy(inputs_of(SAMPLES, rows))).numpy()
    np.savez(file, logits=logits, keys=content_keys(SubsetSamples(SAMPLES, rows)), classes=np.array(CLASSES))
    return file


FILES: dict[str, Callable[[Path], Path]] = {"onnx": onnx_file, "outputs": stored_outputs}


class Course:
    """A student with its teacher, taught as the loop does it."""

    def __init__(self, teacher: Teacher, *, seed: int = 0) -> None:
        self.teacher = teacher
        self.student = network(seed)
        torch.manual_seed(5)
        teacher.meet(self.student, torch.zeros(2, 1, 8, 8))
        teacher.to(torch.device("cpu"), torch.contiguous_format)
        self.student.train()
        taught = list(self.student.parameters())
        taught += [p for p in teacher.parts.parameters() if p.requires_grad] if teacher.parts is not None else []
        self.optimizer = torch.optim.SGD(taught, lr=0.1)
        self.step = 0

    def lessons(self, *, epoch: int = 0) -> Sequence[Lesson]:
        torch.manual_seed(self.step)
        positions = np.random.default_rng(self.step).permutation(N)[:B]
        pairing = self.teacher.pairing()
        showing = Showing(
            batch_of(positions, view=epoch),
            another_view=lambda number: batch_of(positions, view=number),
            partners=None if pairing is None else lambda: batch_of(pairing(positions, epoch)),
        )
        batch = self.teacher.shown(showing)
        with tapped(self.student, self.teacher.reads) as features:
            logits = self.student(batch.call)
        return self.teacher.lessons(batch, Outputs.of(logits, dict(features)))

    def learn(self, lessons: Sequence[Lesson]) -> None:
        total = torch.stack([lesson.weight * value(lesson) for lesson in lessons if lesson.answers]).sum()
        self.optimizer.zero_grad()
        total.backward()
        self.optimizer.step()
        self.teacher.after_step(step=self.step)
        self.step += 1

    def epoch(self, *, steps: int = 3, epoch: int = 0) -> None:
        for _ in range(steps):
            self.learn(self.lessons(epoch=epoch))
        self.teacher.after_epoch(epoch=epoch)


def value(lesson: Lesson) -> torch.Tensor:
    if lesson.teacher is None or not lesson.teacher.tensors:
        return lesson.batch.hard_loss(lesson.student)
    return KD(temperature=2.0)(lesson.student, lesson.teacher, lesson.batch)


def assert_equal(one: Outputs, other: Outputs) -> None:
    assert one.tensors.keys() == other.tensors.keys()
    assert all(torch.equal(tensor, other.tensors[name]) for name, tensor in one.tensors.items())


@pytest.fixture(params=MEMBERS, ids=NAMES)
def member(request: pytest.FixtureRequest) -> registry.Member:
    found: registry.Member = request.param
    return found


def test_the_kinds_that_a_user_may_count_on_are_there() -> None:
    assert {"network", "ensemble", "union", "specialists", "peers", "ema", "previous_epoch", "last_batch"} <= set(NAMES)
    assert {"own_depth", "second_view", "same_class", "born_again", "none"} <= set(NAMES)


def test_it_is_made_from_what_the_loop_can_hand_over(member: registry.Member) -> None:
    assert set(takes_of(member)) <= VOCABULARY


def test_it_cites_its_paper_and_explains_its_options(member: registry.Member) -> None:
    source = member.file.read_text(encoding="utf-8")

    assert all(option.help for option in member.options)
    if member.name not in ("network", "none", "onnx", "outputs"):
        assert re.search(r"arXiv \d{4}\.\d{4,5}", source), "no paper"


def test_every_lesson_has_a_learner_with_gradients_and_a_target_without(
    member: registry.Member, tmp_path: Path
) -> None:
    course = Course(made(member, tmp_path))
    course.epoch()

    lessons = course.lessons(epoch=1)

    assert lessons
    for lesson in lessons:
        assert lesson.student.logits.requires_grad
        assert len(lesson.student.logits) == len(lesson.batch)
        predictions = {} if lesson.teacher is None else lesson.teacher.tensors
        for predicted in predictions.values():
            assert not predicted.requires_grad
            assert len(predicted) == len(lesson.batch)
            assert torch.isfinite(predicted).all()


def test_its_lessons_reach_the_student(member: registry.Member, tmp_path: Path) -> None:
    course = Course(made(member, tmp_path))
    before = [parameter.detach().clone() for parameter in course.student.parameters()]

    course.epoch()

    changed = [not torch.equal(a, b) for a, b in zip(before, course.student.parameters(), strict=True)]
    assert all(changed)
    assert all(torch.isfinite(parameter).all() for parameter in course.student.parameters())


def test_a_network_that_is_only_asked_does_not_change(member: registry.Member, tmp_path: Path) -> None:
    course = Course(made(member, tmp_path))
    if course.teacher.network is None:
        assert "network" not in takes_of(member)
        return
    before = {name: tensor.clone() for name, tensor in course.teacher.network.state_dict().items()}

    course.epoch()

    after = course.teacher.network.state_dict()
    assert before
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_what_it_keeps_is_enough_to_go_on_as_if_nothing_had_happened(member: registry.Member, tmp_path: Path) -> None:
    whole, broken = Course(made(member, tmp_path)), Course(made(member, tmp_path))
    for course in (whole, broken):
        course.epoch(epoch=0)
        course.learn(course.lessons(epoch=1))
    resumed = Course(made(member, tmp_path), seed=9)
    resumed.student.load_state_dict(broken.student.state_dict())
    if broken.teacher.parts is not None and resumed.teacher.parts is not None:
        kept = {name: tensor.clone() for name, tensor in broken.teacher.parts.state_dict().items()}
        resumed.teacher.parts.load_state_dict(kept)
    resumed.step = broken.step

    for expected, found in zip(whole.lessons(epoch=1), resumed.lessons(epoch=1), strict=True):
        assert torch.equal(expected.student.logits, found.student.logits)
        if expected.teacher is not None and found.teacher is not None:
            assert_equal(expected.teacher, found.teacher)


def test_it_leaves_no_trace_in_the_student(member: registry.Member, tmp_path: Path) -> None:
    course = Course(made(member, tmp_path))
    course.epoch()

    assert set(course.student.state_dict()) == set(network(0).state_dict())


def test_it_says_what_it_gives(member: registry.Member, tmp_path: Path) -> None:
    teacher = made(member, tmp_path)

    assert (teacher.needs, teacher.gives) == (member.needs, member.gives)
    assert type(teacher.keeps_answers) is bool
    assert teacher.asked == 0


def test_one_that_is_made_from_nothing_trained_needs_labels(member: registry.Member) -> None:
    assert ("labels" in member.needs) == (not TRAINED & set(takes_of(member)))


def test_a_fixed_teacher_answers_the_same_each_time(member: registry.Member, tmp_path: Path) -> None:
    teacher = made(member, tmp_path)
    if "changing" in teacher.gives:
        assert member.name not in ("network", "ensemble", "union", "specialists", "onnx", "outputs")
        return
    batch = batch_of(range(B))

    first, second = teacher.answer(batch), teacher.answer(replace(batch))

    assert_equal(first, second)
    assert not any(tensor.requires_grad for tensor in first.tensors.values())


def test_a_frozen_network_gives_the_features_it_is_asked_for() -> None:
    teacher = registry.find("teachers", "network").load()(network(1))
    teacher.taps = ("0",)

    assert teacher.answer(batch_of(range(B))).features["0"].shape == (B, 4, 4, 4)
