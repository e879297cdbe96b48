"""Contrastive representation distillation: Tian et al. 2020 (arXiv 1910.10699), section 3.1 and its memory buffer."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compressor.errors import InputError, ModelError
from compressor.losses._contract import Context
from compressor.losses._features import FeatureLoss, embedded, tokens_there, width_of
from compressor.losses._logits import require
from compressor.losses._together import averaged, gathered
from compressor.tensors import Batch, Outputs

_FLOOR = 1e-7
_TIMES_AS_MANY = (
    4  # up to so many samples for each negative, all similarities are cheaper than the rows of the picked ones
)


class CRD(FeatureLoss):
    """The two networks' features of one sample are to be nearer than those of different samples (Tian et al. 2020).

        −Σ over both sides of [ log h(positive) + Σ over negatives of log(1 − h(negative)) ],   h = x / (x + N / M)

    with x = exp(s · t / τ) / Z of two embeddings of unit length, N negatives, M training samples: the critic of their
    section 3.1. Each side has a linear embedding that is trained along. A sample's embedding is compared with remembered
    ones of the *other* network: that of the same sample is the positive, those of N samples of other classes, drawn with
    replacement, are the negatives. A sample without a label (below 0) is compared with all samples but itself, and so is
    everybody where there is one class only. Z is set at the first step to the mean of M · exp(s · t / τ), as in the
    authors' code.

    Both memories hold an embedding of every training sample, keyed by `batch.sample_ids`, and are moved towards the new one
    after each step. They are part of the run's state. With several processes each remembers the samples of all of them.
    Where views mix two samples, the positive is the one that is named by its id.

    The value rises over the first epochs, while the memories, random at first, fill with embeddings that are alike, and
    falls from then on.

    Args:
        pairs: auto (the deepest stage), or a list of [student module, teacher module]
        scale: the loss times this; theirs is 0.8
        width: numbers in an embedding
        negatives: N, of each sample; theirs is 16384, and never more than there are other samples
        temperature: τ, above 0
        momentum: share of an embedding that stays when a new one comes, 0 to below 1

    Raises:
        InputError: An option out of range.
    """

    needs = ("features",)
    most_pairs = 1
    any_kind = True

    def __init__(
        self,
        *,
        pairs: str | Sequence[Sequence[str]] = "auto",
        scale: float = 0.8,
        width: int = 128,
        negatives: int = 16384,
        temperature: float = 0.07,
        momentum: float = 0.5,
    ) -> None:
        super().__init__(pairs, scale=scale)
        require("crd", above_zero={"width": width, "negatives": negatives, "temperature": temperature})
        if not 0 <= momentum < 1:
            raise InputError(f"momentum = {momentum} must lie between 0 and 1 (1 excluded)", where="crd.momentum")
        self._width, self._negatives = width, negatives
        self.temperature, self.momentum = temperature, momentum
        self.others: _OfOtherClasses | None = None
        self.contrasts = nn.ModuleList()

    def prepare(self, context: Context) -> None:
        """Learn which samples there are, and which of them are of other classes.

        Raises:
            ModelError: There are fewer than two samples.
        """
        if len(context.labels) < 2:
            raise ModelError("contrast takes two training samples at least", where="crd")
        self.others = _OfOtherClasses(context.labels)

    def build(self, shapes: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]) -> None:
        """Embeddings and memories for each pair."""
        assert self.others is not None, "prepare comes before settle"
        num_samples = len(self.others.order)
        self.contrasts = nn.ModuleList(
            _Contrast(width_of(mine), width_of(theirs), width=self._width, num_samples=num_samples)
            for mine, theirs in shapes
        )

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        """The mean over pairs of the loss above; the memories take in this batch."""
        assert self.others is not None
        ids_B = batch.sample_ids
        negatives_BN = self.others.drawn(ids_B, min(self._negatives, len(self.others.order) - 1))
        picked_BP = torch.cat([ids_B[:, None], negatives_BN], dim=1)
        there_BL = tokens_there(batch)
        found = []
        for (mine, theirs), contrast in zip(self.pairs, self.contrasts, strict=True):
            both = [student.features[mine].float(), teacher.features[theirs].float().detach()]
            if there_BL is not None:
                both = [self.of_sample(each, there_BL) for each in both]
            found.append(contrast(*both, picked_BP, temperature=self.temperature, momentum=self.momentum))
        return self.scale * torch.stack(found).mean()


class _Contrast(nn.Module):
    """The embeddings of one pair of modules, and what is remembered of both sides."""

    students: Tensor
    teachers: Tensor
    norms: Tensor

    def __init__(self, student: int, teacher: int, *, width: int, num_samples: int) -> None:
        super().__init__()
        self.of_student, self.of_teacher = nn.Linear(student, width), nn.Linear(teacher, width)
        bound = 1 / math.sqrt(width / 3)
        for name in ("students", "teachers"):
            self.register_buffer(name, (torch.rand(num_samples, width) * 2 - 1) * bound)
        self.register_buffer("norms", torch.zeros(2))  # Z of either side; 0: not set yet
        self._began = False  # asked once, since reading a number from a GPU waits for it

    def forward(
        self, student: Tensor, teacher: Tensor, picked_BP: Tensor, *, temperature: float, momentum: float
    ) -> Tensor:
        """The loss of both sides, mean over the batch; `picked_BP` begins with the sample itself."""
        mine_BD = F.normalize(self.of_student(embedded(student)), dim=1)
        theirs_BD = F.normalize(self.of_teacher(embedded(teacher)), dim=1)
        powers = [
            (_similarities(memory, rows, picked_BP) / temperature).exp()
            for memory, rows in ((self.teachers, mine_BD), (self.students, theirs_BD))
        ]
        num_samples = len(self.students)
        if not self._began and not self.norms.any():
            self.norms.copy_(averaged(torch.stack([each.mean() for each in powers])) * num_samples)
        self._began = True
        noise = (picked_BP.shape[1] - 1) / num_samples
        loss = sum(
            (_nce(power_BP / norm, noise) for power_BP, norm in zip(powers, self.norms.unbind(), strict=True)),
            start=mine_BD.new_zeros(()),
        )
        self._remember(picked_BP[:, 0], mine_BD, theirs_BD, momentum)
        return loss

    @torch.no_grad()
    def _remember(self, ids_B: Tensor, mine_BD: Tensor, theirs_BD: Tensor, momentum: float) -> None:
        ids = gathered(ids_B)
        for memory, rows in ((self.students, gathered(mine_BD)), (self.teachers, gathered(theirs_BD))):
            memory[ids] = F.normalize(memory[ids] * momentum + rows * (1 - momentum), dim=1)


class _OfOtherClasses(nn.Module):
    """Draws samples of other classes, each equally likely. A sample without a label is a class of its own."""

    order: Tensor
    first: Tensor
    count: Tensor

    def __init__(self, labels_M: Tensor) -> None:
        super().__init__()
        num_samples = len(labels_M)
        own_M = torch.arange(num_samples) + int(labels_M.max().clamp_min(0)) + 1
        alike_M = torch.where(labels_M < 0, own_M, labels_M)
        if bool((alike_M == alike_M[0]).all()):
            alike_M = torch.arange(num_samples)
        order_M = alike_M.argsort(stable=True)
        _, number_M, counts = torch.unique(alike_M, return_inverse=True, return_counts=True)
        starts = counts.cumsum(0) - counts
        # derived from the labels, so not part of the state: samples by class, and where the class of each one lies in that
        self.register_buffer("order", order_M, persistent=False)
        self.register_buffer("first", starts[number_M], persistent=False)
        self.register_buffer("count", counts[number_M], persistent=False)

    def drawn(self, ids_B: Tensor, count: int) -> Tensor:
        """`[B, count]` numbers of samples."""
        first_B1, own_B1 = self.first[ids_B, None], self.count[ids_B, None]
        there_B1 = len(self.order) - own_B1
        # uniform numbers times their range: bounds that differ by row; float64 reaches every sample
        uniform = torch.rand(len(ids_B), count, device=ids_B.device, dtype=torch.float64)
        place_BN = (uniform * there_B1).long().clamp_max(there_B1 - 1)
        return self.order[place_BN + own_B1 * (place_BN >= first_B1)]


def _nce(ratio_BP: Tensor, noise: float) -> Tensor:
    """Noise-contrastive estimation: the first column is the positive; summed over columns, mean over the batch."""
    positive_B, negatives_BN = ratio_BP[:, 0], ratio_BP[:, 1:]
    found_B = (positive_B / (positive_B + noise + _FLOOR)).log()
    refused_BN = (noise / (negatives_BN + noise + _FLOOR)).log()
    return -(found_B.sum() + refused_BN.sum()) / len(ratio_BP)


def _similarities(memory_MD: Tensor, rows_BD: Tensor, picked_BP: Tensor) -> Tensor:
    """The product of each row with the remembered ones that were picked for it, `[B, P]`."""
    # a copy, since the memory changes before the backward pass reads it
    if len(memory_MD) <= _TIMES_AS_MANY * picked_BP.shape[1]:
        return (rows_BD @ memory_MD.clone().T).gather(1, picked_BP)
    return torch.einsum("bpd,bd->bp", memory_MD[picked_BP], rows_BD)
