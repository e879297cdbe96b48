"""Kill it anywhere: a chain that is killed again and again ends with the very bytes of one that was not.

A whole chain (train, control, distill, prune in rounds, export, static quantization, report) over tiny networks is killed
with SIGKILL after random times, and the same call goes on, until it ends. Its weights and ONNX models must be equal, byte
for byte, to those of a run that nobody touched; every artifact must be whole, and nothing half-written may lie about.

Not covered: the start of Python itself, which writes nothing; measurements, which differ each time.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from compressor import api, artifact
from compressor.report import write as reports
from tests.campaigns import _runs
from tests.small import write_project

_LONGEST_S = 600.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.kill", description=__doc__)
    parser.add_argument("--count", type=int, default=100, help="kills")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no other chain after so long")
    given = parser.parse_args()
    started = time.monotonic()
    _runs.warm_up()
    with tempfile.TemporaryDirectory(prefix="compress-kill-") as folder:
        campaign = _Campaign(Path(folder), random.Random(given.seed))
        while campaign.kills < given.count and time.monotonic() - started < given.seconds:
            campaign.chain(most=given.count - campaign.kills)
    for violation in campaign.violations:
        sys.stdout.write(f"VIOLATION {violation}\n")
    sys.stdout.write(
        f"kill: {campaign.kills} kills in {campaign.chains} chains, seed {given.seed}: "
        f"{len(campaign.violations)} violations, {campaign.compared} files equal byte for byte, "
        f"{time.monotonic() - started:.0f} s\n"
    )
    return 1 if campaign.violations or not campaign.compared else 0


class _Campaign:
    """Chains that are killed, against one that was not.

    Args:
        folder: Where all of them are made.
        chance: When they are killed.
    """

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.folder, self.chance = folder, chance
        self.kills = self.chains = self.compared = 0
        self.violations: list[str] = []
        self.project = write_project(folder / "project")
        began = time.monotonic()
        self.expected = self._untouched()
        self.whole_s = time.monotonic() - began

    def _untouched(self) -> dict[str, str]:
        pid = _runs.in_child(
            lambda: self._work("untouched"), log=self.folder / "untouched.log", home=self.folder / "home-untouched"
        )
        code = _runs.ended(pid, within_s=_LONGEST_S)
        assert code == 0, (self.folder / "untouched.log").read_text()
        return _runs.results(self.folder / "untouched" / "small")

    def _work(self, name: str) -> None:
        """What a child does: the chain, the measurements' stand-in, the report."""
        raw = _runs.chain(self.project, runs=str(self.folder / name))
        done = api.run(raw)
        measured = self.folder / "measured" / "bench"
        if not artifact.is_artifact(measured):  # once, by the run that nobody kills
            api.run({**raw, "stages": [*raw["stages"], "bench"]})
            _runs.copied(done.folder / "bench", measured)
        reports.write(artifact.read(measured), done.folder / "report")

    def chain(self, *, most: int) -> None:
        """One chain, killed until it ends."""
        name = f"chain-{self.chains}"
        self.chains += 1
        log, home = self.folder / f"{name}.log", self.folder / f"home-{name}"
        killed = 0
        while True:
            lives_s = self._life_s() if killed < most else _LONGEST_S
            pid = _runs.in_child(lambda: self._work(name), log=log, home=home)
            code = _runs.ended(pid, within_s=lives_s)
            if code is None and killed < most:
                _runs.kill(pid)
                killed += 1
            _runs.end_rest(pid)
            if code is None and killed >= most and lives_s == _LONGEST_S:
                self.violations.append(f"{name}: still at work after {_LONGEST_S:g} s")
                break
            if code is not None:
                self._judge(name, code, log)
                break
        self.kills += killed
        for left in (self.folder / name, home):
            shutil.rmtree(left, ignore_errors=True)

    def _life_s(self) -> float:
        """How long a child lives: mostly short, so that many are killed; now and then long, so that each stage gets done."""
        longest = 0.15 if self.chance.random() < 0.85 else 1.0
        return self.whole_s * longest * self.chance.random()

    def _judge(self, name: str, code: int, log: Path) -> None:
        run = self.folder / name / "small"
        if code != 0:
            self.violations.append(f"{name}: ended with {code}: {log.read_text()[-2000:]}")
            return
        found = _runs.results(run)
        differing = sorted(file for file in self.expected if found.get(file) != self.expected[file])
        self.compared += len(self.expected) - len(differing)
        if differing:
            self.violations.append(f"{name}: other bytes in {', '.join(differing)}: {log.read_text()[-2000:]}")
        for folder in sorted(file.parent for file in run.glob(f"[!.]*/{artifact.MANIFEST}")):
            artifact.read(folder).verify()
        if _runs.left_behind(run):
            self.violations.append(f"{name}: left {', '.join(_runs.left_behind(run))}")


if __name__ == "__main__":
    sys.exit(main())
