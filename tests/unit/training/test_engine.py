"""The training loop: it learns, it stops when it must, and it goes on as if nothing had happened."""

from __future__ import annotations

import dataclasses
import os
import signal

import pytest
import torch
from torch import nn

from compressor import registry
from compressor.artifact import Decision
from compressor.data.loader import tried
from compressor.data.open import open_dataset
from compressor.data.samples import class_groups
from compressor.errors import DivergenceError, InputError, InterruptedRunError, ModelError
from compressor.losses.hard import Hard
from compressor.losses.kd import KD
from compressor.recipe import DataSettings, ModelSettings, TrainingSettings, ViewSettings
from compressor.tasks.classification import Classification
from compressor.teachers._cache import CachedTeacher
from compressor.teachers._codecs import Half
from compressor.teachers._records import AnswerStore, Form
from compressor.teachers.last_batch import LastBatch
from compressor.teachers.network import FrozenNetwork
from compressor.teachers.none import NoTeacher
from compressor.training import compiling, engine, resume, teaching
from compressor.training.material import Material
from compressor.training.sources import settle
from compressor.training.start import network_for
from compressor.views._compose import resolve
from compressor.views._plan import ViewPlan
from tests.small import write_project

STAGED = """
from torch import nn
from tests.named import labels_of

def build(num_classes: int) -> nn.Module:
    first = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.2))
    second = nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
    return nn.Sequential(
        first, nn.MaxPool2d(2), second, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes)
    )
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = write_project(tmp_path_factory.mktemp("project"))
    (folder / "staged.py").write_text(STAGED, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def dataset(project):
    return open_dataset(DataSettings(source=f"npz:{project / 'data.npz'}"))


@pytest.fixture
def job(project, dataset, tmp_path):
    """A job on the small data; every call makes the same network."""

    def make(*, losses=None, teacher=None, file="student.py", views_counted=0, **settings):
        loaded, _ = network_for(
            ModelSettings(model=str(project / file)), dataset=dataset, task=Classification(), seed=3
        )
        chosen = {"epochs": 3, "batch_size": 32, "lr": 0.01, "device": "cpu", **settings}
        shown, _ = resolve(ViewSettings(crop=1, flip=False), inputs=dataset.inputs)
        return engine.Job(
            title="student",
            key="k1",
            state=tmp_path / ".state",
            resume_line="compress run",
            network=loaded.network,
            teacher=teacher or NoTeacher(),
            losses=losses or (engine.WeightedLoss("hard", 1.0, Hard()),),
            task=Classification(),
            dataset=dataset,
            plan=ViewPlan(shown, views_counted, seed=3),
            settings=TrainingSettings(**chosen),
            seed=3,
        )

    return make


def weights(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def assert_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert one
    for name in one:
        assert torch.equal(one[name], other[name]), name


class StopAfter(Hard):
    """Sends this process a signal in the middle of a given step."""

    def __init__(self, calls: int, number: int) -> None:
        self.calls, self.number = calls, number

    def __call__(self, student, teacher, batch):
        self.calls -= 1
        if self.calls == 0:
            os.kill(os.getpid(), self.number)
        return super().__call__(student, teacher, batch)


def test_training_learns_and_records_a_curve(job):
    trained = engine.fit(job(epochs=4))
    assert [entry["epoch"] for entry in trained.curve] == [0, 1, 2, 3]
    assert trained.curve[-1]["train_loss"] < 0.5 * trained.curve[0]["train_loss"]
    assert trained.curve[-1]["val"]["accuracy"] > 0.9
    assert not trained.network.training


def test_the_same_job_ends_with_the_same_weights(job):
    assert_equal(weights(engine.fit(job()).network), weights(engine.fit(job()).network))


def test_another_seed_ends_with_other_weights(job):
    first = weights(engine.fit(job(epochs=1)).network)
    resume.discard(job().state)
    other = weights(engine.fit(dataclasses.replace(job(epochs=1), seed=4)).network)
    assert not torch.equal(first["module.0.weight"], other["module.0.weight"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("step", [1, 9, 14])
def test_an_interrupted_run_ends_with_the_same_weights_and_curve(job, number, step):
    whole = engine.fit(job())
    resume.discard(job().state)
    with pytest.raises(InterruptedRunError, match="by SIG"):
        engine.fit(job(losses=(engine.WeightedLoss("hard", 1.0, StopAfter(step, number)),)))
    continued = engine.fit(job())
    assert_equal(weights(whole.network), weights(continued.network))
    assert [e["losses"] for e in whole.curve] == [e["losses"] for e in continued.curve]
    assert [e["val"] for e in whole.curve] == [e["val"] for e in continued.curve]
    assert continued.interruptions == 1


@pytest.mark.parametrize(
    "settings", [{"optimizer": "sgd"}, {"ema_decay": 0.9}, {"schedule": "one_cycle", "clip_norm": 1.0}]
)
def test_resuming_is_exact_for_every_kind_of_state(job, settings):
    whole = engine.fit(job(**settings))
    resume.discard(job().state)
    with pytest.raises(InterruptedRunError):
        engine.fit(job(losses=(engine.WeightedLoss("hard", 1.0, StopAfter(11, signal.SIGTERM)),), **settings))
    assert_equal(weights(whole.network), weights(engine.fit(job(**settings)).network))


def stop_in_step(teacher, step):
    """Let a teacher send this process a signal at the end of a step."""
    usual = teacher.after_step

    def after_step(*, step: int, last: int = step) -> None:
        usual(step=step)
        if step == last:
            os.kill(os.getpid(), signal.SIGTERM)

    teacher.after_step = after_step


@pytest.mark.parametrize(
    "kind", ["previous_epoch", "last_batch", "same_class", "second_view", "ema", "own_depth", "peers"]
)
def test_a_teacher_that_learns_along_goes_on_where_it_was(job, dataset, project, kind):
    def taught():
        student, _ = network_for(
            ModelSettings(model=str(project / "staged.py")), dataset=dataset, task=Classification(), seed=3
        )
        made = teaching.make(
            teaching.Teaching(kind, peers=(ModelSettings(model=str(project / "staged.py")),)),
            network=None,
            material=Material(dataset, DataSettings(source=dataset.source), Classification()),
            seed=3,
        )
        parts = (engine.WeightedLoss("kd", 1.0, KD(temperature=2.0, alpha=0.5)),)
        example, labels = tried(dataset.example(2)), class_groups(dataset.train)
        taps, _ = settle(parts, student=student.network, teacher=made, example=example, labels=labels, seed=3)
        return dataclasses.replace(job(losses=parts, teacher=made), network=student.network, taps=taps)

    whole = engine.fit(taught())
    resume.discard(job().state)
    stopping = taught()
    stop_in_step(stopping.teacher, 10)
    with pytest.raises(InterruptedRunError):
        engine.fit(stopping)
    continued = engine.fit(taught())

    assert continued.interruptions == 1
    assert_equal(weights(whole.network), weights(continued.network))


def test_a_state_of_other_settings_is_not_resumed(job, capsys):
    with pytest.raises(InterruptedRunError):
        engine.fit(job(losses=(engine.WeightedLoss("hard", 1.0, StopAfter(9, signal.SIGINT)),)))
    trained = engine.fit(dataclasses.replace(job(), key="k2"))
    assert trained.interruptions == 0
    assert "belongs to other settings" in capsys.readouterr().err


def test_a_damaged_state_is_said_and_trained_anew(job, capsys):
    with pytest.raises(InterruptedRunError):
        engine.fit(job(losses=(engine.WeightedLoss("hard", 1.0, StopAfter(9, signal.SIGINT)),)))
    file = job().state / resume.TENSORS
    file.write_bytes(file.read_bytes()[:1000])
    trained = engine.fit(job())
    assert len(trained.curve) == 3
    assert "damaged" in capsys.readouterr().err


def test_a_student_learns_from_a_teacher_without_labels(job):
    teacher = engine.fit(job(file="teacher.py", epochs=4)).network
    resume.discard(job().state)
    soft = (engine.WeightedLoss("kd", 1.0, KD(alpha=1.0)),)
    student = engine.fit(job(teacher=FrozenNetwork(teacher), losses=soft, epochs=6, lr=0.02))
    assert student.curve[-1]["val"]["accuracy"] > 0.9


def test_a_teacher_never_changes(job):
    teacher = engine.fit(job(file="teacher.py", epochs=1)).network
    resume.discard(job().state)
    before = weights(teacher)
    engine.fit(job(teacher=FrozenNetwork(teacher), losses=(engine.WeightedLoss("kd", 1.0, KD()),), epochs=1))
    assert_equal(before, weights(teacher))


def test_a_nan_stops_with_the_part_that_did_it(job):
    class Broken(Hard):
        def __call__(self, student, teacher, batch):
            return super().__call__(student, teacher, batch) * float("nan")

    parts = (engine.WeightedLoss("hard", 1.0, Hard()), engine.WeightedLoss("broken", 1.0, Broken()))
    with pytest.raises(DivergenceError, match="loss 'broken' is nan at step 0"):
        engine.fit(job(losses=parts))


def test_a_huge_learning_rate_is_caught(job):
    with pytest.raises(DivergenceError, match="at step"):
        engine.fit(job(lr=1e6, optimizer="sgd", epochs=10))


def test_losses_with_parts_of_their_own_are_trained_along(job):
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, student, teacher, batch):
            return (self.scale * batch.task.hard_loss(student.tensors, batch.targets)).abs()

    scaled = Scaled()
    engine.fit(job(losses=(engine.WeightedLoss("scaled", 1.0, scaled),), epochs=1))
    assert scaled.scale.item() != 1.0


@pytest.mark.parametrize("name", ["crd", "adversarial", "adversarial_features", "review", "emd"])
def test_a_loss_that_learns_or_remembers_goes_on_exactly(job, name):
    teacher = engine.fit(job(file="teacher.py", epochs=1)).network
    resume.discard(job().state)

    def taught(hard):
        parts = (
            engine.WeightedLoss("hard", 1.0, hard),
            engine.WeightedLoss(name, 0.5, registry.find("losses", name).load()()),
        )
        made = job(losses=parts, teacher=FrozenNetwork(teacher))
        labels, example = class_groups(made.dataset.train), tried(made.dataset.example(2))
        settling = {"student": made.network, "teacher": made.teacher, "example": example, "labels": labels}
        taps, _ = settle(parts, **settling, seed=3)
        return dataclasses.replace(made, taps=taps)

    whole = engine.fit(taught(Hard()))
    resume.discard(job().state)
    with pytest.raises(InterruptedRunError):
        engine.fit(taught(StopAfter(11, signal.SIGTERM)))
    continued = engine.fit(taught(Hard()))

    assert_equal(weights(whole.network), weights(continued.network))
    assert [entry["losses"] for entry in whole.curve] == [entry["losses"] for entry in continued.curve]


def test_bfloat16_trains_as_well(job):
    trained = engine.fit(job(epochs=4, precision="bf16"))
    assert trained.curve[-1]["val"]["accuracy"] > 0.9
    assert all(parameter.dtype is torch.float32 for parameter in trained.network.parameters())


def test_a_signal_in_the_last_epoch_stops_too(job):
    last = 3 * 7 - 1
    with pytest.raises(InterruptedRunError):
        engine.fit(job(losses=(engine.WeightedLoss("hard", 1.0, StopAfter(last, signal.SIGTERM)),)))
    assert len(engine.fit(job()).curve) == 3


def test_a_network_that_fails_while_training_is_a_sentence(job):
    class Failing(Hard):
        def __call__(self, student, teacher, batch):
            raise ValueError("no good")

    with pytest.raises(ModelError, match="a training step fails: ValueError: no good"):
        engine.fit(job(losses=(engine.WeightedLoss("failing", 1.0, Failing()),)))


def test_weights_broken_by_the_last_step_are_not_kept(job):
    class LastStepBreaks(Hard):
        calls = 0

        def __call__(self, student, teacher, batch):
            self.calls += 1
            loss = super().__call__(student, teacher, batch)
            if self.calls == 7:
                loss.register_hook(lambda gradient: gradient * float("nan"))
            return loss

    with pytest.raises(DivergenceError, match="is not finite after step 6"):
        engine.fit(job(losses=(engine.WeightedLoss("hard", 1.0, LastStepBreaks()),), epochs=1))


@pytest.fixture(scope="module")
def teacher_network(project, dataset):
    """A teacher whose answers differ from sample to sample; it need not be good."""
    loaded, _ = network_for(
        ModelSettings(model=str(project / "teacher.py")), dataset=dataset, task=Classification(), seed=9
    )
    return loaded.network


@pytest.fixture
def cached(teacher_network, dataset, tmp_path):
    """A teacher that keeps its answers; every call reads what the one before has kept."""

    def make() -> CachedTeacher:
        folder = tmp_path / "answers"
        folder.mkdir(exist_ok=True)
        store = AnswerStore(folder, key="k", num_samples=len(dataset.train), form=Form((("logits", Half((4,))),)))
        return CachedTeacher(FrozenNetwork(teacher_network), store)

    return make


KD_ALONE = (engine.WeightedLoss("kd", 1.0, KD(alpha=1.0)),)


def test_a_second_run_with_another_temperature_asks_the_teacher_nothing(job, cached, teacher_network):
    steps, batch = 7, 32
    first = engine.fit(job(teacher=cached(), losses=KD_ALONE, views_counted=2, epochs=4))
    assert 2 * steps * batch <= first.asked <= 4 * steps * batch
    forwards = []
    handle = teacher_network.register_forward_hook(lambda _network, inputs, _logits: forwards.append(len(inputs[0])))
    other = (engine.WeightedLoss("kd", 1.0, KD(alpha=1.0, temperature=2.0)),)
    resume.discard(job().state)
    second = engine.fit(job(teacher=cached(), losses=other, views_counted=2, epochs=2, batch_size=32))
    handle.remove()
    assert second.asked == 0
    assert forwards == [2]  # two rows of zeros, to see whether it runs with channels last; not one batch
    assert second.curve[-1]["train_loss"] != first.curve[1]["train_loss"]


def test_kept_answers_teach_exactly_what_the_first_run_was_taught(job, cached):
    first = engine.fit(job(teacher=cached(), losses=KD_ALONE, views_counted=2, epochs=4))
    resume.discard(job().state)
    again = engine.fit(job(teacher=cached(), losses=KD_ALONE, views_counted=2, epochs=4))
    assert_equal(weights(first.network), weights(again.network))


def test_an_interrupted_run_with_a_cache_counts_what_was_asked_before(job, cached):
    class Stopping(KD):
        calls = 0

        def __call__(self, student, teacher, batch):
            self.calls += 1
            if self.calls == 5:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().__call__(student, teacher, batch)

    with pytest.raises(InterruptedRunError):
        engine.fit(
            job(teacher=cached(), losses=(engine.WeightedLoss("kd", 1.0, Stopping(alpha=1.0)),), views_counted=1)
        )
    finished = engine.fit(job(teacher=cached(), losses=KD_ALONE, views_counted=1))
    assert 7 * 32 <= finished.asked <= 234


def test_compiled_training_learns_the_same(job):
    plain = engine.fit(job(epochs=2))
    resume.discard(job().state)
    compiled = engine.fit(job(epochs=2, compile=True))
    assert {d.what: d.choice for d in compiled.decisions}["compile student"] == "on"
    # dropout is drawn by other kernels, so the two runs are alike and not the same
    assert compiled.curve[-1]["train_loss"] == pytest.approx(plain.curve[-1]["train_loss"], rel=0.05)
    assert compiled.network._compiled_call_impl is None


def test_a_run_that_goes_on_is_compiled_from_its_first_step(job, monkeypatch):
    """So that it computes with the kernels it began with."""
    compiled_before = []
    monkeypatch.setattr(compiling, "compile_now", lambda network, trial: 1.0)
    monkeypatch.setattr(nn.Module, "compile", lambda self, **_: compiled_before.append("compiled"))
    monkeypatch.setattr(compiling, "choose", lambda *_, **__: (True, Decision("compile student", "on", "it pays")))
    with pytest.raises(InterruptedRunError):
        engine.fit(job(compile="auto", losses=(engine.WeightedLoss("hard", 1.0, StopAfter(16, signal.SIGINT)),)))
    assert compiled_before == []  # it was tried, and left as it is

    class Telling(Hard):
        def __call__(self, student, teacher, batch):
            compiled_before.append("step")
            return super().__call__(student, teacher, batch)

    engine.fit(job(compile="auto", losses=(engine.WeightedLoss("hard", 1.0, Telling()),)))
    assert compiled_before[:2] == ["compiled", "step"]


def test_every_epoch_says_where_its_milliseconds_went(job):
    trained = engine.fit(job(epochs=2))
    for entry in trained.curve:
        assert entry["ms_per_step"]["backward"] > 0
        assert entry["ms_per_step"]["teacher"] < entry["ms_per_step"]["backward"]


def test_dropout_does_not_depend_on_what_was_drawn_before(job):
    first = engine.fit(job(file="teacher.py", epochs=2))
    resume.discard(job().state)
    torch.rand(1000)
    again = engine.fit(job(file="teacher.py", epochs=2))
    assert_equal(weights(first.network), weights(again.network))


STEADY = """
from torch import nn

