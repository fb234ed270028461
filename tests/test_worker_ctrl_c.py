"""Ctrl-C in every wait of a worker and in its functions, and the worker after it."""

from __future__ import annotations

import threading

import pytest

from pygearman_cffi import Client
from pygearman_cffi.testing import GearmanServer
from tests import workers
from tests.fakes import ECHO_REQ, ECHO_RES, FakeServer, black_hole, packet, requests
from tests.hostile import GRAB_JOB_ALL, JOB_ASSIGN_UNIQ
from tests.programs import wait_for, wait_for_worker
from tests.scripts import script
from tests.workers import AT_ONCE, PROLOGUE, press_ctrl_c

name = workers.name

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
