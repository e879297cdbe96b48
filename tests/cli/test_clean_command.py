"""`compress clean`: what it shows, what it deletes, and what it leaves alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from compressor import caches
from compressor.cli.clean import clean
from compressor.errors import CompressError, InputError, UnknownNameError

app = typer.Typer()
app.command()(clean)

NEW, OLD, PIXELS = "aaaa1111bbbb2222cccc", "aaaa3333bbbb2222cccc", "dddd1111bbbb2222cccc"


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments)
    if isinstance(result.exception, CompressError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def run_json(*arguments: str) -> Any:
    return json.loads(run(*arguments, "--json"))


def left() -> set[str]:
    return {cache.key for cache in caches.all_caches()}


@pytest.fixture(autouse=True)
def three_caches() -> None:
    for kind, key, days in (("teacher", NEW, 1), ("teacher", OLD, 40), ("pixels", PIXELS, 10)):
        folder = caches.open_cache(kind, key, {"data": "digits"})
        (folder / "view-00000.bin").write_bytes(b"x" * 100_000)
        then = (datetime.now(UTC) - timedelta(days=days)).timestamp()
        os.utime(folder / "used", (then, then))


def test_alone_it_shows_what_there_is_and_deletes_nothing() -> None:
    result = CliRunner().invoke(app)

    assert result.exit_code == 0
    for key in (NEW, OLD, PIXELS):
        assert key[:12] in result.stdout
    assert "nothing was deleted: compress clean --all, KEY or --older-than DAYS does" in result.stderr
    assert left() == {NEW, OLD, PIXELS}


def test_a_kind_alone_deletes_nothing_either() -> None:
    result = run_json("--kind", "pixels")
    assert [row["key"] for row in result["left"]] == [PIXELS]
    assert result["deleted"] == []
    assert left() == {NEW, OLD, PIXELS}


def test_all_deletes_everything_and_says_what_was_freed() -> None:
    size = sum(cache.size_bytes for cache in caches.all_caches())
    output = run("--all")
    assert output.count("deleted: ") == 3
    assert f"{size / 1e3:.0f} kB freed" in output
    assert left() == set()
    assert run("--all") == "nothing to delete\n"


def test_all_of_a_kind_leaves_the_other_kind() -> None:
    run("--all", "--kind", "teacher")
    assert left() == {PIXELS}


def test_a_key_may_be_given_by_its_beginning() -> None:
    run("aaaa1", PIXELS, "dddd")
    assert left() == {OLD}


def test_what_was_not_used_for_so_many_days_goes() -> None:
    run("--older-than", "5", "--kind", "teacher")
    assert left() == {NEW, PIXELS}
    run("--older-than", "5")
    assert left() == {NEW}


def test_a_key_that_was_used_since_is_kept() -> None:
    run(NEW, OLD, "--older-than", "30")
    assert left() == {NEW, PIXELS}


def test_the_result_is_given_as_json() -> None:
    sizes = {cache.key: cache.size_bytes for cache in caches.all_caches()}
    result = run_json(OLD)
    assert [row["key"] for row in result["deleted"]] == [OLD]
    assert result["freed_bytes"] == sizes[OLD]
    assert {row["key"] for row in result["left"]} == {NEW, PIXELS}


def test_an_unknown_key_gets_the_nearest_one_and_nothing_is_deleted() -> None:
    with pytest.raises(UnknownNameError, match="no cache has the key 'ddddl111' — did you mean 'dddd1111'") as told:
        run(NEW, "ddddl111")
    assert told.value.exit_code == 2
    assert left() == {NEW, OLD, PIXELS}


def test_a_beginning_that_several_keys_share_is_refused() -> None:
    with pytest.raises(InputError, match=r"aaaa: 2 caches begin so: teacher aaaa1111.* — write more of the key"):
        run("aaaa")
    assert left() == {NEW, OLD, PIXELS}


def test_an_empty_key_is_no_beginning_of_any() -> None:
    with pytest.raises(UnknownNameError, match="no cache has the key ''"):
        run("")
    assert left() == {NEW, OLD, PIXELS}


def test_an_unknown_kind_gets_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match="no kind of cache is called 'pixel' — did you mean 'pixels'"):
        run("--all", "--kind", "pixel")


@pytest.mark.parametrize("beside", [[NEW], ["--older-than", "3"]])
def test_all_takes_nothing_that_would_narrow_it(beside: list[str]) -> None:
    with pytest.raises(InputError, match="takes no KEY and no --older-than beside it"):
        run("--all", *beside)
    assert left() == {NEW, OLD, PIXELS}


def test_a_folder_that_may_not_be_ours_goes_by_its_name_only() -> None:
    (caches.root() / "teacher" / "project").mkdir()
    assert run("--all").count("deleted: ") == 3
    assert left() == {"project"}
    run("project")
    assert left() == set()


def test_a_damaged_cache_goes_with_all() -> None:
    (caches.root() / "teacher" / NEW / "about.json").write_text("{", encoding="utf-8")
    assert "damaged" in run()
    run("--all")
    assert left() == set()


def test_it_loads_no_library_for_networks() -> None:
    program = (
        "import sys\n"
        "from compressor.cli.main import main\n"
        "sys.argv = ['compress', 'clean', '--all']\n"
        "try:\n    main()\n"
        "except SystemExit as ended:\n    assert not ended.code, ended.code\n"
        "heavy = {'torch', 'numpy', 'onnx', 'onnxruntime'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("deleted: ") == 3
