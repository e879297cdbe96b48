"""The command line: registers one function per command, and turns every error into one sentence and an exit code."""

from __future__ import annotations

import errno
import io
import signal
import sys
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer

from compressor import __version__
from compressor.cli import (
    bench,
    check,
    clean,
    demo,
    distill,
    doctor,
    evaluate,
    export,
    init,
    inspect,
    pack,
    prune,
    quantize,
    report,
    run,
    train,
    trust,
)
from compressor.cli import list as list_command
from compressor.errors import CompressError, InputError, InterruptedRunError

app = typer.Typer(
    name="compress",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
app.command("init")(init.init)
app.command("demo")(demo.demo)
app.command("check")(check.check)
app.command("run")(run.run)
app.command("train")(train.train)
app.command("distill")(distill.distill)
app.command("prune")(prune.prune)
app.command("quantize")(quantize.quantize)
app.command("export")(export.export)
app.command("evaluate")(evaluate.evaluate)
app.command("bench")(bench.bench)
app.command("pack")(pack.pack)
app.command("report")(report.report)
app.command("list")(list_command.list_)
app.command("clean")(clean.clean)
app.command("inspect")(inspect.inspect)
app.command("doctor")(doctor.doctor)
app.command("trust")(trust.trust)


_UNREADABLE: Any = typer.BadParameter.__mro__[2]  # ClickException, which Typer has under no name of its own
assert _UNREADABLE.__name__ == "ClickException", _UNREADABLE


def _version(wanted: bool) -> None:
    if wanted:
        from compressor import console

        console.show(f"compress {__version__}")
        raise typer.Exit


@app.callback()
def compress(
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress; results and errors only.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """A trained PyTorch teacher in; a small, fast, verified ONNX student out.

    Start with: compress demo, or compress init my-folder
    """
    if quiet:
        from compressor import console

        console.be_quiet()


def main() -> None:
    """Run the command line; the process ends with the exit code of what happened."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupted)
    try:
        _run()
    except CompressError as fault:
        _end_with(fault)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone; nothing is left to say to it
        sys.exit(0)
    except OSError as fault:
        if fault.errno != errno.ENAMETOOLONG:
            _unknown()
        named = f"{str(fault.filename)[:60]}..."  # what was typed or read; whoever looks at it first meets this
        _end_with(InputError("no file can have a name as long as this", where=named, hint="write the path of a file"))
    except Exception:  # noqa: BLE001 -- the one place where the unknown becomes an exit code
        _unknown()


def _run() -> None:
    """Typer's part of the work; what it says of a command line that it cannot read is printed as everything else is."""
    from compressor import console

    console.hold_libraries_to_it()
    try:
        code = app(standalone_mode=False)
    except _UNREADABLE as fault:
        said = io.StringIO()
        fault.show(said)
        console.complain(said.getvalue())
        sys.exit(fault.exit_code)
    sys.exit(code or 0)


def _end_with(fault: CompressError) -> NoReturn:
    from compressor import console

    console.error(fault)
    if "--json" in sys.argv and not console.has_written_json():  # one document, and a result comes first
        told = {"message": fault.message, "where": fault.where, "hint": fault.hint, "exit_code": fault.exit_code}
        console.as_json({"error": told})
    sys.exit(fault.exit_code)


def _interrupted(number: int, _frame: FrameType | None) -> NoReturn:
    """Between training steps there is nothing to save: finished links are on disk."""
    from compressor.cli._options import command_line

    raise InterruptedRunError(
        f"by {signal.Signals(number).name}; finished links are kept", hint=f"the same line goes on: {command_line()}"
    )


def _unknown() -> NoReturn:
    import platform
    import traceback

    from compressor import console

    version = f"compress {__version__} or of a library (Python {platform.python_version()})"
    console.complain(
        f"{traceback.format_exc()}\nThis is a fault of {version}; "
        "please report it with the lines above. `compress doctor` shows the rest of what matters.\n"
    )
    sys.exit(3)


if __name__ == "__main__":
    main()
