"""PyTorch in eager mode: the network as it was trained, without compilation or export."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from compressor import artifact
from compressor.errors import FOREIGN_FAULTS, MeasurementError, ModelError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import nn

_WEIGHTS = "weights.safetensors"


class TorchEager:
    """PyTorch in eager mode, as the network was trained."""

    def __init__(self, *, threads: int = 0, device: str = "cpu") -> None:
        """Set up without a network.

        Args:
            threads: threads within an operator, set for the whole process at load; 0 for all cores it may use
            device: cpu | cuda | cuda:1 | mps
        """
        self._threads = threads
        self._device = device
        self._network: nn.Module | None = None

    @classmethod
    def from_network(cls, network: nn.Module, *, threads: int = 0, device: str = "cpu") -> TorchEager:
        """A runtime around a network of this process, which is moved to `device` and not copied.

        Args:
            network: Takes float `[B, C, H, W]` in 0–1 (or `[B, F]`) and returns `[B, K]`; already in eval mode.
            threads: Threads within an operator, set for the whole process; 0 leaves the process as it is.
            device: Where it runs.
        """
        assert not network.training, "a network that is judged must be in eval mode"
        runtime = cls(threads=threads, device=device)
        if threads:
            torch.set_num_threads(threads)
        runtime._network = network.to(device)
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

        source = artifact.read(path)
        if source.manifest.kind != "torch":
            raise ModelError(
                f"this artifact is of kind '{source.manifest.kind}', PyTorch runs those of kind 'torch'",
                where=str(path),
                hint="name the folder of a train or distill stage",
            )
        network = checkpoint.load(source).network
        torch.set_num_threads(self._threads or _usable_cores())
        self._network = network.eval().to(self._device)

    def prepare(self, inputs: NDArray[Any]) -> NDArray[Any]:
        """`inputs` as contiguous, writable float32; uint8 pixels become 0–1."""
        if inputs.dtype == np.uint8:
            return inputs.astype(np.float32) / np.float32(255)
        # torch warns of undefined behaviour when it wraps memory that may not be written.
        return np.require(inputs, dtype=np.float32, requirements=["C", "W"])

    def __call__(self, inputs: NDArray[Any]) -> NDArray[np.float32]:
        """The network's outputs for a batch, computed in inference mode.

        Raises:
            MeasurementError: No network is loaded, or it cannot take these inputs.
        """
        if self._network is None:
            raise MeasurementError("no model is loaded", hint="call load(path) first")
        batch = torch.from_numpy(self.prepare(inputs)).to(self._device)
        try:
            with torch.inference_mode():
                outputs: torch.Tensor = self._network(batch)
        except FOREIGN_FAULTS as fault:  # the network is the user's code, it can raise anything
            reason = str(fault).strip().split("\n")[0]
            raise MeasurementError(
                f"the network cannot run a batch of {list(inputs.shape)}: {type(fault).__name__}: {reason}"
            ) from fault
        answer: NDArray[np.float32] = outputs.float().cpu().numpy()
        return answer

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


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
