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
        """Take the folder away, whatever happened."""
        if self._folder:
            subprocess.run([*self._ssh, f"rm -rf -- {shlex.quote(self._folder)}"], capture_output=True, check=False)

    def run(self, command: str, *, inside: bool = True) -> str:
        """Run a shell command there and return what it wrote to standard output.

        Raises:
            MeasurementError: It cannot be reached, or the command fails; with the last words of either.
        """
        whole = f"cd {shlex.quote(self._folder)} && {command}" if inside else command
        done = subprocess.run([*self._ssh, whole], capture_output=True, text=True, errors="replace", check=False)
        if done.returncode:
            raise self._failure(command, done.returncode, done.stderr)
        return done.stdout

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
        whole = f"cat -- {shlex.quote(self._folder + '/' + name)}"
        done = subprocess.run([*self._ssh, whole], capture_output=True, check=False)
        if done.returncode:
            raise self._failure(f"cat {name}", done.returncode, done.stderr.decode("utf-8", errors="replace"))
        return done.stdout

    def _failure(self, command: str, code: int, told: str) -> MeasurementError:
        last_words = told.strip()[-_END_OF_STDERR:] or "it said nothing"
        if code == 255:  # ssh's own
            hint = f"does `ssh {self.name} true` work without asking for a password?"
            return MeasurementError(f"cannot be reached: {last_words}", where=self.name, hint=hint)
        return MeasurementError(f"'{command.split(' -')[0]}' failed there: {last_words}", where=self.name)


def _without_owner(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Our user's number and name mean nothing there."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry
