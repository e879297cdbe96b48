"""Call a builder: the callable a spec names becomes an nn.Module that fits the data, with a reference to rebuild it."""

from __future__ import annotations

import copy
import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from compressor import registry
from compressor.errors import FOREIGN_FAULTS, ModelError
from compressor.inputs._contract import arguments_of
from compressor.models.network import Network
from compressor.models.normalisation import Normalisation
from compressor.models.spec import ModelSpec, local_sources
from compressor.surgery.record import Surgery


@dataclass(frozen=True)
class Fit:
    """What a network is built to fit.

    Attributes:
        num_classes: Length of the output.
        sample_shape: `(C, H, W)` of one sample, `(C, L)`, or `(F,)`.
        vocabulary: How many tokens there are, of texts.
        kind: Of the input, where the data names it (`inputs`).
    """

    num_classes: int | None = None
    sample_shape: tuple[int, ...] | None = None
    vocabulary: int | None = None
    kind: str = ""

    def offered(self) -> dict[str, int]:
        """Arguments a builder may take, under the names that the field uses."""
        given: dict[str, int] = {}
        if self.num_classes is not None:
            given["num_classes"] = self.num_classes
        if self.vocabulary is not None:
            given |= dict.fromkeys(("vocab_size", "vocabulary_size", "num_embeddings"), self.vocabulary)
        if self.sample_shape:
            given |= arguments_of(self.sample_shape, kind=self.kind)
        return given


@dataclass(frozen=True)
class Builder:
    """How to build a network again.

    Attributes:
        form: `source` (Python files that travel with the artifact), `library`, `file` (a whole network in one file), or
            `combined` (several networks and a rule).
        target: The callable's name, the library's name for the network, or the kind of file.
        options: The arguments it was called with.
        sources: Files to travel along; the first one holds the callable, or is the network file.
        root: Folder the sources are relative to.
    """

    form: Literal["source", "library", "file", "combined"]
    target: str
    options: Mapping[str, Any] = field(default_factory=dict)
    sources: tuple[Path, ...] = ()
    root: Path = Path()


@dataclass(frozen=True)
class Loaded:
    """A network, where it came from, and how to build it again.

    Attributes:
        network: In evaluation mode, on the CPU.
        title: A short name.
        origin: What the user wrote.
        builder: The reference that an artifact keeps.
        trained: Whether it came with weights.
        pretrained: The normalisation it was trained with, where its source states one.
        steps: What was done to load it, in words.
        surgery: How it differs from what its builder builds; None when it was not cut.
        members: The networks that a combination is made of.
    """

    network: Network
    title: str
    origin: str
    builder: Builder
    trained: bool
    pretrained: Normalisation | None = None
    steps: tuple[str, ...] = ()
    surgery: Surgery | None = None
    members: tuple[Loaded, ...] = ()

    def with_network(self, network: Network) -> Loaded:
        """The same reference with other weights."""
        return replace(self, network=network, trained=True)


def from_source(spec: ModelSpec, *, fit: Fit, options: Mapping[str, Any]) -> tuple[nn.Module, Builder]:
    """Build from `file.py[:callable]`."""
    assert spec.path is not None
    module = registry.import_file(spec.path)
    name, callable_ = _pick(vars(module), module.__name__, spec, options)
    folder = spec.path.resolve().parent
    with registry.importable(folder):
        network, used = call(callable_, fit=fit, options=options, where=spec.text)
    return network, Builder("source", name, used, tuple(local_sources(spec.path.resolve())), folder)


def from_module(spec: ModelSpec, *, fit: Fit, options: Mapping[str, Any]) -> tuple[nn.Module, Builder]:
    """Build from `package.module:attr` of an installed package."""
    assert spec.name is not None
    assert spec.attr is not None
    try:
        callable_ = getattr(importlib.import_module(spec.name), spec.attr)
    except FOREIGN_FAULTS as fault:
        hint = "write package.module:callable of something installed, file.py:callable, timm:NAME or torchvision:NAME"
        raise ModelError(f"cannot be imported: {fault}", where=spec.text, hint=hint) from fault
    network, used = call(callable_, fit=fit, options=options, where=spec.text)
    return network, Builder("library", f"{spec.name}:{spec.attr}", used)


