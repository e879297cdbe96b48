"""The chain as a whole: what each link leaves, and what is done again when something changes."""

from __future__ import annotations

import json
import shutil

import numpy as np
import onnx
import pytest

from compressor import api, artifact, pipeline, trust
from compressor import recipe as recipes
from compressor.errors import ArtifactError, ModelError, RecipeError, TrustError
from compressor.pipeline import keys
from tests.small import QUICK_BENCH, recipe, typed, with_manifest, write_project

pytestmark = pytest.mark.usefixtures("at_home")

LINKS = ("train", "control", "distill", "export", "export-teacher", "export-control", "bench", "report")


def notes(capsys) -> str:
    return capsys.readouterr().err


@pytest.mark.parametrize("link", LINKS)
def test_every_link_leaves_a_verified_artifact(finished, link):
    _, done = finished
    made = artifact.read(done.folder / link)
    made.verify()
    assert made.manifest.files
    assert made.manifest.versions["torch"]
    assert made.manifest.settings


def test_student_teacher_and_control_learn_the_task(finished):
    _, done = finished
    for role in ("teacher", "control", "student"):
        assert done.artifacts[role].manifest.metrics["test"]["metrics"]["accuracy"] > 0.9, role


def test_no_pickle_is_ever_written(finished):
    _, done = finished
    written = [file for file in done.folder.rglob("*") if file.is_file()]
    assert len(written) > 20
    assert not [file for file in written if file.suffix in (".pt", ".pth", ".pkl", ".th")]


def test_the_control_differs_from_the_student_only_in_its_teacher(finished):
    _, done = finished
    student, control = done.artifacts["student"].manifest, done.artifacts["control"].manifest
    budget = {k: v for k, v in student.settings["training"].items() if k not in recipes.DISTILLATION_ALONE}
    assert control.settings["training"] == budget
    assert control.settings["model"] == student.settings["model"]
    assert control.seed == student.seed


def test_measurements_hold_every_sample_and_of_one_start_a_speedup_without_interval(finished):
    _, done = finished
    results = api.measurements_of(done.measurements)
    samples = np.load(done.measurements.file("samples.npz"))
    timing = next(t for t in results["timings"] if (t["role"], t["runtime"]) == ("student", "ort_cpu"))
    assert len(samples["ort_cpu.edge.student"]) == timing["samples"] >= 40
    assert (timing["starts"], timing["speedup"]["low"], timing["p50_interval"]) == (1, None, None)
    assert timing["speedup"]["ratio"] > 0
    assert timing["p99_ms"] is None or timing["samples"] >= 1000
    assert {entry["role"] for entry in results["candidates"]} == {"teacher", "control", "student"}


def test_the_onnx_file_says_what_it_takes_and_where_it_is_from(finished):
    _, done = finished
    model = onnx.load(done.onnx["student"].file("model.onnx"))
    told = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert told["compress.classes"] == ["north-west", "north-east", "south-west", "south-east"]
    assert told["compress.input"]["range"] == "0-1"
    assert told["compress.provenance"]["key"] == done.artifacts["student"].manifest.key


def test_the_onnx_file_holds_no_path_of_this_machine(finished):
    project, done = finished
    content = done.onnx["student"].file("model.onnx").read_bytes()
    assert str(project).encode() not in content
    assert b"site-packages" not in content


def test_a_second_run_skips_every_link(finished, capsys):
    project, done = finished
    again = api.run(recipe(project))
    assert notes(capsys).count("unchanged") == 7
    assert again.artifacts["student"].manifest.created == done.artifacts["student"].manifest.created


def test_another_temperature_distils_again_but_keeps_teacher_and_control(finished, tmp_path, capsys):
    project = shutil.copytree(finished[0], tmp_path / "project")  # what other tests hold stays as it is
    api.run(
        recipe(project), assignments=["distill.losses=[{name='kd', temperature=2.0}]", "stages=['train','distill']"]
    )
    told = notes(capsys)
    assert "train: unchanged" in told
    assert "control: unchanged" in told
    assert "distill: starts" in told


