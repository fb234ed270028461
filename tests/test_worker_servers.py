"""A worker with several job servers, some of them dead, silent, talking nonsense or slow."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable

import pytest

from pygearman_cffi.testing import GearmanServer, WorkerThread
from tests import workers
from tests.fakes import (
    ECHO_REQ,
    ECHO_RES,
    FakeServer,
    Handler,
    black_hole,
    packet,
    proxy,
    requests,
)
from tests.hostile import GRAB_JOB_ALL
from tests.isolated import run_isolated
from tests.programs import registered, wait_for, wait_for_worker
from tests.workers import ask, messages, serving

name = workers.name


def test_every_server_is_served(name: str) -> None:
    """A worker takes the jobs of all its servers."""
    with (
        GearmanServer() as one,
        GearmanServer() as two,
        WorkerThread(serving(f"{one.address},{two.address}", name)),
    ):
        assert ask(one, name, b"1") == ask(two, name, b"1") == b"1"
        began = time.monotonic()
        for _ in range(10):
            assert ask(one, name, b"1") == b"1"
            assert ask(two, name, b"2") == b"2"
        assert time.monotonic() - began < 1.0


def test_a_server_that_is_down_at_start(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A dead server and a black hole delay no other; one that comes back is served."""
    with GearmanServer() as one, GearmanServer() as two, FakeServer(black_hole) as hole:
        two.kill()
        servers = f"{hole.address},{two.address},{one.address}"
        with messages(caplog) as logged, WorkerThread(serving(servers, name)):
            began = time.monotonic()
            assert ask(one, name, b"1") == b"1"
            assert time.monotonic() - began < 1.0
            two.start()
            began = time.monotonic()
            assert ask(two, name, b"2") == b"2"
            assert time.monotonic() - began < 5.0
            assert ask(one, name, b"1") == b"1"
        # In this order, and nothing else while the hole is still being tried.
        assert [line.partition(" (")[0] for line in logged] == [
            f"job server {two.address} cannot be reached",
            f"job server {one.address} answers",
            f"job server {two.address} answers again",
        ]


def test_one_of_two_servers_ends(name: str) -> None:
    """When a server ends the other one is served on; the first when it is back."""
    with (
        GearmanServer() as one,
        GearmanServer() as two,
        WorkerThread(serving(f"{one.address},{two.address}", name)),
    ):
        wait_for_worker(one, name)
        wait_for_worker(two, name)
        for first, second in ((one, two), (two, one)):
            first.kill()
            began = time.monotonic()
            assert ask(second, name, b"2") == b"2"
            assert time.monotonic() - began < 5.0
            first.start()
            began = time.monotonic()
            assert ask(first, name, b"1") == b"1"
            assert time.monotonic() - began < 5.0


def test_the_same_server_under_two_names(name: str) -> None:
    """A server that is named twice is connected to once."""
    with GearmanServer() as server:
        names = f"localhost:{server.port},{server.address},{server.address}"
        with WorkerThread(serving(names, name)):
            assert ask(server, name) == b"x"
            wait_for_worker(server, name)
            assert registered(server, name) == 1


def silent_after(connections: int) -> Callable[[], Handler]:
    """A job server that answers so many greetings, and no request for a job."""

    def make() -> Handler:
        def handler(server: FakeServer, connection: socket.socket) -> None:
            for kind, body in requests(connection):
                if kind == ECHO_REQ and server.connections <= connections:
                    connection.sendall(packet(ECHO_RES, body))

        return handler

    return make


def test_a_server_that_falls_silent(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that owes an answer for connect_timeout is given up for the others."""
    with GearmanServer() as good, FakeServer(silent_after(2)()) as mute:
        worker = serving(f"{good.address},{mute.address}", name, connect_timeout=0.5)
        with messages(caplog) as logged, WorkerThread(worker):
            began = time.monotonic()
            assert ask(good, name) == b"x"
            assert time.monotonic() - began < 3.0
            wait_for(lambda: "is lost" in caplog.text)
            began = time.monotonic()
            assert ask(good, name) == b"x"
            assert time.monotonic() - began < 0.4
    assert any("no answer within connect_timeout" in line for line in logged)


def test_garbage_after_the_greeting(name: str) -> None:
    """A server that answers a request for a job with nonsense is only tried again."""

    def handler(server: FakeServer, connection: socket.socket) -> None:
        for kind, body in requests(connection):
            if kind == ECHO_REQ:
                connection.sendall(packet(ECHO_RES, body))
            elif kind == GRAB_JOB_ALL:
                time.sleep(0.02)  # so that C has to ask twice
                connection.sendall(packet(19, b"ERR", b"nonsense"))

    script = """
        import sys
        from pygearman_cffi import Worker
        worker = Worker(sys.argv[1])
        worker.add_function("f", lambda job: None)
        assert worker.run(max_seconds=1.5) == 0
        worker.close()
    """
    with FakeServer(handler) as fake:
        run_isolated(script, fake.address)
        # Each attempt is a greeting and a connection, with longer and longer pauses.
        assert 4 <= fake.connections <= 20


def test_a_slow_server_serves(name: str) -> None:
    """An answer that takes its time is waited for, without a limit on the transfer."""
    payload = os.urandom(300_000)
    with (
        GearmanServer() as server,
        proxy(server) as slow,
        WorkerThread(serving(slow.address, name)),
    ):
        assert ask(server, name, payload) == payload
