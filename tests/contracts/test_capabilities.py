"""Capabilities: every member declares words that are known, and the matcher says what fits what."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from compressor import recipe, registry
from compressor.errors import InputError
from compressor.recipe.capabilities import WORDS, Asking, Need, declaration_faults, loss_faults, teacher_faults
from compressor.training.sources import losses_of
from compressor.training.start import task_of

DECLARING = [
    member for family in ("tasks", "losses", "teachers", "criteria", "runtimes") for member in registry.members(family)
]
TASKS, LOSSES, TEACHERS = ({m.name: m for m in registry.members(f)} for f in ("tasks", "losses", "teachers"))
RIGHT_CLASS = {"dkd", "nkd"}
OF_CLASSES = {"kd", "dist", "wttm"} | RIGHT_CLASS
SINGLE_CLASS = {"ensemble", "union", "specialists", "onnx", "outputs"}
WITHOUT_FEATURES = {
    "none",
    "ema",
    "last_batch",
    "previous_epoch",
    "peers",
    "second_view",
    "same_class",
    "onnx",
    "outputs",
}


def named(member: registry.Member) -> str:
    return f"{member.family}-{member.name}"


def refused_losses(task: str) -> set[str]:
    asking = {name: Asking.reading(member, {}, where="") for name, member in LOSSES.items()}
    return {name for name, each in asking.items() if _of_the_task(each, task)}


def _of_the_task(asking: Asking, task: str) -> list[str]:
    found = loss_faults([asking], task=TASKS[task].gives, where="")
    return [fault.message for fault in found if "and this task" in fault.message]


def refused_teachers(task: str) -> set[str]:
    asking = [Asking.reading(member, {}, where="") for member in TEACHERS.values()]
    return {each.name for each in asking if teacher_faults(each, task=TASKS[task].gives)}


@pytest.mark.parametrize("member", DECLARING, ids=named)
def test_a_member_declares_words_that_are_known(member: registry.Member) -> None:
    assert declaration_faults(member, "") == []


@pytest.mark.parametrize("member", DECLARING, ids=named)
def test_what_is_read_from_the_source_is_what_the_class_says(member: registry.Member) -> None:
    made = member.load()

    needs = getattr(made, "needs", ())
    assert ((needs,) if isinstance(needs, str) else needs) == member.needs
    if member.family in ("tasks", "teachers"):
        assert tuple(made.gives) == member.gives


@pytest.mark.parametrize("member", [*LOSSES.values(), *TEACHERS.values()], ids=named)
def test_a_need_hangs_on_an_option_that_there_is(member: registry.Member) -> None:
    options = {option.name for option in member.options}

    assert {need.option for need in map(Need.of, member.needs) if need.option} <= options


def test_every_word_is_declared_or_taken_by_some_member() -> None:
    taken = {option.name for member in TEACHERS.values() for option in member.positional}
    needed = {word for member in DECLARING for text in member.needs for word in Need.of(text).words}
    given = {word for member in DECLARING for word in member.gives or ()}

    assert set(WORDS) == taken | needed | given


@pytest.mark.parametrize(
    ("task", "losses", "teachers"),
    [
        ("classification", set(), set()),
        ("multilabel", RIGHT_CLASS, SINGLE_CLASS),
        ("regression", OF_CLASSES, SINGLE_CLASS | {"same_class"}),
        ("segmentation", set(), SINGLE_CLASS | {"same_class"}),
    ],
)
def test_a_task_refuses_what_compares_something_else(task: str, losses: set[str], teachers: set[str]) -> None:
    assert (refused_losses(task), refused_teachers(task)) == (losses, teachers)


def test_the_table_above_has_every_task() -> None:
    assert set(TASKS) == {"classification", "multilabel", "regression", "segmentation"}


@pytest.mark.parametrize(("task", "teacher"), list(itertools.product(TASKS, TEACHERS)))
def test_recipe_and_matcher_agree_on_every_task_loss_and_teacher(task: str, teacher: str) -> None:
    """The whole way from plain data: a combination is refused with one sentence for each thing that does not fit."""
    for loss in LOSSES:
        asking = Asking.reading(LOSSES[loss], {}, where="")
        raw = {
            "data": {"source": "digits"},
            "task": {"name": task},
            "teacher": {"kind": teacher},
            "student": {"model": "s.py"},
            "distill": {"losses": [{"name": "mse_logits"}, {"name": loss}]},
        }
        lacks_features = asking.on_features_alone and teacher in WITHOUT_FEATURES
        expected = [loss in refused_losses(task) or lacks_features, teacher in refused_teachers(task)]

        told = {fault.where: fault for fault in recipe.faults(raw)}

        assert ["distill.losses.1" in told, "teacher.kind" in told] == expected, loss
        assert all(told[where].hint for where in told if where in ("distill.losses.1", "teacher.kind")), loss


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("labels if alpha < 1", {"alpha": 0.9}, True),
        ("labels if alpha < 1", {"alpha": 1}, False),
        ("labels if alpha < 1", {"alpha": "auto"}, True),
        ("labels if alpha < 1", {"alpha": {"start": 1.0, "end": 0.5}}, True),
        ("labels if hard > 0", {"hard": 0.0}, False),
        ("labels if hard > 0", {"hard": {"end": 1.0}}, True),
        ("features if pairs != 'logits'", {"pairs": [["a", "b"]]}, True),
        ("features if pairs != 'logits'", {"pairs": "logits"}, False),
        ("features", {}, True),
    ],
)
def test_a_need_is_there_where_its_option_says_so(text: str, options: dict[str, object], expected: bool) -> None:
    assert Need.of(text).holds(options) == expected


def test_logits_of_maps_are_compared_where_the_task_has_maps_and_no_features_are_needed() -> None:
    asking = Asking.reading(LOSSES["cwd"], {"pairs": "logits"}, where="distill.losses.0")

    assert loss_faults([asking], task=TASKS["segmentation"].gives, teacher=(), where="") == []
    (fault,) = loss_faults([asking], task=TASKS["classification"].gives, teacher=(), where="")
    assert fault.message == "'cwd' compares places of maps, and this task has one class for each sample"


def test_features_are_refused_of_a_teacher_that_gives_none() -> None:
    asking = Asking.reading(LOSSES["fitnet"], {}, where="distill.losses.1")
    beside = Asking.reading(LOSSES["kd"], {}, where="distill.losses.0")

    (fault,) = loss_faults([beside, asking], task=("rows:softmax",), teacher=(), kind="outputs", where="")

    assert fault.where == "distill.losses.1"
    assert fault.message == "'fitnet' reads features, which a teacher of the kind 'outputs' does not give"


@pytest.mark.parametrize(
    ("family", "body", "message", "hint"),
    [
        ("losses", "of_classes = True", "says of_classes", 'needs = ("rows:softmax or rows:sigmoid",)'),
        ("losses", "of_one_class: bool = True", "says of_one_class", 'needs = ("rows:softmax",)'),
        ("tasks", "of_numbers = True", "says of_numbers", 'gives = ("rows:values",)'),
        ("tasks", "label_sets = True", "says label_sets", 'gives = ("rows:sigmoid",)'),
        ("teachers", "gives_features = True", "says gives_features", 'gives = ("features",)'),
        ("runtimes", "on_gpu = True", "says on_gpu", 'needs = ("gpu",)'),
        ("losses", 'needs = ("rows:sofmax",)', "declares 'rows:sofmax', which nothing gives", "'rows:softmax'"),
    ],
)
def test_a_part_of_ones_own_is_told_what_to_write_now(
    tmp_path: Path, family: str, body: str, message: str, hint: str
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(f"class Mine:\n    '''Mine.'''\n    {body}\n")

    (fault,) = declaration_faults(registry.find(family, f"{file}:Mine"), "distill.losses.0.name")

    assert message in fault.message
    assert hint in str(fault.hint)


def test_a_loss_of_ones_own_in_the_old_words_is_a_fault_of_the_recipe(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("class Mine:\n    '''Mine.'''\n    of_classes = True\n")
    raw = {"data": {"source": "digits"}, "distill": {"losses": [{"name": f"{file}:Mine"}]}}

    told = [fault for fault in recipe.faults(raw) if "distill.losses" in fault.where]

    assert [fault.where for fault in told] == ["distill.losses.0.name"]
    assert told[0].message == "'Mine' says of_classes, which is no longer read"


def test_needs_that_are_not_written_out_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("class Mine:\n    '''Mine.'''\n    needs = words()\n")

    with pytest.raises(InputError, match="needs is not a tuple of texts"):
        registry.find("losses", f"{file}:Mine")


def test_a_task_that_does_not_say_what_it_gives_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("class Mine:\n    '''Mine.'''\n")

    with pytest.raises(InputError, match="'Mine' does not say what it gives"):
        task_of(recipe.TaskSettings(name=f"{file}:Mine"), label_smoothing=0.0)


def test_a_loss_of_ones_own_that_derives_its_needs_is_refused_by_the_run(tmp_path: Path) -> None:
    """Its own source says nothing, so that the recipe is taken; the class has the needs of the one that it derives from."""
    file = tmp_path / "mine.py"
    file.write_text("from compressor.losses.dkd import DKD\n\n\nclass Mine(DKD):\n    '''Mine.'''\n")
    entry = {"name": f"{file}:Mine"}
    raw = {"data": {"source": "digits"}, "task": {"name": "multilabel"}, "distill": {"losses": [entry]}}

    assert not [fault for fault in recipe.faults(raw) if "losses" in fault.where]
    with pytest.raises(InputError, match="'Mine' needs the one right class, and this task has sets of classes"):
        losses_of(recipe.DistillSettings(losses=[entry]), TASKS["multilabel"].load()())
