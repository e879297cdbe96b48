"""Whether a network in evaluation mode answers a sample alike each time, whatever else is in its batch.

Without that no number about it means anything: what it scores depends on chance, or on how the samples were put together.

Shape letters: B batch, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from compressor.data.loader import tried
from compressor.errors import FOREIGN_FAULTS, MeasurementError, ModelError

SAMPLES = 8
"""How many samples are looked at: enough that dropout shows, few enough to cost next to nothing."""
_TOLERANCE = 1e-2  # of the spread of the answers: far above what another order of summation changes
_SMALLEST = 1e-12


Stored = Mapping[str, NDArray[Any]]
"""Samples as the data gives them: inputs by name."""


def answering(network: nn.Module) -> Callable[[Stored], NDArray[np.float32]]:
    """A network in evaluation mode as what answers samples as the data gives them.

    Not in inference mode: a network that keeps something from this call could not be trained with it.
    """

    def answer(inputs: Stored) -> NDArray[np.float32]:
        try:
            with torch.no_grad():
                outputs: Tensor = network(tried(inputs))
        except FOREIGN_FAULTS as fault:
            reason = str(fault).strip().split("\n")[0]
            given = ", ".join(str(list(array.shape)) for array in inputs.values())
            raise MeasurementError(
                f"the network cannot run a batch of {given}: {type(fault).__name__}: {reason}"
            ) from fault
        answers: NDArray[np.float32] = outputs.float().numpy()
        return answers

    return answer


def require_steady(
    answer: Callable[[Stored], NDArray[np.float32]], inputs: Stored, *, network: nn.Module, where: str
) -> NDArray[np.float32]:
    """Refuse a network whose answers change from call to call, or with the other samples of the batch.

    Args:
        answer: The network, as it is asked.
        inputs: Some samples of the data.
        network: The same, in evaluation mode: for what it holds that may be the cause.
        where: Where it is from.

    Returns:
        Its answers `[B, K]`.

    Raises:
        ModelError: They change.
        MeasurementError: It cannot take the samples.
    """
    count = len(next(iter(inputs.values())))
    first_BK, again_BK = answer(inputs), answer(inputs)
    changed = _difference(first_BK, again_BK)
    if changed > _TOLERANCE:
        raise ModelError(
            f"the network answers the same {count} samples differently each time, also in evaluation mode "
            f"(by up to {changed:.2g} of the spread of its answers)",
            where=where,
            hint="does its forward draw random numbers? dropout needs F.dropout(x, p, training=self.training)",
        )
    if count > 1 and all(_depends_on_others(answer, inputs, first_BK, row) for row in (0, count - 1)):
        raise ModelError(
            "the network's answer to a sample depends on the other samples of its batch, also in evaluation mode",
            where=where,
            hint=_cause(network),
        )
    return first_BK


def differs_alone(alone_1K: NDArray[Any], among_others_1K: NDArray[Any], *, spread: float) -> float:
    """How far the answer to a sample by itself is from the answer to it in a batch, as a share of `spread`."""
    difference = np.abs(alone_1K.astype(np.float64) - among_others_1K.astype(np.float64))
    return float(difference.max()) / max(spread, _SMALLEST)


def _depends_on_others(
    answer: Callable[[Stored], NDArray[np.float32]],
    inputs: Stored,
    answers_BK: NDArray[np.float32],
    row: int,
) -> bool:
    """Whether one sample is answered otherwise by itself; one that cannot be asked so is (two rows, against chance)."""
    try:
        alone_1K = answer({name: array[row : row + 1] for name, array in inputs.items()})
    except MeasurementError:
        return True
    if alone_1K.shape != answers_BK[row : row + 1].shape:
        return False  # an axis that was squeezed away: the gate of the export tells of it
    return _difference(answers_BK[row : row + 1], alone_1K, spread=_spread(answers_BK)) > _TOLERANCE


def _difference(first_BK: NDArray[Any], second_BK: NDArray[Any], *, spread: float | None = None) -> float:
    if np.array_equal(first_BK, second_BK, equal_nan=True) or not np.isfinite(first_BK).all():
        return 0.0  # a network that answers NaN is told of where its answers are judged
    spread = _spread(first_BK) if spread is None else spread
    return differs_alone(np.nan_to_num(second_BK), first_BK, spread=spread)


def _spread(answers_BK: NDArray[Any]) -> float:
    return max(float(answers_BK.astype(np.float64).std()), _SMALLEST * float(np.abs(answers_BK).max()))


def _cause(network: nn.Module) -> str:
    for name, module in network.named_modules():
        if isinstance(module, _BatchNorm) and (module.training or module.running_mean is None):
            state = "stays in training mode after eval()" if module.training else "has track_running_stats=False"
            return f"'{name.removeprefix('module.')}' {state}: a BatchNorm needs its running statistics to be asked"
    return "is a BatchNorm left in training mode, or does its forward compute statistics over the batch?"
