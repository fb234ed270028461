"""Signals whose handlers call stop(), or do nothing, or are none; and the end of Python."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator

import pytest

from pygearman_cffi import Client
from pygearman_cffi.testing import GearmanServer
from tests import workers
from tests.isolated import run_isolated
from tests.programs import registered, wait_for, wait_for_worker
from tests.scripts import script
from tests.workers import AT_ONCE, PROLOGUE

name = workers.name

STOPPED = {
    "run": ("worker.run()", 1),
    "a loop of work": ("sum(1 for _ in iter(worker.work, False))", 1),
}


@pytest.mark.parametrize("call", STOPPED)
def test_sigterm_finishes_the_running_job(
    gearman_server: GearmanServer, name: str, call: str
) -> None:
    """A handler that calls stop() lets the job end, its result arrives, run returns."""
    source = f"""{PROLOGUE}
    worker = Worker(address)
    signal.signal(signal.SIGTERM, lambda *_: worker.stop())
    def slow(job):
        say("running")
        while not worker._wakeup.stopping:
            time.sleep(0.01)
        time.sleep(0.2)
        return b"finished"
    worker.add_function(name, slow)
    served = {STOPPED[call][0]}
    worker.close()
    print(json.dumps([served, worker.return_code.name]))
    """
    with (
        script(source, gearman_server.address, name) as running,
        Client(gearman_server.address, timeout=20) as client,
    ):
        results = []
        asking = threading.Thread(target=lambda: results.append(client.do(name)))
        asking.start()
        assert running.line() == "running"
        running.process.send_signal(signal.SIGTERM)
        served, code = running.finish()
        asking.join(10)
        assert (served, results) == (1, [b"finished"])
        assert code == "SHUTDOWN_GRACEFUL"


def test_sigterm_ends_an_idle_run_at_once(
    gearman_server: GearmanServer, name: str
) -> None:
    """A handler that calls stop() ends an idle run() in the main thread at once."""
    source = f"""{PROLOGUE}
    worker = Worker(address)
    signal.signal(signal.SIGTERM, lambda *_: worker.stop())
    worker.add_function(name, lambda job: None)
    assert worker.run() == 0
    print(json.dumps(worker.return_code.name))
    """
    with script(source, gearman_server.address, name) as running:
        wait_for_worker(gearman_server, name)
        began = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        assert running.finish() == "SHUTDOWN_GRACEFUL"
        assert time.monotonic() - began < AT_ONCE


def test_sigterm_without_a_handler_requeues_the_job(
    gearman_server: GearmanServer, name: str
) -> None:
    """The default action kills the process; the server gives its job to another."""
    source = f"""{PROLOGUE}
    worker = Worker(address)
    def slow(job):
        say("running")
        time.sleep(30)
    worker.add_function(name, slow)
    worker.run()
    """
    with Client(gearman_server.address) as client:
        client.do_background(name, b"")
    with script(source, gearman_server.address, name) as running:
        assert running.line() == "running"
        assert gearman_server.status()[name].running == 1
        running.process.send_signal(signal.SIGTERM)
        running.process.wait(5)
        wait_for(lambda: gearman_server.status()[name].running == 0)
        assert gearman_server.status()[name].queued == 1


def test_a_storm_of_signals_loses_nothing(
    gearman_server: GearmanServer, name: str
) -> None:
    """Under a 2 ms interval timer every job is done, and large results arrive whole."""
    source = f"""{PROLOGUE}
    worker = Worker(address)
    big = os.urandom(3_000_000)
    worker.add_function(name, lambda job: job.workload + big)
    ticks = []
    signal.signal(signal.SIGALRM, lambda *_: ticks.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
    answers = []
    def ask():
        client = Client(address, timeout=30)
        for number in range(20):
            text = str(number).encode()
            answers.append(client.do(name, text) == text + big)
        worker.stop()
    threading.Thread(target=ask).start()
    served = worker.run()
    signal.setitimer(signal.ITIMER_REAL, 0)
    worker.close()
    print(json.dumps([served, answers.count(True), len(ticks) > 10]))
    """
    out = run_isolated(
        "\n".join(line.removeprefix("    ") for line in source.splitlines()),
        gearman_server.address,
        name,
    )
    assert out.strip() == "[20, 20, true]"


def test_stop_from_a_handler_that_interrupts_anything(
    gearman_server: GearmanServer, name: str
) -> None:
    """stop() from a handler is safe whatever it interrupts, close() too."""
    source = f"""{PROLOGUE}
    current = []
    def stop(*_):
        for worker in current:
            worker.stop()
    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
    end = time.monotonic() + 1.5
    rounds = 0
    while time.monotonic() < end:
        worker = Worker(address)
        worker.add_function(name, lambda job: None)
        current[:] = [worker]
        worker.run()
        assert worker.return_code is ReturnCode.SHUTDOWN_GRACEFUL
        worker.close()
        rounds += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    print(json.dumps(rounds > 5))
    """
    with script(source, gearman_server.address, name) as running:
        assert running.finish() is True


@pytest.fixture
def idle_threads(gearman_server: GearmanServer, name: str) -> Iterator[None]:
    """Nothing of this test stays registered."""
    yield
    wait_for(lambda: registered(gearman_server, name) == 0)


def test_exit_with_workers_in_daemon_threads(
    gearman_server: GearmanServer, name: str, idle_threads: None
) -> None:
    """An interpreter that ends while daemon threads serve jobs ends with status 0."""
    source = f"""{PROLOGUE}
    def serve():
        worker = Worker(address)
        worker.add_function(name, lambda job: job.workload)
        worker.run()
    for _ in range(4):
        threading.Thread(target=serve, daemon=True).start()
    with Client(address, timeout=10) as client:
        for number in range(50):
            assert client.do(name, b"x") == b"x"
    """
    text = "\n".join(line.removeprefix("    ") for line in source.splitlines())
    for _ in range(3):
        run_isolated(text, gearman_server.address, name)


def test_sending_in_a_handler() -> None:
    """A handler that sends in the middle of a large send is refused, not mixed in."""
    run_isolated(
        """
        import signal, sys, threading, time
        from pygearman_cffi import BusyError, Client, Worker
        from pygearman_cffi.testing import GearmanServer
        from tests.fakes import frozen

        payload = bytes(range(256)) * 40_000
        jobs, refused, results = [], [], []

        def handler(*_):
            try:
                jobs[0].send_status(1, 2)
            except BusyError as error:
                refused.append(error)

        def function(job):
            jobs[:] = [job]
            with frozen(server):
                # It stands still for so long that the send waits, then goes on.
                threading.Timer(0.3, signal.raise_signal, [signal.SIGUSR1]).start()
                signal.setitimer(signal.ITIMER_REAL, 0.1)
                job.send_data(payload)
            return b"end"

        with GearmanServer() as server:
            def thaw(*_):
                import os
                os.kill(server.pid, signal.SIGCONT)
            signal.signal(signal.SIGALRM, handler)
            signal.signal(signal.SIGUSR1, thaw)
            worker = Worker(server.address, timeout=20)
            worker.add_function("f", function)
            def ask():
                results.append(Client(server.address, timeout=20).do("f"))
            asking = threading.Thread(target=ask)
            asking.start()
            worker.work()
            asking.join()
        assert len(refused) == 1, refused
        assert "another send" in str(refused[0])
        assert results == [payload + b"end"], [len(result) for result in results]
        """
    )
