"""Several networks in one folder or under one name: each has its own place, and what was made last is measured."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from compressor import api, artifact, pipeline
from compressor import recipe as recipes
from compressor.errors import ArtifactError, InputError, ModelError
from compressor.pipeline import keys
from tests.small import QUICK_BENCH, recipe, typed, write_project

BRIEF = {"epochs": 1, "batch_size": 64, "compile": False}
CUT = {"macs": 0.8, "epochs": 0, "rounds": 1, "round_to": 1}
FLOAT = {"method": "float16", "mixed": False}


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """The small project, which is where commands are typed."""
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path / "caches"))
    monkeypatch.chdir(write_project(tmp_path / "project"))
    return tmp_path / "project"


@pytest.fixture
def big(project) -> artifact.Artifact:
    """`runs/big/train`."""
    return api.train("teacher.py", data="npz:data.npz", name="big", options=BRIEF)


def distilled(teacher: Path | None, name: str, **asked) -> artifact.Artifact:
    return api.distill(teacher, "student.py", data="npz:data.npz", name=name, options=BRIEF, **asked)


def packed(run: Path | str, **asked) -> dict[str, str]:
    """The folders of the models that a pack of a run holds, by role."""
    pack = api.pack(run, samples=4, **asked).folder
    roles = json.loads(pack.file("pack.json").read_text(encoding="utf-8"))["models"]
    return {
        role: pack.parent(f"{role}-onnx").path.resolve().relative_to(Path("runs").resolve()).as_posix()
        for role in roles
    }


def test_a_teacher_that_was_distilled_itself_has_an_onnx_model_of_its_own(big):
    middle = distilled(big.path, "mid")
    distilled(middle.path, "small")

    assert packed("runs/small") == {"teacher": "small/export-teacher", "student": "small/export"}


def test_a_network_that_was_pruned_twice_has_two_onnx_models(big):
    once = api.prune(distilled(big.path, "mid").path, options=CUT)
    twice = api.prune(once.path, options=CUT)

    assert [api.export(each.path).path.name for each in (once, twice)] == ["export-pruned", "export-prune-2"]


def test_a_generation_that_teaches_is_not_measured_as_its_student(project):
    distilled(None, "ba", kind="born_again", kind_options={"generations": 2})

    assert packed("runs/ba") == {"teacher": "ba/export-generation-1", "student": "ba/export"}


def test_exporting_an_assistant_leaves_the_students_model_as_it_was(big):
    student = distilled(big.path, "via", via=["student.py"])
    shipped = api.export(student.path)

    between = api.export("runs/via/assistant-1")

    assert between.path.name == "export-assistant-1"
    assert artifact.read(shipped.path).manifest.created == shipped.manifest.created


def test_one_model_in_two_roles_is_refused(project):
    model = artifact.Artifact(project / "export", artifact.Manifest("onnx", "export", "student-onnx", "key", 0, {}))
    current = pipeline.Run(recipes.parse(recipe(project), source="a test"), onnx={"teacher": model, "student": model})

    with pytest.raises(ArtifactError, match="would be measured as teacher and as student, and is one model"):
        pipeline.bench(current)


def test_a_run_says_which_pictures_it_leaves_out(project, capsys):
    for label in ("cat", "dog"):
        (project / "photos" / label).mkdir(parents=True)
        for number in range(20):
            Image.fromarray(np.full((8, 8, 3), 10 * number, np.uint8)).save(
                project / "photos" / label / f"{number}.png"
            )
    (project / "photos" / "cat" / "torn.png").write_bytes(b"no picture")
    data = {"source": f"images:{project / 'photos'}", "max_unreadable": 0.05}

    pipeline.Run(recipes.parse(recipe(project, data=data), source="test")).dataset  # noqa: B018 - opened when it is asked for

    told = " ".join(capsys.readouterr().err.split())
    assert "data: 2.44% of 41 samples cannot be read" in told
    assert "cat/torn.png" in told


def test_what_was_pruned_last_is_what_a_run_stands_for(big):
    once = api.prune(distilled(big.path, "mid").path, options=CUT)
    api.prune(once.path, options=CUT)

    assert packed("runs/mid", links=True) == {
        "teacher": "mid/export-teacher",
        "distilled": "mid/export",
        "pruned": "mid/export-pruned",
        "student": "mid/export-prune-2",
    }


@pytest.mark.slow
def test_a_link_that_was_quantized_after_another_was_pruned_is_measured_with_its_quantized_form(big):
    student = distilled(big.path, "mid")
    api.prune(student.path, options=CUT)
    api.quantize(student.path, options=FLOAT)

    assert packed("runs/mid", links=True) == {
        "teacher": "mid/export-teacher",
        "distilled": "mid/export",
        "student": "mid/quantize",
    }


@pytest.mark.slow
def test_a_checkpoint_that_was_quantized_is_packed_and_measured_with_its_quantized_form(big):
    shutil.copyfile(big.file("weights.safetensors"), "best.safetensors")
    api.quantize("best.safetensors", arch="teacher.py", data="npz:data.npz", options=FLOAT)

    measured = api.measurements_of(api.bench("runs/best", options=QUICK_BENCH))

    assert packed("runs/best") == {"teacher": "best/export-teacher", "student": "best/quantize"}
    assert [entry["role"] for entry in measured["candidates"]] == ["teacher", "student"]
    assert api.report("runs/best").file("report.html").is_file()


@pytest.mark.slow
def test_a_quantized_control_is_not_what_a_run_stands_for(big):
    distilled(big.path, "small", control=True)
    api.quantize("runs/small/control", options=FLOAT)

    assert packed("runs/small")["student"] == "small/export"


@pytest.fixture
def outside(big) -> Path:
    """`outside.onnx`, with its weights in `outside.data`."""
    model = onnx.load(api.export(big.path).file("model.onnx"))
    onnx.save(model, "outside.onnx", save_as_external_data=True, location="outside.data", size_threshold=64)
    return Path("outside.onnx")


def test_a_model_whose_weights_beside_it_changed_is_measured_again(outside):
    asked = {"data": "npz:data.npz", "options": QUICK_BENCH}
    before = api.bench(outside, **asked)
    assert api.bench(outside, **asked).manifest.created == before.manifest.created

    weights = Path("outside.data").read_bytes()
    Path("outside.data").write_bytes(weights[::-1])

    assert api.bench(outside, **asked).manifest.created != before.manifest.created


def test_a_model_whose_weights_are_gone_is_told_so(outside):
    Path("outside.data").unlink()

    with pytest.raises(ModelError, match=r"its weights lie in 'outside\.data' beside it, which is not there"):
        api.bench(outside, data="npz:data.npz", options=QUICK_BENCH)


def test_an_artifact_that_came_out_otherwise_is_another_model(big):
    manifest = dataclasses.replace(big.manifest, files={**big.manifest.files, "weights.safetensors": "other"})
    other = artifact.Artifact(big.path, manifest)

    assert other.manifest.key == big.manifest.key
    assert keys.content_key(other) != keys.content_key(big)


def test_a_student_of_its_own_run_lies_beside_its_teacher(big):
    first = distilled(big.path, "small")

    second = distilled(first.path, "small")

    assert second.path.name == "distill-2"
    assert second.parent("teacher").path.resolve() == first.path.resolve()
    assert packed("runs/small") == {"teacher": "small/export", "student": "small/export-distill-2"}


def test_a_cut_that_recovers_from_another_cut_leaves_it_there(big):
    student = distilled(big.path, "mid")
    teacher = api.prune(student.path, options=CUT)

    cut = api.prune(student.path, teacher=teacher.path, options=CUT)

    assert (cut.path.name, cut.parent("teacher").path.name) == ("prune-2", "prune")


@pytest.mark.slow
def test_an_onnx_model_of_the_run_that_teaches_stays_what_it_was(big):
    student = distilled(big.path, "small")
    quantized = api.quantize(student.path, options=FLOAT)

    taught = distilled(quantized.path, "small", kind="onnx")
    again = api.quantize(taught.path, options=FLOAT)

    assert (taught.path.name, again.path.name) == ("distill-2", "quantize-2")
    assert packed("runs/small") == {"teacher": "small/quantize", "student": "small/quantize-2"}


def test_several_that_teach_as_one_stay_what_they_were(big):
    shutil.copyfile(big.file("weights.safetensors"), "big.safetensors")
    distilled(Path("big.safetensors"), "small", teacher_arch="teacher.py")

    student = distilled(["runs/small/teacher", big.path], "small")

    assert student.parent("teacher").path.name == "teacher-2"
    assert student.parent("teacher").parent("member-1").path.name == "teacher"


@pytest.fixture
def checkpoints(big) -> list[Path]:
    """`1/best.safetensors` and `2/best.safetensors`, of `teacher.py` and of `student.py`."""
    files = [Path(name) / "best.safetensors" for name in ("1", "2")]
    for file, made in zip(files, (big, distilled(big.path, "mid")), strict=True):
        file.parent.mkdir()
        shutil.copyfile(made.file("weights.safetensors"), file)
    return files


def test_checkpoints_of_one_name_become_two_runs(checkpoints):
    teacher, student = checkpoints

    for _ in range(2):
        cut = api.prune(
            student, arch="student.py", teacher=teacher, teacher_arch="teacher.py", data="npz:data.npz", options=CUT
        )

    assert cut.path == Path("runs/best/prune")
    assert cut.parent("source").path == Path("runs/best/teacher")
    assert re.fullmatch(r"best-[0-9a-f]{8}", cut.parent("teacher").path.parent.name)
    assert len(list(Path("runs").glob("best*"))) == 2


def test_a_checkpoint_called_like_a_run_leaves_its_teacher_there(checkpoints):
    teacher, student = checkpoints
    taught = distilled(teacher, "best", teacher_arch="teacher.py")

    exported = api.export(student, arch="student.py", data="npz:data.npz")

    assert exported.path.parent.name.startswith("best-")
    assert taught.parent("teacher") is not None


def test_a_checkpoint_that_was_adopted_before_is_found_again(checkpoints):
    asked = {"arch": "teacher.py", "data": "npz:data.npz"}

    first = api.export(checkpoints[0], **asked)
    again = api.export(checkpoints[0], **asked, options={"input": "uint8-nhwc"})

    assert again.path == first.path == Path("runs/best/export-teacher")


def test_a_budget_holds_for_the_bench_that_states_it(big, monkeypatch):
    api.bench("runs/big", options=QUICK_BENCH)

    assert typed(monkeypatch, "bench", "runs/big", "--max-size-mb", "0.001") == 1
    assert typed(monkeypatch, "bench", "runs/big") == 0

    kept = artifact.read(Path("runs/big/bench")).manifest.settings["bench"]
    assert kept["runtimes"] == QUICK_BENCH["runtimes"], "how it is measured is as it was"


def test_a_budget_of_the_recipe_holds_for_every_bench_of_the_run(project, monkeypatch):
    raw = recipe(project, bench={**QUICK_BENCH, "max_size_mb": 0.001}, train=BRIEF, stages=["train", "bench"])
    del raw["student"], raw["distill"]
    api.run(raw)

    assert typed(monkeypatch, "bench", "runs/small", "--max-size-mb", "100") == 0
    assert typed(monkeypatch, "bench", "runs/small") == 1


RUNTIME = """
from compressor.runtimes.ort_cpu import OrtCpu

