"""What every test needs: a home of its own, and no trust left over from the test before."""

from __future__ import annotations

from pathlib import Path

import pytest

from compressor import trust


@pytest.fixture(autouse=True)
def isolated_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`COMPRESS_HOME` of this test, not there yet."""
    home = tmp_path / "home"
    monkeypatch.setenv("COMPRESS_HOME", str(home))
    monkeypatch.setattr(trust, "_this_process", set())
    return home
