"""`compress export`: a network to ONNX, behind the parity gate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from compressor.cli import _options as options
from compressor.scores import Metric


def export(
    source: options.Source = None,
    onnx: Annotated[
        bool, typer.Option("--onnx", help="To ONNX: the only format so far, so it need not be said.")
    ] = True,
    input_: Annotated[
        str | None, typer.Option("--input", help="What the model takes: float-nchw (0-1) or uint8-nhwc (camera).")
    ] = None,
    opset: Annotated[int | None, typer.Option("--opset", help="ONNX operator set.")] = None,
    arch: options.Arch = None,
    data: options.OtherData = None,
    runs: options.Runs = Path("runs"),
    assignments: options.Assignments = None,
    trust: options.Trust = False,
    as_json: options.AsJson = False,
) -> None:
    """Export a network to ONNX and compare it with the original on real samples; nothing is left if they differ.

    Example: compress export runs/s/distill --input uint8-nhwc
    """
    from compressor import api, artifact, console

    options.trusted((source,), trust=trust)
    made = api.export(
        source,
        data=data,
        arch=arch,
        runs=runs,
        options=options.given(input=input_, opset=opset),
        assignments=assignments or (),
        command=options.command_line(),
    )
    if as_json:
        console.as_json({"path": str(made.path), **artifact.as_json(made.manifest)})
        return
    parity, contract = made.manifest.details["parity"], made.manifest.details["input_contract"]
    before, after = (parity[name] for name in ("metric_reference", "metric_candidate"))
    metric = Metric(parity["metric_name"], parity.get("metric_unit", "%"))
    console.table(
        ["parity on", "largest difference", "mean difference", "same top-1", f"{metric.name} torch → onnx"],
        [
            [
                f"{parity['samples']} samples",
                f"{parity['max_abs']:.2e} ({parity['max_relative']:.1e} of the spread)",
                f"{parity['mean_abs']:.2e}",
                f"{100 * parity['agreement']:.2f} %",
                "no labels" if before is None or after is None else f"{metric.shown(before)} → {metric.shown(after)}",
            ]
        ],
    )
    shape = " × ".join(str(axis) for axis in contract["shape"])
    console.show(f"\ntakes: {contract['dtype']} {contract['layout']} ({shape}), values {contract['range']}")
    console.show(f"opset {made.manifest.details['opset']}, {made.manifest.details['size_bytes'] / 1e6:.2f} MB")
    console.show(f"{made.file('model.onnx')}")
