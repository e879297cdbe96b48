"""Whether a network gives logits, or probabilities that it has made of them already.

Losses, calibration and distillation take logits. A network that ends in a softmax would be softened twice, and one that
ends in a sigmoid would tell every class: of both the logits are taken back.

Shape letters: B batch, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from compressor.artifact import Decision
from compressor.measure.accuracy import adds_up_to_one
from compressor.models.network import Network
from compressor.tasks._contract import Task
from compressor.tensors import Inputs

OUTPUTS = "the network's outputs"
"""What the decision is called."""


def settle_outputs(
    network: Network, answers_BK: NDArray[np.float32], *, inputs: Inputs, task: Task
) -> tuple[Decision, ...]:
    """Have a network that gives probabilities give their logarithms (of a sigmoid: the logits), and say so.

    Args:
        network: In evaluation mode.
        answers_BK: What it gives for some samples.
        inputs: The same samples, as the network takes them.
        task: What its outputs mean.
    """
    if "rows:values" in task.gives or network.normalisation.probabilities or answers_BK.shape[1] < 2:
        return ()
    if "rows:sigmoid" in task.gives:
        if not _within_one(answers_BK) or not _ends_in_sigmoid(network, inputs):
            return ()
        _set(network, "sigmoid")
        return (Decision(OUTPUTS, "probabilities, of which the logits are taken", "it ends in a sigmoid"),)
    if not adds_up_to_one(answers_BK):
        return ()
    _set(network, "softmax")
    reason = f"no answer to {len(answers_BK)} samples is below 0, and each adds up to 1"
    return (Decision(OUTPUTS, "probabilities, of which the logarithm is taken", reason),)


def _within_one(answers_BK: NDArray[np.float32]) -> bool:
    return bool(answers_BK.min() >= 0 and answers_BK.max() <= 1)


def _set(network: Network, form: Literal["softmax", "sigmoid"]) -> None:
    network.set_normalisation(replace(network.normalisation, probabilities=form))


def _ends_in_sigmoid(network: Network, inputs: Inputs) -> bool:
    """Whether what the network gives is what a sigmoid gave, whoever called it."""
    with torch.no_grad(), _Sigmoids() as seen:
        outputs = network(inputs)
    return any(given.shape == outputs.shape and torch.equal(given, outputs) for given in seen.given)


class _Sigmoids(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Keeps what sigmoids give; below Python, so that those of a TorchScript file are seen as well."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.given: list[Tensor] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in (torch.ops.aten.sigmoid.default, torch.ops.aten.sigmoid_.default):
            self.given.append(result)
        return result
