"""`compress quantize`: fewer bits, where they pay on the runtime that will run them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from compressor.cli import _options as options


def quantize(
    source: options.Source = None,
    method: Annotated[
        str | None, typer.Option("--method", help="static, dynamic, qat, weight_only or float16.")
    ] = None,
    target: Annotated[
        str | None, typer.Option("--target", help="The CPU that will run it: this, x86-avx2, x86-vnni or arm64.")
    ] = None,
    calibration: Annotated[
        int | None, typer.Option("--calibration", help="Training samples that show the range of activations.", min=8)
    ] = None,
    mixed: Annotated[
        bool | None, typer.Option("--mixed/--all", help="Leave in float what costs accuracy or time (default).")
    ] = None,
    profile: Annotated[
        str | None, typer.Option("--profile", help="Run conditions that time is measured under: edge, server, own.")
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(
            "--max-drop",
            help="Budget: loss of points (or units) to the float model, on validation.",
        ),
    ] = None,
    max_latency_ms: Annotated[
        float | None, typer.Option("--max-latency-ms", help="Budget: p50 under the profile.")
    ] = None,
    teacher: options.Teacher = None,
    teacher_arch: options.TeacherArch = None,
    arch: options.Arch = None,
    data: options.OtherData = None,
    runs: options.Runs = Path("runs"),
    epochs: Annotated[int | None, typer.Option("--epochs", help="Of quantization-aware training (qat).", min=1)] = None,
    loss: options.Loss = None,
    assignments: options.Assignments = None,
    trust: options.Trust = False,
    tensorboard: options.TensorBoard = False,
    as_json: options.AsJson = False,
) -> None:
    """Quantize a network's ONNX model for the CPU that will run it; what costs accuracy or time stays in float.

    An ONNX file from elsewhere is quantized as it is: compress quantize model.onnx --data D.

    Ends with 1 when a budget is stated and missed.

    Example: compress quantize runs/s/distill --max-drop 0.5
    """
    from compressor import api, opening
    from compressor.cli import _losses, _results

    options.event_files(tensorboard)
    options.trusted((source, teacher), trust=trust)
    made = api.quantize(
        source,
        teacher=teacher,
        teacher_arch=teacher_arch,
        data=data,
        arch=arch,
        runs=runs,
        options=options.given(
            method=method,
            target=target,
            calibration=calibration,
            mixed=mixed,
            profile=profile,
            max_drop=max_drop,
            max_latency_ms=max_latency_ms,
            epochs=epochs,
            losses=_losses.stated(loss or (), assignments or (), task=opening.task_of(source, runs)),
        ),
        assignments=assignments or (),
        command=options.command_line(),
    )
    _results.show_quantized(made, as_json=as_json)
    _results.raise_missed_target(made)
