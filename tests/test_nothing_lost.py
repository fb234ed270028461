"""Nothing is lost: whoever is killed, every job that was accepted runs."""

from __future__ import annotations

import os
import signal
import threading
from itertools import count

import pytest

from pygearman_cffi import Client, Worker
from pygearman_cffi.testing import GearmanServer, WorkerThread
from tests.lossless import LIMIT, try_to_lose
from tests.programs import wait_for
from tests.scripts import script

_numbers = count(1)


@pytest.fixture
def name() -> str:
    """A function name that no other test uses."""
    return f"lossless-{next(_numbers)}"


@pytest.mark.slow
def test_a_killed_job_server_with_a_persistent_queue() -> None:
    """With gearmand and a worker killed, every job whose submission succeeded still runs."""
    outcome = try_to_lose(500, clients=2, workers=2, kills=2)
    print(outcome.table())
    assert not outcome.lost, outcome.table()
    assert outcome.longest < LIMIT + 1, outcome.table()
    assert len(outcome.accepted) + outcome.refused.total() == 500


# -- a worker that ends in the middle of a job ---------------------------------------------

WORKER = """
    import json, os, signal, sys, time
    from pygearman_cffi import Worker

    address, name, way = sys.argv[1:]
    worker = Worker(address)

    def slow(job):
        job.send_data(b"half of it ")
        job.send_status(1, 2)
        print("running", flush=True)
        if way == "SystemExit":
            raise SystemExit(5)
        while True:
            time.sleep(0.01)

    def handler(*_):
        raise BaseException("of a handler")

    signal.signal(signal.SIGUSR1, handler)
    worker.add_function(name, slow)
    try:
        worker.run()
    except BaseException as error:
        print(json.dumps(type(error).__name__), flush=True)
        sys.stdin.close()
"""

WAYS = {
    "Ctrl-C": (signal.SIGINT, 0),
    "SIGTERM": (signal.SIGTERM, -signal.SIGTERM),
    "SIGKILL": (signal.SIGKILL, -signal.SIGKILL),
    "SIGABRT": (signal.SIGABRT, -signal.SIGABRT),
    "exception of a handler": (signal.SIGUSR1, 0),
    "SystemExit": (None, 0),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("background", [False, True], ids=["foreground", "background"])
def test_the_job_of_a_worker_that_ends(
    gearman_server: GearmanServer, name: str, way: str, background: bool
) -> None:
    """A job whose worker ends in the middle of it is done by another worker, whole."""
    number, status = WAYS[way]
    results: list[bytes] = []
    done = threading.Event()

    def ask() -> None:
        with Client(gearman_server.address, timeout=30) as client:
            if background:
                client.do_background(name, b"job")
            else:
                results.append(client.do(name, b"job"))

    with script(WORKER, gearman_server.address, name, way) as running:
        asking = threading.Thread(target=ask)
        asking.start()
        assert running.line() == "running"
        if number is not None:
            running.process.send_signal(number)
        assert running.process.wait(10) == status
        if status == -signal.SIGABRT:
            running.process.communicate()  # the stack that faulthandler shows
        wait_for(lambda: gearman_server.status()[name].running == 0)

        def second(job: object) -> bytes:
            done.set()
            return b"all of it"

        worker = Worker(gearman_server.address)
        worker.add_function(name, second)
        with WorkerThread(worker):
            assert done.wait(10)
            asking.join(10)
    # The data that the first worker had sent is the protocol's; nothing takes it back.
    assert results == ([] if background else [b"half of it all of it"])
    wait_for(lambda: gearman_server.status()[name].total == 0)


def test_an_exception_in_a_function_answers_its_client(
    gearman_server: GearmanServer, name: str
) -> None:
    """An ordinary exception ends its own job, which is answered, and no other one."""
    tokens = [b"%d" % number for number in range(60)]

    def fails_sometimes(job: object) -> bytes:
        payload: bytes = job.workload  # type: ignore[attr-defined]
        if int(payload) % 7 == 3:
            raise LookupError(payload)
        return payload

    worker = Worker(gearman_server.address)
    worker.add_function(name, fails_sometimes)
    with WorkerThread(worker), Client(gearman_server.address, timeout=20) as client:
        results = list(client.map(name, tokens, return_exceptions=True))
    for token, result in zip(tokens, results, strict=True):
        if int(token) % 7 == 3:
            assert isinstance(result, Exception)
        else:
            assert result == token


# -- a client that ends while its jobs run -------------------------------------------------

CLIENT = """
    import sys
    from pygearman_cffi import Client

    address, name = sys.argv[1:]
    client = Client(address, identifier=f"{name}-client")
    for index in range(50):
        client.add_task(
            name, b"of the dead", on_created=lambda task: print("created", flush=True)
        )
    client.run_tasks()
"""


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, signal.SIGTERM], ids=lambda n: n.name
)
def test_the_jobs_of_a_killed_client(
    gearman_server: GearmanServer, name: str, number: signal.Signals
) -> None:
    """The foreground jobs of a client that was killed do not keep a worker busy."""
    server = gearman_server
    running, go_on = threading.Event(), threading.Event()
    seen: list[bytes] = []

    def serve(job: object) -> bytes:
        payload: bytes = job.workload  # type: ignore[attr-defined]
        seen.append(payload)
        running.set()
        go_on.wait(10)
        return b"x" * 1_000_000  # nobody takes it

    worker = Worker(gearman_server.address)
    worker.add_function(name, serve)
    with WorkerThread(worker):
        with script(CLIENT, gearman_server.address, name) as dead:
            for _ in range(50):
                assert dead.line() == "created"
            assert running.wait(10)
            dead.process.send_signal(number)
            dead.process.wait(10)
        # It lists its connections: until it has noticed, it hands the jobs out.
        wait_for(lambda: f"{name}-client" not in " ".join(server.command("workers")))
        go_on.set()
        with Client(gearman_server.address, timeout=10) as client:
            assert len(client.do(name, b"of the living")) == 1_000_000
    assert seen == [b"of the dead", b"of the living"]


def test_a_submission_is_refused_or_kept(
    gearman_server: GearmanServer, name: str
) -> None:
    """Of jobs submitted while the client is stopped and killed, none is half there."""
    source = """
        import sys
        from pygearman_cffi import Client
        address, name = sys.argv[1:]
        client = Client(address)
        index = 0
        while True:
            client.do_background(name, b"%d|" % index + bytes(100_000))
            print(index, flush=True)
            index += 1
    """
    with script(source, gearman_server.address, name) as running:
        for _ in range(20):
            last = int(running.line())
        os.kill(running.process.pid, signal.SIGKILL)
        out, _ = running.process.communicate()
    last = int(out.splitlines()[-1]) if out.strip() else last
    ran: list[int] = []

    def serve(job: object) -> None:
        number, _, rest = job.workload.partition(b"|")  # type: ignore[attr-defined]
        assert rest == bytes(100_000)
        ran.append(int(number))

    worker = Worker(gearman_server.address)
    worker.add_function(name, serve)
    with WorkerThread(worker):
        wait_for(lambda: gearman_server.status()[name].total == 0)
    assert ran[: last + 1] == list(range(last + 1))
    assert len(ran) <= last + 2
