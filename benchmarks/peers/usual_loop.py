"""The loop that a careful person writes by hand: PIL transforms, DataLoader workers, float32, a live teacher.

python -m benchmarks.peers.usual_loop --data D --teacher T --student resnet8 --epochs 1 --out usual.json
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

from benchmarks.peers import contender


def main() -> None:
    """Distil once."""
    given = contender.arguments(__doc__)
    torch.manual_seed(given.seed)
    dataset = contender.splits(given.data)
    train, plain = contender.transforms()
    loader = DataLoader(
        contender.pictures(dataset.train, train),
        batch_size=contender.BATCH_SIZE,
        shuffle=True,
        drop_last=True,
        num_workers=given.workers,
        persistent_workers=True,
    )
    val = DataLoader(contender.pictures(dataset.val, plain), batch_size=512)
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
            soft = F.kl_div(
                F.log_softmax(logits / contender.TEMPERATURE, dim=1),
                F.softmax(targets / contender.TEMPERATURE, dim=1),
                reduction="batchmean",
            )
            loss = contender.ALPHA * contender.TEMPERATURE**2 * soft
            loss = loss + (1 - contender.ALPHA) * F.cross_entropy(logits, labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            stopped = watch.step_is_done()
            if stopped:
                break
        if stopped:
            break
        contender.accuracy(student, val)
        watch.epoch_is_done()
    wall = contender.elapsed_s()
    test = None
    if not stopped:
        test = contender.accuracy(student, DataLoader(contender.pictures(dataset.test, plain), batch_size=512))
    contender.write(given.out, given, watch, contender="usual loop", test_accuracy=test, trained_s=wall)


if __name__ == "__main__":
    main()
