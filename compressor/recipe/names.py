"""Faults in the names that a recipe says, and in the options that go with them.

Names of formats, tasks, kinds of teachers, losses, criteria, quantizers and runtimes point into a registry, those of
profiles into the recipe itself; with a name come its options, and what it needs of the tables beside it. All of it is
read from plain data, so that these faults show also where the recipe could not be frozen.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from compressor import registry
from compressor.errors import CompressError, Fault, InputError
from compressor.recipe._base import table_of
from compressor.recipe._wording import by_place, fault_of
from compressor.recipe.capabilities import (
    TRAINED,
    Asking,
    declaration_faults,
    loss_faults,
    needs_of,
    share_of_labels,
    task_gives,
    teacher_faults,
)
from compressor.recipe.links import (
    PRUNE_TARGETS,
    SWEPT,
    PruneSettings,
    QuantizeSettings,
    RampSettings,
    is_ramp,
)
from compressor.recipe.settings import DEFAULT_PROFILES, TaskSettings, hides_labels, kind_of

_MOST_NAMED = 5  # entries of a folder that nobody reads
_BY_SUFFIX: Mapping[str, str] = {
    ".parquet": "huggingface:{folder} reads Parquet",
    ".jsonl": "huggingface:{folder} reads JSON lines",
    ".arrow": "huggingface:{folder} reads what datasets saved",
    ".csv": "csv:FILE reads a table of texts and labels (or name it train.csv)",
    ".tsv": "csv:FILE reads a table of texts and labels (or name it train.tsv)",
    ".npz": "npz:FILE reads one archive of x_train and y_train",
    ".npy": "put the arrays into one archive (numpy.savez with x_train and y_train) and write npz:FILE",
}
_OF_A_FOLDER = (
    "images: takes a folder for each class, masks: pictures beside their masks, csv: a table of texts; "
    "anything else is read by a function of yours: py:FILE.py:FUNCTION"
)
_OF_A_FILE = "write npz:FILE, an archive of x_train and y_train (numpy.savez), or py:FILE.py:FUNCTION that reads it"


def name_faults(raw: Mapping[str, Any]) -> list[Fault]:
    """Faults in the names that point into a registry, read leniently so that they show beside other faults."""
    found: list[Fault] = []
    data, task, teacher, bench = (table_of(raw, key) for key in ("data", "task", "teacher", "bench"))
    prune, quantize = table_of(raw, "prune"), table_of(raw, "quantize")
    for key, given in (("source", "options"), ("unlabelled", "unlabelled_options")):
        if isinstance(data.get(key), str):
            found += _source_faults(data[key], table_of(data, given), where=f"data.{key}", options=f"data.{given}")
    if table_of(data, "unlabelled_options") and data.get("unlabelled") is None:
        found.append(Fault("data.unlabelled_options", "there is no data.unlabelled that they could be of"))
    found += _view_faults(table_of(data, "views"))
    if hides_labels(raw):
        found += _label_faults(raw)
    for family, table, key, where in (
        ("tasks", task, "name", "task.name"),
        ("teachers", teacher, "kind", "teacher.kind"),
    ):
        if isinstance(table.get(key), str):
            _member(family, table[key], where, found)
    if isinstance(raw.get("teacher"), Mapping):
        found += _teacher_faults(raw, teacher)
    found += _specialist_faults(raw, teacher)
    task_member = _member("tasks", str(task.get("name", TaskSettings().name)), "task.name", [])
    if task_member:
        faults = registry.option_faults(task_member, table_of(task, "options"), where="task.options")
        found += faults or _refusal(task_member, table_of(task, "options"))
    for section in ("distill", "prune", "quantize"):
        found += _loss_faults(raw, section)
    if prune.get("latency") is not None and prune.get("ranking", "global") != "global":
        message = "has no effect on a cut by latency, where importance for each millisecond decides"
        found.append(Fault("prune.ranking", message, "leave it out, or cut by macs or params"))
    for family, table, key, given, where in (
        ("criteria", prune, "criterion", "criterion_options", "prune"),
        ("quantizers", quantize, "method", "options", "quantize"),
    ):
        name = table.get(key)
        if name is None and table_of(table, given):  # they are those of the default
            fields = PruneSettings.model_fields if key == "criterion" else QuantizeSettings.model_fields
            name = fields[key].default
        if isinstance(name, str):
            member = _member(family, name, f"{where}.{key}", found)
            if member:
                found += registry.option_faults(member, table_of(table, given), where=f"{where}.{given}")
    stated = [name for name in PRUNE_TARGETS if prune.get(name) is not None]
    if len(stated) > 1:
        found.append(
            Fault("prune", f"{' and '.join(stated)} are given, a cut has one target", f"keep {stated[0]} alone")
        )
    found += _runtime_faults(bench)
    profiles, own = bench.get("profiles", ()), table_of(bench, "profile")
    for index, name in enumerate(profiles if isinstance(profiles, list | tuple) else ()):
        if isinstance(name, str) and name not in own and name not in DEFAULT_PROFILES:
            known = [*DEFAULT_PROFILES, *own]
            hint = registry.nearest(str(name), known, "known:") + f", or add [bench.profile.{name}]"
            found.append(Fault(f"bench.profiles.{index}", f"no profile is called '{name}'", hint))
    for section in ("prune", "quantize"):
        wanted = table_of(raw, section).get("profile")
        if isinstance(wanted, str) and wanted not in own and wanted not in DEFAULT_PROFILES:
            hint = registry.nearest(wanted, [*DEFAULT_PROFILES, *own], "known:") + f", or add [bench.profile.{wanted}]"
            found.append(Fault(f"{section}.profile", f"no profile is called '{wanted}'", hint))
    return found


def _label_faults(raw: Mapping[str, Any]) -> list[Fault]:
    """What else a recipe asks of labels that `data.labels = false` hides; losses and teachers say so themselves."""
    found: list[Fault] = []
    hint = "leave out data.labels (--no-labels)"
    if table_of(raw, "distill").get("control"):
        found.append(Fault("distill.control", "a control learns from labels alone, and data.labels is false", hint))
    if raw.get("train") is not None and raw.get("stages") != ["train"]:  # which says by itself that it has no labels
        found.append(Fault("train", "a teacher learns from labels alone, and data.labels is false", hint))
    return found


def split_source(source: str) -> tuple[str, str | None]:
    """A data source as (format name, target): `images:flowers` -> `("images", "flowers")`."""
    name, separator, target = source.partition(":")
    return name, (target if separator else None)


def _source_faults(source: str, given: Mapping[str, Any], *, where: str, options: str) -> list[Fault]:
    """Faults of a data source as it is named, and of the options of its format."""
    if Path(source).suffix and Path(source).is_file():  # a file that no format was guessed for
        return [Fault(where, f"no data format reads '{source}'", _OF_A_FILE)]
    if ":" not in source and Path(source).is_dir() and not _is_known("formats", source):
        return [_folder_fault(Path(source), where=where)]
    if ":" not in source and ("/" in source or os.sep in source):
        return [
            Fault(where, f"there is no {source}", "write FORMAT:PATH, or a path that exists (compress list formats)")
        ]
    found: list[Fault] = []
    name, target = split_source(source)
    member = _member("formats", name, where, found)
    if member and member.positional and target is None:
        found.append(Fault(where, f"'{name}' needs a place", f"write {name}:PATH"))
    if member and not member.positional and target is not None:
        found.append(Fault(where, f"'{name}' takes no place", f"write {name}"))
    if member:
        found += registry.option_faults(member, given, where=options)
    return found


def _folder_fault(folder: Path, *, where: str) -> Fault:
    """What a folder holds that no format was guessed for, and which formats could fit."""
    inside = sorted(entry.name + "/" * entry.is_dir() for entry in folder.iterdir())
    shown = ", ".join(inside[:_MOST_NAMED]) + (
        f" and {len(inside) - _MOST_NAMED} more" if len(inside) > _MOST_NAMED else ""
    )
    suffixes = {Path(name).suffix.lower() for name in inside}
    fitting = [hint.format(folder=folder) for suffix, hint in _BY_SUFFIX.items() if suffix in suffixes]
    hint = "; ".join(dict.fromkeys(fitting)) or _OF_A_FOLDER
    return Fault(where, f"no data format reads the folder '{folder}', which holds {shown or 'nothing'}", hint)


def _is_known(family: str, name: str) -> bool:
    return any(member.name == name for member in registry.members(family))


def _view_faults(views: Mapping[str, Any]) -> list[Fault]:
    """Faults of the views of one's own, and of a setting under both of its names."""
    found: list[Fault] = []
    if "color_jitter" in views and "colour_jitter" in views:
        found.append(Fault("data.views.colour_jitter", "is color_jitter by its old name", "leave it out"))
    own = views.get("own")
    for index, entry in enumerate(own if isinstance(own, list | tuple) else ()):
        name, where = entry.get("name") if isinstance(entry, Mapping) else None, f"data.views.own.{index}"
        if not isinstance(name, str):
            continue  # a fault of its own
        member = _member("views", name, f"{where}.name", found)
        if member and ":" not in name:
            hint = f"write {member.name} = ... in [data.views]"
            found.append(Fault(f"{where}.name", f"'{name}' is not a view of your own", hint))
        elif member:
            options = {key: value for key, value in entry.items() if key != "name"}
            found += registry.option_faults(member, options, where=where)
    return found


