"""What the tests of the worker and its jobs share: fixtures, functions, and a prologue.

A test file takes the fixtures that it uses by name: ``name = workers.name``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest

from pygearman_cffi import Client, Job, ReturnCode, Worker
from pygearman_cffi.testing import GearmanServer, WorkerThread
from tests.programs import run_client, wait_for
from tests.scripts import Script

Run = Callable[..., Any]
NEVER = float("nan")
_numbers = count(1)


# -- fixtures --------------------------------------------------------------------------


@pytest.fixture
def name() -> str:
    """A function name that no other test uses."""
    return f"worker-{next(_numbers)}"


@pytest.fixture
def client(gearman_server: GearmanServer) -> Iterator[Client]:
    """A client that does not wait for ever."""
    with Client(gearman_server.address, timeout=20) as client:
        yield client


@pytest.fixture
def worker(gearman_server: GearmanServer) -> Iterator[Worker]:
    """A worker without functions that does not wait for ever."""
    with Worker(gearman_server.address, timeout=10) as worker:
        yield worker


@pytest.fixture
def run(gearman_server: GearmanServer, name: str, client: Client) -> Run:
    """Have a function run once, for a client; returns its result."""

    def run(
        function: Callable[[Job], Any],
        workload: bytes = b"work",
        options: dict[str, Any] | None = None,
        **submission: Any,
    ) -> bytes:
        worker = Worker(gearman_server.address, **(options or {}))
        worker.add_function(name, function)
        with WorkerThread(worker):
            return client.do(name, workload, **submission)

    return run


# -- a worker's functions and jobs -----------------------------------------------------


def echo(job: Job) -> bytes:
    """The function of most tests."""
    return job.workload


def serving(address: str, name: str, **options: object) -> Worker:
    """A worker that serves `name`."""
    worker = Worker(address, **options)  # type: ignore[arg-type]
    worker.add_function(name, echo)
    return worker


def submit(client: Client, name: str, *payloads: bytes) -> None:
    """Queue background jobs, which wait for their worker."""
    for payload in payloads or (b"work",):
        client.do_background(name, payload)


def grab(worker: Worker) -> Job:
    """Grab a job that is there, or comes soon."""
    job = wait_for(worker.grab_job)
    assert job is not None
    assert worker.return_code is ReturnCode.SUCCESS
    return job


def ask(server: GearmanServer, name: str, payload: bytes = b"x") -> bytes:
    """Have a C client do a job."""
    done = run_client(server, name, payload)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def messages(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """What the worker logs while the block lasts."""
    caplog.clear()
    found: list[str] = []
    with caplog.at_level(logging.INFO, "pygearman_cffi.worker"):
        yield found
        found += [record.getMessage() for record in caplog.records]


USES: dict[str, Callable[[Any], object]] = {
    "handle": lambda job: job.handle,
    "unique": lambda job: job.unique,
    "function_name": lambda job: job.function_name,
    "workload": lambda job: job.workload,
    "workload_size": lambda job: job.workload_size,
    "take_workload": lambda job: job.take_workload(),
    "send_data": lambda job: job.send_data(b"x"),
    "send_warning": lambda job: job.send_warning(b"x"),
    "send_status": lambda job: job.send_status(1, 2),
    "send_complete": lambda job: job.send_complete(b"x"),
    "send_exception": lambda job: job.send_exception(b"x"),
    "send_fail": lambda job: job.send_fail(),
}


# -- scripts that get signals ----------------------------------------------------------

AT_ONCE = 0.5  # seconds

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


def press_ctrl_c(running: Script) -> float:
    """Press Ctrl-C and return how long the script took to notice, in seconds."""
    began = time.monotonic()
    running.interrupt()
    assert running.line() == "interrupted"
    return time.monotonic() - began
