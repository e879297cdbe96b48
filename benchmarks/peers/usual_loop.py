"""The loop that a careful person writes by hand: PIL transforms, DataLoader workers, float32, a live teacher.

python -m benchmarks.peers.usual_loop --data D --teacher T --student resnet8 --epochs 1 --out usual.json
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader

from benchmarks.peers import contender


def main() -> None:
    """Distil once."""
    given = contender.arguments(__doc__)
    torch.manual_seed(given.seed)
    train, val, test = contender.splits(given.data)
    augment, plain = contender.transforms()
    loader = DataLoader(
        contender.Pictures(train, augment),
        batch_size=contender.BATCH_SIZE,
        shuffle=True,
        drop_last=True,
        num_workers=given.workers,
        persistent_workers=True,
    )
    val_loader = DataLoader(contender.Pictures(val, plain), batch_size=512)
    student, teacher = contender.networks(given.student, given.teacher)
    optimizer = torch.optim.SGD(
        student.parameters(),
        lr=contender.LR,
        momentum=contender.MOMENTUM,
        nesterov=True,
        weight_decay=contender.DECAY,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: contender.factor(step, steps_per_epoch=len(loader), epochs=given.epochs)
    )
    watch = contender.Stopwatch(given.max_steps)
    stopped = False
    for _ in range(given.epochs):
        watch.epoch_begins()
        student.train()
        for inputs, labels in loader:
            with torch.no_grad():
                targets = teacher(inputs)
            logits = student(inputs)
            loss = distillation_loss(logits, targets, labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            stopped = watch.step_is_done()
            if stopped:
                break
        watch.validate(student, val_loader)
        if stopped:
            break
        watch.epoch_is_done()
    contender.finish(given, watch, student, contender.Pictures(test, plain), contender="usual loop")


def distillation_loss(logits_BK: Tensor, teacher_BK: Tensor, labels_B: Tensor) -> Tensor:
    """Hinton et al. 2015 (arXiv 1503.02531), section 2, as tutorials write it."""
    T = contender.TEMPERATURE
    soft = F.kl_div(F.log_softmax(logits_BK / T, dim=1), F.softmax(teacher_BK / T, dim=1), reduction="batchmean")
    return contender.ALPHA * T**2 * soft + (1 - contender.ALPHA) * F.cross_entropy(logits_BK, labels_B)


if __name__ == "__main__":
    main()
