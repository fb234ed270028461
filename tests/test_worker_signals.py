"""Ctrl-C and SIGTERM in every wait of a worker, and stop() from everywhere."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from itertools import count

import pytest

from pygearman_cffi import Client
from pygearman_cffi.testing import GearmanServer
from tests.fakes import ECHO_REQ, ECHO_RES, FakeServer, black_hole, packet, requests
from tests.isolated import run_isolated
from tests.programs import registered, wait_for, wait_for_worker
from tests.scripts import Script, script

AT_ONCE = 0.5  # seconds
GRAB_JOB_ALL, JOB_ASSIGN_UNIQ = 39, 31

_numbers = count(1)

# What every script begins with: a worker with one function, and a second one.
PROLOGUE = """
    import json, logging, os, signal, sys, threading, time
    from pygearman_cffi import *

    address, name = sys.argv[1], sys.argv[2]

    def say(text):
        print(text, flush=True)

    def serve_one(worker):
        # The object is as good as new: it serves the next job.
        worker.timeout = 20
        say("again")
        assert worker.work(), worker.return_code
        worker.close()
        print(json.dumps("served"))
"""


@pytest.fixture
def name() -> str:
    """A function name that no other test uses."""
    return f"signals-{next(_numbers)}"


def press_ctrl_c(running: Script) -> float:
    """Press Ctrl-C and return how long the script took to notice, in seconds."""
    began = time.monotonic()
    running.interrupt()
    assert running.line() == "interrupted"
    return time.monotonic() - began


# A call that waits, as (what is set up before it, the call).
WAITS = {
    "run": "worker.run()",
    "work": "worker.work()",
    "work with a timeout": "worker.timeout = 30; worker.work()",
    "wait": "worker.options |= WorkerOption.NON_BLOCKING\n"
    "        while True: worker.work() or worker.wait()",
}


@pytest.mark.parametrize("call", WAITS.values(), ids=WAITS)
def test_ctrl_c_ends_an_idle_wait(
    gearman_server: GearmanServer, name: str, call: str
) -> None:
    """KeyboardInterrupt comes out of an idle wait at once; the worker stays usable."""
    source = f"""{PROLOGUE}
    worker = Worker(address)
    worker.add_function(name, lambda job: job.workload.upper())
    say("ready")
    try:
        {call}
    except KeyboardInterrupt:
        say("interrupted")
    worker.options = WorkerOption.GRAB_ALL
    serve_one(worker)
    """
    with script(source, gearman_server.address, name) as running:
        running.line()
        wait_for_worker(gearman_server, name)
        assert press_ctrl_c(running) < AT_ONCE
        assert running.line() == "again"
        with Client(gearman_server.address, timeout=10) as client:
            assert client.do(name, b"abc") == b"ABC"
        assert running.finish() == "served"


DOWN = {
    "backing off": "worker.run()",
    "trying a server that swallows everything": "worker.run()",
    "the same, in work": "worker.work()",
    "echo": "worker.echo(b'x')",
    "grab_job": "worker.grab_job()",
}


@pytest.mark.parametrize("case", DOWN)
def test_ctrl_c_while_no_server_answers(
    gearman_server: GearmanServer, name: str, case: str
) -> None:
    """KeyboardInterrupt ends a back-off and a connection attempt at once."""
    # A signal may strike in Python's own constructor of a socket, which then drops it.
    source = f"""{PROLOGUE}
    import warnings
    warnings.simplefilter("ignore", ResourceWarning)
    worker = Worker(sys.argv[3], connect_timeout=30)
    worker.add_function(name, lambda job: job.workload.upper())
    try:
        say("ready")
        {DOWN[case]}
    except KeyboardInterrupt:
        say("interrupted")
    worker.remove_servers()
    worker.add_servers(address)
    serve_one(worker)
    """
    with FakeServer(black_hole) as hole:
        address = "127.0.0.1:1" if case == "backing off" else hole.address
        with script(source, gearman_server.address, name, address) as running:
            running.line()
            if case != "backing off":
                wait_for(lambda: hole.connections)
            # Nothing tells from outside when it sleeps; any moment must do.
            assert press_ctrl_c(running) < AT_ONCE
            assert running.line() == "again"
            with Client(gearman_server.address, timeout=10) as client:
                assert client.do(name, b"abc") == b"ABC"
            assert running.finish() == "served"


def jobs_without_end(server: FakeServer, connection: object) -> None:
    """Give a job for each request, and read nothing any more after the first."""
    for kind, body in requests(connection):  # type: ignore[arg-type]
        if kind == ECHO_REQ:
            connection.sendall(packet(ECHO_RES, body))  # type: ignore[attr-defined]
        elif kind == GRAB_JOB_ALL:
            connection.sendall(  # type: ignore[attr-defined]
                packet(JOB_ASSIGN_UNIQ, b"H:fake:1", b"big", b"u", b"work")
            )
            server.over.wait()


def test_ctrl_c_ends_a_blocked_send(gearman_server: GearmanServer) -> None:
    """KeyboardInterrupt ends a send to a server that reads no more, close() at once."""
    source = f"""{PROLOGUE}
    worker = Worker(sys.argv[3])
    def big(job):
        say("sending")
        job.send_data(bytes(64 << 20))
    worker.add_function("big", big)
    try:
        worker.run()
    except KeyboardInterrupt:
        say("interrupted")
    worker.remove_servers()
    began = time.monotonic()
    worker.add_servers(address)
    worker.add_function(name, lambda job: job.workload.upper())
    assert time.monotonic() - began < 0.2
    serve_one(worker)
    """
    with (
        FakeServer(jobs_without_end) as fake,
        script(source, gearman_server.address, "signals-big", fake.address) as one,
    ):
        assert one.line() == "sending"
        assert press_ctrl_c(one) < AT_ONCE
        assert one.line() == "again"
        with Client(gearman_server.address, timeout=10) as client:
            assert client.do("signals-big", b"abc") == b"ABC"
        assert one.finish() == "served"


def test_ctrl_c_in_a_function_gives_the_job_back(
    gearman_server: GearmanServer, name: str
) -> None:
    """An interrupted job goes back to its server, which gives it to another worker."""
    source = f"""{PROLOGUE}
    worker = Worker(address)
    def slow(job):
        say(job.workload.decode())
        time.sleep(30)
    worker.add_function(name, slow)
    try:
        worker.run()
    except KeyboardInterrupt:
        say("interrupted")
    worker.add_function(name, lambda job: b"second try of " + job.workload)
    serve_one(worker)
    """
    with (
        script(source, gearman_server.address, name) as running,
        Client(gearman_server.address, timeout=20) as client,
    ):
        results = []
        asking = threading.Thread(
            target=lambda: results.append(client.do(name, b"my job"))
        )
        asking.start()
        assert running.line() == "my job"
        assert press_ctrl_c(running) < AT_ONCE
        assert running.line() == "again"
        assert running.finish() == "served"
        asking.join(10)
        assert results == [b"second try of my job"]


@pytest.mark.parametrize(
    "error", ["SystemExit(3)", "KeyboardInterrupt()", "GeneratorExit()"]
)
def test_what_is_no_exception_comes_out_unchanged(
    gearman_server: GearmanServer, name: str, error: str
) -> None:
    """SystemExit and its like leave run() as the very object that was raised."""
    source = f"""{PROLOGUE}
    error = {error}
    tries = []
    def once(job):
        tries.append(job)
        if len(tries) == 1:
            raise error
        return b"done"
    client = Client(address)
    handle = client.do_background(name, b"")
    worker = Worker(address, timeout=20)
    worker.add_function(name, once)
    try:
        worker.run()
    except BaseException as caught:
        assert caught is error
    try:
        tries[0].handle
    except ClosedError:
        pass
    assert worker.work() and len(tries) == 2
    print(json.dumps("the same"))
    """
    with script(source, gearman_server.address, name) as running:
        assert running.finish() == "the same"


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


def test_ctrl_c_anywhere_leaves_the_worker_usable(
    gearman_server: GearmanServer, name: str
) -> None:
    """KeyboardInterrupt between any two steps neither hangs, crashes nor loses a job."""
    source = f"""{PROLOGUE}
    worker = Worker(address)
    done = set()
    def function(job):
        done.add(job.workload)
        return job.workload
    worker.add_function(name, function)
    client = Client(address)
    for number in range(300):
        client.do_background(name, str(number).encode())
    interrupts = 0
    def interrupt(*_):
        raise KeyboardInterrupt
    signal.signal(signal.SIGALRM, interrupt)
    deadline = time.monotonic() + 20
    while len(done) < 300 and time.monotonic() < deadline:
        try:
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0031)
                worker.run()
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except KeyboardInterrupt:
            interrupts += 1
    # Nothing hangs, and no lock is left behind.
    worker.add_function(name, lambda job: function(job))
    worker.timeout = 20
    assert client.do_background(name, b"last") and worker.work()
    worker.close()
    print(json.dumps([len(done), interrupts > 3]))
    """
    with script(source, gearman_server.address, name) as running:
        assert running.finish() == [301, True]


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
