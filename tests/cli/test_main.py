"""The command line as a process: quick to start, exact in its exit codes, one sentence for every fault."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from compressor import api
from compressor.artifact import read
from compressor.models import checkpoint as checkpoints
from tests.small import recipe, typed, write_project


def compress(*arguments: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "compressor", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=240,
        check=False,
    )


@pytest.fixture
def project(tmp_path):
    return write_project(tmp_path / "project")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A project with a trained teacher artifact."""
    folder = write_project(tmp_path_factory.mktemp("trained"))
    api.train(
        folder / "teacher.py",
        data=f"npz:{folder / 'data.npz'}",
        runs=folder / "runs",
        options={"epochs": 2, "batch_size": 32},
    )
    return folder


@pytest.mark.parametrize(
    "arguments", [["--help"], ["distill", "--help"], ["list", "losses"], ["check", "--quick", "recipe.json"]]
)
def test_what_needs_no_network_loads_no_library_for_one(project, arguments):
    (project / "recipe.json").write_text(json.dumps(recipe(project)), encoding="utf-8")
    program = (
        "import sys\n"
        "from compressor.cli.main import main\n"
        f"sys.argv = ['compress', *{arguments!r}]\n"
        "try:\n    main()\n"
        "except SystemExit as ended:\n    assert not ended.code, ended.code\n"
        "heavy = {'torch', 'numpy', 'onnx', 'onnxruntime', 'pandas', 'plotly'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=project, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_distill_then_export_then_bench_as_written(trained):
    data = f"npz:{trained / 'data.npz'}"
    checkpoint = trained / "t.pt"
    source = read(trained / "runs" / "teacher" / "train")
    torch.save(checkpoints.load(source).network.module.state_dict(), checkpoint)
    done = compress(
        "distill", "--teacher", "t.pt", "--teacher-arch", "teacher.py", "--student", "student.py", "--data", data,
        "--epochs", 2, "--batch-size", 32, "--set", "data.views.crop=1", cwd=trained,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    exported = compress("export", "--onnx", "--json", cwd=trained)
    assert exported.returncode == 0, exported.stderr
    assert json.loads(exported.stdout)["path"] == "runs/student/export"
    measured = compress(
        "bench", "--profiles", "edge", "--max-size-mb", 0.0001, "--set", "bench.min_seconds=0.05",
        "--set", "bench.starts=1",
        "--set", "bench.attempts=1", "--set", "bench.starts=1", "--set", "bench.operators=false", cwd=trained,
    )  # fmt: skip
    assert measured.returncode == 1, measured.stderr
    assert "missed: budget: max_size_mb = 0.0001 MB, measured" in measured.stderr
    assert "Student" in measured.stdout
    reported = compress("report", cwd=trained)
    assert reported.returncode == 0
    assert (trained / "runs" / "student" / "report" / "report.html").is_file()


def test_an_unknown_command_gets_a_suggestion_and_code_2(tmp_path):
    result = compress("distil", cwd=tmp_path)
    assert result.returncode == 2
    assert "distill" in result.stderr


def _pickle(file: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), file)


def _truncated(file: Path) -> None:
    torch.save({"weight": torch.zeros(1000)}, file)
    file.write_bytes(file.read_bytes()[:2000])


def _photos(folder: Path, *, empty: bool = False, broken: int = 0) -> None:
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for index in range(0 if empty and name == "dog" else 8):
            Image.fromarray(np.full((16, 16, 3), 20 * index, np.uint8)).save(folder / name / f"{index}.png")
        for index in range(broken):
            (folder / name / f"broken{index}.png").write_bytes(b"not a picture")


BAD_INPUTS = {
    "no such teacher": (["--teacher", "gone.pt"], "gone.pt: no such file"),
    "no such student": (["--student", "studnt.py"], "did you mean student.py?"),
    "state dict without architecture": (["--teacher", "weights.pt"], "a state dict: weights without the network"),
    "pickle without trust": (["--teacher", "pickled.pt"], "compress trust pickled.pt"),
    "truncated checkpoint": (["--teacher", "truncated.pt"], "damaged or truncated"),
    "text file as checkpoint": (["--teacher", "text.pt"], "not a file that torch or safetensors wrote"),
    "empty checkpoint": (["--teacher", "empty.pt"], "the file is empty"),
    "unknown data format": (["--data", "imagse:photos"], "did you mean 'images'?"),
    "no such data": (["--data", "npz:gone.npz"], "there is no gone.npz"),
    "data without its place": (["--data", "npz"], "'npz' needs a place"),
    "empty class": (["--data", "images:empty"], "dog"),
    "unreadable pictures": (["--data", "images:broken"], "broken0.png"),
    "unknown loss": (["--loss", "kdd"], "did you mean 'kd'?"),
    "temperature of zero": (["--temperature", "0"], "temperature = 0.0 must be above 0"),
    "unknown option of --set": (["--set", "distill.epocs=3"], "did you mean 'epochs'?"),
    "--set without a value": (["--set", "distill.epochs"], "is not an assignment"),
    "epochs of zero": (["--set", "distill.epochs=0"], "greater than or equal to 1"),
    "unknown optimiser": (["--optimizer", "adam"], "'adamw' or 'sgd'"),
    "no GPU here": (["--device", "cuda:9"], "no device 'cuda:9' here"),
    "unknown zoo network": (["--student", "zoo:resnett20"], "did you mean 'resnet20'?"),
    "unknown torchvision network": (["--student", "torchvision:resnet1"], "torchvision has no model 'resnet1'"),
    "wrong architecture": (
        ["--teacher", "weights.pt", "--teacher-arch", "student.py"],
        "does not fit the architecture",
    ),
    "unwritable place": (["--runs", "/proc/runs"], "cannot write here"),
}


@pytest.mark.parametrize("name", BAD_INPUTS)
def test_bad_input_gets_one_sentence_and_code_2(trained, name, monkeypatch, capsys):
    """The command line in this process, so that twenty kinds cost seconds; what a process adds is tested above."""
    from compressor.cli import main

    _make_bad_files(trained)
    arguments, sentence = BAD_INPUTS[name]
    line = {
        "--teacher": "runs/teacher/train",
        "--student": "student.py",
        "--data": "npz:data.npz",
        "--name": "bad",
        "--set": "distill.epochs=1",
    }
    line |= dict(zip(arguments[::2], arguments[1::2], strict=True))
    monkeypatch.chdir(trained)
    monkeypatch.setattr(sys, "argv", ["compress", "distill", *(part for pair in line.items() for part in pair)])
    with pytest.raises(SystemExit) as ended:
        main.main()
    told = capsys.readouterr().err
    assert ended.value.code == (3 if name == "unwritable place" else 2), told
    assert sentence in told.replace("\n", " ")
    assert "Traceback" not in told
    assert not (trained / "runs" / "bad" / "distill").exists()


def _make_bad_files(folder: Path) -> None:
    if (folder / "pickled.pt").exists():
        return
    source = read(folder / "runs" / "teacher" / "train")
    torch.save(load_file(source.file("weights.safetensors")), folder / "weights.pt")
    _pickle(folder / "pickled.pt")
    _truncated(folder / "truncated.pt")
    (folder / "text.pt").write_text("weights", encoding="utf-8")
    (folder / "empty.pt").touch()
    _photos(folder / "empty", empty=True)
    _photos(folder / "broken", broken=3)


def test_check_finds_every_fault_at_once_with_file_key_value_and_hint(project):
    raw = recipe(project)
    raw["distill"]["epocs"] = 3
    raw["data"]["val_share"] = 2.0
    raw["student"]["model"] = "gone.py"
    raw["bench"]["profiles"] = ["edgy"]
    (project / "recipe.json").write_text(json.dumps(raw), encoding="utf-8")
    result = compress("check", "recipe.json", cwd=project)
    assert result.returncode == 2
    for part in (
        "recipe.json: 4 faults",
        "distill.epocs",
        "did you mean 'epochs'?",
        "data.val_share: 2.0",
        "gone.py",
        "'edge'",
    ):
        assert part in result.stderr, part


def test_json_output_is_json_and_nothing_else(trained):
    result = compress("evaluate", "runs/teacher/train", "--json", cwd=trained)
    assert result.returncode == 0
    assert json.loads(result.stdout)["samples"] == 96


@pytest.mark.parametrize(
    "words",
    [
        ("inspect", "x" * 300),
        ("check", "x" * 300),
        ("evaluate", "x" * 300 + ".onnx", "--data", "digits"),
        ("report", "--runs", "x" * 300 + "/y"),
        ("distill", "--student", "x" * 300, "--data", "digits", "--teacher", "t.pt"),
        ("train", "--model", "zoo:lenet5", "--data", "npz:" + "x" * 300),
    ],
    ids=lambda words: words[0],
)
def test_a_name_that_no_file_can_have_is_bad_input(words, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)

    assert typed(monkeypatch, *words) == 2

    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert said.startswith("error: ")


@pytest.mark.parametrize("name", ["recipe.toml", "recipe.json"])
def test_a_recipe_that_is_no_text_is_bad_input(name, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(b"a = '\xff\xfe'")

    assert typed(monkeypatch, "check", name) == 2

    assert f"error: {name}: " in capsys.readouterr().err
