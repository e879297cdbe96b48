"""Another machine over ssh, played by a script that runs the command right here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from compressor.errors import MeasurementError
from compressor.measure.remote import Host, program

# Takes ssh's words up to `--`, then the host and one command line, as a login shell there would get it.
LOCAL_SSH = """#!/bin/sh
echo "$@" >> "{log}"
while [ "$1" != "--" ]; do shift; done
host="$2"; shift 2
[ "$host" = "gone" ] && {{ echo "ssh: connect to host gone: No route to host" >&2; exit 255; }}
exec sh -c "$*"
"""


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    log = tmp_path / "log"
    script = tmp_path / "bin" / "ssh"
    script.parent.mkdir()
    script.write_text(LOCAL_SSH.format(log=log))
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")
    return log


def test_a_folder_goes_there_a_command_runs_in_it_and_nothing_stays(log: Path, tmp_path: Path) -> None:
    sent = tmp_path / "it's a pack"
    (sent / "inner").mkdir(parents=True)
    (sent / "inner" / "numbers.txt").write_text("1\n2\n")

    with Host("pi") as there:
        there.put(sent)
        place = Path(there.run("pwd").strip())
        there.run("wc -l < inner/numbers.txt > count.txt")
        count = there.fetch("count.txt")
        assert place.is_dir()

    assert count.strip() == b"2"
    assert not place.exists()


@pytest.mark.parametrize("name", ["my venv/bin/it's", "~/my venv/bin/it's", "{home}/my venv/bin/it's"])
def test_a_program_is_found_in_the_home_there(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    script = tmp_path / "home" / "my venv" / "bin" / "it's"
    script.parent.mkdir(parents=True)
    script.write_text("#!/bin/sh\necho ran $1")
    script.chmod(0o755)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    with Host("pi") as there:
        assert there.run(f"{program(name.format(home=tmp_path / 'home'))} x").strip() == "ran x"


def test_a_bare_name_of_a_program_is_looked_for_in_the_path(log: Path) -> None:
    with Host("pi") as there:
        assert there.run(f"{program('echo')} x").strip() == "x"


def test_the_folder_is_gone_even_when_something_fails(log: Path) -> None:
    places = []

    def fail() -> None:
        with Host("pi") as there:
            places.append(Path(there.run("pwd").strip()))
            there.run("false")

    with pytest.raises(MeasurementError, match=r"'false' failed there"):
        fail()
    assert not places[0].exists()


def test_what_a_command_said_last_is_in_the_sentence(log: Path) -> None:
    with Host("pi") as there, pytest.raises(MeasurementError, match="onnxruntime is not here") as told:
        there.run("sh -c 'echo onnxruntime is not here >&2; exit 1'")

    assert told.value.where == "pi"


def test_a_host_that_does_not_answer_says_how_to_try_it(log: Path) -> None:
    with pytest.raises(MeasurementError, match=r"cannot be reached: .*No route to host") as told, Host("gone"):
        pass

    assert "ssh gone true" in (told.value.hint or "")


def test_a_file_that_is_not_there_is_named(log: Path) -> None:
    with Host("pi") as there, pytest.raises(MeasurementError, match=r"cat device\.json"):
        there.fetch("device.json")


def test_ssh_asks_no_questions_and_gets_the_users_options(log: Path) -> None:
    with Host("pi", options=("-p", "2222")):
        pass

    assert log.read_text().startswith("-p 2222 -o BatchMode=yes -o ConnectTimeout=10 -- pi mktemp -d")


def test_a_host_cannot_be_an_option(log: Path) -> None:
    with pytest.raises(MeasurementError, match="is no host"):
        Host("-oProxyCommand=touch /tmp/owned")