class Mine(OrtCpu):
    \"\"\"{}.\"\"\"
"""


@pytest.mark.parametrize(
    "asked",
    [
        {"runtimes": ["rt.py:Mine"]},
        {"runtimes": ["rt.py:Mine_1"], "runtime": {"rt.py:Mine_1": {"name": "rt.py:Mine"}}},
        {"profiles": ["mine"], "profile": {"mine": {"threads": 1, "runtimes": ["rt.py:Mine"]}}},
    ],
)
def test_an_edited_runtime_is_measured_again_however_it_was_named(big, asked):
    Path("rt.py").write_text(RUNTIME.format("As it was"))
    before = api.bench("runs/big", options=QUICK_BENCH | asked)

    Path("rt.py").write_text(RUNTIME.format("As it is now"))

    assert api.bench("runs/big", options=QUICK_BENCH | asked).manifest.key != before.manifest.key


def test_a_network_whose_teacher_is_gone_says_that_it_recovers_from_itself(big, monkeypatch, capsys):
    distilled(big.path, "mid")
    shutil.rmtree("runs/big/train")
    recovering = ("--macs", "0.8", "--rounds", "1", "--epochs", "1", "--round-to", "1")

    assert typed(monkeypatch, "prune", "runs/mid/distill", *recovering) == 0

    said = " ".join(capsys.readouterr().err.split())
    assert "runs/big/train, which it learned from, is gone or has changed; --teacher names another" in said
    made = artifact.read(Path("runs/mid/prune"))
    assert {decision.what: decision.choice for decision in made.manifest.decisions}[
        "teacher"
    ] == "the network as it was"


def test_a_control_that_teaches_is_not_replaced_by_another(big):
    distilled(big.path, "small", control=True)

    with pytest.raises(InputError, match="a control made here would replace what the teacher comes from"):
        distilled("runs/small/control", "small", control=True)
