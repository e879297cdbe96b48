"""What a network costs to run: multiply-adds, parameters, megabytes of its ONNX file, milliseconds under a profile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import nn

from compressor.data.loader import tried
from compressor.measure.contest import time_models
from compressor.measure.statistics import paired_speedup
from compressor.models import inspection, onnx_file
from compressor.models.network import Network
from compressor.recipe import ExportSettings, ProfileSettings
from compressor.tensors import Inputs, Schema

Cost = Literal["macs", "params", "latency", "size_mb"]
_TIMED_AT_ONCE = 6


class Costs:
    """Costs of variants of one network, measured in the form that will be shipped.

    Args:
        whole: The network that variants are timed beside.
        export: The form of its ONNX file.
        profile: Run conditions of latency.
        samples: Real samples by name as the data gives them, at least two.
        inputs: What a sample is made of, where an axis varies.
        scratch: A folder for files.
        shrink: Changes a float file into the one that ships, as quantization does; None where the float file ships.
        whole_ms: Milliseconds of the whole network where they are known already, so that times are on the same scale again.
    """

    def __init__(
        self,
        whole: Network,
        *,
        export: ExportSettings,
        profile: ProfileSettings,
        samples: Mapping[str, NDArray[Any]],
        inputs: Schema | None = None,
        scratch: Path,
        shrink: Callable[[Path], None] | None = None,
        whole_ms: float | None = None,
    ) -> None:
        self._network = whole
        self._export = export
        self._profile = profile
        self._samples = dict(samples)
        self._schema = inputs
        self._scratch = scratch
        self._shrink = shrink
        self._known_ms = whole_ms

    def of(self, module: nn.Module, what: str) -> float:
        """One cost of a variant: multiply-adds, parameters, milliseconds, or 10^6 bytes.

        Raises:
            ModelError: It cannot be run or exported.
        """
        if what == "macs":
            return float(inspection.count_macs(module, self._one) or 0)
        if what == "params":
            return float(inspection.count_parameters(module))
        if what == "size_mb":
            return self._written(module, "sized").stat().st_size / 1e6
        if module is self._network.module:
            return self.whole_ms
        return self.times({"it": module})["it"]

    def times(self, modules: Mapping[str, nn.Module]) -> dict[str, float]:
        """Milliseconds of variants: the whole network's, over how many times faster each was beside it."""
        found = {}
        names = list(modules)
        for first in range(0, len(names), _TIMED_AT_ONCE):
            files = {name: self._written(modules[name], name) for name in names[first : first + _TIMED_AT_ONCE]}
            taken = time_models({"": self._whole, **files}, profile=self._profile, inputs=self._inputs)
            for name, file in files.items():
                found[name] = self.whole_ms / paired_speedup(taken[""].blocks, taken[name].blocks).ratio
                file.unlink()
        return found

    @cached_property
    def whole_ms(self) -> float:
        """Milliseconds of the whole network on its own: the scale of all times."""
        if self._known_ms is not None:
            return self._known_ms
        alone = time_models({"": self._whole}, profile=self._profile, inputs=self._inputs)
        return float(np.median(alone[""].samples_ms))

    @cached_property
    def _whole(self) -> Path:
        return self._written(self._network.module, "whole")

    @cached_property
    def _one(self) -> Inputs:
        return tried({name: array[:1] for name, array in self._samples.items()})

    @cached_property
    def _inputs(self) -> Path:
        file = self._scratch / "inputs.npz"
        np.savez(file, allow_pickle=False, **self._samples)
        return file

    def _written(self, module: nn.Module, name: str) -> Path:
        file = self._scratch / f"{name}.onnx"
        network = Network(module, self._network.normalisation).eval()
        two = {name: array[:2] for name, array in self._samples.items()}
        onnx_file.write(network, file, settings=self._export, samples=two, inputs=self._schema)
        if self._shrink is not None:
            self._shrink(file)
        return file
