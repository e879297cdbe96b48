"""Write docs/cli.md from `compress --help` and the help of every command; the tests check that it is up to date."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from compressor.cli.main import app

PAGE = Path(__file__).parent / "cli.md"
EXIT_CODES = """| exit code | means |
|---|---|
| 0 | done |
| 1 | all ran, and a budget that was stated (`--max-drop`, `--max-latency-ms`, a target, `--fail-if`) is missed |
| 2 | what was typed or given has to be mended; nothing was made |
| 3 | a stage failed, or the installation is broken; what was made before it is kept |
| 130 | stopped by a signal; the state is kept, and the same line goes on |
"""


def page() -> str:
    """The whole page as Markdown."""
    parts = [
        "# Commands\n\nWritten by `make docs` from `--help`; do not edit.\n\n",
        EXIT_CODES,
        "\n",
        _block(["--help"]),
    ]
    for command in app.registered_commands:
        assert command.name is not None
        parts.append(f"\n## compress {command.name}\n\n{_block([command.name, '--help'])}")
    return "".join(parts)


def _block(arguments: list[str]) -> str:
    result = CliRunner().invoke(app, arguments, prog_name="compress", terminal_width=110, env={"COLUMNS": "110"})
    assert result.exit_code == 0, result.output
    lines = [line.rstrip() for line in result.output.strip("\n").splitlines()]
    return "```\n" + "\n".join(lines) + "\n```\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
