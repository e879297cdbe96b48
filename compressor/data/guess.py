"""What a recipe leaves out that its files show: the format of a data source, a tokenizer, the task of a teacher.

A source without a format (`--data photos`) is looked at; texts are read by the tokenizer that lies with teacher or student;
a teacher that was made here for a task teaches that task.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compressor import artifact, registry
from compressor.errors import CompressError

_TEXTS = ("csv", "huggingface")
_IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff"}


def in_recipe(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Plain recipe data with what its files show filled in; what was given is left as it was."""
    raw = _with_task(raw)
    data = raw.get("data")
    if not isinstance(data, Mapping):
        return dict(raw)
    sources = {key: named(data[key]) for key in ("source", "unlabelled") if isinstance(data.get(key), str)}
    return _with_tokenizer({**raw, "data": {**data, **sources}})


def _with_task(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The same, where no task is named with that of a teacher that is an artifact; a task of one's own is to be named."""
    task, teacher = raw.get("task", {}), raw.get("teacher")
    place = teacher.get("model") if isinstance(teacher, Mapping) else None
    if not isinstance(task, Mapping) or "name" in task or not isinstance(place, str):
        return dict(raw)
    try:
        kept = artifact.read(Path(place)).manifest.settings.get("task", {}) if artifact.is_artifact(Path(place)) else {}
    except CompressError:
        return dict(raw)  # a fault of its own
    if not isinstance(kept.get("name"), str) or ":" in kept["name"]:
        return dict(raw)
    return {**raw, "task": {**kept, **task}}


def _with_tokenizer(raw: dict[str, Any]) -> dict[str, Any]:
    """The same, where texts name no tokenizer with the one that comes with teacher or student, if one of them has any."""
    data = raw["data"]
    options = data.get("options", {})
    if str(data.get("source")).partition(":")[0] not in _TEXTS or not isinstance(options, Mapping):
        return raw
    models = [table.get("model") for table in (raw.get("teacher"), raw.get("student")) if isinstance(table, Mapping)]
    found = next((place for model in models if (place := _tokenizer_of(str(model))) is not None), None)
    if options.get("tokenizer") or found is None:
        return raw
    return {**raw, "data": {**data, "options": {**options, "tokenizer": found}}}


def _tokenizer_of(model: str) -> str | None:
    """Where the tokenizer of a model lies: in or beside it, or on the hub under its name; None for one that has none."""
    scheme, separator, rest = model.partition(":")
    place = re.sub(r":\w+$", "", rest) if separator and scheme == "transformers" else model
    folder = Path(place).parent if Path(place).is_file() else Path(place)
    if (folder / "tokenizer.json").is_file():
        return str(folder)
    return place if scheme == "transformers" and separator and not Path(place).exists() else None


def named(source: str) -> str:
    """`source` with its format in front: as it is when it has one, guessed when the place shows it, else unchanged."""
    known = {member.name for member in registry.members("formats")}
    if source.partition(":")[0] in known:
        return source
    path = Path(source)
    if path.suffix == ".npz" and path.is_file():
        return f"npz:{source}"
    if path.suffix in (".csv", ".tsv") and path.is_file():
        return f"csv:{source}"
    if path.suffix == ".py" or ".py:" in source:
        return f"py:{source}"
    if path.is_dir():
        return _folder(source, path)
    return source


def _folder(source: str, path: Path) -> str:
    names = {entry.name for entry in path.iterdir()}
    if any("-idx3-ubyte" in name or "-images.idx3-ubyte" in name for name in names):
        return f"idx:{source}"
    if names & {"batches.meta", "data_batch_1", "cifar-10-batches-py", "cifar-100-python"} or (path / "meta").is_file():
        return f"cifar:{source}"
    if names & {"train.csv", "train.tsv"}:
        return f"csv:{source}"
    if any(name.endswith(("_mask", "_masks")) for name in names) or {"images", "masks"} <= names:
        return f"masks:{source}"
    below = (file for depth in ("*", "*/*", "*/*/*") for file in path.glob(depth))
    if any(file.suffix.lower() in _IMAGE_SUFFIXES for file in below):
        return f"images:{source}"
    return source