def test_an_edited_student_file_is_noticed(finished, tmp_path):
    project, _ = finished
    edited = tmp_path / "student.py"
    edited.write_text((project / "student.py").read_text().replace("nn.Dropout(0.1)", "nn.Dropout(0.2)"))
    files = (project / "student.py", edited)
    assert len({str(keys.model_key(recipes.ModelSettings(model=str(file)))) for file in files}) == 2


def test_a_tampered_artifact_is_made_again(finished, capsys):
    project, done = finished
    file = done.folder / "export-control" / "model.onnx"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    api.run(recipe(project), assignments=["stages=['train','distill','export']"])
    told = notes(capsys)
    assert "export-control: done again, since the one there is damaged" in told


def test_a_second_run_in_the_same_folder_is_refused_while_one_is_at_work(finished):
    project, _ = finished
    current = pipeline.Run(recipes.parse(recipe(project), source="test"))
    other = pipeline.Run(recipes.parse(recipe(project), source="test"))
    with current.working(), pytest.raises(ArtifactError, match="another run is at work"), other.working():
        pass


def test_export_takes_the_newest_network_and_its_data(finished):
    _, done = finished
    made = api.export(runs=done.folder.parent)
    assert made.manifest.kind == "onnx"
    assert made.manifest.details["parity"]["agreement"] == 1.0


def test_a_camera_model_takes_bytes_and_answers_the_same(finished, tmp_path):
    import onnxruntime

    project, done = finished
    made = api.export(done.artifacts["student"].path, options={"input": "uint8-nhwc"})
    session = onnxruntime.InferenceSession(made.file("model.onnx"), providers=["CPUExecutionProvider"])
    pictures = np.load(project / "data.npz")["x_test"][:16]
    (logits,) = session.run(None, {"input": np.moveaxis(pictures, 1, -1)})
    assert session.get_inputs()[0].type == "tensor(uint8)"
    assert (logits.argmax(1) == np.load(project / "data.npz")["y_test"][:16]).mean() > 0.8
    api.export(done.artifacts["student"].path)


def test_evaluate_agrees_between_network_and_onnx(finished):
    _, done = finished
    torch_found = api.evaluate(done.artifacts["student"].path)
    onnx_found = api.evaluate(done.onnx["student"].path)
    assert torch_found["metrics"]["accuracy"] == onnx_found["metrics"]["accuracy"]
    assert torch_found["samples"] == 96


def test_bench_finds_teacher_and_control_of_the_newest_student(finished):
    _, done = finished
    made = api.bench(
        runs=done.folder.parent,
        options=QUICK_BENCH,
    )
    results = api.measurements_of(made)
    assert [entry["role"] for entry in results["candidates"]] == ["teacher", "control", "student"]
    assert {timing["runtime"] for timing in results["timings"]} == {"ort_cpu"}


def test_a_distilled_student_can_be_a_teacher(finished, tmp_path):
    project, done = finished
    made = api.distill(
        done.artifacts["student"].path,
        project / "student.py",
        data=f"npz:{project / 'data.npz'}",
        name="again",
        runs=tmp_path,
        options={"epochs": 1, "batch_size": 32},
    )
    assert made.parent("teacher").manifest.key == done.artifacts["student"].manifest.key


def test_a_teacher_of_other_classes_is_refused(finished, tmp_path):
    project, done = finished
    with np.load(project / "data.npz") as kept:
        arrays = dict(kept)
    arrays["classes"] = np.array(["a", "b", "c", "d"])
    np.savez(tmp_path / "other.npz", **arrays)
    with pytest.raises(ModelError, match="the teacher knows 4 classes"):
        api.distill(
            done.artifacts["teacher"].path, project / "student.py", data=f"npz:{tmp_path / 'other.npz'}", runs=tmp_path
        )


def test_an_untrained_architecture_cannot_teach(tmp_path):
    project = write_project(tmp_path / "p")
    with pytest.raises(ModelError, match="an architecture without weights has nothing to teach"):
        api.distill(project / "teacher.py", project / "student.py", data=f"npz:{project / 'data.npz'}", runs=tmp_path)


