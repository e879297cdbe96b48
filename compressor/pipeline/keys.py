"""What goes into the key of a link, so that a change in it is another link; and whether the one there has it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compressor import artifact, console, registry
from compressor.artifact import Artifact
from compressor.errors import ArtifactError, ModelError
from compressor.models import named_source
from compressor.models import spec as specs
from compressor.recipe import ModelSettings, split_source, table_of


def libraries() -> dict[str, str]:
    """Versions of what exports and runs models: another one may give another file and another speed."""
    names = ("torch", "onnx", "onnxscript", "onnxruntime")
    return {name: version for name, version in artifact.library_versions().items() if name in names}


def this_machine() -> dict[str, Any]:
    """What measurements depend on beside their settings."""
    from compressor.measure import machine

    here = machine.describe()
    return {"cpu": here["cpu"], "cores": here["cores"]}


def model_key(model: ModelSettings | None) -> Mapping[str, Any] | None:
    """What makes a model the one it is: its source and weights by their hashes, and its options."""
    if model is None:
        return None
    named = model.model_dump(mode="json", exclude={"model", "arch"})
    return named | identity(model.model, arch=model.arch)


def identity(text: str, *, arch: str | None = None) -> dict[str, str]:
    """What decides which network a model spec gives, the weights beside an ONNX file included.

    Raises:
        ModelError: The spec is none, or its file cannot be read.
    """
    spec = specs.parse(text)
    beside = _beside(spec.path) if spec.kind == "onnx" and spec.path is not None else {}
    return specs.identity(text, arch=arch) | {f"beside.{name}": digest for name, digest in beside.items()}


def outside_sources(settings: Mapping[str, Any]) -> Mapping[str, Mapping[str, str]]:
    """Hashes of the user's own files that settings name (`mine.py:Loss`), since a change in one is another stage."""
    return {name: specs.source_hashes(file) for name, file in _outside(settings).items()}


def own_code(
    settings: Mapping[str, Any], parents: Mapping[str, Artifact], *, beside: Path
) -> dict[str, dict[str, Any]]:
    """What a manifest keeps of the Python files that its settings name, and of those that its parents were made with.

    Args:
        settings: The resolved settings of a stage.
        parents: What it is made from.
        beside: The artifact's place.
    """
    files = {name: file for name, file in _outside(settings).items() if file_named(name) is not None}
    data = table_of(settings, "data")
    stated = [str(data[key]) for key in ("source", "unlabelled") if data.get(key)]
    files |= {name: file for name in stated if (file := data_file(name)) is not None}
    kept = named_source.inherited(parents, beside=beside)
    return kept | {name: named_source.recorded(file, beside=beside) for name, file in sorted(files.items())}


def data_file(source: str) -> Path | None:
    """The file of a data source that is a function (`py:data.py:load`)."""
    name, target = split_source(source)
    return Path(target.rpartition(":")[0]).expanduser() if name == "py" and target else None


def file_named(member: str) -> Path | None:
    """The file of a member of a family that is named by one (`mine.py:Loss`)."""
    file = member.rpartition(":")[0]
    return Path(file) if file.endswith(".py") else None


def _outside(settings: Mapping[str, Any]) -> dict[str, Path]:
    """The files of members that are not the package's own, by name."""
    training, bench = settings.get("training") or {}, settings.get("bench") or {}
    named = [("losses", entry["name"]) for entry in training.get("losses", ())]
    named += [("teachers", str(settings.get("kind") or "")), ("tasks", settings["task"]["name"])]
    named += [("criteria", training.get("criterion") or ""), ("quantizers", training.get("method") or "")]
    own_views = table_of(table_of(settings, "data"), "views").get("own", ())
    named += [("views", entry["name"]) for entry in own_views]
    named += [("runtimes", runtime) for runtime in runtimes_in(bench)]
    return {name: registry.find(family, name).file for family, name in named if ":" in name}


def runtimes_in(bench: Mapping[str, Any]) -> set[str]:
    """The members that plain settings of `[bench]` name: in its list, in those of its profiles, under names of their own."""
    profiles, own = table_of(bench, "profile"), table_of(bench, "runtime")
    lists = [bench.get("runtimes"), *(table_of(profiles, name).get("runtimes") for name in profiles)]
    listed = [str(name) for names in lists if isinstance(names, list | tuple) for name in names]
    members = {name: str(table_of(own, name).get("name")) for name in own}
    return {members.get(name, name) for name in listed} | set(members.values())


def unchanged(folder: Path, key: str) -> Artifact | None:
    """The artifact that lies there, where it has this key and is whole."""
    if not artifact.is_artifact(folder):
        return None
    try:
        there = artifact.read(folder)
        if there.manifest.key != key:
            return None
        there.verify()
    except ArtifactError as fault:
        console.note(f"{folder.name}: done again, since the one there is damaged: {fault.message}")
        return None
    return there


def content_key(source: Artifact | Path) -> str:
    """What stands for a model that is given by name: the content of its artifact, or of its ONNX file and those beside it.

    Raises:
        ModelError: A file that it needs is not there.
    """
    if isinstance(source, Artifact):
        return artifact.content_key(source)
    return artifact.key_of(file=artifact.sha256(source), beside=_beside(source))


def _beside(onnx: Path) -> dict[str, str]:
    """Hashes of the files that hold an ONNX model's weights, by name, where they are not in it."""
    from compressor.runtimes._onnx_runtime import external_files

    files = sorted(external_files(onnx))
    gone = [file.name for file in files if not file.is_file()]
    if gone:
        raise ModelError(f"its weights lie in '{gone[0]}' beside it, which is not there", where=str(onnx))
    return {file.name: artifact.sha256(file) for file in files}
