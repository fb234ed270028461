"""run(): its limits, stop() from everywhere, clients of all kinds, and many jobs."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from pygearman_cffi import (
    Client,
    InvalidArgumentError,
    Job,
    ReturnCode,
    Worker,
    WorkerOption,
)
from pygearman_cffi.testing import GearmanServer, WorkerThread
from tests import workers
from tests.programs import gearman_tool, run_client, wait_for, wait_for_worker
from tests.workers import NEVER, echo, submit

name, client, worker = workers.name, workers.client, workers.worker


# -- limits ----------------------------------------------------------------------------


def test_run_ends_after_max_jobs(worker: Worker, client: Client, name: str) -> None:
    """run(max_jobs=n) serves n jobs, failed ones too, and leaves the next."""
    seen: list[bytes] = []

    def function(job: Job) -> None:
        seen.append(job.workload)
        assert job.workload != b"2"

    worker.add_function(name, function)
    submit(client, name, b"1", b"2", b"3", b"4")
    assert worker.run(max_jobs=3) == 3
    assert seen == [b"1", b"2", b"3"]
    assert worker.run(max_jobs=1) == 1


def test_run_ends_after_max_seconds(worker: Worker, client: Client, name: str) -> None:
    """run(max_seconds=s) ends in time when idle, and between jobs when not."""
    worker.add_function(name, echo)
    began = time.monotonic()
    assert worker.run(max_seconds=0.3) == 0
    assert 0.3 <= time.monotonic() - began < 0.6

    def slow(job: Job) -> None:
        time.sleep(0.1)

    worker.add_function(name, slow)
    submit(client, name, *[b"x"] * 10)
    began = time.monotonic()
    served = worker.run(max_seconds=0.35)
    assert 0.35 <= time.monotonic() - began < 0.7
    assert 3 <= served <= 5
    worker.add_function(name, echo)
    assert worker.run(max_jobs=10 - served) == 10 - served


def test_run_ignores_the_timeout(
    gearman_server: GearmanServer, client: Client, name: str
) -> None:
    """run() goes on though `timeout` passes, with NON_BLOCKING too."""
    options = WorkerOption.NON_BLOCKING
    worker = Worker(gearman_server.address, timeout=0.05, options=options)
    worker.add_function(name, echo)
    with WorkerThread(worker) as running:
        wait_for_worker(gearman_server, name)
        time.sleep(0.3)
        assert client.do(name, b"x") == b"x"
    assert running.result == 1


@pytest.mark.parametrize(
    ("limits", "error"),
    [
        ({"max_jobs": 0}, InvalidArgumentError),
        ({"max_jobs": -1}, InvalidArgumentError),
        ({"max_jobs": 1.0}, TypeError),
        ({"max_jobs": True}, TypeError),
        ({"max_seconds": 0}, InvalidArgumentError),
        ({"max_seconds": -0.1}, InvalidArgumentError),
        ({"max_seconds": NEVER}, InvalidArgumentError),
        ({"max_seconds": "1"}, TypeError),
    ],
)
def test_wrong_limits(
    worker: Worker, name: str, limits: dict[str, Any], error: type[Exception]
) -> None:
    """A limit that makes no sense is refused."""
    worker.add_function(name, echo)
    with pytest.raises(error):
        worker.run(**limits)


# -- stop ------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["run", "work", "wait", "grab_job"])
def test_stop_ends_the_next_call(
    worker: Worker, client: Client, name: str, call: str
) -> None:
    """stop() before a call ends it at once; the call after that is as ever."""
    worker.add_function(name, echo)
    submit(client, name)
    worker.stop()
    worker.stop()
    began = time.monotonic()
    assert not getattr(worker, call)()
    assert worker.return_code is ReturnCode.SHUTDOWN_GRACEFUL
    assert time.monotonic() - began < 0.1
    assert worker.work() is True


def test_stop_from_another_thread_is_quick(
    gearman_server: GearmanServer, name: str
) -> None:
    """stop() ends an idle run() in another thread within milliseconds."""
    worker = Worker(gearman_server.address)
    worker.add_function(name, echo)
    times = []
    for _ in range(5):
        thread = threading.Thread(target=worker.run)
        thread.start()
        wait_for_worker(gearman_server, name)
        began = time.monotonic()
        worker.stop()
        thread.join(10)
        times.append(time.monotonic() - began)
    worker.close()
    assert sorted(times)[2] < 0.05


def test_stop_in_a_function(worker: Worker, client: Client, name: str) -> None:
    """stop() in a worker function lets the job end; then run() returns."""

    def function(job: Job) -> bytes:
        worker.stop()
        return job.workload

    worker.add_function(name, function)
    submit(client, name, b"1", b"2", b"3")
    assert worker.run() == 1
    assert worker.run() == 1
    # In a loop of work() the job is reported, and the next call ends the loop.
    assert worker.work() is True
    assert worker.work() is False
    assert worker.return_code is ReturnCode.SHUTDOWN_GRACEFUL


def test_stop_never_gets_lost(
    gearman_server: GearmanServer, client: Client, name: str
) -> None:
    """Under load each stop() ends exactly one run(), whenever it strikes."""
    worker = Worker(gearman_server.address)
    worker.add_function(name, echo)
    submit(client, name, *[b"x"] * 2000)
    served = 0
    for number in range(40):
        timer = threading.Timer(number * 0.0005, worker.stop)
        timer.start()
        served += worker.run()
        timer.join()
    while worker.return_code is not ReturnCode.TIMEOUT:
        served += worker.run(max_seconds=0.3)
    assert served == 2000
    worker.close()


# -- whom it serves --------------------------------------------------------------------


def test_clients_of_all_kinds(
    gearman_server: GearmanServer, client: Client, name: str
) -> None:
    """Our worker serves a C client, the gearman tool and ours, byte by byte."""
    payload = bytes(range(256)) * 30
    worker = Worker(gearman_server.address)

    def function(job: Job) -> bytes:
        third = job.workload_size // 3
        job.send_data(job.workload[:third])
        job.send_warning(b"careful")
        job.send_status(1, 2)
        job.send_data(job.workload[third : 2 * third])
        return job.workload[2 * third :]

    worker.add_function(name, function)
    with WorkerThread(worker):
        done = run_client(gearman_server, name, payload)
        assert (done.returncode, done.stdout) == (0, payload)
        events = run_client(gearman_server, name, payload, "--tasks", "1")
        assert events.stdout.decode().split("\n")[:-1] == [
            "created",
            "data 2560",
            "warning 7",
            "status 1/2",
            "data 2560",
            "complete 2560",
        ]
        tool = gearman_tool(gearman_server, "-f", name, payload=payload)
        assert tool.stdout.replace(b"careful", b"").startswith(payload[:2560])
        assert client.do(name, payload) == payload


def test_many_jobs(gearman_server: GearmanServer, name: str) -> None:
    """Thousands of jobs, in several workers at once, are each done exactly once."""
    done: list[bytes] = []
    workers = [Worker(gearman_server.address) for _ in range(3)]
    for worker in workers:
        worker.add_function(name, lambda job: done.append(job.workload))
    with Client(gearman_server.address) as client:
        submit(client, name, *[str(number).encode() for number in range(3000)])
    beside = [WorkerThread(worker) for worker in workers]
    for thread in beside:
        thread.start()
    wait_for(lambda: len(done) >= 3000, timeout=30)
    for thread in beside:
        thread.stop()
    assert sorted(done) == sorted(str(number).encode() for number in range(3000))
    assert sum(thread.result or 0 for thread in beside) == 3000
