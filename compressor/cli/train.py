"""`compress train`: train a teacher, or a baseline, from the labels alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from compressor.cli import _options as options


def train(
    model: Annotated[str, typer.Option("--model", help="file.py[:callable], zoo:NAME, timm:NAME or torchvision:NAME.")],
    data: options.Data,
    name: options.Name = None,
    runs: options.Runs = Path("runs"),
    seed: options.Seed = 0,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    lr: options.LearningRate = None,
    optimizer: options.Optimizer = None,
    device: options.Device = None,
    assignments: options.Assignments = None,
    tensorboard: options.TensorBoard = False,
    as_json: options.AsJson = False,
) -> None:
    """Train a network from the labels alone: a teacher, or a baseline.

    Example: compress train --model zoo:resnet56 --data cifar:data --epochs 100
    """
    from compressor import api
    from compressor.cli import _results

    options.event_files(tensorboard)
    made = api.train(
        model,
        data=data,
        name=name,
        runs=runs,
        seed=seed,
        options=options.given(epochs=epochs, batch_size=batch_size, lr=lr, optimizer=optimizer, device=device),
        assignments=assignments or (),
        command=options.command_line(),
    )
    _results.show_artifact(
        made, as_json=as_json, then=f"compress distill --teacher {made.path} --student s.py --data {data}"
    )
