"""One finished run of the small project, shared by the tests that look at it."""

from __future__ import annotations

import pytest

from compressor import api
from tests.small import recipe, write_project


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The whole chain on the small project: (project folder, what `api.run` returned)."""
    monkeypatch = pytest.MonkeyPatch()
    project = write_project(tmp_path_factory.mktemp("finished"))
    monkeypatch.setenv("COMPRESS_HOME", str(project / "home"))
    done = api.run(recipe(project))
    monkeypatch.undo()
    return project, done


@pytest.fixture
def at_home(finished, monkeypatch):
    """Use the trust store of the finished run."""
    monkeypatch.setenv("COMPRESS_HOME", str(finished[0] / "home"))
