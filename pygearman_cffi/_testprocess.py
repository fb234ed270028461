"""A gearmand process that never outlives ours, and the port it can have."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import socket
import subprocess
import time
import weakref
from typing import IO, TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Sequence

HOST = "127.0.0.1"
_FREE_SECONDS = 10.0  # for a given port to become free

_FOLDERS = (
    "/usr/sbin",
    "/usr/local/sbin",
    "/usr/bin",
    "/usr/local/bin",
    "/opt/homebrew/sbin",
    "/opt/local/sbin",
    "/usr/local/opt/gearman/sbin",
)

# Below every usual range of ephemeral ports. There, another program's outgoing
# connection can take the port while the server is down, and a client that tries to
# reconnect to it can be given the very same port and be connected to itself.
_PORTS = range(20000, 32768)

# gearmand's parent: passes on the signals named on its input, kills the whole group when
# the input ends (that is how it learns that we are gone, even by SIGKILL), and reaps.
# PR_SET_PDEATHSIG would act at the end of the *thread* that forked, and on Linux only.
# In a shell's background job fd 0 is /dev/null, so the input travels as fd 3.
_SUPERVISOR = """
exec 3<&0 </dev/null
"$@" 3<&- >&2 &
server=$!
echo "$server"
exec >/dev/null 2>&1
{
    while read -r signal; do kill -s "$signal" "$server"; done <&3
    kill -s KILL 0
} &
watcher=$!
exec 3<&-
wait "$server"
status=$?
kill -s KILL "$watcher"
wait
exit "$status"
"""


class ServerProcess:
    """A gearmand and the little shell that is its parent, in a process group."""

    def __init__(self, command: Sequence[str], log: int) -> None:
        """Start the command.

        Args:
            command: gearmand and its arguments.
            log: the file descriptor to be its standard error.
        """
        self.command = " ".join(command)
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", _SUPERVISOR, "sh", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            bufsize=0,
            start_new_session=True,  # a Ctrl-C at the terminal is not for gearmand
        )
        self._input = cast("IO[bytes]", self._shell.stdin)
        # subprocess keeps a forgotten process, and so its pipe, until that has ended.
        weakref.finalize(self, self._input.close)
        with cast("IO[bytes]", self._shell.stdout) as output:
            self.pid = int(output.read(32))
        self.group = self._shell.pid

    def poll(self) -> int | None:
        """Return the exit status as a shell gives it, None while gearmand lives."""
        return self._shell.poll()

    def send(self, name: str) -> None:
        """Send gearmand a signal (``"TERM"``), unless it has ended."""
        if self.poll() is None:
            try:
                self._input.write(f"{name}\n".encode())
            except BrokenPipeError:
                pass  # it has just ended

    def wait(self, timeout: float) -> bool:
        """Wait for its end and tell whether it came in time."""
        try:
            self._shell.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        """End it at once, reap it, and close the pipe."""
        self.send("KILL")
        self._shell.wait()
        try:
            os.killpg(self.group, signal.SIGKILL)  # what a wrapper script leaves behind
        except (ProcessLookupError, PermissionError):
            pass  # nothing, or only what is ending
        self._input.close()


def find_gearmand(executable: str | None) -> str:
    """Find the job server's program.

    Args:
        executable: its path or name, None for ``gearmand``.

    Returns:
        A path.

    Raises:
        FileNotFoundError: it is not there; the message says how to install it.
    """
    folders = os.pathsep.join([os.environ.get("PATH", os.defpath), *_FOLDERS])
    found = shutil.which(executable or "gearmand", path=folders)
    if found is None:
        raise FileNotFoundError(
            f"the job server {executable or 'gearmand'!r} was not found in {folders}; "
            "install it with 'apt install gearman-job-server', 'dnf install gearmand', "
            "'apk add gearmand' or 'brew install gearman', or give its path"
        )
    return found


def pick_port() -> int:
    """Choose a port that nobody has at this moment."""
    # An own generator: parallel test runs that seed the global one must not collide.
    chance = random.SystemRandom()
    while True:
        port = chance.choice(_PORTS)
        if _is_free(port):
            return port


def await_free(port: int) -> None:
    """Wait until nobody has this port.

    Raises:
        OSError: somebody keeps it (``EADDRINUSE``).
    """
    deadline = time.monotonic() + _FREE_SECONDS
    while not _is_free(port):
        if time.monotonic() > deadline:
            raise OSError(errno.EADDRINUSE, f"port {port} is in use by another process")
        time.sleep(0.01)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As gearmand does: connections that linger in TIME_WAIT do not matter.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return False
    return True
