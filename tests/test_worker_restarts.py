"""A worker whose only job server ends, at any moment, and comes back."""

from __future__ import annotations

import os
import resource
import threading
import time

import pytest

from pygearman_cffi import Client, Job, ReturnCode
from pygearman_cffi.testing import GearmanServer, WorkerThread
from tests import workers
from tests.fakes import dead_port
from tests.isolated import run_isolated
from tests.programs import wait_for, wait_for_worker
from tests.workers import ask, messages, serving

name = workers.name


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
