"""`compress init`: what it writes, and that it never half-writes or overwrites."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from compressor import recipe
from compressor.cli.init import init
from compressor.errors import CompressError, InputError
from compressor.models.inspection import count_parameters
from compressor.registry import PACKAGE, import_file

WRITTEN = ["README.md", "data.py", "recipe.toml", "student.py", "teacher.py"]
app = typer.Typer()
app.command()(init)


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments)
    if isinstance(result.exception, CompressError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_new_folder_holds_every_file_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "new"

    output = run(str(folder))

    assert sorted(file.name for file in folder.iterdir()) == WRITTEN
    assert f"cd {folder}" in output
    assert "compress run recipe.toml" in output


def test_the_current_folder_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    output = run()

    assert sorted(file.name for file in tmp_path.iterdir()) == WRITTEN
    assert "cd " not in output


def test_existing_files_are_named_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "teacher.py").write_text("mine", encoding="utf-8")

    with pytest.raises(InputError, match=r"teacher\.py is already here; nothing was written"):
        run(str(tmp_path))

    assert [file.name for file in tmp_path.iterdir()] == ["teacher.py"]


def test_force_overwrites(tmp_path: Path) -> None:
    (tmp_path / "teacher.py").write_text("mine", encoding="utf-8")

    run(str(tmp_path), "--force")

    assert "class Teacher" in (tmp_path / "teacher.py").read_text(encoding="utf-8")


def test_force_does_not_touch_a_folder_of_the_same_name(tmp_path: Path) -> None:
    (tmp_path / "teacher.py").mkdir()

    with pytest.raises(InputError, match=r"teacher\.py is already here"):
        run(str(tmp_path), "--force")

    assert [file.name for file in tmp_path.iterdir()] == ["teacher.py"]


def test_a_place_that_is_a_file_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")

    with pytest.raises(InputError, match="cannot write here"):
        run(str(tmp_path / "file"))


def test_the_written_files_are_given_as_json(tmp_path: Path) -> None:
    assert json.loads(run(str(tmp_path), "--json")) == {"folder": str(tmp_path), "files": WRITTEN}


def test_the_recipe_has_no_fault_and_twenty_lines_at_most(tmp_path: Path) -> None:
    run(str(tmp_path))
    raw = recipe.read_file(tmp_path / "recipe.toml")
    text = (tmp_path / "recipe.toml").read_text(encoding="utf-8")

    assert recipe.faults(raw) == []
    assert recipe.parse(raw, source="test").stage_order() == ("train", "distill", "export", "bench", "report")
    assert sum(1 for line in text.splitlines() if line and not line.startswith("#")) <= 20


def test_the_budgets_that_the_recipe_offers_are_known_ones(tmp_path: Path) -> None:
    text = (PACKAGE / "templates" / "recipe.toml").read_text(encoding="utf-8")
    (tmp_path / "recipe.toml").write_text(text.replace("# max_", "max_").replace("# alpha", "alpha"), encoding="utf-8")

    raw = recipe.read_file(tmp_path / "recipe.toml")

    assert recipe.faults(raw) == []
    assert raw["bench"]["max_drop"] == 1.0


def test_the_student_is_far_smaller_than_the_teacher_and_answers_alike(tmp_path: Path) -> None:
    run(str(tmp_path))
    teacher = import_file(tmp_path / "teacher.py").build(num_classes=10, in_channels=1)
    student = import_file(tmp_path / "student.py").build(num_classes=10, in_channels=1)
    images = torch.rand(2, 1, 8, 8)

    assert teacher(images).shape == student(images).shape == (2, 10)
    assert count_parameters(teacher) > 50 * count_parameters(student)


def test_the_data_of_the_template_are_the_digits(tmp_path: Path) -> None:
    run(str(tmp_path))

    arrays = import_file(tmp_path / "data.py").load()

    assert arrays["x_train"].shape == (1797, 1, 8, 8)
    assert arrays["x_train"].max() == 255
    assert list(arrays["classes"]) == [str(digit) for digit in range(10)]
