"""What ONNX Runtime needs of NVIDIA beside itself, where pip installed it. Does not import torch."""

from __future__ import annotations

import contextlib
import importlib
import sys

import onnxruntime

CUDA = "CUDAExecutionProvider"


def load_libraries(*, tensorrt: bool = False) -> None:
    """Load CUDA, cuDNN and, if wanted, TensorRT from their packages, as ONNX Runtime does not look for them there.

    With the libraries of the system instead of pip's nothing is found and nothing is needed. A process that has imported
    torch has CUDA and cuDNN already; the processes that are timed have not.
    """
    preload = getattr(onnxruntime, "preload_dlls", None)  # since 1.21
    with contextlib.redirect_stdout(sys.stderr):  # it prints what it does not find
        if preload is not None:
            preload()
        if tensorrt:
            with contextlib.suppress(ImportError):
                importlib.import_module("tensorrt")
