"""A worker's connections: echo(), server options, and sockets that are hard to find."""

from __future__ import annotations

import os
import threading
import time

import pytest

from pygearman_cffi import (
    Client,
    CouldNotConnectError,
    GearmanTimeoutError,
    InvalidArgumentError,
    Job,
    NotGearmanError,
    ReturnCode,
    ServerError,
    Worker,
)
from pygearman_cffi.testing import GearmanServer, WorkerThread
from tests import workers
from tests.fakes import FakeServer, black_hole, dead_port, says
from tests.programs import wait_for
from tests.workers import ask, echo, serving

name = workers.name


# -- echo and options ------------------------------------------------------------------


def test_echo(gearman_server: GearmanServer) -> None:
    """echo() returns when every server has sent the bytes back, in any state."""
    payload = os.urandom(200_000)
    with Worker(gearman_server.address) as worker:
        worker.echo(b"x")
        worker.echo(memoryview(payload))
        worker.echo(bytearray(b"\0"), timeout=None)
        assert worker.return_code is ReturnCode.SUCCESS
        with pytest.raises(InvalidArgumentError, match="empty"):
            worker.echo(b"")
        with pytest.raises(TypeError, match=r"\.encode\(\)"):
            worker.echo("x")  # type: ignore[arg-type]
        with pytest.raises(InvalidArgumentError, match="timeout"):
            worker.echo(b"x", timeout=0)


def test_echo_names_the_server_that_fails(gearman_server: GearmanServer) -> None:
    """echo() fails where any server does, says which, and holds its deadline."""
    with dead_port() as dead, FakeServer(black_hole) as hole:
        with Worker(f"{gearman_server.address},{dead}") as worker:
            with pytest.raises(CouldNotConnectError, match=dead):
                worker.echo(b"x")
            assert worker.return_code is ReturnCode.COULD_NOT_CONNECT
        with Worker(hole.address) as worker:
            began = time.monotonic()
            with pytest.raises(GearmanTimeoutError, match=hole.address):
                worker.echo(b"x", timeout=0.2)
            assert 0.2 <= time.monotonic() - began < 0.4
    with (
        FakeServer(says(b"hello there\n")) as foreign,
        Worker(foreign.address) as one,
        pytest.raises(NotGearmanError),
    ):
        one.echo(b"x")


def test_echo_in_a_worker_function(gearman_server: GearmanServer, name: str) -> None:
    """echo() is allowed in a worker function: it uses another connection."""
    worker = Worker(gearman_server.address)

    def function(job: Job) -> bytes:
        worker.echo(job.workload)
        return job.workload

    worker.add_function(name, function)
    with WorkerThread(worker):
        assert ask(gearman_server, name) == b"x"


def test_server_options(gearman_server: GearmanServer, name: str) -> None:
    """A known option is set at every connection, an unknown one is refused."""
    with Worker(gearman_server.address) as worker:
        with pytest.raises(ServerError, match="nonsense"):
            worker.set_server_option("nonsense")
        worker.set_server_option("exceptions")
        worker.set_server_option("exceptions")
        worker.add_function(name, echo)
        twin = worker.clone()
        with WorkerThread(twin):
            assert ask(gearman_server, name, b"a") == b"a"
            assert ask(gearman_server, name, b"b") == b"b"


# -- sockets that cannot be found ------------------------------------------------------


def test_where_no_descriptors_are_seen(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a platform that shows no descriptors C does the waiting, and all works."""
    monkeypatch.setattr("pygearman_cffi._cworker.take_new", lambda *_: None)
    monkeypatch.setattr("pygearman_cffi._cworker.take_all", lambda *_: [])
    payload = os.urandom(500_000)
    with GearmanServer() as server:
        worker = serving(server.address, name)
        with WorkerThread(worker) as running:
            began = time.monotonic()
            assert ask(server, name, b"1") == b"1"
            assert ask(server, name, payload) == payload
            server.kill()
            server.start()
            assert ask(server, name, b"2") == b"2"
            assert time.monotonic() - began < 10
            began = time.monotonic()
            worker.stop()
            wait_for(lambda: not running.running)
            assert time.monotonic() - began < 0.5


def test_a_socket_that_is_found_late(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A socket that had not the number that was foreseen is searched for."""
    monkeypatch.setattr("pygearman_cffi._cworker.take_new", lambda *_: None)
    with GearmanServer() as server:
        worker = serving(server.address, name)
        with WorkerThread(worker):
            assert ask(server, name, b"1") == b"1"

            def taken() -> bool:
                service = worker._service
                cworker = None if service is None else service._cworker
                return cworker is not None and len(cworker.descriptors) == 1

            wait_for(taken)
            assert ask(server, name, b"2") == b"2"


def test_threads_connect_at_once(name: str) -> None:
    """Workers and clients that connect at the same time take nobody else's socket."""
    with GearmanServer() as server:
        workers = [serving(server.address, name) for _ in range(8)]
        answers: list[bytes] = []

        def do() -> None:
            for number in range(20):
                with Client(server.address, timeout=20) as client:
                    answers.append(client.do(name, str(number).encode()))

        clients = [threading.Thread(target=do) for _ in range(4)]
        beside = [WorkerThread(worker) for worker in workers]
        for one in beside:
            one.start()
        for thread in clients:
            thread.start()
        for thread in clients:
            thread.join(60)
        taken = [
            descriptor.number
            for worker in workers
            if worker._service is not None and worker._service._cworker is not None
            for descriptor in worker._service._cworker.descriptors
        ]
        for one in beside:
            one.stop()
        assert len(answers) == 80
        assert len(taken) == len(set(taken)) == 8
