"""What commands write replaces nothing of others, reads nothing away from under itself, and stays where it was sent."""

from __future__ import annotations

import json
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from compressor import api, artifact
from compressor.cli.main import main
from compressor.errors import NotOursError

WEB_APP = '{"name": "my app", "start_url": ".", "display": "standalone"}'


@pytest.fixture
def project(finished, tmp_path, at_home):
    """A copy of the finished run, to be harmed."""
    return Path(shutil.copytree(finished[0], tmp_path / "project", symlinks=True))


@pytest.fixture
def compress(monkeypatch, capsys):
    """Run a command line; gives the exit code and what it said."""

    def run(*words: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["compress", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        return int(ended.value.code or 0), told.out + told.err

    return run


def tree(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def web_app(folder: Path) -> Path:
    (folder / "pages").mkdir(parents=True)
    (folder / "manifest.json").write_text(WEB_APP)
    (folder / "pages" / "index.html").write_text("years of work")
    return folder


def test_a_report_is_not_written_over_a_web_app(project, compress, tmp_path):
    site = web_app(tmp_path / "site")
    before = tree(site)

    code, told = compress("report", project / "runs" / "small", "--out", site)

    assert code == 2
    assert "something that compress did not write stands here, and will not be replaced" in told
    assert tree(site) == before


def test_a_report_is_not_written_over_the_measurements_it_is_about(project, compress):
    bench = project / "runs" / "small" / "bench"
    before = tree(bench)

    code, told = compress("report", project / "runs" / "small", "--out", bench)

    assert (code, tree(bench)) == (2, before)
    assert "holds measurements, and will not be replaced" in told


def test_a_folder_of_others_in_a_run_is_left_out_and_stops_only_what_would_replace_it(project, compress):
    run = project / "runs" / "small"
    before = tree(web_app(run / "pack"))
    code, told = compress("pack", run, "--samples", 12)
    assert (code, tree(run / "pack")) == (2, before)
    assert "pack: manifest.json is not one of ours; left out" in told
    assert "did not write stands here" in told
    assert compress("report", run)[0] == 0


@pytest.mark.parametrize("name", ["report", "pack"])
def test_a_report_and_a_pack_made_again_keep_what_people_put_beside_them(project, compress, name):
    run = project / "runs" / "small"
    command = ("report", run) if name == "report" else ("pack", run, "--samples", 12)
    assert compress(*command)[0] == 0
    (run / name / "notes.md").write_text("mine")
    (run / name / "device.json").write_text("also mine")

    assert compress(*command[:2], *(("--samples", 13) if name == "pack" else ()))[0] == 0

    assert (run / name / "notes.md").read_text() == "mine"
    assert (run / name / "device.json").read_text() == "also mine"


def test_a_training_does_not_begin_where_it_could_not_be_kept(project, compress):
    folder = web_app(project / "proj" / "train")
    before = tree(folder)

    model, data = project / "teacher.py", f"npz:{project / 'data.npz'}"
    code, told = compress("train", "--model", model, "--data", data, "--runs", project, "--name", "proj")

    assert (code, tree(folder)) == (2, before)
    assert "did not write stands here" in told
    assert "epoch" not in told


def evaluate(project: Path, out: Path) -> tuple[object, ...]:
    model = project / "runs" / "small" / "distill"
    return ("evaluate", model, "--data", f"npz:{project / 'data.npz'}", "--save-outputs", out)


@pytest.mark.parametrize("words", [(), ("--overwrite",)])
@pytest.mark.parametrize("named", ["data.npz", "./runs/../data.npz", "hard.npz"])
def test_answers_never_replace_the_data_they_are_about(project, compress, monkeypatch, named, words):
    (project / "hard.npz").hardlink_to(project / "data.npz")
    before = tree(project)
    monkeypatch.chdir(project)

    code, told = compress(*evaluate(project, Path(named)), *words)

    assert code == 2
    assert "is what is read here, and would be replaced" in told
    assert tree(project) == before


def test_answers_replace_a_file_of_others_only_when_that_is_said_and_earlier_answers_without(
    project, compress, tmp_path
):
    out = tmp_path / "weights.npz"
    np.savez(out, w=np.ones(3))
    before = out.read_bytes()

    code, told = compress(*evaluate(project, out))
    assert (code, out.read_bytes()) == (2, before)
    assert "compress did not write it; nothing was changed" in told
    assert "--overwrite" in told

    assert compress(*evaluate(project, out), "--overwrite")[0] == 0
    assert set(np.load(out).files) == {"logits", "keys", "classes"}
    assert compress(*evaluate(project, out))[0] == 0


def test_a_pack_is_zipped_over_its_own_archive_and_over_no_other(project, compress):
    run = project / "runs" / "small"
    (run / "pack.zip").write_text("mine")
    code, told = compress("pack", run, "--samples", 12, "--zip")
    assert (code, (run / "pack.zip").read_text()) == (2, "mine")
    assert "--overwrite" in told

    assert compress("pack", run, "--samples", 12, "--zip", "--overwrite")[0] == 0
    (run / "pack" / "notes.md").write_text("mine")
    assert compress("pack", run, "--samples", 12, "--zip")[0] == 0
    with zipfile.ZipFile(run / "pack.zip") as archive:
        names = {name.removeprefix("pack/") for name in archive.namelist()}
    assert names == {*artifact.read(run / "pack").manifest.files, "manifest.json"}

    (run / "pack.zip").unlink()
    (run / "pack.zip").symlink_to(project / "data.npz")
    before = tree(project)
    code, told = compress("pack", run, "--samples", 12, "--zip")
    assert (code, tree(project)) == (2, before)
    assert "is a link" in told


def test_a_comparison_replaces_an_earlier_one_and_no_other_file(project, compress):
    runs = project / "runs"
    shutil.copytree(runs / "small", runs / "other")
    out = project / "compared.md"
    assert compress("report", runs / "small", runs / "other", "--out", out)[0] == 0
    assert compress("report", runs / "small", runs / "other", "--out", out)[0] == 0

    for mine in (project / "teacher.py", runs / "small" / "bench" / "measurements.json"):
        before = tree(project)
        code, _ = compress("report", runs / "small", runs / "other", "--out", mine)
        assert (code, tree(project)) == (2, before)
    code, told = compress("report", runs / "small", "--out", project / "r", "--overwrite")
    assert code == 2
    assert "a folder that is not ours is never replaced" in told


def link_lock(run: Path, outside: Path) -> None:
    (run / ".lock").unlink(missing_ok=True)
    (run / ".lock").symlink_to(outside)


def link_devices(run: Path, outside: Path) -> None:
    shutil.rmtree(run / "devices", ignore_errors=True)
    (run / "devices").symlink_to(outside.parent)


def link_recipe(run: Path, outside: Path) -> None:
    shutil.move(run / "recipe.json", outside)
    (run / "recipe.json").symlink_to(outside)


def link_state(run: Path, outside: Path) -> None:
    (run / ".distill.state").symlink_to(outside.parent)


@pytest.mark.parametrize("harm", [link_lock, link_devices, link_recipe, link_state])
def test_a_received_run_with_a_link_where_we_write_changes_nothing_elsewhere(
    project, compress, tmp_path, harm: Callable[[Path, Path], None]
):
    outside = tmp_path / "outside" / "precious.json"
    outside.parent.mkdir()
    outside.write_text("mine")
    harm(project / "runs" / "small", outside)
    before = tree(outside.parent)

    code, told = compress("pack", project / "runs" / "small", "--samples", 12)

    assert code == 2
    assert "is a link, and what is written here would go where it leads" in told
    assert tree(outside.parent) == before


def test_a_device_s_result_is_kept_over_an_older_one_and_over_nothing_else(project, tmp_path):
    run = project / "runs" / "small"
    models = {}
    for role in ("teacher", "student"):
        made = artifact.read(run / "bench").standing_for(f"{role}-onnx")
        assert made is not None
        models[role] = made.manifest.files["model.onnx"]
    told = {"schema": 1, "name": "pi", "pack": "k", "created": "2026", "models": models}
    told |= {
        "machine": {"cpu": "a CPU", "architecture": "aarch64", "isa": []},
        "versions": {},
        "timings": [],
        "accuracy": {},
        "parity": {},
    }
    (tmp_path / "device.json").write_text(json.dumps(told))
    kept = run / "devices" / "pi.json"

    api.report(run, devices=[tmp_path / "device.json"])
    api.report(run, devices=[tmp_path / "device.json"])
    assert json.loads(kept.read_text())["name"] == "pi"

    for stand in (lambda: kept.write_text("my own notes"), lambda: kept.symlink_to(tmp_path / "precious")):
        kept.unlink(missing_ok=True)
        (tmp_path / "precious").write_text(json.dumps(told))
        stand()
        before = tree(run), (tmp_path / "precious").read_bytes()
        with pytest.raises(NotOursError, match=r"did not write it|is a link"):
            api.report(run, devices=[tmp_path / "device.json"])
        assert (tree(run), (tmp_path / "precious").read_bytes()) == before


def test_what_is_no_file_is_no_device(project):
    run = project / "runs" / "small"
    (run / "devices" / "folder.json").mkdir(parents=True)
    (run / "devices" / "gone.json").symlink_to(project / "nowhere")
    (run / "devices" / "linked.json").symlink_to(project)
    assert api.report(run).file("report.json").is_file()
