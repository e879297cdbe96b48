"""Knowledge distillation with soft targets: Hinton, Vinyals, Dean 2015 (arXiv 1503.02531), section 2."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from compressor.errors import InputError
from compressor.losses._logits import compared
from compressor.tensors import Batch, Outputs


class KD:
    """Soft targets at a temperature, beside the labels (Hinton et al. 2015).

        alpha · T² · KL(teacher_T ‖ student_T) + (1 − alpha) · hard loss

    where `x_T` is softmax(x / T). Gradients of the soft part scale with 1/T² (their section 2), hence the T², so that
    the balance with the hard part does not move with T. In the limit of high T and zero-mean logits the gradient of the
    soft part with respect to a logit is (z − v) / K (their equation 4 times T²).

    With `standardise`, both sides' logits are first brought to zero mean and unit deviation per sample, so that the
    student need not match their range (Sun et al. 2024, arXiv 2403.01427, equation 9, sample standard deviation).

    Args:
        temperature: T, above 0; higher is softer.
        alpha: Share of the soft part, 0 to 1.
        standardise: Compare standardised logits (Sun et al. 2024).

    Raises:
        InputError: temperature or alpha out of range.
    """

    needs = ("rows:softmax or rows:sigmoid", "labels if alpha < 1")

    def __init__(self, *, temperature: float = 4.0, alpha: float = 0.9, standardise: bool = False) -> None:
        if not temperature > 0:
            raise InputError(f"temperature = {temperature} must be above 0", where="kd.temperature")
        if not 0 <= alpha <= 1:
            raise InputError(f"alpha = {alpha} must lie between 0 and 1", where="kd.alpha")
        self.temperature = temperature
        self.alpha = alpha
        self.standardise = standardise

    def __call__(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        """The loss above, mean over the rows of decisions; computed in float32 whatever the training precision."""
        student_NK, teacher_NK, _ = compared(student, teacher, batch, standardise=self.standardise)
        soft = self.soft_loss(student_NK, teacher_NK)
        if self.alpha == 1:
            return soft
        return self.alpha * soft + (1 - self.alpha) * batch.hard_loss(student)

    def soft_loss(self, student_NK: Tensor, teacher_NK: Tensor) -> Tensor:
        """T² · KL(teacher_T ‖ student_T), mean over N."""
        student_log_NK = F.log_softmax(student_NK / self.temperature, dim=1)
        teacher_log_NK = F.log_softmax(teacher_NK / self.temperature, dim=1)
        divergence = F.kl_div(student_log_NK, teacher_log_NK, reduction="batchmean", log_target=True)
        return divergence * self.temperature**2
