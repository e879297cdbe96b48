"""A model spec becomes a network: built fresh, or with the weights it comes with. Safe by default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from compressor import artifact, trust
from compressor.errors import FOREIGN_FAULTS, ModelError
from compressor.models import build, checkpoint, layers_cut, plain_weights, pretrained, state_dicts, whole_file
from compressor.models import spec as specs
from compressor.models.build import Builder, Fit, Loaded
from compressor.models.network import Network
from compressor.models.normalisation import Normalisation
from compressor.models.spec import ModelSpec

_UNSET = Normalisation("none", (), ())


def load(
    text: str,
    *,
    arch: str | None = None,
    num_classes: int | None = None,
    sample_shape: tuple[int, ...] | None = None,
    options: Mapping[str, Any] | None = None,
    vocabulary: int | None = None,
    kind: str = "",
) -> Loaded:
    """The network that a spec means, in evaluation mode and without input normalisation unless it brings one.

    Args:
        text: A model spec (see `models/spec.py`).
        arch: The architecture a state dict belongs to, as a model spec.
        num_classes: Passed to builders that take it, and checked against the output.
        sample_shape: `(C, H, W)` or `(F,)` of the data; passed likewise, and tried.
        options: The builder's own options.
        vocabulary: How many tokens there are, of texts; passed likewise.
        kind: Of the input, where the data names it (`inputs`).

    Raises:
        ModelError: The spec gives no network that fits; says why and what to type.
        TrustError: Reading it would run code that has not been trusted.
    """
    spec = specs.parse(text)
    fit = Fit(num_classes, sample_shape, vocabulary, kind)
    if arch is not None and (spec.is_built or spec.kind in ("onnx", "artifact", "transformers", "cut")):
        raise ModelError(f"'{text}' needs no architecture", where=text, hint=f"leave out the architecture {arch}")
    if spec.kind == "artifact":
        assert spec.path is not None
        loaded = checkpoint.load(artifact.read(spec.path))
    elif spec.kind == "transformers":
        loaded = _of_transformers(spec, fit=fit, options=options or {})
    elif spec.kind == "cut":
        loaded = _cut(spec, fit=fit, options=options or {})
    elif spec.is_built:
        loaded = _built(spec, fit=fit, options=options or {})
    else:
        loaded = _with_weights(spec, arch=arch, fit=fit, options=options or {})
    if sample_shape is not None:
        build.check_forward(loaded.network, fit=fit, where=text)
    return loaded


def with_weights_of_its_builder(
    loaded: Loaded, text: str, *, options: Mapping[str, Any] | None = None, **fit: Any
) -> Loaded:
    """A network whose builder may have filled in its weights, known as trained if it has: it gives them for every seed.

    Args:
        loaded: As `load` gave it.
        text: Its spec.
        options: The builder's own options.
        fit: What else `load` was given.
    """
    spec = specs.parse(text)
    if spec.kind not in ("python", "module"):
        return loaded
    with torch.random.fork_rng():
        torch.manual_seed(_ANOTHER_SEED)
        again = _built(spec, fit=Fit(**fit), options=options or {}).network.state_dict()
    drawn = [name for name, tensor in loaded.network.state_dict().items() if not torch.equal(tensor, again[name])]
    step = "its builder gives the same weights whatever the seed, so they come with it"
    return loaded if drawn else replace(loaded, trained=True, steps=(*loaded.steps, step))


_ANOTHER_SEED = 20_011


def _built(spec: ModelSpec, *, fit: Fit, options: Mapping[str, Any]) -> Loaded:
    makers = {"python": build.from_source, "module": build.from_module}
    module, builder = makers.get(spec.kind, build.from_library)(spec, fit=fit, options=options)
    trained = bool(options.get("pretrained") or options.get("weights"))
    return Loaded(
        Network(module, _UNSET).eval(), spec.title, spec.text, builder, trained=trained, pretrained=_stated_by(module)
    )


def _of_transformers(spec: ModelSpec, *, fit: Fit, options: Mapping[str, Any]) -> Loaded:
    module, builder, trained, steps = pretrained.build(spec, fit=fit, options=options)
    return Loaded(Network(module, _UNSET).eval(), spec.title, spec.text, builder, trained=trained, steps=steps)


def _cut(spec: ModelSpec, *, fit: Fit, options: Mapping[str, Any]) -> Loaded:
    assert spec.name is not None
    if spec.name == specs.TEACHER:
        hint = "name the network: cut:runs/NAME/teacher"
        raise ModelError("there is no teacher here that could be cut", where=spec.text, hint=hint)
    whole = load(spec.name, num_classes=fit.num_classes, sample_shape=fit.sample_shape, vocabulary=fit.vocabulary)
    if not whole.trained:
        raise ModelError("an architecture without weights has none to copy", where=spec.text, hint="name a trained one")
    return layers_cut.cut(whole, options, where=spec.text)


def _with_weights(spec: ModelSpec, *, arch: str | None, fit: Fit, options: Mapping[str, Any]) -> Loaded:
    assert spec.path is not None
    if spec.kind == "onnx":
        raise ModelError(
            "an ONNX model cannot be trained or exported again",
            where=spec.text,
            hint="use it with compress inspect, evaluate or bench",
        )
    if arch is not None:
        built = _built(_architecture(arch), fit=fit, options=options)
        steps = state_dicts.load_into(built.network.module, _tensors(spec), where=spec.text)
        return Loaded(
            built.network.eval(),
            spec.title,
            spec.text,
            built.builder,
            trained=True,
            steps=steps,
        )
    if spec.kind == "state_dict" or (spec.kind == "pickled" and not trust.is_trusted(spec.path)):
        raise specs.needs_architecture(spec)
    module = whole_file.load(spec.path, kind=spec.kind)
    file = spec.path.resolve()
    code = whole_file.sources_of(module, file.parent) if spec.kind == "pickled" else ()
    builder = Builder("file", spec.kind, {}, (file, *code), file.parent)
    return Loaded(Network(module, _UNSET).eval(), spec.title, spec.text, builder, trained=True)


def weights_of(spec: ModelSpec) -> state_dicts.CleanState:
    """The tensors of a checkpoint that has no architecture yet, by name, and where in the file they were.

    Raises:
        ModelError: The file is damaged, or holds no weights.
    """
    return state_dicts.unwrap(_tensors(spec), where=spec.text)


def _architecture(arch: str) -> ModelSpec:
    spec = specs.parse(arch)
    if not spec.is_built:
        raise ModelError(f"'{arch}' is no architecture but a {spec.kind}", where=arch, hint="write file.py:callable")
    return spec


def _tensors(spec: ModelSpec) -> object:
    """The plain tensors of a checkpoint; a whole pickled network gives its state dict, after trust."""
    assert spec.path is not None
    try:
        if spec.kind == "state_dict" and _is_safetensors(spec.path):
            return load_file(spec.path)
        if spec.kind == "state_dict":
            return plain_weights.read(spec.path)
    except (SafetensorError, EOFError, *FOREIGN_FAULTS) as fault:
        first = (str(fault) or type(fault).__name__).strip().split("\n")[0]
        raise ModelError(f"damaged checkpoint: {first}", where=spec.text, hint="copy or save it again") from fault
    return whole_file.weights(spec.path, kind=spec.kind)


def _is_safetensors(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(9)[8:9] == b"{"


def _stated_by(module: nn.Module) -> Normalisation | None:
    """The normalisation that a timm network says it was trained with."""
    config = getattr(module, "pretrained_cfg", None) or {}
    mean, std = config.get("mean"), config.get("std")
    return Normalisation("pretrained", tuple(mean), tuple(std)) if mean and std else None