def test_faults_are_found_before_anything_is_written(tmp_path):
    project = write_project(tmp_path / "p")
    raw = recipe(project, student={"model": str(project / "studnt.py")}, data={"source": "npz:nowhere.npz"})
    with pytest.raises(RecipeError, match="2 faults"):
        api.run(raw)
    assert not (project / "runs").exists()


def test_onnx_files_are_compared_as_they_are(finished, tmp_path):
    project, done = finished
    big = tmp_path / "big.onnx"
    small = tmp_path / "small.onnx"
    big.write_bytes(done.onnx["teacher"].file("model.onnx").read_bytes())
    small.write_bytes(done.onnx["student"].file("model.onnx").read_bytes())
    quick = QUICK_BENCH | {"runtimes": ["torch", "ort_cpu"]}
    made = api.bench(big, small, data=str(project / "data.npz"), runs=tmp_path / "runs", options=quick)
    results = api.measurements_of(made)
    assert [entry["title"] for entry in results["candidates"]] == ["big", "small"]
    assert results["timings"][1]["speedup"]["against"] == "teacher"
    told = json.loads(api.report(made.path).file("report.json").read_text())
    assert told["headline"]["sentence"].startswith("small reaches ")
    assert " where big reaches " in told["headline"]["sentence"]
    assert told["headline"]["gain_sentence"] == ""
    assert "the control" not in [missing["what"] for missing in told["missing"]]


def test_what_was_measured_is_measured_again_when_asked(finished, tmp_path):
    project, done = finished
    file = done.onnx["student"].file("model.onnx")
    quick = QUICK_BENCH | {"runtimes": ["torch", "ort_cpu"]}
    again = {"data": f"npz:{project / 'data.npz'}", "runs": tmp_path / "runs", "options": quick}

    first, kept = api.bench(file, **again), api.bench(file, **again)
    anew = api.bench(file, **again, again=True)

    assert kept.manifest.files == first.manifest.files
    assert anew.manifest.key == first.manifest.key
    assert anew.manifest.files["samples.npz"] != first.manifest.files["samples.npz"]


def test_one_onnx_file_alone_is_measured(finished, tmp_path):
    project, done = finished
    quick = QUICK_BENCH | {"runtimes": ["torch", "ort_cpu"]}
    file = done.onnx["student"].file("model.onnx")
    made = api.bench(file, data=f"npz:{project / 'data.npz'}", runs=tmp_path / "runs", options=quick)
    (candidate,) = api.measurements_of(made)["candidates"]
    assert candidate["accuracy"][0]["metrics"]["accuracy"] > 0.9
    assert api.report(made.path).file("report.html").is_file()


def test_a_model_exported_without_its_normalisation_says_so_and_is_measured_right(finished):
    _, done = finished
    source = done.artifacts["student"]
    made = api.export(source.path, options={"normalise": False})
    assert made.manifest.details["input_contract"]["normalisation"]["baked_in"] is False
    bare = api.evaluate(made.path)["metrics"]["accuracy"]
    assert bare == api.evaluate(source.path)["metrics"]["accuracy"]
    api.export(source.path)


def test_set_reaches_the_data_of_an_artifact(finished):
    _, done = finished
    source = done.artifacts["teacher"]
    made = api.export(source.path, assignments=["data.val_share=0.2", "export.samples=7"])
    assert made.manifest.details["parity"]["samples"] == 7
    assert made.manifest.settings["data"]["val_share"] == 0.2
    api.export(source.path)


EVIL = """
from pathlib import Path
Path("{mark}").touch()
def build(*arguments, **options): ...
"""


NAMED_BY_THE_ARTIFACT = {
    "a data function": ({"data": {"source": "py:{evil}:build"}}, ()),
    "a data function without its format": ({"data": {"source": "{evil}:build"}}, ()),
    "a file of data functions": ({"data": {"source": "{evil}"}}, ()),
    "a second data function": ({"data": {"unlabelled": "{evil}:build"}}, ()),
    "a task": ({"task": {"name": "{evil}:build"}}, ()),
    "a task that --set changes": ({"task": {"name": "{evil}:build"}}, ("task.options.x=1",)),
}


