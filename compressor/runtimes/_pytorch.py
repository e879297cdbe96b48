"""PyTorch, whatever runs the network: what all `torch*` members share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from compressor import artifact
from compressor.errors import FOREIGN_FAULTS, MeasurementError, ModelError
from compressor.runtimes._contract import OperatorTime
from compressor.tensors import Outputs, call_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Self

    from numpy.typing import NDArray
    from torch import nn

    from compressor.tensors import Inputs

_WEIGHTS = "weights.safetensors"


class PyTorch:
    """A network in PyTorch; a member says on which device, in which precision and how it is called."""

    def __init__(self, *, threads: int = 0, device: str = "cpu") -> None:
        """Set up without a network.

        Args:
            threads: Threads within an operator, set for the whole process at load; 0 for all cores it may use.
            device: Where it runs.
        """
        self._threads = threads
        self._device = device
        self._network: nn.Module | None = None

    def unavailable(self) -> str | None:
        """Why the device is not here; None when it is."""
        if self._device.startswith("cuda") and not torch.cuda.is_available():
            return (
                "PyTorch sees no NVIDIA GPU here; pip install torch (a CUDA build) on a machine with one and its driver"
            )
        return None

    @classmethod
    def from_network(cls, network: nn.Module, *, threads: int = 0, **options: Any) -> Self:
        """A runtime around a network of this process, which is moved to the runtime's device and not copied.

        Args:
            network: Takes float `[B, C, H, W]` in 0–1 (or `[B, F]`) and returns `[B, K]`; already in eval mode.
            threads: Threads within an operator, set for the whole process; 0 leaves the process as it is.
            **options: Of the runtime.
        """
        assert not network.training, "a network that is judged must be in eval mode"
        runtime = cls(threads=threads, **options)
        if threads:
            torch.set_num_threads(threads)
        runtime._network = runtime._placed(network)
        return runtime

    def load(self, path: Path) -> None:
        """Rebuild the network of an artifact.

        Args:
            path: Artifact folder of kind `torch`.

        Raises:
            ArtifactError: `path` holds no artifact, or a damaged one.
            ModelError: The artifact is not of kind `torch`, or its network cannot be rebuilt.
            TrustError: Its source was made elsewhere and has not been trusted.
        """
        from compressor.models import checkpoint

        reason = self.unavailable()
        if reason is not None:
            raise ModelError(reason, where=str(path), hint="compress list runtimes shows what is here")
        source = artifact.read(path)
        if source.manifest.kind != "torch":
            raise ModelError(
                f"this artifact is of kind '{source.manifest.kind}', PyTorch runs those of kind 'torch'",
                where=str(path),
                hint="name the folder of a train or distill stage",
            )
        network = checkpoint.load(source).network
        torch.set_num_threads(self._threads or _usable_cores())
        self._network = self._placed(network.eval())

    def prepare(self, inputs: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """`inputs` as contiguous, writable arrays; uint8 pixels become float32 in 0–1, whole numbers stay what they are."""
        return {name: _as_taken(array) for name, array in inputs.items()}

    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The network's outputs for a batch by name, computed in inference mode.

        Raises:
            MeasurementError: No network is loaded, or it cannot take these inputs.
        """
        if self._network is None:
            raise MeasurementError("no model is loaded", hint="call load(path) first")
        batch = {name: torch.from_numpy(_as_taken(array)).to(self._device) for name, array in inputs.items()}
        try:
            with torch.inference_mode():
                outputs = self._answer(self._network, call_of(batch))
        except FOREIGN_FAULTS as fault:  # the network is the user's code, it can raise anything
            reason = str(fault).strip().split("\n")[0]
            given = ", ".join(str(list(array.shape)) for array in inputs.values())
            raise MeasurementError(
                f"the network cannot run a batch of {given}: {type(fault).__name__}: {reason}"
            ) from fault
        return {name: output.float().cpu().numpy() for name, output in Outputs.of(outputs).tensors.items()}

    def operators(self, inputs: Mapping[str, NDArray[Any]], *, runs: int) -> list[OperatorTime]:
        """Mean time of each kind of kernel in an inference, by PyTorch's profiler; kernels that call others count alone.

        Raises:
            MeasurementError: No network is loaded, or it cannot take these inputs.
        """
        from torch._C._autograd import DeviceType
        from torch.profiler import ProfilerActivity, profile

        on_gpu = self._device.startswith("cuda")
        self(inputs)
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
        with profile(activities=activities) as taken:
            for _ in range(runs):
                self(inputs)
        found = []
        for event in taken.key_averages():
            # An operator carries the time of its kernels on the GPU, which are events as well: only those are counted.
            if on_gpu and event.device_type != DeviceType.CUDA:
                continue
            spent_us = event.self_device_time_total if on_gpu else event.self_cpu_time_total
            if spent_us > 0:
                op = event.key.removeprefix("aten::")
                found.append(OperatorTime(event.key, op, self._device, spent_us / 1000 / runs))
        return found

    def _placed(self, network: nn.Module) -> nn.Module:
        """The network on its device, as it will be called."""
        return network.to(self._device)

    def _answer(self, network: nn.Module, batch: Inputs) -> torch.Tensor | Mapping[str, torch.Tensor]:
        """The network's outputs."""
        outputs: torch.Tensor | Mapping[str, torch.Tensor] = network(batch)
        return outputs

    def close(self) -> None:
        """Let go of the network."""
        self._network = None

    def describe(self) -> dict[str, str | int]:
        """The device, and the threads that PyTorch uses in this process."""
        return {
            "runtime": "torch",
            "version": str(torch.__version__),
            "provider": self._device,
            "threads": torch.get_num_threads(),
        }

    def file_size(self, path: Path) -> int:
        """Size in bytes of the weights in the artifact at `path`, or of the file that holds the whole network.

        Raises:
            ArtifactError: `path` holds no artifact.
        """
        files = artifact.read(path).manifest.files
        deployed = [_WEIGHTS] if _WEIGHTS in files else files
        return sum((path / name).stat().st_size for name in deployed)


def _as_taken(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype == np.uint8:
        return array.astype(np.float32) / np.float32(255)
    dtype = array.dtype if array.dtype.kind in "ib" else np.float32
    # torch warns of undefined behaviour when it wraps memory that may not be written.
    return np.require(array, dtype=dtype, requirements=["C", "W"])


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
