"""compress: a trained PyTorch teacher in; a small, fast, verified ONNX student out.

The public API is lazy: importing this package loads neither torch, numpy nor onnx.

    from compressor import train, distill, prune, quantize, export, bench, pack, run
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

__all__ = ["__version__", "bench", "distill", "export", "pack", "prune", "quantize", "run", "train"]

if TYPE_CHECKING:
    from compressor.api import bench, distill, export, pack, prune, quantize, run, train


def __getattr__(name: str) -> object:
    """Load a public function on first use (PEP 562)."""
    if name in __all__:
        # by name: written as an import, it would close a circle from the floors below (they read __version__) to the API
        return getattr(importlib.import_module("compressor.api"), name)
    raise AttributeError(f"module 'compressor' has no attribute {name!r}; it offers {', '.join(__all__)}")


def __dir__() -> list[str]:
    return __all__