def foreign_copy(made, folder, sections):
    """A copy of an artifact whose manifest names code that leaves a mark: (the copy, the mark)."""
    shutil.copytree(made.path, folder)
    evil, mark = folder.parent / "evil.py", folder.parent / "code-has-run"
    evil.write_text(EVIL.format(mark=mark))
    named = json.loads(json.dumps(sections).replace("{evil}", str(evil)))
    with_manifest(folder, lambda raw: [raw["settings"][section].update(named[section]) for section in named])
    return folder, mark


@pytest.mark.parametrize("named", NAMED_BY_THE_ARTIFACT)
def test_an_artifact_from_elsewhere_cannot_name_code_to_run(finished, tmp_path, named):
    _, done = finished
    sections, assignments = NAMED_BY_THE_ARTIFACT[named]
    foreign, mark = foreign_copy(done.artifacts["student"], tmp_path / "foreign" / "distill", sections)
    for call in (api.evaluate, api.export, api.bench, api.prune):
        with pytest.raises(TrustError, match="would run"):
            call(foreign, assignments=assignments)
    assert not mark.exists()


def test_a_teacher_is_not_adopted_with_the_code_that_another_artifact_names(finished, tmp_path):
    project, done = finished
    sections = {"data": {"source": "py:{evil}:build"}}
    foreign, mark = foreign_copy(done.artifacts["student"], tmp_path / "foreign" / "distill", sections)
    shutil.copy(done.artifacts["teacher"].file("weights.safetensors"), tmp_path / "t.safetensors")
    named = {"teacher": tmp_path / "t.safetensors", "teacher_arch": str(project / "teacher.py")}
    with pytest.raises(TrustError, match="the code that builds its network would run"):
        api.prune(foreign, data=f"npz:{project / 'data.npz'}", runs=tmp_path / "runs", **named)
    assert not mark.exists()


@pytest.mark.parametrize("sections", [{"data": {"source": "{evil}:build"}}, {"model": {"model": "{evil}:build"}}])
def test_the_training_of_an_artifact_from_elsewhere_is_not_timed(finished, tmp_path, sections):
    _, done = finished
    foreign, mark = foreign_copy(done.artifacts["teacher"], tmp_path / "foreign" / "train", sections)
    with pytest.raises(TrustError, match="would run"):
        api.profile(foreign)
    assert not mark.exists()


@pytest.mark.parametrize(
    "bench",
    [
        {"runtimes": ["{evil}:build", "ort_cpu"]},
        {"profiles": ["mine"], "profile": {"mine": {"runtimes": ["{evil}:build"]}}},
        {"runtimes": ["ort_cpu", "evil_own"], "runtime": {"evil_own": {"name": "{evil}:build"}}},
    ],
)
def test_measurements_from_elsewhere_cannot_name_a_runtime_to_run(finished, tmp_path, bench):
    _, done = finished
    runs = tmp_path / "runs"
    shutil.copytree(done.folder, runs / "small", ignore=shutil.ignore_patterns("bench"))
    _, mark = foreign_copy(done.measurements, runs / "small" / "bench", {"bench": bench})
    for call in (api.bench, api.pack):
        with pytest.raises(TrustError, match=r"the runtime .*evil\.py:build would run"):
            call(runs / "small")
    assert not mark.exists()


@pytest.mark.parametrize("words", [("pack",), ("bench", "--training", "--steps", "5")])
@pytest.mark.parametrize("source", ["small", "small/distill"])
def test_what_a_run_from_elsewhere_carries_runs_once_with_trust(finished, tmp_path, monkeypatch, capsys, words, source):
    _, done = finished
    foreign = tmp_path / "runs" / "small"
    shutil.copytree(done.folder, foreign, ignore=shutil.ignore_patterns("export*"))
    monkeypatch.setenv("COMPRESS_HOME", str(tmp_path / "fresh"))
    line = (*words, str(tmp_path / "runs" / source))

    assert typed(monkeypatch, *line) == 2
    assert "(or add --trust)" in capsys.readouterr().err
    assert typed(monkeypatch, *line, "--trust") == 0
    assert artifact.sha256(foreign / "distill" / "manifest.json") not in trust.entries()


