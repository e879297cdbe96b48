"""Artifacts: whole or not there at all, and honest about what they hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from compressor import artifact
from compressor.artifact import Artifact, Decision, Manifest, Target
from compressor.errors import ArtifactError


def write(final: Path, *, text: str = "payload", key: str = "k", kind: artifact.Kind = "torch") -> Artifact:
    with artifact.folder_for(final) as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "a.txt").write_text(text)
        manifest = Manifest(
            kind, "train", "teacher", key, 0, {"lr": 0.1}, decisions=(Decision("lr", "0.1", "it fits"),)
        )
        return artifact.seal(folder, final, manifest)


def damage(made: Artifact, **changes: Any) -> None:
    file = made.path / artifact.MANIFEST
    raw = {**json.loads(file.read_text()), **changes}
    file.write_text(json.dumps({name: value for name, value in raw.items() if value is not None}))


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
