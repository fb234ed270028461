"""A worker whose job servers are down, restarted, silent, foreign, or several."""

from __future__ import annotations

import logging
import os
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import count

import pytest

from pygearman_cffi import (
    Client,
    CouldNotConnectError,
    GearmanTimeoutError,
    InvalidArgumentError,
    Job,
    NoServersError,
    NotGearmanError,
    ReturnCode,
    ServerError,
    Worker,
    WorkerOption,
)
from pygearman_cffi.testing import GearmanServer, WorkerThread
from tests.fakes import (
    ECHO_REQ,
    ECHO_RES,
    FakeServer,
    Handler,
    answers,
    black_hole,
    closes,
    packet,
    proxy,
    requests,
    says,
)
from tests.isolated import run_isolated
from tests.programs import registered, run_client, wait_for, wait_for_worker

GRAB_JOB_ALL, JOB_ASSIGN_UNIQ, NO_JOB = 39, 31, 10

_numbers = count(1)


@pytest.fixture
def name() -> str:
    """A function name that no other test uses."""
    return f"servers-{next(_numbers)}"


@contextmanager
def dead_port() -> Iterator[str]:
    """An address on which nobody listens, and nobody can begin to."""
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


@contextmanager
def messages(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """What the worker logs while the block lasts."""
    caplog.clear()
    found: list[str] = []
    with caplog.at_level(logging.INFO, "pygearman_cffi.worker"):
        yield found
        found += [record.getMessage() for record in caplog.records]


def echo(job: Job) -> bytes:
    """The function of most tests."""
    return job.workload


def serving(address: str, name: str, **options: object) -> Worker:
    """A worker that serves `name`."""
    worker = Worker(address, **options)  # type: ignore[arg-type]
    worker.add_function(name, echo)
    return worker


def ask(server: GearmanServer, name: str, payload: bytes = b"x") -> bytes:
    """Have a C client do a job."""
    done = run_client(server, name, payload)
    assert done.returncode == 0, done.stderr
    return done.stdout


# -- none ------------------------------------------------------------------------------


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


# -- restarts --------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_a_restart_under_run(
    end: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """After a restart the next job is served soon; each change is logged once."""
    with (
        GearmanServer() as server,
        messages(caplog) as logged,
        WorkerThread(serving(server.address, name)),
    ):
        assert ask(server, name, b"before") == b"before"
        getattr(server, end)()
        wait_for(lambda: any("is lost" in r.getMessage() for r in caplog.records))
        cpu = resource.getrusage(resource.RUSAGE_THREAD).ru_utime
        time.sleep(0.5)  # let it try in vain for a while
        assert resource.getrusage(resource.RUSAGE_THREAD).ru_utime - cpu < 0.1
        server.start()
        began = time.monotonic()
        assert ask(server, name, b"after") == b"after"
        assert time.monotonic() - began < 5.0
    where = server.address
    assert [line.partition(" (")[0] for line in logged] == [
        f"job server {where} answers",
        f"job server {where} is lost",
        f"job server {where} answers again",
    ]


def test_the_cpu_is_idle_while_the_server_is_down(name: str) -> None:
    """A worker without a server uses next to no CPU, and next to none when idle."""
    script = """
        import resource, sys, threading, time
        from pygearman_cffi import Worker
        for address in sys.argv[1:]:
            worker = Worker(address)
            worker.add_function("cpu", lambda job: None)
            begin = resource.getrusage(resource.RUSAGE_SELF)
            assert worker.run(max_seconds=2) == 0
            end = resource.getrusage(resource.RUSAGE_SELF)
            worker.close()
            cpu = end.ru_utime + end.ru_stime - begin.ru_utime - begin.ru_stime
            print(cpu < 0.05, cpu)
    """
    with GearmanServer() as server, dead_port() as dead:
        out = run_isolated(script, dead, server.address)
    assert [line.split()[0] for line in out.splitlines()] == ["True", "True"], out


def test_a_restart_between_two_calls_of_work(name: str) -> None:
    """A restart while nobody is in work() costs no call."""
    with GearmanServer() as server, serving(server.address, name) as worker:
        for _ in range(3):
            with Client(server.address) as client:
                client.do_background(name, b"")
            assert worker.work() is True
            assert worker.return_code is ReturnCode.SUCCESS
            server.kill()
            server.start()


def test_work_tells_that_the_server_went(name: str) -> None:
    """A server that ends during work() makes it return False with LOST_CONNECTION."""
    with GearmanServer() as server, serving(server.address, name) as worker:
        results: list[object] = []

        def work() -> None:
            results.extend([worker.work(), worker.return_code])

        thread = threading.Thread(target=work)
        thread.start()
        wait_for_worker(server, name)
        server.kill()
        thread.join(10)
        assert results == [False, ReturnCode.LOST_CONNECTION]
        assert worker.work() is False
        assert worker.return_code is ReturnCode.COULD_NOT_CONNECT


def test_the_server_ends_during_a_job(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A job whose server went is over; run() goes on and serves what comes."""
    payload = os.urandom(2_000_000)  # more than the socket's buffers take
    entered, ended = threading.Event(), threading.Event()

    def slow(job: Job) -> bytes:
        entered.set()
        assert ended.wait(10)
        return payload

    with GearmanServer(args=["--verbose=ERROR"]) as server, messages(caplog) as logged:
        worker = serving(server.address, name)
        worker.add_function(name + "-slow", slow)
        with WorkerThread(worker) as running:
            with Client(server.address) as client:
                client.do_background(name + "-slow", b"")
            assert entered.wait(10)
            server.kill()
            ended.set()
            wait_for(lambda: any("is lost" in r.getMessage() for r in caplog.records))
            server.start()
            assert ask(server, name) == b"x"
        assert running.result == 2
    assert sum("gives it to another" in line for line in logged) == 1


# -- several ---------------------------------------------------------------------------


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
