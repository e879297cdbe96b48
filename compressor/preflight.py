"""Every fault of a recipe that can be found before anything is spent: `compress check`, and the first thing of every run.

The recipe's own faults (names, options, ranges, order) are found by `recipe.faults`; here come those that only the files
can tell: is it there, what is it, and is that what its use needs? Without torch, until members are tried with options that
were stated for them, which happens last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from compressor import artifact, registry, trust
from compressor import recipe as recipes
from compressor.errors import CompressError, Fault, InputError
from compressor.models import spec as specs


def check(raw: Mapping[str, Any], *, file: Path | None = None) -> list[Fault]:
    """Every fault of a recipe that can be found before anything runs: names, options, ranges, order, files, what they are.

    Args:
        raw: The recipe as plain data.
        file: Where it was read from; paths in it start in the working directory, which a hint says when that is another.
    """
    found = recipes.faults(raw)
    teacher = recipes.table_of(raw, "teacher")
    if _takes(teacher, "file"):
        found += _file_faults(teacher)
    else:
        found += _model_faults("teacher", teacher, learns=False, trained=raw.get("train") is not None)
    found += _each("teacher.members", teacher.get("members"), learns=_takes(teacher, "peers"))
    found += _each("assistants", raw.get("assistants"), learns=True)
    found += _model_faults("student", recipes.table_of(raw, "student"), learns=True)
    data = raw.get("data")
    for key in ("source", "unlabelled"):
        if isinstance(data, Mapping) and isinstance(data.get(key), str):
            found += data_faults(data[key], where=f"data.{key}")
    if not found:
        found += _refused_options(raw)
    elsewhere = file is not None and file.resolve().parent != Path.cwd()
    return [_with_place(fault, file.parent) if elsewhere and file is not None else fault for fault in found]


def content_faults(raw: Mapping[str, Any]) -> list[Fault]:
    """What is wrong inside of data and models, for a recipe that has no other fault: reads all samples, and builds networks.

    Data that a file of the user's own reads, or that has to be fetched, is left for the run; so are a task, views and
    networks of the user's own: no code of theirs is run here.
    """
    recipe = recipes.parse(raw, source="recipe")
    if recipe.data is None or not _is_at_hand(recipe.data) or ":" in recipe.task.name:
        return []
    from compressor.data.open import open_dataset
    from compressor.training.start import built_for, for_data, require_labels_of, task_of

    try:
        dataset = open_dataset(recipe.data)
        task = task_of(recipe.task, label_smoothing=0.0)
        require_labels_of(task, dataset)
        task, _ = for_data(task, dataset)
    except CompressError as fault:
        return [_as_fault(fault, "data.source")]
    found = []
    for place, model in (("teacher.model", recipe.teacher), ("student.model", recipe.student)):
        if model is not None and _is_built_of_ours(model):
            try:
                built_for(model, dataset=dataset, task=task, seed=recipe.seed)
            except CompressError as fault:
                found.append(_as_fault(fault, place))
    return found


def _is_at_hand(data: recipes.DataSettings) -> bool:
    """Whether samples are read here, by no code of the user's own."""
    for source in filter(None, (data.source, data.unlabelled)):
        name, target = recipes.split_source(source)
        if name == "py" or ":" in name or (name == "huggingface" and not Path(target or "").exists()):
            return False
    tokenizer = data.options.get("tokenizer")
    return not isinstance(tokenizer, str) or Path(tokenizer).exists()


def _is_built_of_ours(model: recipes.ModelSettings) -> bool:
    """Whether a network comes from a library, without weights that would be fetched."""
    library, _, name = model.model.partition(":")
    if library == "transformers":
        return specs.parse(model.model).path is not None
    return library in ("zoo", "timm", "torchvision") and bool(name) and not _brings_weights({"options": model.options})


def _as_fault(fault: CompressError, place: str) -> Fault:
    return Fault(fault.where or place, fault.message, fault.hint)


def _refused_options(raw: Mapping[str, Any]) -> list[Fault]:
    """What members of families say to the options that are stated for them; code of the user's own is not run here."""
    found = []
    for section in ("distill", "prune", "quantize"):
        table = recipes.table_of(raw, section)
        listed = table.get("losses")
        for index, entry in enumerate(listed if isinstance(listed, list | tuple) else ()):
            loss = recipes.LossSettings.model_validate(entry)
            at_its_end = {name: ramp.end for name, ramp in loss.ramps.items()}
            for options in (loss.options, {**loss.options, **at_its_end}):
                found += _refused("losses", loss.name, options, where=f"{section}.losses.{index}")
    quantize, prune = recipes.table_of(raw, "quantize"), recipes.table_of(raw, "prune")
    if quantize.get("method") != "qat":
        stated = recipes.table_of(quantize, "options")
        found += _refused("quantizers", quantize.get("method", "static"), stated, where="quantize.options")
    if "criterion" in prune:
        stated = recipes.table_of(prune, "criterion_options")
        found += _refused("criteria", prune["criterion"], stated, where="prune.criterion_options")
    return list(dict.fromkeys(found))


def _refused(family: str, name: str, options: Mapping[str, Any], *, where: str) -> list[Fault]:
    if not options or ":" in name:
        return []
    try:
        registry.find(family, name).load()(**options)
    except InputError as fault:
        option = (fault.where or "").rpartition(".")[2]
        return [Fault(f"{where}.{option}" if option else where, fault.message, fault.hint)]
    return []


