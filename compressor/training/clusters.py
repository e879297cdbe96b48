"""Which classes a network confuses, found by k-means on how its predictions vary together (Hinton et al. 2015, section 5).

No labels are needed. Shape letters: N samples, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressor.artifact import Decision

_TRIES = 20
_NAMED = 12


@dataclass(frozen=True)
class Clusters:
    """Groups of classes that are taken for one another.

    Attributes:
        groups: Classes by position, ascending in each; groups in the order of their first class, none with fewer than two.
        alone: Classes in no group: the network takes nothing for them.
        decisions: The groups by name, and why they are these.
    """

    groups: tuple[tuple[int, ...], ...]
    alone: tuple[int, ...]
    decisions: tuple[Decision, ...]


def probabilities_of(logits_NK: NDArray[Any]) -> NDArray[np.float64]:
    """Softmax of logits, `[N, K]`."""
    from scipy.special import softmax

    shares: NDArray[np.float64] = softmax(logits_NK.astype(np.float64), axis=1)
    return shares


def covariation_of(probabilities_NK: NDArray[np.float64]) -> NDArray[np.float64]:
    """How the predictions of classes vary together: their covariance matrix `[K, K]`, scaled to correlations.

    In the plain covariance of a few classes the variances on the diagonal decide: k-means then splits off single classes
    that are told apart surely, and leaves all that are confused in one group. A class that is never predicted varies with
    none.
    """
    covariance = np.cov(probabilities_NK, rowvar=False)
    deviation = np.sqrt(np.diag(covariance))
    scale = np.where(deviation > 0, deviation, np.inf)
    scaled: NDArray[np.float64] = covariance / scale[:, None] / scale[None, :]
    return scaled


def confusable(covariation: NDArray[np.float64], *, count: int, names: Sequence[str], seed: int) -> Clusters:
    """Groups of classes whose predictions vary alike.

    k-means takes the columns of the matrix as points. A class that ends alone is left to the generalist: a
    specialist for it would have nothing to tell apart.

    Args:
        covariation: `[K, K]`, see `covariation_of`.
        count: Groups to look for; at most half of K, so that one of them at least has two classes.
        names: Of the classes.
        seed: Of the starting points.
    """
    from sklearn.cluster import KMeans

    assert 2 <= count <= len(names) / 2, "see `stages.specialists.require_enough_classes`"
    found = KMeans(n_clusters=count, n_init=_TRIES, random_state=seed).fit_predict(covariation.T)
    members = [tuple(np.flatnonzero(found == number).tolist()) for number in range(count)]
    groups = tuple(sorted(each for each in members if len(each) > 1))
    alone = tuple(sorted(each[0] for each in members if len(each) == 1))
    decisions = [
        Decision(
            f"cluster {number}",
            ", ".join(_some(names, group)),
            f"the generalist's predictions of them vary together most (mean correlation {_within(covariation, group):.2f} "
            f"within, {_between(covariation, group):.2f} with the other classes)",
        )
        for number, group in enumerate(groups, start=1)
    ]
    if alone:
        why = f"k-means with {count} clusters leaves each of them alone: there is nothing to tell it apart from"
        decisions.append(Decision("classes without a specialist", ", ".join(_some(names, alone)), why))
    return Clusters(groups, alone, tuple(decisions))


def _some(names: Sequence[str], group: Sequence[int]) -> list[str]:
    shown = [names[each] for each in group[:_NAMED]]
    return shown if len(group) <= _NAMED else [*shown, f"and {len(group) - _NAMED} more"]


def _within(covariation: NDArray[np.float64], group: Sequence[int]) -> float:
    inside = list(group)
    pairs = covariation[inside][:, inside][~np.eye(len(group), dtype=bool)]
    return float(pairs.mean())


def _between(covariation: NDArray[np.float64], group: Sequence[int]) -> float:
    others = np.setdiff1d(np.arange(len(covariation)), group)
    return float(covariation[list(group)][:, others].mean()) if len(others) else 0.0
