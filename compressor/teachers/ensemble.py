"""An ensemble as one teacher: Hinton et al. 2015 (arXiv 1503.02531), section 1; weights by confidence: arXiv 2201.00007."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from compressor.errors import InputError
from compressor.models.combined import Combined
from compressor.teachers._frozen import Frozen

_BY = ("probabilities", "logits", "confidence")


class Ensemble(Frozen):
    """Several networks that know the same classes, as one: the mean of what they say.

    `probabilities`: the log of the mean of their probabilities (Hinton et al. 2015, "arithmetic mean"). `logits`: the
    mean of their logits, which is the geometric mean. `confidence`: probabilities, each sample weighing its networks by
    (1 − exp(h_k) / Σ exp(h_j)) / (M − 1), where h is the entropy of what network k of M says of it: equation 3 of Zhang
    et al. 2022 (CA-MKD), with the entropy in place of the cross-entropy with the label, so that it needs none.

    Args:
        networks: two or more, with the same classes
        by: probabilities, logits or confidence
        weights: of the networks, in their order; empty: all alike

    Raises:
        InputError: An unknown `by`, or weights that do not fit the networks.
    """

    needs = ("one_class",)
    gives = ("features",)

    def __init__(
        self,
        networks: Sequence[nn.Module],
        *,
        by: Literal["probabilities", "logits", "confidence"] = "probabilities",
        weights: tuple[float, ...] = (),
    ) -> None:
        if by not in _BY:
            raise InputError(f"by = '{by}' is not known", where="ensemble.by", hint=f"write {', '.join(_BY)}")
        if weights and (len(weights) != len(networks) or min(weights) < 0 or sum(weights) <= 0):
            message = f"{list(weights)} are no weights of {len(networks)} networks"
            raise InputError(message, where="ensemble.weights", hint="one for each network, none below 0")
        shares = torch.tensor(weights or [1.0] * len(networks), dtype=torch.float32)
        super().__init__(Combined(networks, _Mean(shares / shares.sum(), by=by)))


class _Mean(nn.Module):
    shares: Tensor

    def __init__(self, shares: Tensor, *, by: str) -> None:
        super().__init__()
        self.by = by
        self.register_buffer("shares", shares, persistent=False)

    def forward(self, answers: Sequence[Tensor]) -> Tensor:
        logits_MBK = torch.stack([answer.float() for answer in answers])
        shares_M11 = self.shares[:, None, None]
        if self.by == "logits":
            return (shares_M11 * logits_MBK).sum(dim=0)
        log_MBK = logits_MBK.log_softmax(dim=2)
        if self.by == "confidence" and len(answers) > 1:
            entropy_MB1 = -(log_MBK.exp() * log_MBK).sum(dim=2, keepdim=True)
            trust_MB1 = (1 - entropy_MB1.softmax(dim=0)) / (len(answers) - 1)
            weighted = shares_M11 * trust_MB1
            shares_M11 = weighted / weighted.sum(dim=0, keepdim=True)
        return (log_MBK + shares_M11.log()).logsumexp(dim=0)