def _each(place: str, tables: object, *, learns: bool) -> list[Fault]:
    """Faults in the models of a list of networks."""
    listed = tables if isinstance(tables, list | tuple) else ()
    return [
        fault
        for index, table in enumerate(listed)
        if isinstance(table, Mapping)
        for fault in _model_faults(f"{place}.{index}", table, learns=learns)
    ]


def _takes(teacher: Mapping[str, Any], what: str) -> bool:
    """Whether the kind of teacher is made from `what`: `file`, `peers`, ..."""
    kind = recipes.kind_of(teacher)
    return isinstance(kind, str) and what in recipes.needs_of(kind)


def _file_faults(teacher: Mapping[str, Any]) -> list[Fault]:
    """Faults in the file that a teacher is made from."""
    model, kind = teacher.get("model"), recipes.kind_of(teacher)
    if not isinstance(model, str) or not model:
        return []  # already among the recipe's own faults
    file = Path(model)
    if kind == "onnx":
        return _onnx_faults(file)
    if not file.is_file():
        return [Fault("teacher.model", f"there is no {model}", specs.nearby(file))]
    return []


def _onnx_faults(file: Path) -> list[Fault]:
    if artifact.is_artifact(file):
        if artifact.read(file).manifest.kind == "onnx":
            return []
        hint = "leave out kind (--teacher-kind): a network teaches by itself"
        return [Fault("teacher.model", f"{file} holds no ONNX model", hint)]
    if not file.is_file():
        return [Fault("teacher.model", f"there is no {file}", specs.nearby(file))]
    if file.suffix != ".onnx":
        return [Fault("teacher.model", f"{file} is not an ONNX file", "give net.onnx, or leave out kind")]
    return []


def _with_place(fault: Fault, folder: Path) -> Fault:
    """A fault about a path that would be right beside the recipe says so."""
    if "no such file" in fault.message or fault.message.startswith("there is no"):
        return replace(fault, hint=f"paths start in the working directory: cd {folder}")
    return fault


def _model_faults(place: str, table: Mapping[str, Any], *, learns: bool, trained: bool = False) -> list[Fault]:
    """Faults in a model's spec: is the file there, is it what its use needs?

    Args:
        place: Of the table in the recipe.
        table: A model with its options; nothing is said of one that names none.
        learns: Whether it is a student of someone, rather than a teacher.
        trained: Whether a teacher is trained by the run.
    """
    where = f"{place}.model"
    if not isinstance(table.get("model"), str) or not table["model"]:
        return []
    try:
        spec = specs.parse(table["model"])
        if _lacks_architecture(spec, arch=table.get("arch")):
            raise specs.needs_architecture(spec)
        if not learns or table.get("arch"):
            specs.require_trust(spec)
        if learns and spec.kind in ("torchscript", "exported", "pickled") and not table.get("arch"):
            hint = "give the code that builds it: file.py:callable"
            return [
                Fault(where, f"{spec.text} is a whole network in one file, which can teach but not be trained", hint)
            ]
        if spec.kind == "artifact" and spec.path is not None and artifact.read(spec.path).manifest.kind != "torch":
            hint = "name the folder of a network: train, teacher or distill"
            return [Fault(where, f"{spec.text} holds no network", hint)]
        if spec.kind == "onnx":
            hint = "use it as a teacher, or with compress inspect, evaluate or bench"
            return [Fault(where, f"{spec.text} is ONNX, which cannot be trained", hint)]
        of_library = spec.is_built and spec.kind not in ("python", "module")  # one's own builder may fill in weights
        if not learns and of_library and not trained and not _brings_weights(table):
            hint = "add a [train] section, or give its checkpoint" if place == "teacher" else "give its checkpoint"
            return [Fault(where, f"{spec.text} is an architecture without weights, so it cannot teach", hint)]
        if table.get("arch"):
            where = f"{place}.arch"
            specs.parse(table["arch"])
    except CompressError as fault:
        return [Fault(where, f"{fault.where + ': ' if fault.where else ''}{fault.message}", fault.hint)]
    return []


def _lacks_architecture(spec: specs.ModelSpec, *, arch: object) -> bool:
    if spec.kind == "pickled" and spec.path is not None:
        return not trust.is_trusted(spec.path)
    return spec.kind == "state_dict" and not arch


def _brings_weights(table: Mapping[str, Any]) -> bool:
    options = table.get("options")
    return isinstance(options, Mapping) and bool(options.get("pretrained") or options.get("weights"))


def data_faults(source: str, *, where: str = "data.source") -> list[Fault]:
    """Faults in where the data is said to be."""
    name, target = recipes.split_source(source)
    try:
        member = registry.find("formats", name)
    except CompressError:
        return []  # already among the recipe's own faults
    if target and member.positional and member.positional[0].annotation == "Path" and not Path(target).exists():
        near = specs.nearby(Path(target)) or f"write {name}:PATH with a path that exists"
        return [Fault(where, f"there is no {target}", near)]
    if target and name == "py" and not Path(target.rpartition(":")[0] or target).is_file():
        return [Fault(where, f"there is no {target}", "write py:FILE.py:callable")]
    return []
