"""What is carried to a device: it runs there without torch and without compress, and what it finds comes into the report."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from compressor import api, artifact, sealed_json
from compressor.cli import main as command_line
from compressor.errors import InputError
from compressor.stages.pack import CARRIED

ROOT = Path(__file__).parents[2]
# Runs run.py as a device would, then says what was imported on the way, and from where.
ON_DEVICE = """
import json, runpy, sys
sys.argv.pop(0)
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as end:
    heavy = [name for name in ("torch", "onnx", "pydantic", "rich") if name in sys.modules]
    print(json.dumps([end.code, heavy, sys.modules["compressor"].__file__]))
"""


@pytest.fixture(scope="module")
def packed(finished, tmp_path_factory):
    """The pack of the finished run, carried elsewhere."""
    project, _ = finished
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv("COMPRESS_HOME", str(project / "home"))
    made = api.pack(project / "runs" / "small", samples=40, zipped=True)
    monkeypatch.undo()
    carried = tmp_path_factory.mktemp("device") / "pack"
    shutil.unpack_archive(made.archive, carried.parent)
    return made, carried


def run_there(pack: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", ON_DEVICE, str(pack / "run.py"), *words]
    return subprocess.run(command, cwd=pack.parent, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture(scope="module")
def measured(packed):
    """`device.json`, and what the process that wrote it printed."""
    _, pack = packed
    done = run_there(pack, "--name", "a pi", "--seconds", "0.05", "--profiles", "edge")
    assert done.returncode == 0, done.stderr
    return json.loads((pack / "device.json").read_text()), done.stdout


def test_teacher_and_student_go_along_with_some_samples(packed):
    made, pack = packed

    told = json.loads((pack / "pack.json").read_text())
    assert list(told["models"]) == ["teacher", "student"]
    assert (told["base"], made.folder.manifest.details["samples"]) == ("teacher", 40)
    assert all((pack / "models" / f"{role}.onnx").is_file() for role in told["models"])
    made.folder.verify()


def test_it_runs_with_its_own_code_and_without_torch(packed, measured):
    _, pack = packed
    code, heavy, place = json.loads(measured[1].splitlines()[-1])

    assert (code, heavy) == (0, [])
    assert Path(place).is_relative_to(pack / "lib")


def test_the_answers_there_are_those_given_here(measured):
    found, shown = measured

    for role in ("teacher", "student"):
        assert found["parity"][role]["agreement"] == 1.0
        assert found["parity"][role]["max_relative"] < 1e-5
        assert found["accuracy"][role]["samples"] == 40
    assert "a pi: " in shown
    assert "same answers as where it was packed: 100.00 %" in shown


def test_each_model_is_timed_beside_the_teacher(measured):
    teacher, student = measured[0]["timings"]

    assert (teacher["role"], teacher["speedup"]) == ("teacher", None)
    assert (student["role"], student["profile"], student["describe"]["provider"]) == (
        "student",
        "edge",
        "CPUExecutionProvider",
    )
    assert student["p50_ms"] > 0
    assert student["speedup"]["ratio"] > 0
    assert (student["starts"], student["speedup"]["low"], student["speedup"]["high"]) == (1, None, None)


def test_a_model_that_changed_on_the_way_is_not_measured(packed, tmp_path):
    shutil.copytree(packed[1], tmp_path / "pack")
    with (tmp_path / "pack" / "models" / "student.onnx").open("ab") as file:
        file.write(b"x")

    done = run_there(tmp_path / "pack")

    assert json.loads(done.stdout.splitlines()[-1])[0] == 2
    assert "student.onnx: is missing or not what was packed" in done.stderr
    assert "carry the pack here again" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--out", "nowhere/device.json"), "nowhere: is not there"),
        (("--out", "."), ".: is a folder"),
        (("--seconds", "nan"), "--seconds: nan is no span of time"),
    ],
)
def test_a_result_that_could_not_be_kept_is_not_measured(packed, words, said):
    done = run_there(packed[1], *words)

    assert f"error: {said}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_pack_that_was_run_where_it_lies_is_whole(packed, tmp_path):
    there = tmp_path / "pack"
    shutil.copytree(packed[0].folder.path, there)
    (there / "device.json").write_text("{}")

    artifact.read(there).verify()


def test_a_profile_that_was_not_packed_is_named(packed):
    done = run_there(packed[1], "--profiles", "phone")

    assert "no profile 'phone' here" in done.stderr


def test_the_report_shows_the_device_beside_this_machine(finished, packed, measured, at_home, tmp_path):
    project, _ = finished
    made = api.report(project / "runs" / "small", devices=[packed[1] / "device.json"], destination=tmp_path / "report")

    assert "a pi" in made.file("report.md").read_text()
    content = json.loads(made.file("report.json").read_text())
    assert [device["name"] for device in content["devices"]] == ["a pi"]
    assert (project / "runs" / "small" / "devices").is_dir(), "it stays with the run"


def test_a_file_that_no_pack_wrote_is_no_device(finished, at_home, tmp_path):
    (tmp_path / "device.json").write_text("{}")

    with pytest.raises(InputError, match="not what a pack writes"):
        api.report(finished[0] / "runs" / "small", devices=[tmp_path / "device.json"])


def test_a_device_that_measured_another_student_is_not_added(finished, packed, measured, at_home, tmp_path):
    told = sealed_json.read((packed[1] / "device.json").read_text())
    told["models"]["student"] = 64 * "0"
    (tmp_path / "device.json").write_text(json.dumps(told))

    with pytest.raises(InputError, match="measured another student than"):
        api.report(finished[0] / "runs" / "small", devices=[tmp_path / "device.json"])


def test_a_result_of_a_device_that_was_edited_is_not_added(finished, packed, measured, at_home, tmp_path):
    content = (packed[1] / "device.json").read_text()
    (tmp_path / "device.json").write_text(content.replace('"name": "a pi"', '"name": "a pj"'))

    with pytest.raises(InputError, match="not what a pack writes: its content does not fit its checksum"):
        api.report(finished[0] / "runs" / "small", devices=[tmp_path / "device.json"])


@pytest.mark.parametrize("name", ["pack.json", "samples.npz", "lib/compressor/measure/parity.py"])
def test_a_pack_that_changed_on_the_way_is_not_measured(packed, tmp_path, name):
    there = shutil.copytree(packed[1], tmp_path / "pack")
    with (there / name).open("ab") as file:
        file.write(b"\n")

    done = run_there(there)

    assert json.loads(done.stdout.splitlines()[-1])[0] == 2
    assert f"'{name}' is not what was written" in done.stderr


def test_a_device_whose_models_were_made_again_since_is_named_and_left_out(
    finished, packed, measured, at_home, tmp_path
):
    project, _ = finished
    told = sealed_json.read((packed[1] / "device.json").read_text())
    told["models"]["teacher"], told["name"] = 64 * "0", "an old pi"
    kept = project / "runs" / "small" / "devices" / "an-old-pi.json"
    kept.parent.mkdir(exist_ok=True)
    kept.write_text(json.dumps(told))

    made = api.report(project / "runs" / "small", destination=tmp_path / "report")
    kept.unlink()

    content = json.loads(made.file("report.json").read_text())
    assert "an old pi" not in [device["name"] for device in content["devices"]]
    assert "the device an old pi" in [missing["what"] for missing in content["missing"]]


def test_the_student_alone_can_be_carried(finished, at_home):
    made = api.pack(finished[0] / "runs" / "small", teacher=False, samples=10)

    assert list(json.loads(made.folder.file("pack.json").read_text())["models"]) == ["student"]


def test_the_command_says_what_to_type_there_and_here(finished, at_home, monkeypatch, capsys):
    folder = str(finished[0] / "runs" / "small")
    monkeypatch.setattr("sys.argv", ["compress", "pack", folder, "--samples", "12"])
    try:
        command_line.main()
    except SystemExit as end:
        assert not end.code  # noqa: PT017

    shown = capsys.readouterr().out
    assert "12 test samples" in shown
    assert "python3 run.py" in shown
    assert "--add device.json" in shown


def test_all_that_is_carried_runs_on_python_3_9():
    files = [str(ROOT / "compressor" / name) for name in (*CARRIED, "tasks/classification.py", "measure/run_pack.py")]
    command = [str(Path(sys.executable).parent / "vermin"), "--no-tips", "--eval-annotations", "-t=3.9-", *files]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout


def test_a_pack_is_an_artifact_like_any_other(packed):
    manifest = artifact.read(packed[0].folder.path).manifest

    assert (manifest.kind, manifest.stage) == ("pack", "pack")
    assert set(manifest.parents) == {"teacher-onnx", "student-onnx"}
