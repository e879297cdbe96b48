"""Read any module's output by its dotted path, without touching the user's code.

`torch.nn.MultiheadAttention` makes queries, keys and values in no module of its own. Where it attends to what it is given
itself, they can be read at `<its path>.qkv`, side by side as timm's attention gives them; they are calculated for that. So
can those of a module that makes them in three layers beside one another, as BERT's `attention.self` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from compressor.errors import ModelError
from compressor.models.network import Network, logits_of
from compressor.registry import nearest
from compressor.surgery.attention import COUNTS, made_apart

if TYPE_CHECKING:
    from compressor.tensors import Inputs

_QKV = ".qkv"


@contextmanager
def tapped(network: nn.Module, paths: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """While open, every forward of `network` leaves the outputs of the modules at `paths` in the mapping given out.

    Paths are those of the user's own module, whether or not it stands behind its normalisation.

    Raises:
        ModelError: A path names no module of the network; the hint carries the nearest one.
    """
    modules = _by_path(network)
    outputs: dict[str, Tensor] = {}
    handles = []
    try:
        for path in paths:
            handle = _listen(modules, path, _keep(outputs, path))
            if handle is None:
                known = [name for name in modules if name]
                hint = nearest(path, known, "compress inspect lists them; some:") if len(known) < 9 else None
                hint = hint or nearest(path, known, "").removesuffix(", ".join(known)).strip() or None
                raise ModelError(f"no module at '{path}'", where="taps", hint=hint or "compress inspect lists them")
            handles.append(handle)
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def feature_shapes(network: nn.Module, inputs: Inputs) -> dict[str, tuple[int, ...]]:
    """The shape of what each module gives for `inputs`, by dotted path, in the order they finish.

    Modules that give no tensor are left out; of one that runs several times the last output counts.

    Args:
        network: Run once, in evaluation mode and without gradients; its mode is put back.
        inputs: `[B, C, H, W]` or `[B, F]`.
    """
    found: dict[str, tuple[int, ...]] = {}
    modules = _by_path(network)
    inside = [
        path + _QKV
        for path, module in modules.items()
        if isinstance(module, nn.MultiheadAttention) or made_apart(module) is not None
    ]

    def note(path: str, output: object) -> None:
        try:
            given = logits_of(output)
        except ModelError:
            return
        found.pop(path, None)
        found[path] = tuple(given.shape)

    handles = [
        handle
        for path in (*inside, *modules)
        if path and (handle := _listen(modules, path, partial(note, path))) is not None
    ]
    was_training = network.training
    try:
        with torch.no_grad():
            network.eval()(inputs)
    finally:
        network.train(was_training)
        for each in handles:
            each.remove()
    return found


def attention_heads(network: nn.Module) -> dict[str, int]:
    """How many attention heads each module has that says so (`num_heads`, as in timm and torch), by dotted path."""
    counts = {
        path: next((getattr(module, name) for name in COUNTS if hasattr(module, name)), None)
        for path, module in _by_path(network).items()
        if path
    }
    return {path: count for path, count in counts.items() if isinstance(count, int)}


class _keep:  # noqa: N801 -- reads as a verb where it is used
    def __init__(self, outputs: dict[str, Tensor], path: str) -> None:
        self.outputs, self.path = outputs, path

    def __call__(self, output: object) -> None:
        # A copy, since what comes after may change it in place (`out += shortcut`, an in-place ReLU); an ordinary one, since
        # autograd may not keep a tensor of inference mode for the backward pass.
        with torch.inference_mode(False):
            self.outputs[self.path] = logits_of(output).clone()


def _by_path(network: nn.Module) -> dict[str, nn.Module]:
    return dict((network.module if isinstance(network, Network) else network).named_modules())


class _Handles:
    """Several hooks that are removed as one."""

    def __init__(self, handles: Sequence[RemovableHandle]) -> None:
        self.handles = handles

    def remove(self) -> None:
        for each in self.handles:
            each.remove()


def _listen_apart(layers: Sequence[nn.Linear], hear: Callable[[object], None]) -> _Handles:
    """Hear queries, keys and values side by side, once all of them are made of the same tokens."""
    given: list[tuple[Tensor, Tensor]] = []

    def note(_layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        given.append((inputs[0], output))
        if len(given) == len(layers):
            made_of = {id(tokens) for tokens, _ in given}
            outputs = [made for _, made in given]
            given.clear()
            if len(made_of) == 1:
                hear(torch.cat(outputs, dim=-1))

    return _Handles([layer.register_forward_hook(note) for layer in layers])


def _listen(
    modules: Mapping[str, nn.Module], path: str, hear: Callable[[object], None]
) -> RemovableHandle | _Handles | None:
    """Hear what is given at `path`, until the handle is removed; None where there is nothing."""
    if path in modules:
        return modules[path].register_forward_hook(lambda _module, _inputs, output: hear(output))
    attention = modules.get(path.removesuffix(_QKV)) if path.endswith(_QKV) else None
    apart = None if attention is None else made_apart(attention)
    if apart is not None:
        return _listen_apart(apart, hear)
    if not isinstance(attention, nn.MultiheadAttention) or attention.in_proj_weight is None:
        return None

    def project(_module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], _output: object) -> None:
        query, key, value = (*inputs, *(named[name] for name in ("query", "key", "value")[len(inputs) :]))[:3]
        if query is key is value:
            qkv = F.linear(query, attention.in_proj_weight, attention.in_proj_bias)
            hear(qkv if attention.batch_first or qkv.dim() == 2 else qkv.transpose(0, 1))

    return attention.register_forward_hook(project, with_kwargs=True)
