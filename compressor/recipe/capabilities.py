"""Capabilities: what tasks, teachers, losses and data give, what they need of one another, and the one matcher of both.

A member says it in its class, in tuples that are read from its source, so that what does not fit is refused before anything
is run or imported:

    gives = ("rows:softmax", "one_class")
    needs = ("rows:softmax or rows:sigmoid", "labels if hard > 0")

A need is met by any of its words; `rows` alone is met by rows of every kind. `if OPTION < | > | != VALUE` says that the need
is there only where that option has such a value. `WORDS` are all words, with what each means. What the constructor of a
teacher takes by position is among its needs as well, since that already says it (`needs_of`).

Of a class outside of this package that derives from another, the source may say nothing: the recipe is not refused for
it then, and the run asks the class itself.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from compressor import registry
from compressor.errors import CompressError, Fault

WORDS: Mapping[str, str] = {
    # given by tasks
    "rows:softmax": "logits of classes, in rows of which each has one right class",
    "rows:sigmoid": "logits of classes of which each is there or not: a sample has a set of them",
    "rows:values": "numbers in the unit of the targets",
    "rows": "outputs that can be compared row by row, of whatever kind",
    "one_class": "a sample as a whole has one class",
    "maps": "outputs for each place of a picture, [B, K, H, W]",
    # given by data
    "labels": "training samples have targets",
    # given by teachers
    "features": "outputs of layers inside of the network",
    "own_features": "these are the student's own, and its deeper layers teach its shallower ones",
    "changing": "predictions change while the student learns, so that none is kept",
    # given by a recipe to a teacher
    "network": "one trained network",
    "networks": "several trained networks",
    "file": "a file that the user named",
    "previous": "the generation of the student before, which the run trains",
    "peers": "networks that are trained along",
    "clusters": "classes that each further network knows; where none are stated, the run finds them and trains the networks",
    "classes": "names of the data's classes",
    "known": "for each network, the names of the classes that it knows",
    "samples": "the training samples",
    # given by pruning to a criterion
    "weights": "the weights as they are",
    "gradients": "of the loss against labels, the mean over samples",
    "sample_gradients": "the same of single samples, squared and summed",
    # given by the machine
    "gpu": "an NVIDIA GPU",
}
"""What can be given or needed."""

TRAINED = frozenset({"network", "networks", "file"})
"""What a teacher can be made from that knows something before the run."""

_OF_OUTPUTS = ("rows", "labels", "maps")
"""What a loss needs that teaches the last layer: these, or rows of some kind."""

_WANTS: Mapping[tuple[str, ...], str] = {
    ("rows:softmax",): "needs the one right class",
    ("rows:softmax", "rows:sigmoid"): "compares probabilities of classes",
    ("rows:sigmoid",): "is for sets of classes",
    ("rows:values",): "compares numbers",
    ("maps",): "compares places of maps",
    ("one_class",): "is for samples of one class each",
    ("one_class", "rows:sigmoid"): "pairs samples by their classes",
}
_TELLS: Mapping[str, str] = {  # the first that a task gives is the one that tells it from others
    "rows:values": "predicts numbers",
    "rows:sigmoid": "has sets of classes",
    "maps": "has a class for each pixel",
    "one_class": "has one class for each sample",
}
_HINTS: Mapping[str, str] = {
    "losses": 'write name = "mse_logits", which compares predictions of every kind (kd: classes), or leave the losses out',
    "maps": "leave out pairs: features are compared, which every task has",
    "teachers": "use one PyTorch network (its checkpoint), or a kind that teaches itself",
    "features": "use a teacher that is one PyTorch network, or losses on predictions (kd)",
}

_SAID_BEFORE: Mapping[str, Mapping[str, str]] = {
    "losses": {
        "of_classes": 'needs = ("rows:softmax or rows:sigmoid",)',
        "of_one_class": 'needs = ("rows:softmax",)',
    },
    "tasks": {"of_numbers": 'gives = ("rows:values",)', "label_sets": 'gives = ("rows:sigmoid",)'},
    "teachers": {
        "one_class": 'needs = ("one_class",)',
        "needs_labels": 'needs = ("labels",)',
        "trainable": 'gives = ("changing",)',
        "gives_features": 'gives = ("features",)',
        "own_features": 'gives = ("features", "own_features")',
    },
    "runtimes": {"on_gpu": 'needs = ("gpu",)'},
}
"""Attributes that said the same before there were these words, and what is written now."""


@dataclass(frozen=True)
class Need:
    """One need, as it is written.

    Attributes:
        words: Any one of them meets it.
        option: The option that it hangs on; empty: on none.
        sign: `<`, `>` or `!=`.
        bound: What the option is compared with.
    """

    words: tuple[str, ...]
    option: str = ""
    sign: str = ""
    bound: Any = None

    @classmethod
    def of(cls, text: str) -> Need:
        """What a text says.

        Raises:
            ValueError: It is no need: `WORD or WORD if OPTION > VALUE`.
        """
        stated, _, condition = text.partition(" if ")
        words = tuple(stated.split(" or "))
        if not condition:
            return cls(words)
        found = re.fullmatch(r"(\w+) (<|>|!=|==) (.+)", condition)
        if not found:
            raise ValueError(f"'{condition}' is not OPTION < VALUE, OPTION > VALUE, OPTION == VALUE or OPTION != VALUE")
        return cls(words, found[1], found[2], ast.literal_eval(found[3]))

    def holds(self, options: Mapping[str, Any]) -> bool:
        """Whether it is there with these options; one that grows or falls over the run is taken by both its ends."""
        if not self.option:
            return True
        value = options.get(self.option)
        if isinstance(value, Mapping):
            return any(self._compared(end) for end in (value.get("start", self.bound), value.get("end", self.bound)))
        return self._compared(value)

    def _compared(self, value: Any) -> bool:
        if self.sign in ("==", "!="):
            return bool((value == self.bound) == (self.sign == "=="))
        if not isinstance(value, int | float):
            return value is not None  # a word such as auto, which may come to anything
        return bool(value < self.bound if self.sign == "<" else value > self.bound)

    def is_met(self, given: Sequence[str]) -> bool:
        """Whether one of its words is given."""
        kinds = {word.partition(":")[0] for word in given}
        return any(word in given or word in kinds for word in self.words)


@dataclass(frozen=True)
class Asking:
    """A loss or a teacher that asks something of the others.

    Attributes:
        name: Of the member.
        needs: As it declares them.
        where: Its place in the recipe.
        stated: The options that are stated for it.
        defaults: Those that hold where nothing is stated.
    """

    name: str
    needs: tuple[str, ...]
    where: str
    stated: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def reading(
        cls,
        member: registry.Member,
        stated: Mapping[str, Any],
        *,
        where: str,
        name: str = "",
        needs: Sequence[str] | None = None,
    ) -> Asking:
        """A member with these options.

        Args:
            member: As its source says it.
            stated: Options.
            where: Its place in the recipe.
            name: What it is called, where that is not the name of the member.
            needs: What its class says, where that is known: it may have derived it.
        """
        defaults = {option.name: _literal(option.default) for option in member.options}
        return cls(name or member.name, member.needs if needs is None else tuple(needs), where, stated, defaults)

    @property
    def held(self) -> list[Need]:
        """The needs that are there with the options as they are."""
        options = {**self.defaults, **self.stated}
        return [need for need in map(Need.of, self.needs) if need.holds(options)]

    @property
    def on_features_alone(self) -> bool:
        """Whether it looks inside of the networks, and at nothing that they predict."""
        words = {word for need in self.held for word in need.words}
        return "features" in words and not any(word.partition(":")[0] in _OF_OUTPUTS for word in words)

    @property
    def of_labels(self) -> list[Need]:
        """What it asks of labels: always, or by an option that is stated. By default, labels that are not there count 0."""
        asked = [need for need in self.held if "labels" in need.words]
        return [need for need in asked if not need.option or need.option in self.stated]


def share_of_labels(loss: str) -> Need | None:
    """The option of a loss of ours whose rest is the labels' share, as the need that says so (`labels if alpha < 1`)."""
    if ":" in loss:
        return None
    try:
        needs = map(Need.of, registry.find("losses", loss).needs)
    except CompressError:
        return None  # a fault of its own
    return next((need for need in needs if need.words == ("labels",) and need.sign == "<"), None)


