"""Artifact ↔ network: safetensors, the builder reference with its source, and the proof that it reads back the same.

A pruned network's builder still builds it at full width; `surgery.json` says what to change before the weights fit.
A network whose code we cannot copy (TorchScript, a torch.export program, a trusted pickle) travels as the file it came in.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from compressor import plain_json, trust
from compressor.artifact import MANIFEST, Artifact
from compressor.errors import ArtifactError, ModelError
from compressor.models import build, combined, named_source, pretrained, whole_file
from compressor.models.build import Builder, Fit, Loaded
from compressor.models.network import Network
from compressor.models.normalisation import Normalisation
from compressor.models.spec import ModelSpec
from compressor.surgery.record import Surgery

if TYPE_CHECKING:
    from compressor.tensors import Inputs

WEIGHTS = "weights.safetensors"
SURGERY = "surgery.json"


def write(folder: Path, loaded: Loaded, *, fit: Fit) -> dict[str, Any]:
    """Write a network into an artifact's folder.

    Returns:
        What the manifest keeps under `details["network"]`.
    """
    builder = loaded.builder
    sources = []
    for file in builder.sources:
        name = Path("source") / file.relative_to(builder.root)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, folder / name)
        sources.append(name.as_posix())
    members = []
    for number, member in enumerate(loaded.members):
        place = folder / combined.place_of(number)
        place.mkdir(parents=True)
        known = len(builder.options["known"][number])
        members.append(write(place, member, fit=Fit(known, fit.sample_shape)))
    if builder.form not in ("file", combined.FORM):
        _save(_plain_state(loaded.network.module), folder / WEIGHTS)
    if loaded.surgery is not None:
        (folder / SURGERY).write_text(json.dumps(loaded.surgery.as_json()), encoding="utf-8")
    normalisation = loaded.network.normalisation
    return {
        "form": builder.form,
        "target": builder.target,
        "options": dict(builder.options),
        "sources": sources,
        **({"members": members} if members else {}),
        "origin": loaded.origin,
        "title": loaded.title,
        "num_classes": fit.num_classes,
        "sample_shape": list(fit.sample_shape or ()),
        "normalisation": _as_kept(normalisation),
        "params": sum(parameter.numel() for parameter in loaded.network.parameters()),
    }


def _as_kept(normalisation: Normalisation) -> dict[str, Any]:
    """As the manifest keeps it: what a network ends in, only where that is undone."""
    return {name: value for name, value in asdict(normalisation).items() if value or name != "probabilities"}


def load(artifact: Artifact) -> Loaded:
    """The network in an artifact, in evaluation mode.

    Raises:
        ArtifactError: The artifact holds no network, or its files are not what was written.
        TrustError: Its source was written elsewhere and has not been trusted.
    """
    if artifact.manifest.kind != "torch":
        raise ArtifactError(f"holds no network but {artifact.manifest.kind}", where=str(artifact.path))
    details = artifact.manifest.details.get("network")
    if details is None:
        raise ArtifactError("manifest.json is damaged: details.network", where=str(artifact.path))
    _require_reference(details, where=artifact.path)
    if not _runs_no_code(details):
        trust.require_artifact(artifact, what=_what_runs(details))
    artifact.verify()
    sources = combined.sources_below(details)
    strange = [name for name in sources if name not in artifact.manifest.files]
    if strange:
        raise ArtifactError(f"'{strange[0]}' is named as source but was not written", where=str(artifact.path))
    details = _with_own_rules(artifact, details)
    if trust.is_trusted(artifact.path / MANIFEST):
        trust.grant([artifact.manifest.files[name] for name in sources])
    return read(artifact.path, details)


def _with_own_rules(artifact: Artifact, details: Mapping[str, Any]) -> dict[str, Any]:
    """A reference whose combinations, at any depth, name the very files that the artifact was made with."""
    target = str(details["target"])
    file, _, attr = target.rpartition(":")
    if details["form"] == combined.FORM and file.endswith(".py"):
        what, hint = f"the rule {target} of its networks would run", "type it where the artifact was made"
        found = named_source.file_for(artifact, target, named=Path(file), what=what, hint=hint)
        target = target if found == Path(file) else f"{found}:{attr}"
    members = [_with_own_rules(artifact, member) for member in details.get("members", ())]
    return {**details, "target": target, **({"members": members} if members else {})}


def read(folder: Path, details: Mapping[str, Any]) -> Loaded:
    """The network whose files lie in `folder` and whose reference is `details` (see `write`); asks for no trust."""
    _require_reference(details, where=folder)
    fit = Fit(details["num_classes"], tuple(details["sample_shape"]) or None)
    sources = [folder / name for name in details["sources"]]
    if details["form"] in ("file", "source") and not sources:
        raise ArtifactError("manifest.json is damaged: details.network.sources", where=str(folder))
    builder = Builder(details["form"], details["target"], details["options"], tuple(sources), folder / "source")
    surgery = _surgery(folder)
    if builder.form == combined.FORM:
        members = tuple(
            read(folder / combined.place_of(number), member) for number, member in enumerate(details["members"])
        )
        whole = combined.again([member.network for member in members], builder)
        return Loaded(whole, details["title"], details["origin"], builder, trained=True, members=members)
    if builder.form == "file":
        module = whole_file.load(sources[0], kind=builder.target)
    else:
        module = rebuild(builder, fit)
        if surgery is not None:
            surgery.apply(module)
        _fill(module, folder / WEIGHTS)
    kept = details["normalisation"]
    scale = tuple(map(tuple, kept.get("outputs", ())))
    ending = kept.get("probabilities", "")
    network = Network(module, Normalisation(kept["name"], tuple(kept["mean"]), tuple(kept["std"]), scale, ending))
    return Loaded(network.eval(), details["title"], details["origin"], builder, trained=True, surgery=surgery)


def _require_reference(details: Any, *, where: Path) -> None:
    """Refuse a reference whose entries are missing or of another kind than `write` gives them.

    Raises:
        ArtifactError: It names the first.
    """
    kinds: Mapping[str, Any] = {
        "form": str,
        "target": str,
        "options": Mapping,
        "sources": list | tuple,
        "origin": str,
        "title": str,
        "num_classes": int | None,
        "sample_shape": list | tuple,
        "normalisation": Mapping,
    }
    told = details if isinstance(details, Mapping) else {}
    wrong = [name for name, kind in kinds.items() if name not in told or not isinstance(told[name], kind)]
    if not wrong:
        scale = told["normalisation"]
        numbers = [scale.get("mean"), scale.get("std"), *(scale.get("outputs") or ())]
        plain = isinstance(scale.get("name"), str) and all(map(_are_numbers, numbers))
        wrong += [] if plain else ["normalisation"]
        wrong += [] if all(isinstance(each, str) and each for each in told["sources"]) else ["sources"]
        wrong += [] if all(isinstance(each, int) for each in told["sample_shape"]) else ["sample_shape"]
        wrong += [] if told["form"] != combined.FORM or isinstance(told.get("members"), list | tuple) else ["members"]
    if wrong:
        raise ArtifactError(f"manifest.json is damaged: details.network.{wrong[0]}", where=str(where))
    for member in told["members"] if told["form"] == combined.FORM else ():
        _require_reference(member, where=where)


def _are_numbers(values: Any) -> bool:
    return isinstance(values, list | tuple) and all(isinstance(each, int | float) for each in values)


def compare_read_back(folder: Path, details: Mapping[str, Any], *, network: Network, inputs: Inputs) -> None:
    """Read what `write` has just written and compare its answers on real inputs, bit for bit.

    Raises:
        ArtifactError: They differ: the builder does not build the same network again.
    """
    again = read(folder, details).network
    was_training = network.training
    network.eval()
    with torch.no_grad():
        expected, found = network(inputs), again(inputs)
    network.train(was_training)
    if not torch.equal(expected, found):
        difference = float((expected - found).abs().max())
        raise ArtifactError(
            f"the network read back answers differently (largest difference {difference:.3g})",
            where=details["origin"],
            hint="the builder must build the same network whenever it is called with the same options",
        )


def _surgery(folder: Path) -> Surgery | None:
    file = folder / SURGERY
    if not file.is_file():
        return None
    try:
        raw = plain_json.read(file)
        return Surgery.from_json(raw)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
        raise ArtifactError(f"damaged: {fault}", where=str(file)) from fault


def _save(tensors: dict[str, Tensor], file: Path) -> None:
    """Write tensors.

    Raises:
        OSError: The file cannot be written; safetensors has a fault of its own for that.
    """
    try:
        save_file(tensors, file)
    except SafetensorError as fault:
        number = re.search(r"os error (\d+)", str(fault))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from fault


def _plain_state(module: nn.Module) -> dict[str, Tensor]:
    """The state dict as separate, contiguous CPU tensors (safetensors stores no shared memory)."""
    state = {}
    for key, value in module.state_dict().items():
        if not isinstance(value, Tensor):
            raise ModelError(f"'{key}' in the network's state is {type(value).__name__}, not a tensor")
        state[key] = value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
    return state


def _runs_no_code(details: Mapping[str, Any]) -> bool:
    """Whether a network is made by timm, torchvision or transformers, from plain weights."""
    if details["form"] == combined.FORM:
        return ":" not in details["target"] and all(map(_runs_no_code, details["members"]))
    library = details["target"].partition(":")[0]
    return details["form"] == "library" and library in ("timm", "torchvision", pretrained.SCHEME)


def _what_runs(details: Mapping[str, Any]) -> str:
    programs = {
        "torchscript": "the TorchScript program",
        "exported": "the torch.export program",
        "pickled": "the pickle",
    }
    if details["form"] == "file" and details["target"] in programs:
        return f"{programs[details['target']]} that is its network would run"
    return "the code that builds its network would run"


def rebuild(builder: Builder, fit: Fit) -> nn.Module:
    """What a builder builds, with weights of its own; asks for no trust.

    Raises:
        ModelError: It fails, or does not take its options any more.
        ArtifactError: It asks for something to be fetched.
    """
    if builder.form == "source":
        spec = ModelSpec(builder.target, "python", path=builder.sources[0], attr=builder.target)
        return build.from_source(spec, fit=Fit(), options=builder.options)[0]
    scheme, _, name = builder.target.partition(":")
    if scheme == pretrained.SCHEME:
        return pretrained.rebuild(builder)
    if scheme in ("timm", "torchvision"):
        fetched = [option for option in builder.options if option.startswith(("pretrained", "weights", "checkpoint"))]
        if fetched:
            raise ArtifactError(
                f"its builder asks for '{fetched[0]}', which an artifact never does", where=builder.target
            )
        spec = ModelSpec(builder.target, "timm" if scheme == "timm" else "torchvision", name=name)
        return build.from_library(spec, fit=fit, options=builder.options)[0]
    spec = ModelSpec(builder.target, "module", name=scheme, attr=name)
    return build.from_module(spec, fit=Fit(), options=builder.options)[0]


def _fill(module: nn.Module, weights: Path) -> None:
    try:
        module.load_state_dict(load_file(weights))
    except (SafetensorError, RuntimeError, FileNotFoundError) as fault:
        raise ArtifactError(f"the weights do not fit the network it builds: {fault}", where=str(weights)) from fault
