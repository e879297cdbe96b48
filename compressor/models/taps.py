"""Read any module's output by its dotted path, without touching the user's code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

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


class _keep:  # noqa: N801 -- reads as a verb where it is used
    def __init__(self, outputs: dict[str, Tensor], path: str) -> None:
        self.outputs, self.path = outputs, path

    def __call__(self, _module: nn.Module, _inputs: object, output: object) -> None:
        self.outputs[self.path] = logits_of(output)
