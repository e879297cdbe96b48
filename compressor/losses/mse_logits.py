"""Regression to the teacher's logits: Ba and Caruana 2014 (arXiv 1312.6184), equation 1."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from compressor.losses._logits import compared, require, with_labels
from compressor.tensors import Batch, Outputs


class MseLogits:
    """Squared distance of the logits, beside the labels (Ba & Caruana 2014).

        ½ · mean over rows of ‖student − teacher‖² / K  +  hard · hard loss

    Their equation 1 sums over classes; here it is the mean, so that one weight serves any number of classes. It is what KD
    tends to as its temperature grows, when both have zero mean.

    Args:
        hard: Weight of the loss against the labels.
        standardise: Compare standardised logits (Sun et al. 2024).

    Raises:
        InputError: hard is negative.
    """

    needs = ("rows", "labels if hard > 0")

    def __init__(self, *, hard: float = 1.0, standardise: bool = False) -> None:
        require("mse_logits", at_least_zero={"hard": hard})
        self.hard, self.standardise = hard, standardise

    def __call__(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        """The loss above, a scalar."""
        student_NK, teacher_NK, _ = compared(student, teacher, batch, standardise=self.standardise)
        return with_labels(0.5 * F.mse_loss(student_NK, teacher_NK), student, batch, hard=self.hard)
