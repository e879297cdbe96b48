"""From a network to the run it belongs to."""

from __future__ import annotations

from pathlib import Path

import pytest

from compressor import artifact, opening
from compressor.artifact import Artifact, Manifest
from compressor.errors import ArtifactError
from compressor.pipeline import Run
from compressor.recipe import Recipe
from tests.small import with_manifest


def network(folder: Path, *, stage: str, role: str) -> Artifact:
    with artifact.folder_for(folder) as temporary:
        return artifact.seal(temporary, folder, Manifest("torch", stage, role, folder.name, 0, {}))


def made_from(made: Artifact, **parents: Artifact) -> Artifact:
    """The artifact with a manifest that names these sources."""
    entries = {role: artifact.parent_entry(parent, made.path) for role, parent in parents.items()}
    return artifact.read(with_manifest(made.path, lambda raw: raw.update(parents=entries)))


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("stage", "role", "named"),
    [("distill", "student", "source"), ("prune", "student", "student"), ("distill", "assistant", "teacher")],
)
def test_a_network_that_names_itself_as_its_source_is_refused(
    tmp_path: Path, stage: str, role: str, named: str
) -> None:
    made = network(tmp_path / "distill", stage=stage, role=role)
    student = network(tmp_path / "student", stage="distill", role="student")
    made = made_from(made, **{named: made})
    first = made_from(student, teacher=made) if named == "teacher" else made

    with pytest.raises(ArtifactError, match="is named among its own sources"):
        opening.add_relatives(Run(Recipe(), artifacts={"student": first}))


def test_the_teacher_is_found_past_the_assistants(tmp_path: Path) -> None:
    teacher = network(tmp_path / "train", stage="train", role="teacher")
    assistant = made_from(network(tmp_path / "a", stage="distill", role="assistant"), teacher=teacher)
    student = made_from(network(tmp_path / "distill", stage="distill", role="student"), teacher=assistant)
    current = Run(Recipe(), artifacts={"student": student})

    opening.add_relatives(current)

    assert {role: made.path.name for role, made in current.artifacts.items()} == {
        "student": "distill",
        "teacher": "train",
    }
