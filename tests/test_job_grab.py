"""Grabbed jobs: used outside a worker function, until they are closed."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator

import pytest

from pygearman_cffi import (
    BusyError,
    Client,
    ClosedError,
    Job,
    Priority,
    ReturnCode,
    Worker,
)
from pygearman_cffi.testing import GearmanServer
from tests import workers
from tests.isolated import run_isolated
from tests.programs import wait_for
from tests.workers import USES, grab

name, client = workers.name, workers.client


@pytest.fixture
def grabber(gearman_server: GearmanServer, name: str) -> Iterator[Worker]:
    """A worker that grabs."""
    with Worker(gearman_server.address, timeout=10) as worker:
        worker.register(name)
        yield worker


def test_a_grabbed_job(
    grabber: Worker, client: Client, gearman_server: GearmanServer, name: str
) -> None:
    """A grabbed job can be used until it is closed, and closed again."""
    results: list[bytes] = []
    asking = threading.Thread(target=lambda: results.append(client.do(name, b"work")))
    asking.start()
    with grab(grabber) as job:
        assert (job.function_name, job.workload) == (name, b"work")
        job.send_data(b"piece ")
        job.send_complete(job.workload.upper())
    asking.join(10)
    assert results == [b"piece WORK"]
    for use in USES.values():
        with pytest.raises(ClosedError):
            use(job)
    job.close()


def test_grabbing_does_not_wait_and_never_crashes(
    gearman_server: GearmanServer, name: str
) -> None:
    """A thousand times "no job", before and after jobs, crashes nothing."""
    script = """
        import sys, time
        from pygearman_cffi import Client, ReturnCode, Worker
        address, name = sys.argv[1:]
        worker = Worker(address)
        worker.register(name)
        client = Client(address)
        began = time.monotonic()
        for number in range(400):
            assert worker.grab_job() is None
            assert worker.return_code is ReturnCode.NO_JOBS
            if number % 10 == 0:
                client.do_background(name, b"x" * number)
                with worker.grab_job() as job:
                    assert len(job.workload) == number
                    (job.send_complete, job.send_warning)[number % 20 > 0](b"y")
                    if number % 20:
                        job.send_fail()
        worker.close()
        client.close()
        print(time.monotonic() - began)
    """
    assert float(run_isolated(script, gearman_server.address, name)) < 10


def test_an_open_job_comes_first(grabber: Worker, client: Client, name: str) -> None:
    """While a grabbed job is open nothing else can be asked of the worker."""
    client.do_background(name, b"1")
    client.do_background(name, b"2")
    job = grab(grabber)
    for use in (
        grabber.grab_job,
        grabber.remove_servers,
        lambda: setattr(grabber, "namespace", "n"),
    ):
        with pytest.raises(BusyError, match="grab_job"):
            use()
    grabber.stop()
    assert grabber.function_exist(name)
    job.send_complete(b"")
    with grab_after_stop(grabber) as second:  # one that has ended is closed for us
        assert second.workload == b"2"
        second.send_fail()


def grab_after_stop(worker: Worker) -> Job:
    """stop() ends one call, the next one is as ever."""
    assert worker.grab_job() is None
    assert worker.return_code is ReturnCode.SHUTDOWN_GRACEFUL
    return grab(worker)


@pytest.mark.parametrize("way", ["close", "with", "forget", "close the worker"])
def test_a_job_that_was_not_ended_goes_back(
    grabber: Worker, client: Client, gearman_server: GearmanServer, name: str, way: str
) -> None:
    """A grabbed job that is closed or forgotten before its end is another one's."""
    client.do_background(name, b"work")
    job = grab(grabber)
    assert gearman_server.status()[name].running == 1
    if way == "close":
        job.close()
    elif way == "with":
        with pytest.raises(KeyError), job:
            raise KeyError
    elif way == "forget":
        del job
        gc.collect()
        grabber.timeout = 9  # nothing has looked yet
    else:
        grabber.close()
        with pytest.raises(ClosedError):
            job.send_complete()
    if way == "forget":
        with grab(grabber) as again:
            assert again.workload == b"work"
            again.send_complete()
        return
    wait_for(lambda: gearman_server.status()[name].running == 0)
    with Worker(gearman_server.address, timeout=10) as other:
        other.add_function(name, lambda job: None)
        assert other.work()


def test_a_grabbed_job_belongs_to_its_thread(
    grabber: Worker, client: Client, name: str
) -> None:
    """Another thread can neither use a grabbed job nor close its worker."""
    client.do_background(name, b"work", priority=Priority.HIGH)
    job = grab(grabber)
    caught: list[bool] = []

    uses = list(USES.values())
    uses += [lambda job: job.close(), lambda _job: grabber.close()]

    def disturb() -> None:
        for use in uses:
            try:
                use(job)
            except BusyError:
                caught.append(True)

    thread = threading.Thread(target=disturb)
    thread.start()
    thread.join(10)
    assert len(caught) == len(uses)
    job.send_complete()
    job.close()


def test_a_forked_child_does_not_touch_a_grabbed_job(
    gearman_server: GearmanServer, name: str
) -> None:
    """A child's close() and exit leave the parent's grabbed job alone."""
    script = """
        import os, sys
        from pygearman_cffi import Client, ForkedError, Worker
        address, name = sys.argv[1:]
        client = Client(address)
        client.do_background(name, b"work")
        worker = Worker(address)
        worker.register(name)
        job = worker.grab_job()
        child = os.fork()
        if not child:
            try:
                job.send_complete(b"child")
            except ForkedError:
                job.close()
                del job, worker
                os._exit(0)
            os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        job.send_complete(job.workload)
        job.close()
        assert worker.grab_job() is None
        worker.close()
        client.close()
    """
    run_isolated(script, gearman_server.address, name)
    assert gearman_server.status()[name].total == 0
