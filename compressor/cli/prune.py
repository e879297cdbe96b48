"""`compress prune`: cut channels until a network is as small or as fast as asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from compressor.cli import _options as options


def prune(
    source: options.Source = None,
    macs: Annotated[float | None, typer.Option("--macs", help="Multiply-adds to keep: 0.5 is half (default).")] = None,
    params: Annotated[float | None, typer.Option("--params", help="Parameters to keep.")] = None,
    latency: Annotated[
        float | None, typer.Option("--latency", help="Time to keep, measured here with ONNX Runtime.")
    ] = None,
    size_mb: Annotated[float | None, typer.Option("--size-mb", help="Size of the ONNX file in MB.")] = None,
    profile: Annotated[
        str | None, typer.Option("--profile", help="Run conditions of --latency: edge, server or your own.")
    ] = None,
    measured_as: Annotated[
        str | None,
        typer.Option("--measured-as", help="float or int8: the form that --latency and --size-mb are measured in."),
    ] = None,
    criterion: Annotated[
        str | None, typer.Option("--criterion", help="How much a channel matters: compress list criteria.")
    ] = None,
    ranking: Annotated[str | None, typer.Option("--ranking", help="global, local or isomorphic.")] = None,
    round_to: Annotated[int | None, typer.Option("--round-to", help="Widths are multiples of it.", min=1)] = None,
    ignore: Annotated[
        str | None, typer.Option("--ignore", help="Dotted paths that are not cut; comma between.")
    ] = None,
    rounds: Annotated[int | None, typer.Option("--rounds", help="Cut and recover so many times.", min=1)] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", help="Of recovery in all; 0: cut alone.", min=0)] = None,
    max_drop: Annotated[
        float | None,
        typer.Option("--max-drop", help="Budget: loss of points (or units) to the start, on validation."),
    ] = None,
    teacher: options.Teacher = None,
    teacher_arch: options.TeacherArch = None,
    arch: options.Arch = None,
    data: options.OtherData = None,
    runs: options.Runs = Path("runs"),
    loss: options.Loss = None,
    batch_size: options.BatchSize = None,
    lr: options.LearningRate = None,
    optimizer: options.Optimizer = None,
    device: options.Device = None,
    assignments: options.Assignments = None,
    trust: options.Trust = False,
    tensorboard: options.TensorBoard = False,
    as_json: options.AsJson = False,
) -> None:
    """Cut channels until a network is as small or as fast as asked for, and train it back from its teacher.

    Ends with 1 when the target or a stated budget is missed.

    Example: compress prune runs/s/distill --latency 0.5 --profile edge
    """
    from compressor import api, opening
    from compressor.cli import _losses, _results

    options.event_files(tensorboard)
    options.trusted((source, teacher), trust=trust)
    made = api.prune(
        source,
        teacher=teacher,
        teacher_arch=teacher_arch,
        data=data,
        arch=arch,
        runs=runs,
        options=options.given(
            macs=macs,
            params=params,
            latency=latency,
            size_mb=size_mb,
            profile=profile,
            measured_as=measured_as,
            criterion=criterion,
            ranking=ranking,
            round_to=round_to,
            ignore=options.listed(ignore),
            rounds=rounds,
            epochs=epochs,
            losses=_losses.stated(loss or (), assignments or (), task=opening.task_of(source, runs)),
            max_drop=max_drop,
            batch_size=batch_size,
            lr=lr,
            optimizer=optimizer,
            device=device,
        ),
        assignments=assignments or (),
        command=options.command_line(),
    )
    _results.show_pruned(made, as_json=as_json)
    _results.raise_missed_target(made)