def from_library(spec: ModelSpec, *, fit: Fit, options: Mapping[str, Any]) -> tuple[nn.Module, Builder]:
    """Build from `timm:NAME` or `torchvision:NAME`."""
    assert spec.name is not None
    module = _timm(spec.name, fit, options) if spec.kind == "timm" else _torchvision(spec.name, fit, options)
    rebuilt = {name: value for name, value in options.items() if name not in ("pretrained", "weights")}
    return module, Builder("library", spec.text, rebuilt)


def call(
    callable_: Callable[..., object], *, fit: Fit, options: Mapping[str, Any], where: str
) -> tuple[nn.Module, dict[str, Any]]:
    """Call a builder with what its signature takes of `fit`, and with the user's options.

    Returns:
        The module, and the arguments that were used.

    Raises:
        ModelError: An option it does not take, an argument nobody gave, a failing builder, or no nn.Module.
    """
    if isinstance(callable_, nn.Module):
        return copy.deepcopy(callable_), {}
    parameters = inspect.signature(callable_).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    unknown = [name for name in options if name not in parameters and not open_ended]
    if unknown:
        hint = registry.nearest(unknown[0], list(parameters), "it takes")
        raise ModelError(f"the builder has no option '{unknown[0]}'", where=where, hint=hint)
    used = {name: value for name, value in fit.offered().items() if name in parameters} | dict(options)
    lacking = [name for name in parameters if name in _required(callable_) - set(used)]
    if lacking:
        raise ModelError(
            f"the builder needs '{lacking[0]}'", where=where, hint=f"add it to the model's options: {lacking[0]} = ..."
        )
    try:
        module = callable_(**used)
    except BaseException as fault:
        if not isinstance(fault, Exception | SystemExit):
            raise
        raise ModelError(f"the builder fails: {type(fault).__name__}: {fault}", where=where) from fault
    if not isinstance(module, nn.Module):
        raise ModelError(f"the builder returns {type(module).__name__}, not an nn.Module", where=where)
    return module, used


def check_forward(network: Network, *, fit: Fit, where: str) -> None:
    """Run two blank samples through the network and look at the output's shape.

    Raises:
        ModelError: It does not take the data's shape, or does not give `[B, num_classes]`.
    """
    assert fit.sample_shape is not None
    shape = [2, *fit.sample_shape]
    was_training = network.training
    network.eval()
    try:
        with torch.no_grad():
            output = network(torch.zeros(shape))
    except FOREIGN_FAULTS as fault:
        text = str(fault).strip().split("\n")[0]
        raise ModelError(
            f"the network does not take a batch of shape {shape}: {text}",
            where=where,
            hint="check its input size and channels against the data (compress inspect shows them)",
        ) from fault
    finally:
        network.train(was_training)
    if fit.num_classes is not None and (output.dim() not in (2, 4) or output.shape[1] != fit.num_classes):
        raise ModelError(
            f"the network gives outputs {list(output.shape)} where [2, {fit.num_classes}] is needed, "
            "one per class (or number) of the data"
            + ("" if output.dim() != 4 else f" ([2, {fit.num_classes}, H, W] for each pixel)"),
            where=where,
            hint="return [B, 1], not [B]: outputs.unsqueeze(1)"
            if output.dim() == 1
            else "let its builder take num_classes, or set the option that fixes the number of outputs",
        )


_OFFERED = {*Fit(1, (1, 1, 1)).offered(), *Fit(1, (1,)).offered(), *Fit(1, None, 1).offered()}


