"""work(): one job at a time, what it returns, and the non-blocking loop around it."""

from __future__ import annotations

import time

import pygearman_cffi
from pygearman_cffi import Client, Job, ReturnCode, Worker, WorkerOption
from pygearman_cffi.testing import GearmanServer, WorkerThread
from tests import workers
from tests.programs import wait_for_worker
from tests.workers import echo, submit

name, client, worker = workers.name, workers.client, workers.worker


# -- one job ---------------------------------------------------------------------------


def test_work_runs_one_job(worker: Worker, client: Client, name: str) -> None:
    """work() returns True after each job, False with TIMEOUT when none has come."""
    seen: list[bytes] = []
    worker.add_function(name, lambda job: seen.append(job.workload))
    assert worker.return_code is ReturnCode.SUCCESS
    submit(client, name, b"1", b"2")
    for expected in ([b"1"], [b"1", b"2"]):
        assert worker.work() is True
        assert worker.return_code is ReturnCode.SUCCESS
        assert seen == expected
    worker.timeout = 0.25
    began = time.monotonic()
    assert worker.work() is False
    assert worker.return_code.name == "TIMEOUT"
    assert 0.25 <= time.monotonic() - began < 0.45
    submit(client, name)
    assert worker.work() is True


def test_the_return_code_tells_how_a_job_ended(
    worker: Worker, client: Client, name: str
) -> None:
    """After a job that failed work() is True all the same, and no phantom follows."""

    def fail(job: Job) -> None:
        job.send_fail()

    def exception(job: Job) -> None:
        job.send_exception(b"e")

    def broken(job: Job) -> None:
        raise ValueError

    for fn, code in (
        (fail, ReturnCode.WORK_FAIL),
        (exception, ReturnCode.WORK_EXCEPTION),
        (broken, ReturnCode.WORK_FAIL),
    ):
        worker.add_function(name, fn)
        worker.timeout = 10
        submit(client, name)
        assert worker.work() is True
        assert worker.return_code is code
        worker.timeout = 0.05
        assert worker.work() is False
        assert worker.return_code is ReturnCode.TIMEOUT


def test_a_job_starts_at_once(
    gearman_server: GearmanServer, client: Client, name: str
) -> None:
    """An idle worker begins a job within milliseconds, not at its next look."""
    worker = Worker(gearman_server.address)
    worker.add_function(name, echo)
    with WorkerThread(worker):
        wait_for_worker(gearman_server, name)
        client.do(name)
        times = []
        for _ in range(20):
            began = time.monotonic()
            client.do(name, b"x")
            times.append(time.monotonic() - began)
        assert sorted(times)[10] < 0.05


def test_an_idle_worker_looks_again(gearman_server: GearmanServer, name: str) -> None:
    """A job that becomes due at a time, which wakes nobody, is found within 2 s."""
    lib, ffi = pygearman_cffi.lib, pygearman_cffi.ffi
    worker = Worker(gearman_server.address, timeout=10)
    done: list[float] = []
    worker.add_function(name, lambda job: done.append(time.time()))
    c_client = lib.gearman_client_create(ffi.NULL)
    lib.gearman_client_add_server(c_client, b"127.0.0.1", gearman_server.port)
    due = int(time.time()) + 2
    attributes = ffi.new("gearman_task_attr_t *")
    attributes[0] = lib.gearman_task_attr_init_epoch(
        due, lib.GEARMAN_JOB_PRIORITY_NORMAL
    )
    assert lib.gearman_execute(
        c_client, name.encode(), len(name), ffi.NULL, 0, attributes, ffi.NULL, ffi.NULL
    )
    assert worker.work() is True
    assert -0.1 <= done[0] - due < 2
    lib.gearman_client_free(c_client)
    worker.close()


# -- the non-blocking loop -------------------------------------------------------------


def test_the_non_blocking_loop(
    gearman_server: GearmanServer, client: Client, name: str
) -> None:
    """work() never waits; IO_WAIT and NO_JOBS lead to wait(), which waits."""
    worker = Worker(
        gearman_server.address, timeout=0.5, options=WorkerOption.NON_BLOCKING
    )
    seen: list[bytes] = []
    worker.add_function(name, lambda job: seen.append(job.workload))
    submit(client, name, b"1", b"2")
    codes = set()
    longest = 0.0
    while True:
        began = time.monotonic()
        ran = worker.work()
        longest = max(longest, time.monotonic() - began)
        codes.add(worker.return_code)
        if ran:
            continue
        assert worker.return_code in {ReturnCode.IO_WAIT, ReturnCode.NO_JOBS}
        if not worker.wait():
            break
    assert worker.return_code.name == "TIMEOUT"
    assert seen == [b"1", b"2"]
    assert codes == {ReturnCode.SUCCESS, ReturnCode.IO_WAIT, ReturnCode.NO_JOBS}
    assert longest < 0.1
    submit(client, name, b"3")
    assert worker.wait() is True
    worker.options = WorkerOption.GRAB_ALL
    assert worker.work() is True
    worker.close()


def test_wait_after_a_job_does_not_wait(
    worker: Worker, client: Client, name: str
) -> None:
    """Right after a job another work() is worth while, says wait()."""
    worker.add_function(name, echo)
    submit(client, name)
    assert worker.work()
    began = time.monotonic()
    assert worker.wait() is True
    assert time.monotonic() - began < 0.1


def test_wait_before_anything(worker: Worker, name: str) -> None:
    """wait() on a worker that has not connected says NO_ACTIVE_FDS."""
    worker.add_function(name, echo)
    assert worker.wait() is False
    assert worker.return_code is ReturnCode.NO_ACTIVE_FDS
