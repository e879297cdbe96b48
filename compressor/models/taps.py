"""Read any module's output by its dotted path, without touching the user's code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from compressor.errors import ModelError
from compressor.models.network import Network, logits_of
from compressor.registry import nearest


@contextmanager
def tapped(network: nn.Module, paths: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """While open, every forward of `network` leaves the outputs of the modules at `paths` in the mapping given out.

    Paths are those of the user's own module, whether or not it stands behind its normalisation.

    Raises:
        ModelError: A path names no module of the network; the hint carries the nearest one.
    """
    modules = dict((network.module if isinstance(network, Network) else network).named_modules())
    outputs: dict[str, Tensor] = {}
    handles = []
    try:
        for path in paths:
            if path not in modules:
                known = [name for name in modules if name]
                hint = nearest(path, known, "compress inspect lists them; some:") if len(known) < 9 else None
                hint = hint or nearest(path, known, "").removesuffix(", ".join(known)).strip() or None
                raise ModelError(f"no module at '{path}'", where="taps", hint=hint or "compress inspect lists them")
            handles.append(modules[path].register_forward_hook(_keep(outputs, path)))
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def feature_shapes(network: nn.Module, inputs: Tensor) -> dict[str, tuple[int, ...]]:
    """The shape of what each module gives for `inputs`, by dotted path, in the order they finish.

    Modules that give no tensor are left out; of one that runs several times the last output counts.

    Args:
        network: Run once, in evaluation mode and without gradients; its mode is put back.
        inputs: `[B, C, H, W]` or `[B, F]`.
    """
    own = network.module if isinstance(network, Network) else network
    found: dict[str, tuple[int, ...]] = {}

    def note(path: str, output: object) -> None:
        given = logits_of(output) if not isinstance(output, Tensor) else output
        if isinstance(given, Tensor):
            found.pop(path, None)
            found[path] = tuple(given.shape)

    handles = [
        module.register_forward_hook(lambda _module, _inputs, output, path=path: note(path, output))
        for path, module in own.named_modules()
        if path
    ]
    was_training = network.training
    try:
        with torch.no_grad():
            network.eval()(inputs)
    finally:
        network.train(was_training)
        for handle in handles:
            handle.remove()
    return found


def attention_heads(network: nn.Module) -> dict[str, int]:
    """How many attention heads each module has that says so (`num_heads`, as in timm and torch), by dotted path."""
    own = network.module if isinstance(network, Network) else network
    counts = {path: getattr(module, "num_heads", None) for path, module in own.named_modules() if path}
    return {path: count for path, count in counts.items() if isinstance(count, int)}


class _keep:  # noqa: N801 -- reads as a verb where it is used
    def __init__(self, outputs: dict[str, Tensor], path: str) -> None:
        self.outputs, self.path = outputs, path

    def __call__(self, _module: nn.Module, _inputs: object, output: object) -> None:
        self.outputs[self.path] = logits_of(output)