def _literal(text: str | None) -> Any:
    try:
        return None if text is None else ast.literal_eval(text)
    except ValueError:  # a name or a call: what it comes to is known when the file runs
        return None


def needs_of(kind: str) -> frozenset[str]:
    """All that a kind of teacher needs; nothing of one that is unknown, which is told with the names."""
    try:
        member = registry.find("teachers", kind)
    except CompressError:
        return frozenset()
    return frozenset({*(option.name for option in member.positional), *member.needs})


def task_gives(name: str) -> tuple[str, ...] | None:
    """What a task gives, read from its source; None where that does not say."""
    try:
        return registry.find("tasks", name).gives
    except CompressError:
        return None  # a fault of its own


def declaration_faults(member: registry.Member, where: str) -> list[Fault]:
    """Words that a member declares and nobody knows, and attributes that said the same before there were these words."""
    found = []
    for attribute, instead in _SAID_BEFORE.get(member.family, {}).items():
        if attribute in member.attributes:
            message = f"'{member.attr}' says {attribute}, which is no longer read"
            found.append(Fault(where, message, f"write {instead} in its class"))
    for text in (*member.needs, *(member.gives or ())):
        try:
            words = Need.of(text).words
        except ValueError as fault:
            found.append(Fault(where, f"'{text}' of '{member.attr}' is not a need: {fault}"))
            continue
        for word in words:
            if word not in WORDS:
                message = f"'{member.attr}' declares '{word}', which nothing gives"
                found.append(Fault(where, message, registry.nearest(word, list(WORDS), "known:")))
    return found


