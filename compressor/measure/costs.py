"""What a network costs to run: multiply-adds, parameters, megabytes of its ONNX file, milliseconds under a profile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import nn

from compressor.measure.contest import time_models
from compressor.measure.statistics import paired_speedup
from compressor.models import inspection, onnx_file
from compressor.models.network import Network
from compressor.recipe import ExportSettings, ProfileSettings

Cost = Literal["macs", "params", "latency", "size_mb"]
_TIMED_AT_ONCE = 6


class Costs:
    """Costs of variants of one network, measured in the form that will be shipped.

    Args:
        whole: The network that variants are timed beside.
        export: The form of its ONNX file.
        profile: Run conditions of latency.
        pixels: Real samples as the data gives them, at least two.
        scratch: A folder for files.
        shrink: Changes a float file into the one that ships, as quantization does; None where the float file ships.
    """

    def __init__(
        self,
        whole: Network,
        *,
        export: ExportSettings,
        profile: ProfileSettings,
        pixels: NDArray[Any],
        scratch: Path,
        shrink: Callable[[Path], None] | None = None,
    ) -> None:
        self._network = whole
        self._export = export
        self._profile = profile
        self._pixels = pixels
        self._scratch = scratch
        self._shrink = shrink

    def of(self, module: nn.Module, what: str) -> float:
        """One cost of a variant: multiply-adds, parameters, milliseconds, or 10^6 bytes.

        Raises:
            ModelError: It cannot be run or exported.
        """
        if what == "macs":
            return float(inspection.count_macs(module, self._pixels.shape[1:]) or 0)
        if what == "params":
            return float(inspection.count_parameters(module))
        if what == "size_mb":
            return self._written(module, "sized").stat().st_size / 1e6
        return self.times({"it": module})["it"]

    def times(self, modules: Mapping[str, nn.Module]) -> dict[str, float]:
        """Milliseconds of variants: the whole network's, over how many times faster each was beside it."""
        whole_ms, whole = self._whole
        found = {}
        names = list(modules)
        for first in range(0, len(names), _TIMED_AT_ONCE):
            files = {name: self._written(modules[name], name) for name in names[first : first + _TIMED_AT_ONCE]}
            taken = time_models({"": whole, **files}, profile=self._profile, inputs=self._inputs)
            for name in files:
                found[name] = whole_ms / paired_speedup(taken[""].blocks, taken[name].blocks).ratio
        return found

    @cached_property
    def _whole(self) -> tuple[float, Path]:
        """Milliseconds of the whole network on its own, and its file."""
        file = self._written(self._network.module, "whole")
        alone = time_models({"": file}, profile=self._profile, inputs=self._inputs)
        return float(np.median(alone[""].samples_ms)), file

    @cached_property
    def _inputs(self) -> Path:
        file = self._scratch / "inputs.npy"
        np.save(file, self._pixels)
        return file

    def _written(self, module: nn.Module, name: str) -> Path:
        file = self._scratch / f"{name}.onnx"
        network = Network(module, self._network.normalisation).eval()
        onnx_file.write(network, file, settings=self._export, pixels=self._pixels[:2])
        if self._shrink is not None:
            self._shrink(file)
        return file