def test_bench_takes_the_export_that_is_there(finished, tmp_path):
    _, done = finished
    runs = tmp_path / "runs"
    shutil.copytree(done.folder, runs / "small")
    source = runs / "small" / "distill"
    camera = api.export(source, options={"input": "uint8-nhwc"})
    api.bench(runs / "small", options=QUICK_BENCH)
    again = artifact.read(camera.path)
    assert again.manifest.details["input_contract"]["layout"] == "NHWC"
    assert again.manifest.created == camera.manifest.created


def test_a_control_of_another_budget_is_no_control(finished, tmp_path, capsys):
    project, done = finished
    runs = tmp_path / "runs"
    shutil.copytree(done.folder, runs / "small")
    shorter = {"epochs": 1, "batch_size": 32, "lr": 0.01}
    data = f"npz:{project / 'data.npz'}"
    api.distill(runs / "small" / "train", project / "student.py", data=data, name="small", runs=runs, options=shorter)
    made = api.bench(runs / "small", options=QUICK_BENCH)
    assert "control" not in {entry["role"] for entry in api.measurements_of(made)["candidates"]}
    assert "is no control of this student" in notes(capsys)


def test_a_retrained_teacher_is_not_taken_for_the_one_a_student_learned_from(finished, tmp_path):
    project, done = finished
    runs = tmp_path / "runs"
    shutil.copytree(done.folder, runs / "small")
    student = artifact.read(runs / "small" / "distill")
    assert student.parent("teacher") is not None
    api.run(recipe(project, runs=str(runs), train={"epochs": 1, "batch_size": 32}, stages=["train"]))
    assert student.parent("teacher") is None


def test_the_newest_network_is_never_the_control(finished):
    _, done = finished
    newest = artifact.newest(done.folder.parent, kind="torch", roles=("student", "teacher"))
    assert newest.manifest.role != "control"


def test_stages_make_what_they_need(tmp_path):
    project = write_project(tmp_path / "p")
    raw = recipe(project, stages=["export"])
    raw["train"]["epochs"] = raw["distill"]["epochs"] = 1
    done = api.run(raw)
    assert set(done.onnx) == {"teacher", "control", "student"}
    assert done.measurements is None


def test_three_models_are_told_apart(finished, tmp_path):
    project, done = finished
    for name in ("a", "teacher", "c"):
        (tmp_path / f"{name}.onnx").write_bytes(done.onnx["student"].file("model.onnx").read_bytes())
    quick = QUICK_BENCH | {"runtimes": ["torch", "ort_cpu"]}
    files = [tmp_path / f"{name}.onnx" for name in ("a", "teacher", "c")]
    made = api.bench(*files, data=str(project / "data.npz"), runs=tmp_path / "runs", options=quick)
    results = api.measurements_of(made)
    assert [(t["role"], t["samples"] >= 20) for t in results["timings"]] == [
        ("teacher", True), ("model-2", True), ("student", True)
    ]  # fmt: skip


def test_a_student_without_its_teacher_cannot_meet_a_budget_of_points(finished, tmp_path):
    _, done = finished
    alone = tmp_path / "runs" / "alone" / "distill"
    shutil.copytree(done.artifacts["student"].path, alone)
    made = api.bench(alone, options=QUICK_BENCH | {"max_drop": 0.0})
    (budget,) = api.measurements_of(made)["budgets"]
    assert budget == {"budget": "max_drop", "limit": 0.0, "value": None, "unit": "points", "met": False}


def test_export_from_inside_the_run_folder_stays_in_it(finished, monkeypatch):
    _, done = finished
    monkeypatch.chdir(done.folder)
    made = api.export("distill")
    assert made.path.resolve() == (done.folder / "export").resolve()


