"""What tests that look at the finished run share."""

from __future__ import annotations

import pytest


@pytest.fixture
def at_home(finished, monkeypatch):
    """Use the trust store of the finished run."""
    monkeypatch.setenv("COMPRESS_HOME", str(finished[0] / "home"))
