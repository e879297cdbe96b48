"""The documents cannot rot: the reference is generated, the examples are run, every name appears."""

from __future__ import annotations

import re
import runpy
import shutil
from pathlib import Path

import pytest

from compressor import registry
from compressor.cli.main import app

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"


def blocks(file: Path, language: str) -> list[str]:
    found = re.findall(rf"```{language}\n(.*?)```", file.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert found, f"{file} has no {language} block"
    return found


@pytest.fixture
def started_folder(tmp_path, monkeypatch):
    """A folder with what `compress init` writes, as the working directory."""
    for file in (ROOT / "compressor" / "templates").iterdir():
        if file.is_file():
            shutil.copy(file, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_reference_is_what_help_prints():
    generator = runpy.run_path(str(ROOT / "docs" / "generate_cli.py"))
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == generator["page"](), "run `make docs`"


@pytest.mark.slow
def test_the_python_guide_runs_from_top_to_bottom(started_folder, capsys):
    namespace: dict[str, object] = {}
    for block in blocks(ROOT / "docs" / "guides" / "python.md", "python"):
        exec(compile(block, "python.md", "exec"), namespace)  # the guide is ours
    printed = capsys.readouterr().out
    assert "model.onnx" in printed
    assert Path(printed.strip().splitlines()[-1]).is_file()


def test_the_loss_of_the_guide_is_checked_and_trained_with(started_folder):
    from compressor import distill, train

    loss, _ = blocks(ROOT / "docs" / "guides" / "extend.md", "python")
    (started_folder / "mine.py").write_text(loss, encoding="utf-8")
    teacher = train("teacher.py", data="digits", name="own", options={"epochs": 1})
    student = distill(
        teacher.path,
        "student.py",
        data="digits",
        name="own",
        loss={"name": "mine.py:LogitDistance", "scale": 0.5},
        options={"epochs": 1},
    )
    assert list(student.manifest.details["curve"][0]["losses"]) == ["LogitDistance"]


def test_the_teacher_of_the_guide_is_checked_and_learnt_from(started_folder):
    from compressor import distill, train

    _, teacher = blocks(ROOT / "docs" / "guides" / "extend.md", "python")
    assert len(teacher.strip().splitlines()) < 30
    (started_folder / "mine.py").write_text(teacher, encoding="utf-8")
    trained = train("teacher.py", data="digits", name="own", options={"epochs": 1})
    student = distill(
        trained.path,
        "student.py",
        data="digits",
        name="own",
        kind="mine.py:Mirrored",
        kind_options={"share": 0.25},
        options={"epochs": 1},
    )
    told = student.manifest.details["teacher"]
    assert told["kind"] == "mine.py:Mirrored"
    assert told["asked"] > 0


def test_the_guide_of_teachers_names_every_kind_and_no_other():
    text = (ROOT / "docs" / "guides" / "teachers.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `(\w+)` \|", text, flags=re.MULTILINE))
    assert named == {member.name for member in registry.members("teachers")}


def test_the_guide_of_losses_names_every_one_and_no_other():
    text = (ROOT / "docs" / "guides" / "losses.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| `(\w+)` \|", text, flags=re.MULTILINE)
    assert sorted(named) == sorted(member.name for member in registry.members("losses"))


@pytest.mark.parametrize(
    "block",
    [
        block
        for guide in ("teachers", "losses", "specialists", "text")
        for block in blocks(ROOT / f"docs/guides/{guide}.md", "toml")
    ],
)
def test_the_recipes_of_the_guides_of_teachers_and_losses_have_no_fault_of_their_own(block):
    import tomllib

    from compressor import recipe

    raw = {"data": {"source": "digits"}, "student": {"model": "s.py"}, **tomllib.loads(block)}
    raw.setdefault("teacher", {"model": "t.pt"})
    assert recipe.faults(raw) == []


def test_the_guide_to_segmentation_runs_from_top_to_bottom(tmp_path, monkeypatch, capsys):
    import tomllib

    from compressor import recipe

    monkeypatch.chdir(tmp_path)
    guide = ROOT / "docs" / "guides" / "segmentation.md"
    namespace: dict[str, object] = {}
    for block in blocks(guide, "python"):
        exec(compile(block, "segmentation.md", "exec"), namespace)  # the guide is ours
    assert 0.0 < float(capsys.readouterr().out.splitlines()[-1]) <= 1.0
    whole, losses = blocks(guide, "toml")
    assert len([line for line in whole.splitlines() if line]) <= 20
    assert recipe.faults(tomllib.loads(whole)) == []
    assert recipe.faults({**tomllib.loads(whole), "distill": tomllib.loads(losses)["distill"]}) == []


@pytest.mark.slow
def test_the_guide_to_labels_runs_from_top_to_bottom(started_folder, capsys):
    namespace: dict[str, object] = {}
    for block in blocks(ROOT / "docs" / "guides" / "labels.md", "python"):
        exec(compile(block, "labels.md", "exec"), namespace)  # the guide is ours
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].endswith("'unlabelled': 1300}")
    assert printed[1:] == ["onnx", "answers.npz"]


def test_every_option_in_the_guide_to_labels_exists():
    known = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    named = set(re.findall(r"--[a-z-]+", "\n".join(blocks(ROOT / "docs" / "guides" / "labels.md", "sh"))))
    assert "--unlabelled" in named
    assert not [option for option in named if option not in known]


def test_every_command_has_help_with_an_example():
    assert len(app.registered_commands) >= 14
    for command in app.registered_commands:
        assert command.callback is not None
        assert "Example: compress" in (command.callback.__doc__ or ""), command.name


def test_every_command_of_the_readme_exists():
    known = {command.name for command in app.registered_commands}
    named = set(re.findall(r"^(?:\$ )?compress (\w+)", "\n".join(blocks(README, "sh")), flags=re.MULTILINE))
    assert named
    assert named <= known


@pytest.mark.parametrize(
    "file", sorted(ROOT.glob("*.md")) + sorted((ROOT / "docs").rglob("*.md")), ids=lambda f: f.name
)
def test_every_link_between_documents_leads_somewhere(file):
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", file.read_text(encoding="utf-8"))
    assert not [target for target in targets if not (file.parent / target).exists()]


def test_contributing_names_the_folder_of_every_family():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert registry.FAMILIES
    for folder in registry.FAMILIES.values():
        assert f"compressor/{folder}/" in text