def _task_gives(raw: Mapping[str, Any]) -> tuple[str, ...] | None:
    return task_gives(str(table_of(raw, "task").get("name", TaskSettings().name)))


def _teacher_faults(raw: Mapping[str, Any], teacher: Mapping[str, Any]) -> list[Fault]:
    """Whether a kind of teacher has the networks that it takes, its options, and whether it fits task and data."""
    kind, trained = kind_of(teacher), raw.get("train") is not None
    member = _member("teachers", kind, "teacher.kind", []) if isinstance(kind, str) else None
    if member is None:
        return []
    found = registry.option_faults(member, table_of(teacher, "kind_options"), where="teacher.kind_options")
    asking = Asking.reading(member, table_of(teacher, "kind_options"), where="teacher.kind")
    found += teacher_faults(asking, task=_task_gives(raw), labels=not hides_labels(raw))
    takes = needs_of(kind)
    model, members = teacher.get("model"), teacher.get("members") or ()
    count = len(members) if isinstance(members, Sequence) else 0
    if takes & TRAINED and not model:
        what = "a file" if "file" in takes else "a network"
        found.append(Fault("teacher.model", f"'{member.name}' needs {what}", 'write model = "..." in [teacher]'))
    if "file" in takes:
        for key in ("arch", "options", "classes"):
            if teacher.get(key):
                found.append(Fault(f"teacher.{key}", f"'{member.name}' is a file and takes no {key}", "leave it out"))
    if "networks" in takes and "clusters" not in takes and model and not count:
        hint = "add [[teacher.members]] (on the command line: --teacher once more)"
        found.append(Fault("teacher.members", f"'{member.name}' needs several networks", hint))
    if count and not takes & {"networks", "peers"}:
        hint = 'write kind = "ensemble" (--teacher-kind ensemble)' if "network" in takes else "leave them out"
        found.append(Fault("teacher.members", f"'{member.name}' accepts only one network", hint))
    if count and trained and "networks" in takes:
        message = f"trains one network, and a teacher of the kind '{member.name}' is several"
        hint = 'train each first (compress train), and name what that leaves: model = "runs/NAME/train"'
        found.append(Fault("train", message, hint))
    if model and not takes & TRAINED and not trained:
        hint = "leave out model (--teacher)" + (", or name peers as [[teacher.members]]" if "peers" in takes else "")
        found.append(Fault("teacher.model", f"'{member.name}' takes no trained network", hint))
    return found


