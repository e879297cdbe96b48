"""What every test needs: a home of its own, and no trust left over from the test before."""

from __future__ import annotations

import fcntl
import functools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from compressor import api, trust
from tests.small import recipe, write_project


@pytest.fixture(scope="session", autouse=True)
def operators_are_read_once() -> Iterator[None]:
    """The exporter reads its 1 500 operator translations anew for every model: half of the time of a small export."""
    from onnxscript._framework_apis import torch_2_5

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch_2_5, "get_torchlib_ops", functools.cache(torch_2_5.get_torchlib_ops))
        yield


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, api.Finished]:
    """The whole chain on the small project: (project folder, what `api.run` returned).

    It is made once for all workers of xdist, and each has a copy: nothing that a run is known by depends on its place.
    """
    own = tmp_path_factory.getbasetemp()
    original = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "finished"
    with original.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not original.exists():
            _run(write_project(original))
    project = Path(shutil.copytree(original, tmp_path_factory.mktemp("finished") / "project"))
    return project, _run(project)


def _run(project: Path) -> api.Finished:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COMPRESS_HOME", str(project / "home"))
        return api.run(recipe(project))


@pytest.fixture(scope="module", autouse=True)
def home_of_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """`COMPRESS_HOME` while fixtures that a whole module shares are made."""
    home = tmp_path_factory.mktemp("module") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COMPRESS_HOME", str(home))
        yield home


@pytest.fixture(autouse=True)
def isolated_home(home_of_module: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`COMPRESS_HOME` of this test: what the fixtures of its module have trusted, and nothing else."""
    home = tmp_path / "home"
    if home_of_module.exists():
        shutil.copytree(home_of_module, home)
    monkeypatch.setenv("COMPRESS_HOME", str(home))
    monkeypatch.setattr(trust, "_this_process", set())
    return home