def test_other_classes_than_the_network_knows_are_refused_by_export(finished, tmp_path):
    project, done = finished
    with np.load(project / "data.npz") as kept:
        arrays = dict(kept)
    arrays["classes"] = arrays["classes"][::-1]
    np.savez(tmp_path / "reversed.npz", **arrays)
    with pytest.raises(ModelError, match="the network knows 4 classes"):
        api.export(done.artifacts["student"].path, data=f"npz:{tmp_path / 'reversed.npz'}")


def test_an_architecture_without_weights_is_not_evaluated(finished):
    project, _ = finished
    with pytest.raises(ModelError, match="without weights"):
        api.evaluate(project / "student.py", data=f"npz:{project / 'data.npz'}")


def test_a_builder_that_fills_in_its_weights_gives_a_trained_network(finished, tmp_path):
    """Told by building it twice: weights that are drawn differ, these do not."""
    project, done = finished
    weights = done.artifacts["student"].path / "weights.safetensors"
    whole = (project / "student.py").read_text(encoding="utf-8")
    (tmp_path / "filled.py").write_text(
        f"{whole}\n\ndef load(num_classes):\n"
        "    from safetensors.torch import load_file\n"
        "    net = build(num_classes)\n"
        f"    net.load_state_dict(load_file({str(weights)!r}))\n"
        "    return net\n",
        encoding="utf-8",
    )
    source = f"npz:{project / 'data.npz'}"

    found = api.evaluate(tmp_path / "filled.py:load", data=source)
    taught = api.distill(
        tmp_path / "filled.py:load",
        project / "student.py",
        data=source,
        runs=tmp_path / "runs",
        options={"epochs": 1, "batch_size": 32, "compile": False},
    )

    assert found["metrics"]["accuracy"] == done.artifacts["student"].manifest.metrics["test"]["metrics"]["accuracy"]
    assert taught.manifest.details["teacher"]["asked"] > 0


def test_leftovers_of_a_killed_process_are_cleared_and_a_moved_artifact_is_put_back(finished, tmp_path):
    project, done = finished
    runs = tmp_path / "runs"
    shutil.copytree(done.folder, runs / "small")
    (runs / "small" / "train").rename(runs / "small" / ".train.replaced-12345")
    (runs / "small" / ".distill.writing-12345").mkdir()
    with pipeline.Run(recipes.parse(recipe(project, runs=str(runs)), source="test")).working():
        assert artifact.is_artifact(runs / "small" / "train")
        assert not (runs / "small" / ".distill.writing-12345").exists()


def test_a_folder_whose_name_is_no_run_name_can_hold_a_recipe(tmp_path):
    project = write_project(tmp_path / "my demo")
    raw = recipe(project)
    del raw["name"]
    (project / "recipe.json").write_text(json.dumps(raw))
    assert recipes.read_file(project / "recipe.json")["name"] == "my-demo"


@pytest.fixture
def edited_onnx(finished, tmp_path, monkeypatch):
    """A copy of the finished run's ONNX artifact in which one bit of a weight is another."""
    monkeypatch.setenv("COMPRESS_HOME", str(finished[0] / "home"))
    folder = shutil.copytree(finished[1].onnx["student"].path, tmp_path / "run" / "export")
    content = bytearray((folder / "model.onnx").read_bytes())
    weight = onnx.load(folder / "model.onnx").graph.initializer[-1].raw_data
    content[content.index(weight) + len(weight) // 2] ^= 1
    (folder / "model.onnx").write_bytes(content)
    return folder


@pytest.mark.parametrize("name", ["", "model.onnx"], ids=["the folder", "the file in it"])
@pytest.mark.parametrize("command", ["evaluate", "inspect", "bench", "quantize"])
def test_an_edited_onnx_artifact_is_believed_by_nobody(finished, edited_onnx, monkeypatch, capsys, command, name):
    if command == "quantize":  # of a folder it would take the network that was exported
        name = "model.onnx"
    monkeypatch.chdir(edited_onnx.parent)
    data = () if command == "inspect" else ("--data", str(finished[0] / "data.npz"))

    assert typed(monkeypatch, command, str(edited_onnx / name), *data) == 3
    assert "'model.onnx' is not what was written (hash)" in capsys.readouterr().err