def _specialist_faults(raw: Mapping[str, Any], teacher: Mapping[str, Any]) -> list[Fault]:
    """Whether clusters are either made by the run or given with the specialists."""
    kind, options = kind_of(teacher), table_of(teacher, "kind_options")
    stated = raw.get("specialists") is not None
    if "clusters" not in needs_of(str(kind)):
        hint = 'write kind = "specialists" in [teacher] (--teacher-kind specialists)'
        return [Fault("specialists", f"a teacher of kind '{kind}' trains no specialists", hint)] if stated else []
    if teacher.get("members"):
        if stated:
            hint = "leave out [specialists] or [[teacher.members]]"
            return [Fault("specialists", "the specialists are given as members, so none are trained", hint)]
        if not options.get("clusters"):
            hint = "write clusters = [[0, 3], [5, 7]] in [teacher.kind_options]: the classes of each, in order"
            return [Fault("teacher.kind_options.clusters", "which classes do the given specialists know?", hint)]
    elif options:
        hint = "leave out kind_options, or name trained specialists as [[teacher.members]]"
        return [Fault("teacher.kind_options", "the run finds the clusters itself", hint)]
    return []


def _loss_faults(raw: Mapping[str, Any], section: str) -> list[Fault]:
    found: list[Fault] = []
    losses = table_of(raw, section).get("losses", ())
    asking: list[Asking] = []
    for index, entry in enumerate(losses if isinstance(losses, list | tuple) else ()):
        where = f"{section}.losses.{index}"
        asking.append(Asking("unknown", (), where))
        if isinstance(entry, Mapping):
            member = _member("losses", str(entry.get("name", "kd")), f"{where}.name", found)
            if member:
                options = {key: value for key, value in entry.items() if key not in ("name", "weight")}
                asking[-1] = Asking.reading(member, dict(options), where=where)
                for key, value in list(options.items()):
                    if value == "auto" and key in SWEPT and key in {option.name for option in member.options}:
                        found += _sweep_faults(member.name, key, section=section, where=f"{where}.{key}")
                        del options[key]
                    elif is_ramp(value):
                        found += _ramp_faults(value, where=f"{where}.{key}")
                        options[key] = value["end"]
                found += registry.option_faults(member, options, where=where)
    task, labels = _task_gives(raw), not hides_labels(raw)
    # what is trained back after a cut learns from a network, whatever kind the teacher is
    teacher, kind = _teacher_gives(raw) if section == "distill" else (None, "")
    return found + loss_faults(asking, task=task, teacher=teacher, kind=kind, labels=labels, where=f"{section}.losses")