def loss_faults(
    losses: Sequence[Asking],
    *,
    task: Sequence[str] | None,
    teacher: Sequence[str] | None = None,
    kind: str = "",
    labels: bool = True,
    where: str,
) -> list[Fault]:
    """Losses that do not fit task, teacher or data, each at its place, or leave the last layer untaught together.

    Args:
        losses: All that a network learns by.
        task: What the task gives; None where it is not known yet.
        teacher: What the teacher gives; None where it is not known yet.
        kind: Of the teacher.
        labels: Whether the data may show its labels.
        where: The setting that lists them.
    """
    found = []
    for loss in losses:
        found += feature_faults(loss, teacher=teacher, kind=kind)
        for need in loss.held:
            if not {"features", "labels"} & set(need.words) and task is not None and not need.is_met(task):
                found.append(_task_fault(loss, need, task, _HINTS.get(need.words[0], _HINTS["losses"])))
        found += [_label_fault(loss, need) for need in loss.of_labels if not labels]
    if losses and all(loss.on_features_alone for loss in losses):
        message = f"'{losses[0].name}' looks at features alone, which leaves the last layer untaught"
        found.append(Fault(where, message, 'add kd (or hard) beside it: a second entry with name = "kd"'))
    return found


def feature_faults(loss: Asking, *, teacher: Sequence[str] | None, kind: str) -> list[Fault]:
    """Whether a loss reads features that the teacher does not give.

    Args:
        loss: The loss.
        teacher: What the teacher gives; None where it is not known yet.
        kind: Of the teacher.
    """
    lacking = [
        need for need in loss.held if "features" in need.words and teacher is not None and not need.is_met(teacher)
    ]
    message = f"'{loss.name}' reads features, which a teacher of the kind '{kind}' does not give"
    return [Fault(loss.where, message, _HINTS["features"]) for _ in lacking]


def teacher_faults(teacher: Asking, *, task: Sequence[str] | None, labels: bool = True) -> list[Fault]:
    """Whether a kind of teacher fits the task, and data without labels.

    Args:
        teacher: The kind.
        task: What the task gives; None where it is not known yet.
        labels: Whether the data may show its labels.
    """
    found = []
    for need in teacher.held:
        if "labels" in need.words:
            if not labels:
                message = f"'{teacher.name}' knows nothing by itself, and the training samples have no labels"
                found.append(Fault(teacher.where, message, "name a trained teacher, or give labels"))
        elif need.words in _WANTS and task is not None and not need.is_met(task):
            found.append(_task_fault(teacher, need, task, _HINTS["teachers"]))
    return found


def nothing_to_learn(losses: Sequence[Asking]) -> list[Fault]:
    """Losses that all learn from labels alone, where no sample has one."""
    if not losses or not all(need.words == ("labels",) and not need.option for loss in losses for need in loss.held):
        return []
    if not all(loss.held for loss in losses):
        return []
    message = f"no training sample has a label, and labels are all that '{losses[0].name}' learns from"
    return [Fault("", message, "give some labels, or a trained teacher with a loss that compares predictions (kd)")]


def _task_fault(asking: Asking, need: Need, task: Sequence[str], hint: str) -> Fault:
    wants = _WANTS.get(need.words, f"needs {' or '.join(need.words)}")
    has = next((told for word, told in _TELLS.items() if word in task), f"gives {', '.join(task) or 'nothing'}")
    return Fault(asking.where, f"'{asking.name}' {wants}, and this task {has}", hint)


def _label_fault(loss: Asking, need: Need) -> Fault:
    if not need.option:
        message = f"'{loss.name}' learns from labels, and data.labels is false"
        return Fault(loss.where, message, "leave out data.labels (--no-labels)")
    message = f"{need.option} = {loss.stated[need.option]} lets it learn from labels, and data.labels is false"
    return Fault(f"{loss.where}.{need.option}", message, f"write {need.option} = {need.bound}, or leave it out")
