"""A real gearmand for tests: started, asked, stopped and started again."""

from __future__ import annotations

import os
import socket
import struct
import tempfile
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ._testprocess import (
    HOST,
    ServerProcess,
    await_free,
    find_gearmand,
    pick_port,
)
from .errors import ArgumentTypeError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

_START_SECONDS = 30.0  # a loaded machine; the normal case is under 20 ms
_START_ATTEMPTS = 20
_STOP_SECONDS = 5.0  # then SIGKILL
_SILENCE_SECONDS = 3.0  # who accepts and says nothing for so long is not gearmand

_ECHO = b"ready?"
_ECHO_REQ = struct.pack(">4sII", b"\0REQ", 16, len(_ECHO)) + _ECHO
_ECHO_RES = struct.pack(">4sII", b"\0RES", 17, len(_ECHO)) + _ECHO

# The commands that answer with a list ended by a dot. The answer itself does not tell:
# a function may be called "OK".
_LISTS = frozenset({"status", "workers", "show", "prioritystatus"})


class _PortTakenError(Exception):
    """Another process answers on the port."""


class FunctionStatus(NamedTuple):
    """A line of gearmand's ``status``: the numbers of one function."""

    total: int
    """Jobs in the queue, the running ones included."""
    running: int
    """Jobs a worker is working on."""
    workers: int
    """Workers that can do it."""

    @property
    def queued(self) -> int:
        """Jobs that wait for a worker."""
        return self.total - self.running


class GearmanServer:
    """A real gearmand on a free port of the loopback interface.

    ::

        with GearmanServer() as server:
            client = Client(server.address)

    It runs, and answers, when the constructor returns. The end of the ``with`` block
    stops it; it also ends when this process does, however that ends. (A child forked
    without exec holds it alive for as long as the child lives.) One object keeps its
    port: after `stop` or `kill`, `start` brings it up again at the same address.
    """

    host = HOST

    def __init__(
        self,
        executable: str | None = None,
        args: Sequence[str] = (),
        persistent: str | os.PathLike[str] | None = None,
        *,
        port: int | None = None,
    ) -> None:
        """Start the server and wait until it answers.

        Args:
            executable: gearmand's path or name; by default it is looked for in
                ``$PATH`` and in the usual sbin folders.
            args: more arguments for it, for example ``["--job-retries=1"]``.
            persistent: a file for gearmand's SQLite queue: background jobs in it
                survive `stop` and `kill`.
            port: the port; by default a free one.

        Raises:
            ArgumentTypeError: args is one string.
            FileNotFoundError: there is no gearmand.
            RuntimeError: it ended at once, or did not answer in time; the message
                holds its log.
            OSError: the given port is in use.
        """
        if isinstance(args, (str, bytes)):  # a sequence, too: of single letters
            raise ArgumentTypeError(
                f"args is a sequence of strings, as in args=[{args!r}], not "
                f"{type(args).__name__}",
                doing="GearmanServer()",
            )
        self._command = [
            find_gearmand(executable),
            f"--listen={HOST}",
            "--log-file=stderr",
            "--config-file=/dev/null",  # not the machine's own settings
            *args,
        ]
        if persistent is not None:
            self._command += [
                "--queue-type=libsqlite3",
                f"--libsqlite3-db={Path(persistent).absolute()}",
            ]
        self._port = port or 0
        self._process: ServerProcess | None = None
        # A file without a name: nothing to clean up, and it can be read at any time.
        self._log, path = tempfile.mkstemp(prefix="gearmand-")
        Path(path).unlink()
        weakref.finalize(self, os.close, self._log)
        self.start()

    def __repr__(self) -> str:
        state = f"pid {self.pid}" if self.running else "not running"
        return f"<GearmanServer {self.address}, {state}>"

    def __enter__(self) -> GearmanServer:
        """Start the server, if it was stopped."""
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Stop the server."""
        self.stop()

    @property
    def port(self) -> int:
        """The port, the same for the life of this object."""
        return self._port

    @property
    def address(self) -> str:
        """``"127.0.0.1:port"``, as `Client` and `Worker` take it."""
        return f"{HOST}:{self._port}"

    @property
    def running(self) -> bool:
        """Tell whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process number of gearmand.

        Raises:
            RuntimeError: it is not running.
        """
        if self._process is None or self._process.poll() is not None:
            raise RuntimeError("gearmand is not running; start() starts it")
        return self._process.pid

    @property
    def log(self) -> str:
        """What gearmand has written to its log, over all its starts."""
        # pread: gearmand writes at the file's shared position, which must not move.
        raw = os.pread(self._log, os.fstat(self._log).st_size, 0)
        return raw.decode(errors="replace")

    def start(self) -> None:
        """Start the server and wait until it answers; do nothing if it runs.

        Raises:
            RuntimeError: it ended at once, or did not answer in time.
            OSError: the port is in use by another process.
        """
        if self.running:
            return
        self.kill()  # reaps one that ended by itself
        for _ in range(_START_ATTEMPTS):
            if self._port:
                await_free(self._port)
            port = self._port or pick_port()
            try:
                self._launch(port)
            except _PortTakenError:
                self.kill()
                continue
            except BaseException:
                self.kill()
                raise
            self._port = port
            return
        raise RuntimeError(
            f"gearmand could not be started in {_START_ATTEMPTS} attempts: each time "
            f"another process answered on its port\n{self.log}"
        )

    def stop(self) -> None:
        """End the server with SIGTERM, or SIGKILL if need be; do nothing if ended."""
        if self._process is not None:
            self._process.send("TERM")
            self._process.wait(_STOP_SECONDS)
        self.kill()

    def kill(self) -> None:
        """End the server at once with SIGKILL; do nothing if it has ended."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def command(self, text: str) -> list[str]:
        """Send a command of the text protocol, such as ``workers``.

        Args:
            text: the command, without the line's end.

        Returns:
            The lines of the answer, without the closing ``.``; an ``OK`` or ``ERR``
            answer is one line.

        Raises:
            ValueError: there is no command.
            OSError: the server does not answer.
        """
        if not text.strip():
            raise ValueError("the command is empty")
        with socket.create_connection((HOST, self._port), 10.0) as connection:
            return _ask(connection, text)

    def status(self) -> dict[str, FunctionStatus]:
        """Ask for the numbers of every function the server knows.

        Raises:
            OSError: the server does not answer.
        """
        functions = {}
        for line in self.command("status"):
            name, total, running, workers = line.rsplit("\t", 3)
            functions[name] = FunctionStatus(int(total), int(running), int(workers))
        return functions

    def _launch(self, port: int) -> None:
        """Start gearmand on this port and wait until it, nobody else, answers."""
        process = ServerProcess([*self._command, f"--port={port}"], self._log)
        self._process = process
        deadline = time.monotonic() + _START_SECONDS
        # gearmand tries for 20 seconds to bind a port that is taken, and meanwhile
        # its owner may answer us: so an answer counts only if it is from our process.
        while not _answers(port, process.group):
            status = process.poll()
            if status is not None:
                raise RuntimeError(
                    f"gearmand ended with status {status}: {process.command}\n{self.log}"
                )
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"gearmand did not answer within {_START_SECONDS:.0f} seconds: "
                    f"{process.command}\n{self.log}"
                )
            time.sleep(0.002)


