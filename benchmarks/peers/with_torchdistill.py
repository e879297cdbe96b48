"""torchdistill 1.1.5, by its own DistillationBox, KDLoss and step functions, as its example scripts use them.

python -m benchmarks.peers.with_torchdistill --data D --teacher T --student resnet8 --epochs 1 --out torchdistill.json
"""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch.utils.data import RandomSampler, SequentialSampler

from benchmarks.peers import contender

logging.disable(logging.INFO)


def main() -> None:
    """Distil once."""
    from torchdistill.core.distillation import get_distillation_box

    given = contender.arguments(__doc__)
    torch.manual_seed(given.seed)
    train, val, test = contender.splits(given.data)
    augment, plain = contender.transforms()
    student, teacher = contender.networks(given.student, given.teacher)
    sets = {"train": contender.Pictures(train, augment), "val": contender.Pictures(val, plain)}
    steps = len(sets["train"]) // contender.BATCH_SIZE
    box = get_distillation_box(
        teacher, student, sets, _config(given, steps_per_epoch=steps), torch.device("cpu"), None, False, 1
    )
    watch = contender.Stopwatch(given.max_steps)
    stopped = False
    for epoch in range(given.epochs):
        box.pre_epoch_process(epoch=epoch)
        watch.epoch_begins()
        for inputs, labels, extra in box.train_data_loader:
            box.pre_forward_process()
            loss = box.forward_process(inputs, labels, extra)
            box.post_forward_process(loss)
            stopped = watch.step_is_done()
            if stopped:
                break
        watch.validate(student, box.val_data_loader)
        if stopped:
            break
        box.post_epoch_process()
        watch.epoch_is_done()
    contender.finish(given, watch, student, contender.Pictures(test, plain), contender="torchdistill")


def _config(given: Any, *, steps_per_epoch: int) -> dict[str, Any]:
    """Its configuration; alpha is the share of the hard loss there."""

    def factor(step: int) -> float:
        return contender.factor(step, steps_per_epoch=steps_per_epoch, epochs=given.epochs)

    loss = {
        "key": "KDLoss",
        "kwargs": {
            "student_module_path": ".",
            "student_module_io": "output",
            "teacher_module_path": ".",
            "teacher_module_io": "output",
            "temperature": contender.TEMPERATURE,
            "alpha": 1 - contender.ALPHA,
            "reduction": "batchmean",
        },
    }
    return {
        "num_epochs": given.epochs,
        "train_data_loader": {
            "dataset_id": "train",
            "sampler": {"class_or_func": RandomSampler},
            "kwargs": {
                "batch_size": contender.BATCH_SIZE,
                "num_workers": given.workers,
                "drop_last": True,
                "persistent_workers": True,
            },
        },
        "val_data_loader": {
            "dataset_id": "val",
            "sampler": {"class_or_func": SequentialSampler},
            "kwargs": {"batch_size": 512},
        },
        "teacher": {"forward_proc": "forward_batch_only", "requires_grad": False, "wrapper": None},
        "student": {"forward_proc": "forward_batch_only", "wrapper": None},
        "optimizer": {
            "key": "SGD",
            "kwargs": {
                "lr": contender.LR,
                "momentum": contender.MOMENTUM,
                "nesterov": True,
                "weight_decay": contender.DECAY,
            },
        },
        "scheduler": {"key": "LambdaLR", "kwargs": {"lr_lambda": factor}, "scheduling_step": 1},
        "criterion": {"key": "WeightedSumLoss", "kwargs": {"sub_terms": {"kd": {"criterion": loss, "weight": 1.0}}}},
    }


if __name__ == "__main__":
    main()
