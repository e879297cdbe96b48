"""The best answer that needs no look at the sample, and whether a model does better; and right answers kept for pairing.

A model that has learned nothing answers with the most common class and is right as often as that class occurs: 54 % of
two classes is no sign of learning. What it must beat on the same samples is the constant that is right most often: the
most common class, the most common set of classes, or the mean or the median of the targets.

Where an answer is right only when all of several classes are, or when a number is within a tolerance, a model may know
much and be right more seldom than a constant: of rare classes "none" is hard to beat. It is looked at more finely as well:
whether the outputs for single classes follow them, and whether numbers come nearer to their targets than the median does.

Shape letters: N samples, K outputs.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from compressor.measure.statistics import more_than_fair
from compressor.scores import RIGHT
from compressor.tensors import LOGITS, MEMBERS, VALUES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from compressor.scores import Findings
    from compressor.tasks._contract import Task


def against_majority(task: Task, findings: Findings, *, classes: Sequence[str]) -> dict[str, Any] | None:
    """Hold right answers against those of the best constant answer: McNemar's exact test, one-sided.

    Args:
        task: What answers mean.
        findings: Of the model, with the column `right`.
        classes: Names of the classes, or of the numbers.

    Returns:
        `metric`, the share of samples for which the constant is right; `answer`, the constant in words; `constant_only` and
        `model_only`, the samples that only one of the two answers rightly; `p_value`, how often a model that is no better
        would do as well, by whichever look tells more where there are two (twice its probability, for looking twice). None
        where the task has no constant, or it is right for every sample, so that nothing could beat it.
    """
    found = list(task.constants(findings, classes))
    if not found:
        return None
    name, constant_N = max(found, key=lambda each: int(each[1].sum()))  # among equals the first
    if bool(constant_N.all()):
        return None
    right_N = findings[RIGHT]
    model_only, constant_only = int((right_N & ~constant_N).sum()), int((constant_N & ~right_N).sum())
    p_value, finer = more_than_fair(model_only, constant_only), _more_finely(findings)
    return {
        "metric": float(constant_N.mean()),
        "answer": name,
        "constant_only": constant_only,
        "model_only": model_only,
        "p_value": p_value if finer is None else min(1.0, 2 * min(p_value, finer)),
    }


def packed(right_N: NDArray[np.bool_]) -> str:
    """Right and wrong answers as text, a bit for each sample."""
    return base64.b64encode(np.packbits(right_N).tobytes()).decode("ascii")


def unpacked(text: str, *, count: int) -> NDArray[np.bool_] | None:
    """What `packed` was given; None where it was not so many answers."""
    try:
        bits = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
    except ValueError:
        return None
    if len(bits) != -(-count // 8):
        return None
    right_N: NDArray[np.bool_] = np.unpackbits(bits)[:count].astype(bool)
    return right_N


def _more_finely(findings: Findings) -> float | None:
    """How often a model that has learned nothing would do as well, below the level of right and wrong; None without one."""
    if VALUES in findings:
        return _nearer_than_the_median(findings[LOGITS].astype(np.float64), findings[VALUES].astype(np.float64))
    if MEMBERS in findings:
        return _follows(findings[LOGITS], findings[MEMBERS])
    return None


def _nearer_than_the_median(answers_NK: NDArray[np.float64], targets_NK: NDArray[np.float64]) -> float:
    """The sign test of answers that are nearer to their targets than the constant that is near most often."""
    constant_NK = np.abs(np.median(targets_NK, axis=0) - targets_NK)
    unit_K = constant_NK.mean(axis=0)
    unit_K[unit_K == 0] = 1.0
    own_N, constant_N = (np.abs(answers_NK - targets_NK) / unit_K).sum(axis=1), (constant_NK / unit_K).sum(axis=1)
    nearer, farther = int((own_N < constant_N).sum()), int((~(own_N <= constant_N)).sum())  # a NaN is far
    return more_than_fair(nearer, farther)


def _follows(answers_NK: NDArray[Any], there_NK: NDArray[np.bool_]) -> float:
    """Whether outputs are higher for samples that have the class, over all classes: against the same rows in another order.

    The rank sum of each class, and how much all of them together would vary over every order of the rows, which leaves as
    they are how classes go together and how outputs do. Neither a threshold nor a scale is needed.
    """
    ranks_NK = np.stack([_ranks(column_N) for column_N in answers_NK.T], axis=1)
    ranks_NK -= ranks_NK.mean(axis=0)
    there_NK = there_NK - there_NK.mean(axis=0)
    spread_KK = (ranks_NK.T @ ranks_NK) * (there_NK.T @ there_NK) / max(1, len(ranks_NK) - 1)
    variance = float(spread_KK.sum())
    if variance <= 0:
        return 1.0  # every row is answered alike
    return float(1 - NormalDist().cdf(float((ranks_NK * there_NK).sum()) / variance**0.5))


def _ranks(values_N: NDArray[Any]) -> NDArray[np.float64]:
    """Ranks from 0 to 1; equal values share the middle of theirs."""
    _, place_N, counts_M = np.unique(values_N, return_inverse=True, return_counts=True)
    middles_M = np.cumsum(counts_M) - (counts_M + 1) / 2
    ranks_N: NDArray[np.float64] = middles_M[place_N] / max(1, len(values_N) - 1)
    return ranks_N
