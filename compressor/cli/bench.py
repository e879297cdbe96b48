"""`compress bench`: latency, accuracy, memory and size against the teacher."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from compressor.cli import _options as options
from compressor.errors import InputError


def bench(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            help="A run folder, or models to compare (the first is the base); by default the newest network."
        ),
    ] = None,
    profiles: Annotated[str | None, typer.Option("--profiles", help="edge, server or your own; comma between.")] = None,
    runtimes: Annotated[str | None, typer.Option("--runtimes", help="compress list runtimes; comma between.")] = None,
    training: Annotated[
        bool, typer.Option("--training", help="Time the steps of a training instead: of a recipe or a trained network.")
    ] = False,
    steps: Annotated[int, typer.Option("--steps", help="Steps that --training times.", min=5)] = 50,
    max_drop: Annotated[
        float | None,
        typer.Option("--max-drop", help="Budget: loss of points (or units) to the teacher."),
    ] = None,
    max_latency_ms: Annotated[float | None, typer.Option("--max-latency-ms", help="Budget: the student's p50.")] = None,
    max_size_mb: Annotated[float | None, typer.Option("--max-size-mb", help="Budget: size of the ONNX file.")] = None,
    host: Annotated[
        str | None, typer.Option("--host", help="Measure there instead, over ssh: user@pi, or an alias of yours.")
    ] = None,
    host_python: Annotated[
        str,
        typer.Option(
            "--host-python", help="The Python there that has numpy and onnxruntime; a relative path begins at home."
        ),
    ] = "python3",
    ssh_option: Annotated[
        list[str] | None, typer.Option("--ssh-option", help="A word for ssh: --ssh-option=-p --ssh-option=2222.")
    ] = None,
    data: options.OtherData = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Folder of a comparison, or what to call the device of --host.")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Measure anew what has been measured, as after a restless run.")
    ] = False,
    runs: options.Runs = Path("runs"),
    assignments: options.Assignments = None,
    trust: options.Trust = False,
    as_json: options.AsJson = False,
) -> None:
    """Measure a run's student against its teacher and control; or any models, ONNX files too, against the first.

    A run is measured under the profiles, runtimes and other settings of its last bench, unless stated; its budgets are
    those stated here, else those of its recipe. Ends with 1 when one is missed.

    Example: compress bench --profiles edge --max-drop 1 --max-latency-ms 5
    """
    from compressor import api
    from compressor.cli import _results

    named = list(sources or ())
    if trust and training and named and Path(named[0]).suffix in (".toml", ".json"):
        named = options.models_in(Path(named[0]), assignments or ())
    options.trusted(named, trust=trust, with_run=len(named) == 1)
    budgets = {"--max-drop": max_drop, "--max-latency-ms": max_latency_ms, "--max-size-mb": max_size_mb}
    if training:
        _refuse_beside("--training", {**budgets, "--runtimes": runtimes, "--profiles": profiles, "--host": host})
        if len(sources or ()) > 1:
            raise InputError("times one training at a time", where="--training", hint="name one recipe or network")
        source = sources[0] if sources else None
        timed = api.profile(source, data=data, runs=runs, steps=steps, assignments=assignments or ())
        _results.show_profile(timed, as_json=as_json)
        return

    if host is not None:
        _refuse_beside("--host", {"--max-drop": max_drop, "--max-size-mb": max_size_mb, "--runtimes": runtimes})
        if len(sources or ()) > 1:
            raise InputError("measures the models of one run there", where="--host", hint="name one run folder")
        chosen = options.given(profiles=options.listed(profiles))
        kept = api.bench_on(
            host,
            sources[0] if sources else None,
            name=name,
            python=host_python,
            ssh_options=ssh_option or (),
            data=data,
            runs=runs,
            options=chosen,
            assignments=assignments or (),
            command=options.command_line(),
        )
        _results.show_device(kept, as_json=as_json)
        _results.raise_too_slow_there(kept, max_latency_ms)
        return

    made = api.bench(
        *(sources or ()),
        data=data,
        name=name,
        runs=runs,
        again=again,
        options=options.given(
            profiles=options.listed(profiles),
            runtimes=options.listed(runtimes),
            max_drop=max_drop,
            max_latency_ms=max_latency_ms,
            max_size_mb=max_size_mb,
        ),
        assignments=assignments or (),
        command=options.command_line(),
    )
    _results.show_measurements(made, report=None, as_json=as_json)
    _results.raise_missed_budgets(made)


def _refuse_beside(option: str, others: Mapping[str, object]) -> None:
    """Refuse options that another one knows nothing of, rather than drop them.

    Raises:
        InputError: One of them was given.
    """
    given = [name for name, value in others.items() if value is not None]
    if given:
        raise InputError(f"{given[0]} means nothing beside it", where=option, hint=f"leave {', '.join(given)} out")
