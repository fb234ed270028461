"""GearmanServer: made, asked, stopped, and there again."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from pygearman_cffi import ArgumentTypeError, _testserver
from pygearman_cffi.testing import FunctionStatus, GearmanServer
from tests.programs import c_worker, is_listening, run_client, wait_for


@pytest.fixture
def server() -> Iterator[GearmanServer]:
    """A server of the test's own, which may be killed."""
    with GearmanServer() as server:
        yield server


@pytest.mark.parametrize("args", ["--verbose=INFO", b"--verbose=INFO"])
def test_arguments_are_no_string(args: Any) -> None:
    """One string as args= is refused, with the advice to make a sequence of it."""
    with pytest.raises(ArgumentTypeError, match=r"sequence of strings.*args=\["):
        GearmanServer(args=args)
    with GearmanServer(args=["--verbose=INFO"]) as server:
        assert server.running


# --- the life of a server ----------------------------------------------------


def test_answers_when_made(server: GearmanServer) -> None:
    """The constructor returns when the server answers, at the address it names."""
    assert server.running
    assert f"127.0.0.1:{server.port}" == server.address
    assert server.host == "127.0.0.1"
    assert [f"OK {server.pid}"] == server.command("getpid")


def test_listens_on_loopback_only(server: GearmanServer) -> None:
    """Nobody outside this machine can reach the server of a test."""
    elsewhere = "127.0.0.2"  # every address is ours, but it listens on one
    with socket.socket() as probe:
        assert probe.connect_ex((elsewhere, server.port)) != 0


def test_port_is_not_ephemeral(server: GearmanServer) -> None:
    """The port is one that no outgoing connection is given while the server is down."""
    path = Path("/proc/sys/net/ipv4/ip_local_port_range")
    if path.exists():
        lowest = int(path.read_text().split()[0])
        assert server.port < lowest or lowest < 20000


def test_two_servers_have_two_ports(server: GearmanServer) -> None:
    """Each server has a port and a queue of its own."""
    with GearmanServer() as other:
        assert other.port != server.port
        assert run_client(other, "own", b"x", "--background").returncode == 0
        assert {"own": FunctionStatus(1, 0, 0)} == other.status()
        assert server.status() == {}


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_stop_and_kill_end_it_at_once(server: GearmanServer, end: str) -> None:
    """stop() and kill() leave no process; twice is as good as once."""
    pid = server.pid
    begin = time.monotonic()
    for _ in range(2):
        getattr(server, end)()
        assert not server.running
    assert time.monotonic() - begin < 2.0
    assert not is_listening(server.port)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)  # reaped too
    with pytest.raises(RuntimeError, match=r"start\(\)"):
        _ = server.pid


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_starts_again_on_the_same_port(server: GearmanServer, end: str) -> None:
    """start() brings the server back at its address, whatever was connected to it."""
    address, pid = server.address, server.pid
    with ExitStack() as connections:
        for _ in range(10):
            connections.enter_context(
                socket.create_connection((server.host, server.port))
            )
        begin = time.monotonic()
        getattr(server, end)()
        server.start()
        assert time.monotonic() - begin < 5.0
    assert address == server.address
    assert pid != server.pid
    assert server.status() == {}


def test_start_of_a_running_server_does_nothing(server: GearmanServer) -> None:
    """start() is safe to call when in doubt."""
    pid = server.pid
    server.start()
    assert pid == server.pid


def test_with_starts_and_stops() -> None:
    """The with block starts a server that was stopped, and stops it."""
    server = GearmanServer()
    server.stop()
    with server as entered:
        assert entered is server
        assert is_listening(server.port)
    assert not server.running
    assert server.address in repr(server)


def test_survives_its_own_death(server: GearmanServer) -> None:
    """A gearmand that died by itself is noticed, and can be started again."""
    os.kill(server.pid, signal.SIGKILL)
    wait_for(lambda: not server.running)
    server.stop()
    server.start()
    assert server.status() == {}


def test_stop_ends_a_frozen_server(
    server: GearmanServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that does not heed SIGTERM is killed."""
    monkeypatch.setattr(_testserver, "_STOP_SECONDS", 0.1)
    os.kill(server.pid, signal.SIGSTOP)
    server.stop()
    assert not is_listening(server.port)


# --- what can be asked and given ---------------------------------------------


def test_status(server: GearmanServer) -> None:
    """status() tells the jobs, the running ones and the workers of each function."""
    assert server.status() == {}
    for _ in range(3):
        run_client(server, "sleep_ms", b"60000", "--background")
    assert FunctionStatus(total=3, running=0, workers=0) == server.status()["sleep_ms"]
    with c_worker(server):
        wait_for(lambda: server.status()["sleep_ms"].running)
        status = server.status()["sleep_ms"]
        assert (*status, status.queued) == (3, 1, 1, 2)


def test_command(server: GearmanServer) -> None:
    """command() returns a list's lines, or the one line of another answer."""
    assert server.command("create function OK") == ["OK"]
    assert server.command("status") == ["OK\t0\t0\t0"]
    (version,) = server.command("version")
    assert version.startswith("OK ")
    (error,) = server.command("nonsense")
    assert error.startswith("ERR ")
    with pytest.raises(ValueError, match="empty"):
        server.command(" ")


def test_commands_of_a_stopped_server(server: GearmanServer) -> None:
    """A stopped server's command() and status() raise, and do not wait."""
    server.stop()
    with pytest.raises(ConnectionRefusedError):
        server.status()


def test_arguments_and_log() -> None:
    """More arguments reach gearmand, and its log is kept over its starts."""
    with GearmanServer(args=["--verbose=INFO"]) as server:
        first = server.pid
        server.stop()
        server.start()
        assert f"pid {first}" in server.log
        assert f"pid {server.pid}" in server.log


def test_persistent_queue(tmp_path: Path) -> None:
    """With a persistent queue a background job survives kill() and start()."""
    with GearmanServer(persistent=tmp_path / "queue.db") as server:
        job = run_client(server, "echo", b"kept", "--background", "--unique", "one")
        assert job.returncode == 0
        server.kill()
        server.start()
        assert FunctionStatus(1, 0, 0) == server.status()["echo"]
        with c_worker(server, "worker_v2", "-c", "1") as worker:
            assert worker.wait(10) == 0
        wait_for(lambda: not server.status()["echo"].total)


def test_without_a_persistent_queue(server: GearmanServer) -> None:
    """By default a killed server forgets its jobs."""
    run_client(server, "echo", b"lost", "--background")
    server.kill()
    server.start()
    assert server.status() == {}
