"""Artifacts: whole or not there at all, and honest about what they hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from compressor import artifact, sealed_json
from compressor.artifact import Artifact, Decision, Manifest, Target
from compressor.errors import ArtifactError, NotOursError
from tests.small import with_manifest


def write(final: Path, *, text: str = "payload", key: str = "k", kind: artifact.Kind = "torch") -> Artifact:
    with artifact.folder_for(final) as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "a.txt").write_text(text)
        manifest = Manifest(
            kind, "train", "teacher", key, 0, {"lr": 0.1}, decisions=(Decision("lr", "0.1", "it fits"),)
        )
        return artifact.seal(folder, final, manifest)


def damage(made: Artifact, **changes: Any) -> None:
    """Change keys of the manifest, or take them away (None)."""

    def change(raw: dict[str, Any]) -> None:
        raw.update(changes)
        for name in [name for name, value in changes.items() if value is None]:
            del raw[name]

    with_manifest(made.path, change)


def test_what_is_written_reads_back_equal(tmp_path: Path) -> None:
    made = write(tmp_path / "train")

    assert artifact.read(tmp_path / "train") == made
    made.verify()


def test_every_payload_file_has_its_hash(tmp_path: Path) -> None:
    made = write(tmp_path / "train")

    assert made.manifest.files == {"deep/a.txt": artifact.sha256(made.file("deep/a.txt"))}


def test_a_file_it_does_not_hold_is_refused_with_what_it_holds(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"holds no 'b.txt'; it holds deep/a.txt"):
        write(tmp_path / "train").file("b.txt")


def test_a_fault_while_writing_leaves_nothing(tmp_path: Path) -> None:
    def write_half() -> None:
        with artifact.folder_for(tmp_path / "train") as folder:
            (folder / "half").write_text("half")
            raise ZeroDivisionError("midway")

    with pytest.raises(ZeroDivisionError, match="midway"):
        write_half()

    assert list(tmp_path.iterdir()) == []


def test_a_second_writing_replaces_the_first_and_leaves_nothing_else(tmp_path: Path) -> None:
    write(tmp_path / "train", text="old")

    write(tmp_path / "train", text="new")

    assert (tmp_path / "train" / "deep" / "a.txt").read_text() == "new"
    assert [file.name for file in tmp_path.iterdir()] == ["train"]


def test_a_fault_in_the_second_writing_keeps_the_first(tmp_path: Path) -> None:
    made = write(tmp_path / "train", text="old")

    with pytest.raises(ZeroDivisionError, match="midway"), artifact.folder_for(tmp_path / "train"):
        raise ZeroDivisionError("midway")

    made.verify()


@pytest.mark.parametrize("is_folder", [True, False])
def test_what_is_no_artifact_is_never_replaced(tmp_path: Path, is_folder: bool) -> None:
    mine = tmp_path / "train" / "thesis.txt" if is_folder else tmp_path / "train"
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("years of work")

    with pytest.raises(ArtifactError, match="will not be replaced"), artifact.folder_for(tmp_path / "train"):
        pass

    assert mine.read_text() == "years of work"


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its content."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def refused(place: Path, said: str, *, kind: artifact.Kind = "torch") -> None:
    """What stands at a place is refused with these words and exit code 2, and is as it was."""
    before = tree(place)
    with pytest.raises(NotOursError, match=said) as caught:
        write(place, text="new", kind=kind)
    assert caught.value.exit_code == 2
    assert tree(place) == before


@pytest.mark.parametrize(
    "manifest",
    ['{"name": "my app", "start_url": "."}', '{"manifest_version": 3}', '{"schema": 1, "files": {}}', "{", "[]"],
)
def test_a_manifest_of_something_else_makes_no_folder_ours(tmp_path: Path, manifest: str) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / artifact.MANIFEST).write_text(manifest)
    (tmp_path / "site" / "index.html").write_text("years of work")
    refused(tmp_path / "site", "did not write stands here, and will not be replaced")


@pytest.mark.parametrize("strange", ["notes.md", "deep/notes.md", "source/code.py", "__pycache__/thesis.txt"])
def test_a_file_that_nobody_listed_stops_whatever_would_replace_the_folder(tmp_path: Path, strange: str) -> None:
    file = write(tmp_path / "train").path / strange
    file.parent.mkdir(exist_ok=True)
    file.write_text("mine")
    refused(tmp_path / "train", f"'{strange}' was not written by compress, so this folder will not be replaced")


def test_what_python_compiled_beside_a_source_stops_nothing(tmp_path: Path) -> None:
    compiled = write(tmp_path / "train").path / "__pycache__" / "net.cpython-312.pyc"
    compiled.parent.mkdir()
    compiled.write_bytes(b"made again")
    assert write(tmp_path / "train", text="new").file("deep/a.txt").read_text() == "new"


def test_a_link_in_the_place_of_a_file_or_of_the_folder_is_not_ours(tmp_path: Path) -> None:
    made, other = write(tmp_path / "train"), write(tmp_path / "other")
    (made.path / "deep" / "a.txt").unlink()
    (made.path / "deep" / "a.txt").symlink_to(other.file("deep/a.txt"))
    refused(tmp_path / "train", "'deep/a.txt' was not written by compress")
    (tmp_path / "linked").symlink_to(other.path)
    refused(tmp_path / "linked", "is a link, and will not be replaced")
    other.verify()


@pytest.mark.parametrize("kind", artifact.SHARED_WITH_PEOPLE)
def test_what_people_put_beside_a_report_or_a_pack_goes_along(tmp_path: Path, kind: artifact.Kind) -> None:
    made = write(tmp_path / "out", kind=kind)
    (made.path / "notes.md").write_text("mine")
    (made.path / "plots").mkdir()
    (made.path / "plots" / "device.json").write_text("mine too")
    (made.path / "link").symlink_to("nowhere")
    made.verify()

    again = write(tmp_path / "out", text="new", kind=kind)

    assert (
        tree(again.path).items()
        >= {"deep/a.txt": b"new", "notes.md": b"mine", "plots/device.json": b"mine too"}.items()
    )
    assert (again.path / "link").is_symlink()
    assert set(again.manifest.files) == {"deep/a.txt"}
    again.verify()


@pytest.mark.parametrize("kind", artifact.SHARED_WITH_PEOPLE)
def test_a_report_or_a_pack_that_somebody_has_edited_is_not_replaced(tmp_path: Path, kind: artifact.Kind) -> None:
    write(tmp_path / "out", kind=kind).file("deep/a.txt").write_text("edited")
    refused(tmp_path / "out", "'deep/a.txt' has been changed since", kind=kind)


def test_a_file_of_people_is_never_replaced_by_a_new_one_of_ours(tmp_path: Path) -> None:
    made = write(tmp_path / "out", kind="report")
    (made.path / "new.html").write_text("mine")

    def write_another() -> None:
        with artifact.folder_for(tmp_path / "out") as folder:
            (folder / "new.html").write_text("ours")
            artifact.seal(folder, tmp_path / "out", Manifest("report", "report", "report", "k", 0, {}))

    with pytest.raises(NotOursError, match=r"'new\.html' is there already, and compress did not write it"):
        write_another()
    assert tree(made.path).items() >= {"new.html": b"mine", "deep/a.txt": b"payload"}.items()


def test_another_kind_of_artifact_is_not_taken_for_the_one_that_is_asked_for(tmp_path: Path) -> None:
    write(tmp_path / "bench", kind="measurements")
    with pytest.raises(NotOursError, match="holds measurements, and will not be replaced"):
        artifact.require_replaceable(tmp_path / "bench", kinds=("report",))


def test_what_has_changed_in_a_link_of_a_run_is_set_aside_when_it_is_made_again(tmp_path, caplog) -> None:
    for text in ("edited", "edited again"):
        write(tmp_path / "train").file("deep/a.txt").write_text(text)
    write(tmp_path / "train", text="new")

    kept = sorted(tmp_path.glob(".train.changed-*"))
    assert [(each / "deep" / "a.txt").read_text() for each in kept] == ["edited", "edited again"]
    assert f"what was there is now in {kept[0]}" in caplog.text
    artifact.tidy(tmp_path)
    assert sorted(tmp_path.glob(".train.changed-*")) == kept


def test_what_a_killed_process_left_is_cleared_up_and_nothing_else(tmp_path: Path) -> None:
    whole = write(tmp_path / "train")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").write_text("mine")
    run = tmp_path / "run"
    for name in (".train.writing-12", ".export.replaced-12", ".mine.writing-notes", ".thesis.replaced-by-hand"):
        (run / name).mkdir(parents=True)
    (run / ".pack.writing-13").symlink_to(elsewhere)
    whole.path.rename(run / ".bench.replaced-14")

    artifact.tidy(run)

    assert {file.name for file in run.iterdir()} == {
        "bench",
        "export",
        ".mine.writing-notes",
        ".thesis.replaced-by-hand",
    }
    artifact.read(run / "bench").verify()
    assert (elsewhere / "precious").read_text() == "mine"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with (
        pytest.raises(ArtifactError, match=r"cannot write here.*--runs DIR"),
        artifact.folder_for(tmp_path / "file" / "x"),
    ):
        pass


def test_a_full_disk_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="No space left"), artifact.folder_for(tmp_path / "train"):
        raise OSError(28, "No space left on device")


def test_a_changed_payload_is_found(tmp_path: Path) -> None:
    made = write(tmp_path / "train")
    made.file("deep/a.txt").write_text("tampered")

    with pytest.raises(ArtifactError, match=r"'deep/a.txt' is not what was written"):
        made.verify()


def test_a_missing_payload_is_found(tmp_path: Path) -> None:
    made = write(tmp_path / "train")
    made.file("deep/a.txt").unlink()

    with pytest.raises(ArtifactError, match=r"'deep/a.txt' is missing"):
        made.verify()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schema": 99}, "written with schema 99"),
        ({"schema": "1"}, "not one of ours"),
        ({"schema": None}, "not one of ours"),
        ({"seed": None, "role": None}, "lacks role, seed"),
        ({"decisions": [{"what": 1}]}, "damaged: decisions"),
    ],
)
def test_a_manifest_that_does_not_fit_says_why(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    damage(write(tmp_path / "train"), **changes)

    with pytest.raises(ArtifactError, match=said):
        artifact.read(tmp_path / "train")


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe", b"[1]"])
def test_a_manifest_that_is_no_json_table_is_refused(tmp_path: Path, content: bytes) -> None:
    made = write(tmp_path / "train")
    (made.path / artifact.MANIFEST).write_bytes(content)

    with pytest.raises(ArtifactError, match=r"damaged|not one of ours"):
        artifact.read(tmp_path / "train")


def test_keys_of_a_later_version_are_passed_over(tmp_path: Path) -> None:
    damage(write(tmp_path / "train"), mood="sunny")

    assert artifact.read(tmp_path / "train").manifest.key == "k"


def test_a_folder_without_a_manifest_is_no_artifact(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no artifact"):
        artifact.read(tmp_path)


def test_a_parent_is_found_where_the_whole_run_was_moved_to(tmp_path: Path) -> None:
    teacher = write(tmp_path / "run" / "train", key="t")
    target = Target(tmp_path / "run" / "distill", "distill", "student", "s", 0, {}, {"teacher": teacher})
    with artifact.folder_for(target.folder) as folder:
        artifact.seal(folder, target.folder, target.manifest("torch"))

    (tmp_path / "run").rename(tmp_path / "moved")

    parent = artifact.read(tmp_path / "moved" / "distill").parent("teacher")
    assert parent is not None
    assert parent.manifest.key == "t"


def test_a_parent_that_is_gone_is_none(tmp_path: Path) -> None:
    made = write(tmp_path / "train")

    assert made.parent("teacher") is None


def test_the_newest_of_a_kind_is_found(tmp_path: Path) -> None:
    write(tmp_path / "a" / "train", key="old")
    write(tmp_path / "b" / "train", key="new")
    write(tmp_path / "b" / "export", key="onnx", kind="onnx")

    found = artifact.newest(tmp_path, kind="torch")

    assert found is not None
    assert found.manifest.key == "new"
    assert artifact.newest(tmp_path, kind="torch", roles=("nobody",)) is None


def made_from(final: Path, *sources: Artifact, key: str, role: str = "student", created: str = "") -> Artifact:
    target = Target(final, "distill", role, key, 0, {}, {f"source-{n}": each for n, each in enumerate(sources)})
    with artifact.folder_for(final) as folder:
        made = artifact.seal(folder, final, target.manifest("torch"))
    if created:
        with_manifest(final, lambda raw: raw.update(created=created))
    return artifact.read(made.path)


def test_what_was_made_last_is_the_newest_though_the_clock_was_set_back(tmp_path: Path) -> None:
    teacher = made_from(tmp_path / "runs" / "t" / "train", key="t", role="teacher", created="2040-01-01")
    made_from(tmp_path / "runs" / "s" / "distill", teacher, key="s", created="2020-01-01")

    found = artifact.newest(tmp_path / "runs", kind="torch", roles=("student", "teacher"))

    assert found is not None
    assert found.manifest.role == "student"


def test_the_order_goes_on_across_the_runs_of_one_folder(tmp_path: Path) -> None:
    for run in "ab":
        (tmp_path / run).mkdir()
        (tmp_path / run / artifact.LOCK).touch()
    first = made_from(tmp_path / "b" / "train", key="1", created="2040-01-01")
    second = made_from(tmp_path / "a" / "train", key="2", created="2020-01-01")
    third = made_from(tmp_path / "b" / "train", key="3", created="2030-01-01")

    assert [each.manifest.sequence for each in (first, second, third)] == [1, 2, 3]
    assert [each.manifest.key for each in artifact.in_order(artifact.below(tmp_path))] == ["2", "3"]


def test_of_earlier_versions_no_artifact_comes_before_what_it_was_made_from(tmp_path: Path) -> None:
    teacher = made_from(tmp_path / "r" / "train", key="t", role="teacher", created="2040-01-01")
    student = made_from(tmp_path / "r" / "distill", teacher, key="s", created="2020-01-01")
    for each in (teacher, student):
        with_manifest(each.path, lambda raw: raw.update(sequence=0))

    in_order = artifact.in_order(artifact.below(tmp_path))

    assert [each.manifest.key for each in in_order] == ["t", "s"]


def test_artifacts_that_name_each_other_as_parents_are_still_put_in_order(tmp_path: Path) -> None:
    made = made_from(tmp_path / "r" / "a", key="a")
    with_manifest(made.path, lambda raw: raw.update(parents={"teacher": {"path": ".", "key": "a", "stage": "train"}}))

    assert [each.manifest.key for each in artifact.in_order(artifact.below(tmp_path))] == ["a"]


def test_nothing_is_the_newest_beside_what_is_damaged(tmp_path: Path) -> None:
    write(tmp_path / "a" / "train")
    made = write(tmp_path / "a" / "distill")
    file = made.path / artifact.MANIFEST
    file.write_text(file.read_text().replace("0.1", "0.2", 1))

    with pytest.raises(
        ArtifactError, match=r"does not fit its checksum.* nobody can say what was made last.*may not be one of ours"
    ):
        artifact.newest(tmp_path, kind="torch")


def test_an_edited_manifest_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "train").path / artifact.MANIFEST
    file.write_text(file.read_text().replace("0.1", "0.2", 1))

    with pytest.raises(ArtifactError, match=r"damaged: its content does not fit its checksum.*run the stage again"):
        artifact.read(tmp_path / "train")


def test_a_manifest_without_a_checksum_is_of_an_earlier_version(tmp_path: Path) -> None:
    file = write(tmp_path / "train").path / artifact.MANIFEST
    file.write_text(json.dumps(sealed_json.read(file.read_text())))

    assert artifact.read(tmp_path / "train").manifest.key == "k"


def test_a_payload_file_that_was_changed_is_not_handed_out(tmp_path: Path) -> None:
    made = write(tmp_path / "train")
    (made.path / "deep" / "a.txt").write_text("other")

    with pytest.raises(ArtifactError, match=r"'deep/a.txt' is not what was written"):
        made.file("deep/a.txt")


def test_what_lies_beside_a_file_and_belongs_to_it_is_looked_at_with_it(tmp_path: Path) -> None:
    with artifact.folder_for(tmp_path / "export") as folder:
        for name in ("model.onnx", "model.onnx.data", "notes.txt"):
            (folder / name).write_text(name)
        made = artifact.seal(folder, tmp_path / "export", Manifest("onnx", "export", "teacher-onnx", "k", 0, {}))
    (made.path / "notes.txt").write_text("other")
    made.file("model.onnx")
    (made.path / "model.onnx.data").write_text("other")

    with pytest.raises(ArtifactError, match=r"'model.onnx.data' is not what was written"):
        artifact.require_as_written(made.path / "model.onnx")


def test_a_file_that_lies_in_no_artifact_is_as_it_is(tmp_path: Path) -> None:
    (tmp_path / artifact.MANIFEST).write_text('{"name": "a web app"}')
    (tmp_path / "model.onnx").write_text("x")

    artifact.require_as_written(tmp_path / "model.onnx")


def test_a_damaged_artifact_does_not_hide_the_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "a" / "train", key="good")
    (tmp_path / "b" / "train").mkdir(parents=True)
    (tmp_path / "b" / "train" / artifact.MANIFEST).write_text("{")

    assert [made.manifest.key for made in artifact.below(tmp_path)] == ["good"]
    assert "damaged" in caplog.text


def test_equal_parts_give_equal_keys_and_other_parts_others() -> None:
    assert artifact.key_of(a=1, b={"x": 2, "y": 3}) == artifact.key_of(b={"y": 3, "x": 2}, a=1)
    assert artifact.key_of(a=1) != artifact.key_of(a=2)


def test_versions_of_what_can_change_a_result_are_recorded(tmp_path: Path) -> None:
    assert {"torch", "onnxruntime", "numpy"} <= set(write(tmp_path / "train").manifest.versions)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"files": {"../../.bashrc": "0"}}, r"files\.\.\./\.\./\.bashrc"),
        ({"files": {"/etc/passwd": "0"}}, "files./etc/passwd"),
        ({"files": ["a"]}, "files"),
        ({"parents": {"teacher": {"path": "../t"}}}, r"parents\.teacher"),
        ({"parents": {"teacher": {"path": "x" * 300, "key": "k", "stage": "train"}}}, r"parents\.teacher"),
        ({"parents": []}, "parents"),
        ({"metrics": 3, "seed": "0"}, "metrics, seed"),
        ({"machine": {"isa": [{}]}}, "machine"),
        ({"elapsed_s": "long"}, "elapsed_s"),
        ({"data": {"classes": [["a"]]}}, r"data\.classes"),
        ({"metrics": {"test": {"primary": "accuracy", "metrics": {}}}}, r"metrics\.test"),
        ({"details": {"curve": [{"epoch": "first"}]}}, r"details\.curve"),
        ({"decisions": [{"what": "lr"}]}, "decisions"),
    ],
)
def test_a_manifest_with_a_value_of_another_kind_is_damaged(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    damage(write(tmp_path / "train"), **changes)

    with pytest.raises(ArtifactError, match=f"manifest.json is damaged: {said}"):
        artifact.read(tmp_path / "train")


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"schema": ' + b"9" * 5000 + b"}", b"\xff\xfe"])
def test_a_manifest_beyond_all_measure_is_damaged(tmp_path: Path, content: bytes) -> None:
    (write(tmp_path / "train").path / artifact.MANIFEST).write_bytes(content)

    with pytest.raises(ArtifactError, match=r"manifest\.json is damaged"):
        artifact.read(tmp_path / "train")


@pytest.mark.parametrize("length", [1, 3])
def test_a_chain_that_comes_back_to_itself_ends_in_a_sentence(tmp_path: Path, length: int) -> None:
    made = [write(tmp_path / str(number), key=str(number)) for number in range(length)]
    for number, each in enumerate(made):
        damage(each, parents={"source": artifact.parent_entry(made[number - 1], each.path)})

    with pytest.raises(ArtifactError, match="is named among its own sources"):
        list(artifact.walk(artifact.read(tmp_path / "0"), lambda each: each.parent("source")))
