"""Result files: claims that can fail, and a summary that shows the newest."""

from __future__ import annotations

import json
import re

import pytest

from benchmarks import result, summary
from benchmarks.result import Claim


@pytest.mark.parametrize(
    ("value", "better", "holds"),
    [(3.0, "at least", True), (1.9, "at least", False), (1.9, "at most", True), (None, "at least", False)],
)
def test_a_claim_holds_only_when_its_value_reaches_the_goal(value, better, holds):
    assert Claim("faster", 2.0, value, "×", better).holds is holds


def test_a_result_file_states_command_versions_machine_and_samples(tmp_path):
    file = result.write("chain_x", [Claim("faster", 2.0, 3.0, "×")], samples={"ms": [1.0, 2.0]}, folder=tmp_path)
    written = json.loads(file.read_text())
    assert file.name.startswith("chain_x_")
    assert set(written) == {"schema", "benchmark", "command", "date", "versions", "machine", "claims", "samples"}
    assert written["claims"] == [
        {"claim": "faster", "goal": 2.0, "value": 3.0, "unit": "×", "better": "at least", "holds": True}
    ]


def test_no_result_says_where_this_machine_keeps_its_files(tmp_path):
    found = {"/home/me/data/net.th": [{"origin": "/home/me/data/net.th", "unit": "images/s"}]}
    file = result.write("chain_x", [Claim("faster", 2.0, 3.0, "×")], samples=found, folder=tmp_path)

    assert json.loads(file.read_text())["samples"] == {"data/net.th": [{"origin": "data/net.th", "unit": "images/s"}]}
    for kept in result.RESULTS.glob("*.json"):
        assert not re.search(r'"/\w', kept.read_text()), kept.name


def test_a_name_without_a_theme_is_refused(tmp_path):
    with pytest.raises(ValueError, match="does not begin with a theme"):
        result.write("speed", [Claim("faster", 2.0, 3.0, "×")], samples={}, folder=tmp_path)


def test_a_benchmark_without_a_claim_is_refused(tmp_path):
    with pytest.raises(ValueError, match="shows nothing"):
        result.write("chain_x", [], samples={}, folder=tmp_path)


def test_the_summary_shows_the_newest_value_and_the_failures(tmp_path):
    for date, value in (("2026-01-01T00:00:00", 3.0), ("2026-02-01T00:00:00", 1.0)):
        claim = Claim("faster", 2.0, value, "×")
        content = {"benchmark": "chain_x", "date": date, "claims": [vars(claim) | {"holds": claim.holds}]}
        (tmp_path / f"chain_x_{date[:7]}.json").write_text(json.dumps(content))
    (row,) = summary.rows(summary.newest(tmp_path))
    assert row == ["chain_x", "faster", "≥ 2 ×", "1 ×", "NO", "2026-02-01"]


def test_every_result_file_in_the_repository_can_be_summarised():
    results = summary.newest()
    assert results
    assert all(claim["holds"] in (True, False) for each in results for claim in each["claims"])
