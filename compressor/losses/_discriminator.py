"""What adversarial losses share: a network that tells the teacher's answers from the student's, and learns by itself."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from compressor.losses._logits import require
from compressor.losses._together import averaged

_BETAS = (0.5, 0.999)  # a short memory, as is usual where the target moves with the student
_FLOOR = 1e-8
_LEAST_DEVIATION = 1e-4


class Discriminator(nn.Module):
    """Gives a number that is above 0 for what it takes for the teacher's; learns by Adam, one step for each batch.

    It minimises softplus(−D(teacher)) + softplus(D(student)) + penalty / 2 · ‖∇D(teacher)‖² (R1, Mescheder et al. 2018,
    arXiv 1801.04406, section 4.1, under which training converges near the equilibrium). Both sides are first shifted and
    scaled as the teacher's batch is, so that no range of numbers is easier than another.

    Its weights want no gradients, so that the optimiser of the student leaves them alone; they and what Adam remembers are
    in the state of the run. With several processes the gradients are averaged.

    Args:
        width: Numbers in one answer.
        hidden: Width of its two hidden layers.
        lr: Learning rate of its own.
        penalty: Weight of R1.
        warmup: Steps over which what the student feels of it grows to the whole.
    """

    means: Tensor
    squares: Tensor
    steps: Tensor

    def __init__(self, width: int, *, hidden: int, lr: float, penalty: float, warmup: int) -> None:
        super().__init__()
        self.lr, self.penalty, self.warmup = lr, penalty, warmup
        self.judge = nn.Sequential(
            nn.Linear(width, hidden),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden, hidden),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden, 1),
        ).requires_grad_(False)
        count = sum(parameter.numel() for parameter in self.judge.parameters())
        self.register_buffer("means", torch.zeros(count))
        self.register_buffer("squares", torch.zeros(count))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, student_BF: Tensor, teacher_BF: Tensor) -> Tensor:
        """Learn from a batch, then say how far the student is from being taken for the teacher: softplus(−D(student)).

        Args:
            student_BF: Gradients flow to it.
            teacher_BF: Likewise without.

        Returns:
            A scalar, mean over the batch, times the share of the warm-up that is over.
        """
        teacher_BF = teacher_BF.detach()
        mean = averaged(teacher_BF.mean())
        deviation = averaged((teacher_BF - mean).square().mean()).sqrt().clamp_min(_LEAST_DEVIATION)
        student_BF, teacher_BF = ((each - mean) / deviation for each in (student_BF, teacher_BF))
        self._learn(student_BF.detach(), teacher_BF)
        # copies, since a further lesson of the same step moves the weights before the backward pass reads them
        weights = {name: weight.clone() for name, weight in self.judge.named_parameters()}
        unmasked = F.softplus(-functional_call(self.judge, weights, (student_BF,))).mean()
        return unmasked * (self.steps / max(1, self.warmup)).clamp_max(1.0)

    def loss(self, weights: dict[str, Tensor], student_BF: Tensor, teacher_BF: Tensor) -> Tensor:
        """What it minimises, as a function of its weights."""
        teacher_BF = teacher_BF.detach().requires_grad_()
        theirs_B1 = functional_call(self.judge, weights, (teacher_BF,))
        mine_B1 = functional_call(self.judge, weights, (student_BF,))
        (slope_BF,) = torch.autograd.grad(theirs_B1.sum(), teacher_BF, create_graph=True)
        told_apart = F.softplus(-theirs_B1).mean() + F.softplus(mine_B1).mean()
        return told_apart + self.penalty / 2 * slope_BF.square().sum(dim=1).mean()

    def _learn(self, student_BF: Tensor, teacher_BF: Tensor) -> None:
        weights = {name: each.detach().clone().requires_grad_() for name, each in self.judge.named_parameters()}
        with torch.enable_grad():
            gradients = torch.autograd.grad(self.loss(weights, student_BF, teacher_BF), list(weights.values()))
        self._adam(averaged(torch.cat([each.flatten() for each in gradients])))

    @torch.no_grad()
    def _adam(self, gradient: Tensor) -> None:
        """One step of Adam (Kingma & Ba 2015), written out so that all it remembers is tensors of this module."""
        first, second = _BETAS
        self.steps += 1
        self.means.lerp_(gradient, 1 - first)
        self.squares.lerp_(gradient.square(), 1 - second)
        mean = self.means / (1 - first**self.steps)
        root = (self.squares / (1 - second**self.steps)).sqrt()
        change = -self.lr * mean / (root + _FLOOR)
        at = 0
        for parameter in self.judge.parameters():
            parameter.add_(change[at : at + parameter.numel()].view_as(parameter))
            at += parameter.numel()


@dataclass(frozen=True)
class Design:
    """How the discriminators of a loss are to be built, once it is known how wide answers are.

    Attributes:
        name: Of the loss.
        hidden: Width of the two hidden layers.
        lr: Learning rate.
        penalty: Weight of R1.
        warmup: Steps over which what the student feels grows to the whole.
    """

    name: str
    hidden: int
    lr: float
    penalty: float
    warmup: int

    def __post_init__(self) -> None:
        """Refuse options out of range.

        Raises:
            InputError: Names the first one, with its value.
        """
        require(
            self.name,
            above_zero={"hidden": self.hidden, "lr": self.lr},
            at_least_zero={"penalty": self.penalty, "warmup": self.warmup},
        )

    def built(self, width: int) -> Discriminator:
        """A discriminator of answers of this width."""
        return Discriminator(width, hidden=self.hidden, lr=self.lr, penalty=self.penalty, warmup=self.warmup)
