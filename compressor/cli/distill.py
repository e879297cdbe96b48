"""`compress distill`: train a student from a teacher."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from compressor.cli import _options as options


def distill(
    student: Annotated[
        str, typer.Option("--student", help="s.py[:callable], zoo:, timm:, torchvision:NAME, cut:teacher.")
    ],
    data: options.Data,
    teacher: Annotated[
        list[str] | None,
        typer.Option(
            "--teacher",
            help="t.pt, an artifact, transformers:FOLDER, ... with trained weights; several are an ensemble (repeatable).",
            show_default=False,
        ),
    ] = None,
    teacher_arch: Annotated[
        list[str] | None,
        typer.Option(
            "--teacher-arch",
            "--arch",
            help="The architecture of a teacher that is a state dict; one for all, or one for each (repeatable).",
            show_default=False,
        ),
    ] = None,
    teacher_kind: Annotated[
        str | None,
        typer.Option("--teacher-kind", help="compress list teachers shows them; some need no --teacher."),
    ] = None,
    via: Annotated[
        list[str] | None,
        typer.Option("--via", help="An assistant between teacher and student, distilled first (repeatable)."),
    ] = None,
    unlabelled: Annotated[
        str | None,
        typer.Option("--unlabelled", help="A second data source, shown without labels (or a folder of images)."),
    ] = None,
    labels: Annotated[
        bool,
        typer.Option("--labels/--no-labels", help="Without: the teacher alone teaches; validation keeps its labels."),
    ] = True,
    control: Annotated[
        bool, typer.Option("--control", help="Also train the same student without the teacher, with the same budget.")
    ] = False,
    loss: options.Loss = None,
    temperature: Annotated[
        str | None, typer.Option("--temperature", help="Softness of the targets; auto: by a short sweep on validation.")
    ] = None,
    alpha: Annotated[
        str | None, typer.Option("--alpha", help="Share of the teacher's word against the label's; auto: by a sweep.")
    ] = None,
    views: Annotated[
        int | None,
        typer.Option("--views", help="Views of each sample, shown in turn; 0: fresh ones.", min=0),
    ] = None,
    name: options.Name = None,
    runs: options.Runs = Path("runs"),
    seed: options.Seed = 0,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    lr: options.LearningRate = None,
    optimizer: options.Optimizer = None,
    device: options.Device = None,
    assignments: options.Assignments = None,
    trust: options.Trust = False,
    tensorboard: options.TensorBoard = False,
    as_json: options.AsJson = False,
) -> None:
    """Train a student from a teacher: a network, several, or the student itself.

    Example: compress distill --teacher t.pt --teacher-arch net.py:build --student s.py --data images:photos --control
    """
    from compressor import api
    from compressor.cli import _losses, _results

    options.event_files(tensorboard)
    options.trusted((*(teacher or ()), *(via or ()), student), trust=trust)
    made = api.distill(
        teacher,
        student,
        data=data,
        teacher_arch=teacher_arch,
        kind=teacher_kind,
        via=via or (),
        unlabelled=unlabelled,
        labels=labels,
        control=control,
        loss=_losses.stated(loss or (), assignments or (), temperature=temperature, alpha=alpha),
        name=name,
        runs=runs,
        seed=seed,
        options=options.given(epochs=epochs, batch_size=batch_size, lr=lr, optimizer=optimizer, device=device),
        assignments=(*([] if views is None else [f"data.views.count={views}"]), *(assignments or ())),
        command=options.command_line(),
    )
    _results.show_artifact(made, as_json=as_json, then=f"compress export {made.path}, then compress bench")