def build(num_classes: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.LazyLinear(num_classes))
"""


def test_a_step_in_parts_learns_what_a_whole_step_learns(job, project, teacher_network):
    (project / "steady.py").write_text(STEADY, encoding="utf-8")
    given = {"losses": KD_ALONE, "file": "steady.py", "epochs": 1, "lr": 0.1, "optimizer": "sgd"}

    whole = engine.fit(job(teacher=FrozenNetwork(teacher_network), **given))
    in_parts = job(teacher=FrozenNetwork(teacher_network), accumulate=3, **given)
    parts = engine.fit(dataclasses.replace(in_parts, key="k2"))

    one, other = weights(whole.network), weights(parts.network)
    assert not all(torch.equal(other[name], each) for name, each in one.items()), "not computed in parts"
    for name, each in one.items():
        torch.testing.assert_close(other[name], each, rtol=1e-4, atol=1e-5)
    assert parts.curve[0]["train_loss"] == pytest.approx(whole.curve[0]["train_loss"], rel=1e-4)


def test_a_step_in_parts_needs_two_samples_in_each(job):
    with pytest.raises(InputError, match="a batch of 16 has no 9 parts of at least two samples") as refused:
        engine.fit(job(batch_size="auto", accumulate=9))
    assert refused.value.hint == "write at most 8, or a larger batch_size"


def test_a_teacher_that_shows_samples_side_by_side_takes_no_parts(job):
    with pytest.raises(InputError, match="which parts would separate"):
        engine.fit(job(teacher=LastBatch(), accumulate=2))


def test_timing_steps_keeps_nothing(job):
    watch, _ = engine.profile(job(epochs=1), steps=10, warm_up=5)
    assert watch.steps == 10
    assert watch.ms_per_step()["student"] > 0
    assert not job().state.exists()


def test_timing_says_what_was_chosen_for_batch_and_epochs_as_a_training_does(job):
    _, decisions = engine.profile(job(epochs="auto", batch_size="auto"), steps=1, warm_up=1)
    named = [decision.what for decision in decisions]
    assert named[:2] == ["batch_size", "epochs"]
    assert len(set(named)) == len(named)
