"""Tests of `compressor.report.collect` and `compressor.report.lineage`."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from compressor import artifact
from compressor import recipe as recipes
from compressor.errors import ArtifactError, InputError
from compressor.measure.record import Worst, WorstSample
from compressor.report import card, gate, html, markdown, quality, words
from compressor.report.collect import collect
from compressor.report.facts import ReportData
from tests.small import with_manifest

if TYPE_CHECKING:
    from tests.unit.report.conftest import MakeRun


LOST = Worst("student", "teacher", "ort_cpu", (WorstSample(3, 1, 1, 0.9, 2, 0.8),))


def _names(data: ReportData) -> list[str]:
    return [entry.what for entry in data.missing]


def test_every_artifact_of_the_run_is_found_once_and_the_bench_is_last(data: ReportData) -> None:
    roles = [link.role for link in data.links]
    assert sorted(roles) == sorted(set(roles))
    assert len(roles) == 7
    assert roles[-1] == "bench"


def test_a_complete_run_misses_nothing(data: ReportData) -> None:
    assert data.missing == ()


def test_samples_and_blocks_belong_to_their_timing(data: ReportData) -> None:
    assert len(data.timings) == 12
    assert all(len(timing.samples_ms) == len(timing.blocks) == timing.samples for timing in data.timings)


def test_decisions_of_all_stages_are_listed(data: ReportData) -> None:
    assert [entry.what for entry in data.decisions].count("lr") == 3
    assert [entry.what for entry in data.decisions].count("opset") == 3


def test_an_epoch_without_validation_has_no_values(data: ReportData) -> None:
    student = next(link for link in data.links if link.role == "student")
    assert len(student.curve) == 12
    assert student.curve[2].val == {}


def test_a_missing_control_is_named(make_run: MakeRun) -> None:
    data = collect(make_run(roles=("teacher", "student")))
    assert _names(data) == ["the control"]


def test_missing_exports_are_named(make_run: MakeRun) -> None:
    data = collect(make_run(exported=()))
    assert _names(data) == ["the teacher as ONNX", "the student as ONNX"]


def test_a_parent_that_was_deleted_is_named(make_run: MakeRun) -> None:
    bench = make_run()
    shutil.rmtree(bench.path.parent / "control-onnx")
    data = collect(bench)
    assert _names(data) == ["the artifact of control-onnx"]
    assert "control" in [link.role for link in data.links]


def test_a_parent_that_was_made_again_is_not_taken_for_the_old_one(make_run: MakeRun) -> None:
    bench = make_run()
    with_manifest(bench.path.parent / "teacher-onnx", lambda raw: raw.update(key="another"))
    data = collect(bench)
    assert _names(data) == ["the artifact of teacher-onnx as it was"]
    assert data.outdated.endswith("teacher has been made again since.")
    assert "Outdated" in html.render(data)
    assert "made again since" in markdown.render(data)


def test_the_command_names_the_recipe_of_the_run(make_run: MakeRun) -> None:
    bench = make_run()
    (bench.path.parent / "recipe.toml").write_text('name = "digits"\n')
    data = collect(bench)
    assert data.command == "compress run runs/digits/recipe.toml"
    assert data.recipe == 'name = "digits"\n'


def test_a_run_without_a_recipe_has_no_command(data: ReportData) -> None:
    assert data.command is None


def test_another_kind_of_artifact_is_refused(make_run: MakeRun) -> None:
    student = artifact.read(make_run().path.parent / "student")
    with pytest.raises(InputError, match="holds a 'torch' artifact"):
        collect(student)


def test_measurements_of_a_newer_version_are_refused(make_run: MakeRun) -> None:
    with pytest.raises(ArtifactError, match="has schema 99"):
        collect(make_run(change=lambda measurements: measurements.update(schema=99)))


def test_measurements_that_lack_a_key_say_which(make_run: MakeRun) -> None:
    with pytest.raises(ArtifactError, match="lacks 'metric'"):
        collect(make_run(change=lambda measurements: measurements.pop("metric")))


def test_measurements_of_the_wrong_kind_are_refused(make_run: MakeRun) -> None:
    with pytest.raises(ArtifactError, match=r"candidates\[0\].params is 'many', not a whole number"):
        collect(
            make_run(
                change=lambda measurements: measurements.update(
                    candidates=[{"role": "student", "title": "S", "params": "many"}]
                )
            )
        )


def test_measurements_that_are_not_json_are_refused(make_run: MakeRun) -> None:
    bench = make_run()
    Path(bench.path / "measurements.json").write_text("{")
    files = dict(bench.manifest.files) | {"measurements.json": artifact.sha256(bench.path / "measurements.json")}
    with_manifest(bench.path, lambda raw: raw.update(files=files))
    with pytest.raises(ArtifactError, match="cannot be read"):
        collect(artifact.read(bench.path))


@pytest.mark.parametrize("name", ["measurements.json", "samples.npz"])
def test_measurements_that_were_edited_are_refused(make_run: MakeRun, name: str) -> None:
    bench = make_run()
    content = (bench.path / name).read_bytes()
    (bench.path / name).write_bytes(content.replace(b"0", b"1", 1))
    with pytest.raises(ArtifactError, match=f"'{name}' is not what was written"):
        collect(bench)


def test_a_manifest_of_the_chain_that_was_edited_is_refused(make_run: MakeRun) -> None:
    bench = make_run()
    file = bench.path.parent / "student" / "manifest.json"
    edited = file.read_text().replace('"role": "student"', '"role": "teacher"', 1)
    assert edited != file.read_text()
    file.write_text(edited)
    with pytest.raises(ArtifactError, match=r"manifest.json is damaged: its content does not fit its checksum"):
        collect(bench)


def test_a_recipe_that_was_edited_is_not_shown_as_the_run_s(make_run: MakeRun) -> None:
    bench = make_run()
    recipes.keep(bench.path.parent, '{"seed": 1}')
    assert collect(bench).recipe == '{"seed": 1}'
    (bench.path.parent / "recipe.json").write_text('{"seed": 2}')
    data = collect(bench)
    assert (data.command, data.recipe) == (None, None)
    assert "the recipe" in _names(data)


def test_models_of_any_origin_are_called_by_their_titles_everywhere(data: ReportData) -> None:
    titles = {"teacher": "big.onnx", "student": "small.onnx"}
    candidates = tuple(
        replace(each, title=titles[each.role]) for each in data.candidates if each.role in ("teacher", "student")
    )
    compared = replace(data, compared=True, candidates=candidates, links=(), worst=LOST)

    assert markdown.render(compared).startswith(f"## {compared.run}: small.onnx beside big.onnx")
    assert "that big.onnx answers rightly and small.onnx does not" in html.render(compared)
    assert "knowledge-distillation" not in card.render(compared)
    assert "where the teacher is too slow" not in card.render(compared)
    assert not {"teacher", "student"} & {word for word, _ in words.used(compared)}
    assert quality.changed_decisions(compared).columns[0] == "big.onnx answers"


def test_a_distilled_student_is_told_by_its_role(data: ReportData) -> None:
    assert markdown.render(data).startswith(f"## {data.run}: teacher → student")
    assert "that the teacher answers rightly and the student does not" in html.render(replace(data, worst=LOST))
    assert "- knowledge-distillation" in card.render(data)


def _started_once(measurements: dict[str, Any]) -> None:
    for timing in measurements["timings"]:
        timing["starts"] = 1
        timing["p50_interval"] = [0.0401, 0.0402]


def test_of_a_single_start_no_interval_is_read_and_its_want_is_listed(make_run: MakeRun) -> None:
    data = collect(make_run(change=_started_once))

    assert data.headline.speedup is not None
    assert (data.headline.speedup.low, data.headline.speedup.conclusive) == (None, False)
    assert {timing.p50_interval for timing in data.timings} == {None}
    assert [each.what for each in data.missing] == ["intervals of latencies and speed-ups under edge, server"]
    assert "speedup_low" not in gate.values(data)
    for text in (html.render(data), markdown.render(data), card.render(data)):
        assert "in the one start that was timed" in text


def test_a_model_at_chance_is_called_so_in_every_form_of_the_report(make_run: MakeRun) -> None:
    def constant(measurements: dict[str, Any]) -> None:
        for candidate in measurements["candidates"]:
            for entry in candidate["accuracy"]:
                beside = {"metric": 0.99, "answer": "3", "constant_only": 9, "model_only": 0, "p_value": 1.0}
                entry["majority"] = beside

    data = collect(make_run(change=constant))

    for text in (html.render(data), markdown.render(data), card.render(data)):
        assert "The teacher is at chance: 98.52 % accuracy on 270 test samples" in text
    assert not data.headline.gain_told