def _teacher_gives(raw: Mapping[str, Any]) -> tuple[tuple[str, ...] | None, str]:
    """What the teacher of a recipe gives, as far as its source says, and its kind."""
    kind = kind_of(table_of(raw, "teacher"))
    member = _member("teachers", kind, "teacher.kind", []) if isinstance(kind, str) else None
    return (None if member is None else member.gives), str(kind)


def _refusal(task: registry.Member, options: Mapping[str, Any]) -> list[Fault]:
    """What a task of ours, which needs no torch, says against options that are stated."""
    if not options or not task.file.is_relative_to(registry.PACKAGE):
        return []
    try:
        task.load()(**options)
    except InputError as refused:
        return [Fault(refused.where or "task.options", refused.message, refused.hint)]
    return []


def _sweep_faults(loss: str, option: str, *, section: str, where: str) -> list[Fault]:
    if section != "distill":
        return [Fault(where, "auto is found by a sweep of distillation alone", "write a number")]
    share = share_of_labels(loss)
    if option == "alpha" and (share is None or share.option != option):
        return [Fault(where, f"auto is for the share of kd, and alpha of '{loss}' is a weight", "write a number")]
    return []


def _ramp_faults(ramp: Mapping[str, Any], *, where: str) -> list[Fault]:
    try:
        RampSettings.model_validate(ramp)
    except ValidationError as error:
        return [replace(fault_of(details), where=where) for details in by_place(error).values()]
    return []


def _runtime_faults(bench: Mapping[str, Any]) -> list[Fault]:
    """Faults of `bench.runtimes`, of those of a profile, and of `[bench.runtime.NAME]`."""
    found: list[Fault] = []
    own = table_of(bench, "runtime")
    for name in own:
        options = {key: value for key, value in table_of(own, name).items() if key != "name"}
        member = _member("runtimes", str(table_of(own, name).get("name", "")), f"bench.runtime.{name}.name", found)
        if member:
            found += registry.option_faults(member, options, where=f"bench.runtime.{name}")
            if "threads" in options:
                hint = f"write threads = {options['threads']} into a [bench.profile.NAME]"
                found.append(Fault(f"bench.runtime.{name}.threads", "threads belong to the profile", hint))
            if not str(name).startswith(member.name):  # tables tell by the name what a model ran on
                hint = f"call it {member.name}_{name}"
                found.append(Fault(f"bench.runtime.{name}", f"a '{member.name}' must show it in its name", hint))
    named = [("bench.runtimes", bench.get("runtimes", ()))]
    profiles = table_of(bench, "profile")
    named += [(f"bench.profile.{name}.runtimes", table_of(profiles, name).get("runtimes", ())) for name in profiles]
    for where, names in named:
        for index, name in enumerate(names if isinstance(names, list | tuple) else ()):
            if isinstance(name, str) and name not in own:
                _member("runtimes", str(name), f"{where}.{index}", found)
    return found


def _member(family: str, name: str, where: str, found: list[Fault]) -> registry.Member | None:
    try:
        member = registry.find(family, name)
    except CompressError as fault:
        found.append(Fault(where, fault.message, fault.hint))
        return None
    found += declaration_faults(member, where)
    return member