def _pick(
    namespace: Mapping[str, object], module_name: str, spec: ModelSpec, options: Mapping[str, Any]
) -> tuple[str, Callable[..., object]]:
    """Name and callable that a file offers: the one named, or the one that can only be meant.

    That is `build`, or the only function that can be called with what we know, or the only such network class.
    """
    if spec.attr is not None:
        found = namespace.get(spec.attr)
        if not callable(found):
            own = [name for name, _ in _own(namespace, module_name)]
            raise ModelError(
                f"no callable '{spec.attr}' in this file",
                where=spec.text,
                hint=registry.nearest(spec.attr, own, "it has"),
            )
        return spec.attr, found
    assert spec.path is not None
    own_callables = dict(_own(namespace, module_name))
    for name in ("build", "build_model", "make_model", "model", spec.path.stem):
        if name in own_callables:
            return name, own_callables[name]
    networks = {n: c for n, c in own_callables.items() if isinstance(c, type) and issubclass(c, nn.Module)}
    functions = {n: c for n, c in own_callables.items() if not isinstance(c, type)}
    for group in (functions, networks):
        ready = {name: found for name, found in group.items() if _required(found) <= _OFFERED | set(options)}
        if len(ready) == 1:
            return next(iter(ready.items()))
        if ready:
            break
    else:
        if len(functions | networks) == 1:
            return next(iter((functions | networks).items()))
    if not own_callables:
        raise ModelError("the file defines no function or class", where=spec.text, hint="add def build(num_classes)")
    raise ModelError(
        f"the file offers several callables: {', '.join(own_callables)}",
        where=spec.text,
        hint=f"say which: {spec.text}:{next(iter(functions or networks or own_callables))}",
    )


def _required(callable_: Callable[..., object]) -> set[str]:
    """Names of the arguments without which it cannot be called."""
    parameters = inspect.signature(callable_).parameters.values()
    return {p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}


def _own(namespace: Mapping[str, object], module_name: str) -> list[tuple[str, Callable[..., object]]]:
    return [
        (name, value)
        for name, value in namespace.items()
        if not name.startswith("_") and callable(value) and getattr(value, "__module__", None) == module_name
    ]


def _timm(name: str, fit: Fit, options: Mapping[str, Any]) -> nn.Module:
    import timm

    if not timm.is_model(name):
        hint = registry.nearest(name, timm.list_models(), "see timm.list_models():")[:200]
        raise ModelError(f"timm has no model '{name}'", where=f"timm:{name}", hint=hint)
    arguments = dict(options)
    if fit.num_classes is not None:
        arguments.setdefault("num_classes", fit.num_classes)
    if fit.sample_shape is not None:
        arguments.setdefault("in_chans", fit.sample_shape[0])
        # A network that takes one size alone is made for the data's.
        if getattr(timm.get_pretrained_cfg(name), "fixed_input_size", False):
            arguments.setdefault("img_size", fit.sample_shape[1])
    try:
        return timm.create_model(name, **arguments)  # type: ignore[no-any-return]
    except FOREIGN_FAULTS as fault:
        raise ModelError(f"timm cannot make it: {type(fault).__name__}: {fault}", where=f"timm:{name}") from fault


def _torchvision(name: str, fit: Fit, options: Mapping[str, Any]) -> nn.Module:
    from torchvision import models

    if name not in models.list_models():
        hint = registry.nearest(name, models.list_models(), "see torchvision's list of models:")[:200]
        raise ModelError(f"torchvision has no model '{name}'", where=f"torchvision:{name}", hint=hint)
    arguments = dict(options)
    if fit.num_classes is not None and "weights" not in options:
        arguments.setdefault("num_classes", fit.num_classes)
    try:
        return models.get_model(name, **arguments)  # type: ignore[no-any-return]
    except FOREIGN_FAULTS as fault:
        text = f"torchvision cannot make it: {type(fault).__name__}: {fault}"
        raise ModelError(text, where=f"torchvision:{name}") from fault
