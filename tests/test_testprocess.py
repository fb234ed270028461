"""The process under GearmanServer: never an orphan, always on its own port."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from pygearman_cffi import _testprocess, _testserver
from pygearman_cffi.testing import GearmanServer
from tests.programs import is_listening, wait_for

ROOT = Path(__file__).parent.parent


@contextmanager
def python(script: str) -> Iterator[subprocess.Popen[str]]:
    """Run a script in another Python that finds this package, and kill it in the end.

    Its standard input ends with this process, however that ends.
    """
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def next_line(process: subprocess.Popen[str]) -> str:
    """Read a line that the process prints."""
    assert process.stdout is not None
    return process.stdout.readline()


# --- no orphans --------------------------------------------------------------

STARTS_A_SERVER = """
import sys, threading
from pygearman_cffi.testing import GearmanServer
{start}
print(server.port, flush=True)
{then}
"""


@pytest.mark.parametrize(
    "then",
    [
        pytest.param("sys.stdin.read()", id="killed"),
        pytest.param("sys.exit(0)", id="exits"),
        pytest.param("del server; sys.stdin.read()", id="forgets"),
    ],
)
def test_no_orphan(then: str, request: pytest.FixtureRequest) -> None:
    """The server ends with its parent, also by SIGKILL, and with its object."""
    script = STARTS_A_SERVER.format(start="server = GearmanServer()", then=then)
    with python(script) as parent:
        port = int(next_line(parent))
        if request.node.callspec.id == "killed":
            assert is_listening(port)
            parent.kill()
        wait_for(lambda: not is_listening(port))


def test_outlives_the_thread_that_started_it() -> None:
    """A server belongs to the process, not to the thread that made it."""
    start = """
made = []
thread = threading.Thread(target=lambda: made.append(GearmanServer()))
thread.start()
thread.join()
server = made[0]
"""
    then = "print(server.status(), flush=True); server.stop()"
    with python(STARTS_A_SERVER.format(start=start, then=then)) as parent:
        next_line(parent)
        assert next_line(parent) == "{}\n"


# --- the port ----------------------------------------------------------------


@pytest.mark.parametrize("owner", ["gearmand", "mute", "rude"])
def test_port_taken_in_between(owner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who takes the port between the choice and the start is not taken for ours."""
    monkeypatch.setattr(_testserver, "_SILENCE_SECONDS", 0.2)
    with ExitStack() as stack:
        if owner == "gearmand":
            taken = stack.enter_context(GearmanServer()).port
        else:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            taken = listener.getsockname()[1]
            if owner == "rude":  # answers, but not as a job server
                script = (
                    "import socket, sys\n"
                    f"listener = socket.socket(fileno={listener.fileno()})\n"
                    "while True: listener.accept()[0].sendall(b'220 hello\\r\\n')"
                )
                rude = subprocess.Popen(
                    [sys.executable, "-c", script], pass_fds=[listener.fileno()]
                )
                stack.enter_context(rude)
                stack.callback(rude.kill)
        choices = iter([taken, taken])
        pick = _testprocess.pick_port
        monkeypatch.setattr(_testserver, "pick_port", lambda: next(choices, pick()))
        server = stack.enter_context(GearmanServer())
        assert taken != server.port
        assert [f"OK {server.pid}"] == server.command("getpid")


def test_given_port() -> None:
    """A port of one's choice is used."""
    port = _testprocess.pick_port()
    with GearmanServer(port=port) as server:
        assert port == server.port


def test_own_port_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server never moves: where its port is taken, start() says so."""
    monkeypatch.setattr(_testprocess, "_FREE_SECONDS", 0.1)
    with GearmanServer() as server:
        server.stop()
        with socket.socket() as thief:
            thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            thief.bind((server.host, server.port))
            thief.listen()
            with pytest.raises(OSError, match=str(server.port)) as caught:
                server.start()
            assert caught.value.errno == errno.EADDRINUSE
        server.start()
        assert server.running


# --- the program -------------------------------------------------------------


@pytest.mark.skipif(os.geteuid() != 0, reason="every other test shows it, without root")
def test_works_without_root() -> None:
    """A server needs no privilege."""
    # The switch comes after the imports: nobody may be unable to read their files.
    start = """
import encodings.idna, os
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
server = GearmanServer()
"""
    then = "print(os.geteuid(), server.status(), flush=True); server.stop()"
    with python(STARTS_A_SERVER.format(start=start, then=then)) as parent:
        next_line(parent)
        assert next_line(parent) == "65534 {}\n"


def test_missing_gearmand() -> None:
    """A missing gearmand is an error that says how to install it."""
    with pytest.raises(FileNotFoundError, match="apt install gearman-job-server"):
        GearmanServer("no-such-gearmand")


def test_found_outside_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is found in the sbin folders, which few have in their PATH."""
    monkeypatch.setenv("PATH", "/nonexistent")
    with GearmanServer() as server:
        assert server.running


def test_refused_arguments() -> None:
    """A gearmand that ends at once is an error that holds what it said."""
    with pytest.raises(RuntimeError, match=r"status 1(.|\n)*unrecognised"):
        GearmanServer(args=["--no-such-option"])


def test_wrapper_script(tmp_path: Path) -> None:
    """The executable may be a script around gearmand, and leaves nothing behind."""
    gearmand = _testprocess.find_gearmand(None)
    script = tmp_path / "gearmand"
    script.write_text(f'#!/bin/sh\n{gearmand} "$@"\nexit $?\n')
    script.chmod(0o755)
    with GearmanServer(str(script)) as server:
        assert server.status() == {}
    wait_for(lambda: not is_listening(server.port))
