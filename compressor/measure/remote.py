"""Another machine over ssh: copy a folder there, run something in it, fetch a file, and leave nothing behind.

Uses the system's `ssh` with the user's own configuration and keys; asks for no password. Files go through `tar`, which
every such machine has.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from compressor.errors import MeasurementError

_END_OF_STDERR = 2000
_PID = ".compress-pid"
# Ends what still runs there, as Ctrl-C would; closing the connection does not. sshd makes each command a group of its own.
_END_WHAT_RUNS = f"""
if [ -f {_PID} ]; then
  group=-$(cat {_PID})
  kill -INT -- $group
  for second in 1 2 3 4 5; do kill -0 -- $group || break; sleep 1; done
  kill -KILL -- $group
fi
"""


class Host:
    """A folder of ours on another machine; as a context manager it is made on entry and gone on exit.

    Args:
        name: As `ssh` takes it: `pi`, `user@pi`, an alias of `~/.ssh/config`.
        options: Further words for `ssh`: `("-p", "2222")`.
        connect_s: Longest wait for a connection.
    """

    def __init__(self, name: str, *, options: Sequence[str] = (), connect_s: int = 10) -> None:
        if name.startswith("-"):
            raise MeasurementError("is no host: it begins with '-'", where=name, hint="write user@host")
        self.name = name
        self._ssh = ["ssh", *options, "-o", "BatchMode=yes", "-o", f"ConnectTimeout={connect_s}", "--", name]
        self._folder = ""

    def __enter__(self) -> Host:
        """Make the folder.

        Raises:
            MeasurementError: There is no ssh here, or no way to the host.
        """
        if shutil.which("ssh") is None:
            raise MeasurementError("ssh is not here", hint="apt install openssh-client")
        self._folder = self.run("mktemp -d", inside=False).strip()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End what runs there and take the folder away, whatever happened."""
        if self._folder:
            folder = shlex.quote(self._folder)
            self._call(f"cd {folder} && {_END_WHAT_RUNS}\nrm -rf -- {folder}")

    def run(self, command: str, *, inside: bool = True) -> str:
        """Run a shell command there and return what it wrote to standard output.

        Raises:
            MeasurementError: It cannot be reached, or the command fails; with the last words of either.
        """
        watched = f"echo $$ > {_PID}; {command}; code=$?; rm -f {_PID}; exit $code"
        done = self._call(f"cd {shlex.quote(self._folder)} && {{ {watched}; }}" if inside else command)
        if done.returncode:
            raise self._failure(command, done.returncode, done.stderr.decode("utf-8", errors="replace"))
        return done.stdout.decode("utf-8", errors="replace")

    def put(self, folder: Path) -> None:
        """Copy what is in a folder here into the folder there.

        Raises:
            MeasurementError: It does not arrive.
        """
        unpack = f"tar -xf - -C {shlex.quote(self._folder)}"
        with subprocess.Popen([*self._ssh, unpack], stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdin is not None
            assert process.stderr is not None
            try:
                with tarfile.open(fileobj=process.stdin, mode="w|") as archive:
                    archive.add(folder, arcname=".", filter=_without_owner)
                process.stdin.close()
            except BrokenPipeError:
                pass  # the other end has said why
            told = process.stderr.read().decode("utf-8", errors="replace")
        if process.returncode:
            raise self._failure("tar", process.returncode, told)

    def fetch(self, name: str) -> bytes:
        """The content of a file there.

        Raises:
            MeasurementError: There is no such file.
        """
        done = self._call(f"cat -- {shlex.quote(self._folder + '/' + name)}")
        if done.returncode:
            raise self._failure(f"cat {name}", done.returncode, done.stderr.decode("utf-8", errors="replace"))
        return done.stdout

    def _call(self, command: str) -> subprocess.CompletedProcess[bytes]:
        """What ssh makes of a command; our own standard input stays ours."""
        return subprocess.run([*self._ssh, command], stdin=subprocess.DEVNULL, capture_output=True, check=False)

    def _failure(self, command: str, code: int, told: str) -> MeasurementError:
        last_words = told.strip()[-_END_OF_STDERR:] or "it said nothing"
        if code == 255:  # ssh's own
            hint = f"does `ssh {self.name} true` work without asking for a password?"
            return MeasurementError(f"cannot be reached: {last_words}", where=self.name, hint=hint)
        return MeasurementError(f"'{command.split(' -')[0]}' failed there: {last_words}", where=self.name)


def program(name: str) -> str:
    """What a shell there runs a program by: a bare name is looked for in its PATH, a relative path begins at home."""
    if "/" not in name or name.startswith("/"):
        return shlex.quote(name)
    return '"$HOME"/' + shlex.quote(name.removeprefix("~/"))


def _without_owner(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Our user's number and name mean nothing there."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry
