"""A worker none of whose job servers can be reached: none, dead, silent, or foreign."""

from __future__ import annotations

import time

import pytest

from pygearman_cffi import (
    CouldNotConnectError,
    NoServersError,
    ReturnCode,
    Worker,
    WorkerOption,
)
from pygearman_cffi.testing import GearmanServer, WorkerThread
from tests import workers
from tests.fakes import (
    FakeServer,
    Handler,
    answers,
    black_hole,
    closes,
    dead_port,
    says,
)
from tests.workers import ask, echo, serving

name = workers.name


@pytest.mark.parametrize("call", ["work", "wait", "run", "grab_job"])
def test_no_servers(call: str) -> None:
    """Without a server every call raises NoServersError, which says how to add one."""
    with Worker(()) as worker:
        worker.add_function("f", echo)
        for _ in range(2):
            with pytest.raises(NoServersError, match=r"add_server\(") as caught:
                getattr(worker, call)()
            assert caught.value.code is ReturnCode.NO_SERVERS
        with pytest.raises(NoServersError):
            worker.echo(b"x")


def test_work_tells_at_once_that_no_server_can_be_reached(name: str) -> None:
    """work() returns False with COULD_NOT_CONNECT, and a loop of it does not spin."""
    with dead_port() as address, serving(address, name) as worker:
        began = time.monotonic()
        assert worker.work() is False
        assert worker.return_code is ReturnCode.COULD_NOT_CONNECT
        assert time.monotonic() - began < 0.1
        rounds = 0
        while time.monotonic() - began < 0.3:
            assert worker.work() is False
            assert worker.return_code is ReturnCode.COULD_NOT_CONNECT
            rounds += 1
        assert rounds <= 5
        assert worker.grab_job() is None
        assert worker.return_code is ReturnCode.COULD_NOT_CONNECT


def test_a_timeout_holds_while_a_server_swallows_everything(name: str) -> None:
    """work() with a timeout ends in time while a black hole is still being tried."""
    with (
        FakeServer(black_hole) as hole,
        serving(hole.address, name, timeout=0.3) as worker,
    ):
        began = time.monotonic()
        assert worker.work() is False
        assert worker.return_code is ReturnCode.TIMEOUT
        assert worker.grab_job() is None
        assert worker.return_code is ReturnCode.TIMEOUT
        assert 0.6 <= time.monotonic() - began < 0.9


def test_connect_timeout(name: str) -> None:
    """A server that does not answer within connect_timeout cannot be reached."""
    with (
        FakeServer(black_hole) as hole,
        serving(hole.address, name, connect_timeout=0.2) as worker,
    ):
        began = time.monotonic()
        assert worker.work() is False
        assert worker.return_code is ReturnCode.COULD_NOT_CONNECT
        assert 0.2 <= time.monotonic() - began < 0.5


FOREIGN: dict[str, Handler] = {
    "HTTP": answers(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "a line without a space": answers(b"ERROR\r\n"),
    "an empty line": says(b"\n"),
    "SSH": says(b"SSH-2.0-OpenSSH_9.2p1\r\n"),
    "a request instead of an answer": says(b"\0REQ" + bytes(8)),
    "hang-up": closes,
    "binary": says(bytes(range(256))),
}


@pytest.mark.parametrize("handler", FOREIGN.values(), ids=FOREIGN)
def test_another_protocol(
    gearman_server: GearmanServer, name: str, handler: Handler
) -> None:
    """A server that speaks another protocol is left out, and kills nobody."""
    with FakeServer(handler) as foreign, serving(foreign.address, name) as worker:
        assert worker.work() is False
        assert worker.return_code is ReturnCode.COULD_NOT_CONNECT
        with pytest.raises(CouldNotConnectError):
            worker.echo(b"x")
        worker.add_server(gearman_server.host, gearman_server.port)
        with WorkerThread(worker):
            assert ask(gearman_server, name) == b"x"


def test_an_unknown_host(name: str) -> None:
    """A name that cannot be resolved is as a server that cannot be reached."""
    with serving("host.invalid", name) as worker:
        assert worker.work() is False
        assert worker.return_code is ReturnCode.COULD_NOT_CONNECT
        with pytest.raises(CouldNotConnectError, match=r"host\.invalid"):
            worker.echo(b"x")


def test_the_loop_of_a_non_blocking_worker_without_servers(name: str) -> None:
    """Without a server the non-blocking loop sees NO_JOBS and NO_ACTIVE_FDS, slowly."""
    with dead_port() as address:
        worker = serving(address, name, options=WorkerOption.NON_BLOCKING, timeout=5)
        codes = []
        began = time.monotonic()
        while time.monotonic() - began < 1:
            assert worker.work() is False
            codes.append(worker.return_code)
            if not worker.wait():
                codes.append(worker.return_code)
        worker.close()
        assert ReturnCode.NO_ACTIVE_FDS in codes
        assert set(codes) <= {
            ReturnCode.IO_WAIT,
            ReturnCode.NO_JOBS,
            ReturnCode.NO_ACTIVE_FDS,
        }
        assert len(codes) < 30
