"""Distillation from the last mini-batch: what its authors minimise, and what two processes remember."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compressor import processes
from compressor.losses.kd import KD
from compressor.models.network import Network
from compressor.models.normalisation import Normalisation
from compressor.tasks.classification import Classification
from compressor.teachers._contract import Showing
from compressor.teachers.last_batch import LastBatch
from compressor.tensors import Batch, Outputs
from tests.named import named_batch

B, K, T = 4, 5, 3.0


def batch(seed: int) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(K, (B,), generator=generator)
    return named_batch(torch.randn(B, 2, generator=generator), labels, torch.arange(B) + B * seed, -1, Classification())


def teacher_after(first: Batch, said: Tensor) -> LastBatch:
    teacher = LastBatch()
    teacher.meet(Network(nn.Linear(2, K), Normalisation("none", (), ())), torch.zeros(2, 2))
    teacher.shown(Showing(first, lambda view: first))
    teacher.lessons(first, Outputs.of(said))
    teacher.after_step(step=0)
    return teacher


def test_labels_of_all_count_alike_beside_the_divergence_of_the_old() -> None:
    first, second = batch(0), batch(1)
    generator = torch.Generator().manual_seed(2)
    said, answers = torch.randn(B, K, generator=generator), torch.randn(2 * B, K, generator=generator)
    teacher = teacher_after(first, said)
    usual = dict(teacher.usual)
    weight = usual.pop("weight")
    del usual["name"]

    both = teacher.shown(Showing(second, lambda view: second))
    total = sum(
        lesson.weight
        * (
            lesson.batch.hard_loss(lesson.student)
            if lesson.teacher is None
            else weight * KD(**usual)(lesson.student, lesson.teacher, lesson.batch)
        )
        for lesson in teacher.lessons(both, Outputs.of(answers))
    )

    labels = torch.cat([first.targets["label"], second.targets["label"]])
    old = F.kl_div((answers[:B] / T).log_softmax(1), (said / T).softmax(1), reduction="batchmean")
    assert float(total) == pytest.approx(float(F.cross_entropy(answers, labels) + T**2 * old), rel=1e-6)


def test_each_process_takes_its_share_of_what_was_kept_again(monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = teacher_after(batch(0), torch.arange(B * K).reshape(B, K).float())
    teacher.before_keeping()
    kept = teacher.parts.state_dict()

    monkeypatch.setattr(processes, "world_size", lambda: 2)
    monkeypatch.setattr(processes, "rank", lambda: 1)
    other = teacher_after(batch(1), torch.zeros(B, K))
    other.parts.load_state_dict(kept)

    assert other.parts.get_buffer("sample_ids").tolist() == [1, 3]
    assert torch.equal(other.parts.get_buffer("said/logits"), kept["said/logits"][1::2])


@pytest.mark.filterwarnings(
    "ignore:.*is a no-op:UserWarning"
)  # nothing is copied to `meta`, and here only the place counts
def test_what_a_resumed_run_puts_back_lies_where_the_batches_are() -> None:
    before = teacher_after(batch(0), torch.zeros(B, K))
    before.before_keeping()
    resumed = LastBatch()
    resumed.meet(Network(nn.Linear(2, K), Normalisation("none", (), ())), torch.zeros(2, 2))

    resumed.to(torch.device("meta"), torch.contiguous_format)
    resumed.parts.load_state_dict(before.parts.state_dict())

    places = {name: rows.device.type for name, rows in resumed.parts.named_buffers()}
    assert "said/logits" in places
    assert set(places.values()) == {"meta"}
