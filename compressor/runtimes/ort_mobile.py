"""ONNX Runtime with a model in its mobile format (`.ort`), on the CPU. Does not import torch."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import onnxruntime

from compressor.errors import ModelError
from compressor.runtimes._onnx_runtime import OnnxRuntime, edge, model_file


class OrtMobile(OnnxRuntime):
    """ONNX Runtime with the model in its mobile format (.ort), on the CPU."""

    def __init__(self, *, threads: int = 0, spinning: bool = False, arena: bool = True) -> None:
        """Set up without a model.

        Args:
            threads: threads within an operator; 0 for all cores this process may use
            spinning: idle threads wait busily
            arena: memory is kept for the next inference
        """
        super().__init__(threads=threads, spinning=spinning, arena=arena)
        self._folder: Path | None = None

    def stored(self, path: Path, folder: Path) -> Path:
        """Write the model at `path` into `folder` in the mobile format.

        Raises:
            ModelError: There is no such file, or ONNX Runtime cannot convert it.
        """
        return _converted_into(folder, model_file(path))

    def close(self) -> None:
        """Let go of the session and of the converted file."""
        super().close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def file_size(self, path: Path) -> int:
        """Size in bytes of the converted file.

        Raises:
            ModelError: There is no such file, or it is not an ONNX model.
        """
        try:
            return self._converted(model_file(path)).stat().st_size
        finally:
            self.close()

    def _converted(self, file: Path) -> Path:
        """The model as ONNX Runtime's `convert_onnx_models_to_ort` writes it: optimised for any CPU, then serialised."""
        if file.suffix == ".ort":
            return file
        self._folder = self._folder or Path(tempfile.mkdtemp(prefix="compress-ort-"))
        return _converted_into(self._folder, file)


def _converted_into(folder: Path, file: Path) -> Path:
    made = folder / f"{file.stem}.ort"
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(made)
    options.add_session_config_entry("session.save_model_format", "ORT")
    with edge(ModelError, "ONNX Runtime cannot convert this model", where=file):
        onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return made