def _ask(connection: socket.socket, text: str) -> list[str]:
    """Send one command and read its answer to the end."""
    # With a bare "\n" gearmand cuts a letter off the name in "create function name".
    connection.sendall(text.encode() + b"\r\n")
    is_list = text.split(maxsplit=1)[0] in _LISTS
    lines: list[str] = []
    with connection.makefile(encoding="utf-8", errors="surrogateescape") as answer:
        for raw in answer:
            line = raw.rstrip("\r\n")
            if is_list and line == ".":
                return lines
            lines.append(line)
            if not is_list or (line.startswith("ERR ") and "\t" not in line):
                return lines
    raise ConnectionError(f"gearmand closed the connection in its answer to {text!r}")


def _answers(port: int, group: int) -> bool:
    """Tell whether a gearmand of this process group answers on the port.

    Raises:
        _PortTakenError: somebody else does.
    """
    try:
        with socket.create_connection((HOST, port), _SILENCE_SECONDS) as connection:
            connection.sendall(_ECHO_REQ)
            received = b""
            while len(received) < len(_ECHO_RES):
                piece = connection.recv(len(_ECHO_RES) - len(received))
                received += piece
                if not piece or not _ECHO_RES.startswith(received):
                    raise _PortTakenError
            state, _, pid = _ask(connection, "getpid")[0].partition(" ")
            # The group, not the process: the executable may be a wrapper script.
            # A server too old for the command is taken at its word.
            if state == "OK" and os.getpgid(int(pid)) != group:
                raise _PortTakenError
    except (TimeoutError, ProcessLookupError):
        raise _PortTakenError from None
    except OSError:
        return False  # refused: it does not listen yet
    return True
