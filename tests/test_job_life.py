"""The life of a job in a worker function: its end, its thread, its process."""

from __future__ import annotations

import threading

import pytest

from pygearman_cffi import BusyError, Client, ClosedError, Job, Worker
from pygearman_cffi.testing import GearmanServer, WorkerThread
from tests import workers
from tests.isolated import run_isolated
from tests.workers import USES, Run

name, client, run = workers.name, workers.client, workers.run


def test_a_job_that_is_over(run: Run) -> None:
    """After the function every use of the job raises ClosedError; nothing crashes."""
    jobs: list[Job] = []

    def function(job: Job) -> bytes:
        jobs.append(job)
        with job:
            job.close()  # in a worker function these do nothing
        return job.workload

    for outcome in (function, function):
        assert run(outcome) == b"work"
    for job in jobs:
        for use in USES.values():
            with pytest.raises(ClosedError, match="over"):
                use(job)
        job.close()
        assert "closed" in repr(job)


def test_a_job_belongs_to_its_thread(run: Run) -> None:
    """Another thread that uses a job gets BusyError."""
    caught: list[type[BaseException] | None] = []

    def function(job: Job) -> bytes:
        def use_it() -> None:
            for use in USES.values():
                try:
                    use(job)
                    caught.append(None)
                except BusyError:
                    caught.append(BusyError)

        thread = threading.Thread(target=use_it)
        thread.start()
        thread.join(10)
        return b"mine"

    assert run(function) == b"mine"
    assert caught == [BusyError] * len(USES)


def test_a_function_may_use_clients_and_workers(
    gearman_server: GearmanServer, name: str, client: Client
) -> None:
    """A worker function may call another client, and another worker."""
    inner_name = f"{name}-inner"

    def outer(job: Job) -> bytes:
        with Client(gearman_server.address, timeout=10) as inner:
            handle = inner.do_background(inner_name, job.workload)
            assert handle
        with Worker(gearman_server.address, timeout=10) as other:
            seen: list[bytes] = []
            other.add_function(inner_name, lambda job: seen.append(job.workload))
            assert other.work()
        return seen[0] + job.workload

    worker = Worker(gearman_server.address)
    worker.add_function(name, outer)
    with WorkerThread(worker):
        assert client.do(name, b"ab") == b"abab"
        assert client.do(name, b"cd") == b"cdcd"


def test_a_child_forked_in_a_function(gearman_server: GearmanServer, name: str) -> None:
    """A child in which a function returns is told so; the parent's job is untouched."""
    script = """
        import os, sys, warnings
        from pygearman_cffi import Client, ForkedError, Worker
        address, name, way = sys.argv[1:]
        worker = Worker(address, timeout=20)
        children = []
        def function(job):
            child = os.fork()
            if child:
                children.append(child)
                assert os.waitpid(child, 0)[1] == 0
                return b"parent " + job.workload
            try:
                job.send_data(b"child")
            except ForkedError:
                pass
            else:
                os._exit(3)
            if way == "exit":
                raise SystemExit
            if way == "raise":
                raise ValueError
            return b"child"
        worker.add_function(name, function)
        client = Client(address)
        client.do_background(name, b"1")
        client.do_background(name, b"2")
        for _ in range(2):
            try:
                assert worker.work()
            except (ForkedError, SystemExit):
                try:
                    worker.work()
                except ForkedError:
                    pass
                worker.stop()
                os._exit(0)
        worker.close()
        client.close()
        print(len(children))
    """
    for way in ("return", "exit", "raise"):
        assert run_isolated(script, gearman_server.address, name, way) == "2\n"
        assert gearman_server.status()[name].total == 0
