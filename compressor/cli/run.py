"""`compress run`: a whole recipe, from teacher to report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from compressor.cli import _options as options

if TYPE_CHECKING:
    from compressor.api import Finished


def run(
    recipe: Annotated[Path, typer.Argument(help="A recipe in TOML (compress init writes one).")] = Path("recipe.toml"),
    assignments: options.Assignments = None,
    trust: options.Trust = False,
    tensorboard: options.TensorBoard = False,
    as_json: options.AsJson = False,
) -> None:
    """Run a recipe: teacher, control, student, ONNX, measurements, report. What is unchanged is skipped.

    Ends with 1 when a budget, or the target of a cut, is stated and missed.

    Example: compress run recipe.toml --set distill.epochs=60
    """
    from compressor import api, console
    from compressor.cli import _results

    options.event_files(tensorboard)
    if trust:
        options.trusted(options.models_in(recipe, assignments or ()), trust=True)
    done = api.run(recipe, assignments=assignments or (), command=options.command_line())
    if done.measurements is None:
        made = {f"{role} network": str(each.path) for role, each in done.artifacts.items()}
        made |= {f"{role} onnx": str(each.path) for role, each in done.onnx.items()}
        if as_json:
            console.as_json(made)
        else:
            console.table(["made", "in"], list(made.items()))
        _raise_missed_by_a_link(done)
        return
    page = done.report.file("report.html") if done.report else None
    _results.show_measurements(done.measurements, report=page, as_json=as_json)
    _results.raise_missed_budgets(done.measurements)
    _raise_missed_by_a_link(done)


def _raise_missed_by_a_link(done: Finished) -> None:
    """End with exit code 1 when a cut or a quantization did not reach what its section asks for."""
    from compressor.cli import _results

    for made in (*done.artifacts.values(), *done.onnx.values()):
        _results.raise_missed_target(made)
