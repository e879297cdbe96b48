"""A pack over a real ssh server on loopback: `make test-device`."""

from __future__ import annotations

import getpass
import json
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import pytest

from compressor import api
from compressor.errors import MeasurementError
from compressor.measure.remote import Host

pytestmark = pytest.mark.device

CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/user_key.pub
PidFile {folder}/pid
StrictModes no
UsePAM no
PasswordAuthentication no
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Options for ssh that reach a server of our own."""
    folder = tmp_path_factory.mktemp("sshd")
    for name in ("host_key", "user_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "config").write_text(CONFIG.format(port=port, folder=folder))
    sshd = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin") or "sshd"
    Path("/run/sshd").mkdir(exist_ok=True)
    process = subprocess.Popen([sshd, "-D", "-e", "-f", str(folder / "config")], stderr=subprocess.PIPE)
    try:
        _wait_for(port)
        yield (
            *("-p", str(port), "-i", str(folder / "user_key"), "-F", "none"),
            *("-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={folder}/known"),
        )
    finally:
        process.kill()
        process.communicate()


def _wait_for(port: int) -> None:
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("sshd does not listen")


def test_models_are_measured_there_and_the_result_comes_back(server, finished, at_home):
    run = finished[0] / "runs" / "small"

    kept = api.bench_on(
        f"{getpass.getuser()}@127.0.0.1", run, name="loopback", python=sys.executable, ssh_options=server, samples=20
    )

    found = json.loads(kept.read_text())
    assert (kept, found["name"]) == (run / "devices" / "loopback.json", "loopback")
    assert found["parity"]["student"]["agreement"] == 1.0
    assert [entry["role"] for entry in found["timings"]] == ["teacher", "student"]
    assert "loopback" in api.report(run).file("report.md").read_text()


def test_a_python_without_numpy_says_what_to_install(server, finished, at_home, tmp_path):
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)

    with pytest.raises(MeasurementError, match="numpy is not here") as told:
        api.bench_on(
            "127.0.0.1", finished[0] / "runs" / "small", python=str(bare / "bin" / "python"), ssh_options=server
        )

    assert "-m pip install numpy" in told.value.message


def test_what_still_runs_there_ends_with_the_visit(server):
    with Host(f"{getpass.getuser()}@127.0.0.1", options=server) as there:
        left = Thread(target=lambda: _refused(there, "sleep 98765"))
        left.start()
        while not _running("sleep 98765"):
            time.sleep(0.05)

    left.join(timeout=10)
    assert not left.is_alive()
    assert not _running("sleep 98765")


def _refused(there: Host, command: str) -> None:
    with pytest.raises(MeasurementError):
        there.run(command)


def _running(command: str) -> bool:
    return subprocess.run(["pgrep", "-xf", command], capture_output=True, check=False).returncode == 0
