"""What every test needs: a home of its own, and no trust left over from the test before."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from compressor import trust


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
