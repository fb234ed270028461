"""`copy` and `pickle`: what owns memory or connections of C refuses them."""

from __future__ import annotations

import copy
import gc
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from pygearman_cffi import ArgumentTypeError, Client, Job, Worker
from pygearman_cffi.testing import GearmanServer, WorkerThread

WAYS: list[Callable[[Any], object]] = [copy.copy, copy.deepcopy, pickle.dumps]


def refuse(thing: object) -> None:
    """Check that a thing can be neither copied nor pickled."""
    for way in WAYS:
        with pytest.raises(ArgumentTypeError, match="neither copied nor pickled"):
            way(thing)
    gc.collect()


def test_clients_and_what_they_give(served: GearmanServer) -> None:
    """A second owner would free it under the first; the first goes on unharmed."""
    with Client(served.address, timeout=20) as client:
        refuse(client)
        results = client.map("reverse", [b"ab", b"cd"])
        assert next(results) == b"ba"
        task = client.add_task("reverse", b"abc")
        for thing in (client, results, task):
            refuse(thing)
        assert next(results) == b"dc"
        client.run_tasks()
        assert task.result == b"cba"
        refuse(task)


def test_workers_and_their_jobs(gearman_server: GearmanServer) -> None:
    """A copy of a job would speak for the next one, and that of a worker would end it."""
    seen = []

    def function(job: Job) -> bytes:
        refuse(job)
        seen.append(job)
        return job.workload[::-1]

    worker = Worker(gearman_server.address)
    worker.add_function("copied", function)
    with (
        WorkerThread(worker),
        Client(gearman_server.address, timeout=20) as client,
    ):
        assert client.do("copied", b"ab") == b"ba"
        refuse(worker)
        refuse(seen[0])
        assert client.do("copied", b"cd") == b"dc"
    with Worker(gearman_server.address, timeout=20) as worker:
        worker.register("grabbed")
        with Client(gearman_server.address, timeout=20) as client:
            client.do_background("grabbed", b"x")
        job = worker.grab_job()
        assert job is not None
        refuse(job)
        job.send_complete()
