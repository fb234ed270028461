"""What a worker function receives, sends and returns."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from typing import Any

import pytest

from pygearman_cffi import (
    Client,
    ClosedError,
    GearmanError,
    Job,
    Task,
    Worker,
    WorkerOption,
    WorkExceptionError,
    WorkFailError,
)
from pygearman_cffi.testing import FakeJob, GearmanServer, WorkerThread
from tests import workers
from tests.isolated import run_isolated
from tests.programs import run_client
from tests.workers import Run

name, client, run = workers.name, workers.client, workers.run

SIZES = [0, 1, 8191, 8192, 8193, 65470, 65535, 65536, 65540, 1 << 20]


# -- what the client asks --------------------------------------------------------------


def test_what_a_job_is(run: Run, name: str) -> None:
    """A job knows its handle, its unique, its function and its workload."""
    seen: list[Any] = []

    def function(job: Job) -> bytes:
        seen.extend([job.handle, job.unique, job.function_name, job.workload])
        seen.append(job.workload_size)
        seen.append(repr(job))
        return b"done"

    assert run(function, b"a\0b", unique="my-unique") == b"done"
    handle, *rest = seen
    assert handle.startswith("H:")
    assert rest[:4] == ["my-unique", name, b"a\0b", 3]
    assert rest[4] == f"<Job of {name!r}, open>"


def test_without_grab_options_the_unique_is_unknown(
    gearman_server: GearmanServer, name: str, client: Client
) -> None:
    """Each of the two grab options makes the unique known; without them it is ""."""
    seen = {}
    for options in (
        WorkerOption(0),
        WorkerOption.GRAB_UNIQ,
        WorkerOption.GRAB_ALL,
        WorkerOption.GRAB_UNIQ | WorkerOption.GRAB_ALL,
    ):
        worker = Worker(gearman_server.address)
        worker.options = options
        worker.add_function(name, lambda job: job.unique.encode())
        with WorkerThread(worker):
            seen[int(options)] = client.do(name, unique="u")
    assert list(seen.values()) == [b"", b"u", b"u", b"u"]


@pytest.mark.parametrize("size", SIZES)
def test_payloads_pass_unchanged(
    gearman_server: GearmanServer, name: str, size: int
) -> None:
    """A payload of any size, all byte values in it, goes through a worker and back."""
    payload = (bytes(range(256)) * (size // 256 + 1))[:size]
    worker = Worker(gearman_server.address)
    worker.add_function(name, lambda job: job.workload[::-1])
    with WorkerThread(worker):
        done = run_client(gearman_server, name, payload)
        assert (done.returncode, done.stdout) == (0, payload[::-1])
        with Client(gearman_server.address, timeout=30) as client:
            assert client.do(name, payload) == payload[::-1]


def test_the_workload_is_one_object(run: Run) -> None:
    """The workload is copied once, at the first use."""

    def function(job: Job) -> bytes:
        assert job.workload is job.workload
        return job.workload

    assert run(function) == b"work"


def test_take_workload(run: Run) -> None:
    """What take_workload returns owns its bytes and outlives the job."""
    taken: list[memoryview] = []

    def function(job: Job) -> bytes:
        taken.append(job.take_workload())
        assert job.workload_size == 0
        for use in (lambda: job.workload, job.take_workload):
            with pytest.raises(ClosedError, match="take_workload"):
                use()
        return bytes(taken[0][:3])

    payload = os.urandom(500_000)
    assert run(function, payload) == payload[:3]
    gc.collect()
    assert taken[0] == payload
    assert run(lambda job: bytes(job.take_workload()), b"") == b""


def test_taken_workloads_are_freed(gearman_server: GearmanServer, name: str) -> None:
    """Memory stays flat while workloads are taken and forgotten."""
    script = """
        import resource, sys, threading
        from pygearman_cffi import Client, Worker
        address, name = sys.argv[1:]
        worker = Worker(address)
        worker.add_function(name, lambda job: job.take_workload()[:1])
        client = Client(address)
        def fill(jobs):
            for _ in range(jobs):
                client.do_background(name, bytes(1_000_000))
            worker.run(max_jobs=jobs)
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        before = fill(20)
        after = fill(100)
        print(after - before)
        worker.close()
        client.close()
    """
    assert int(run_isolated(script, gearman_server.address, name)) < 20_000  # kB


# -- what the client gets --------------------------------------------------------------


def test_everything_can_be_sent(
    gearman_server: GearmanServer, name: str, client: Client
) -> None:
    """Data, warnings, status and the result arrive in order, from bytes-like objects."""

    def function(job: Job) -> bytes:
        job.send_data(bytearray(b"one "))
        job.send_warning(memoryview(b"careful"))
        job.send_status(1, 2**32 - 1)
        job.send_data(memoryview(b"-t-w-o-")[::2][1:] and b"two ")
        job.send_data(b"")
        job.send_complete(memoryview(bytearray(b"three")))
        return b"ignored"

    events: list[Any] = []
    worker = Worker(gearman_server.address)
    worker.add_function(name, function)

    def status(task: Task) -> None:
        events.append((task.numerator, task.denominator))

    with WorkerThread(worker):
        result = client.do(
            name,
            on_data=lambda task: events.append(task.data),
            on_warning=lambda task: events.append(task.data),
            on_status=status,
        )
    assert result == b"one two three"
    assert events == [b"one ", b"careful", (1, 2**32 - 1), b"two ", b""]


@pytest.mark.parametrize(
    "value",
    [None, b"", b"r", bytearray(b"r"), memoryview(b"xr")[1:], memoryview(b"r-")[::2]],
    ids=["None", "empty", "bytes", "bytearray", "memoryview", "every second byte"],
)
def test_what_a_function_may_return(run: Run, value: Any) -> None:
    """A function returns bytes-like or None, which is an empty result."""
    assert run(lambda _job: value) == bytes(value or b"")


@pytest.mark.parametrize("value", ["text", 1, ["list"], object()], ids=type)
def test_what_a_function_may_not_return(
    run: Run, value: object, caplog: pytest.LogCaptureFixture
) -> None:
    """Any other value is logged as a TypeError and fails the job."""
    with pytest.raises(WorkFailError) as caught:
        run(lambda _job: value)
    [warning] = caught.value.warnings
    assert warning.startswith(b"TypeError: ")
    assert type(value).__name__.encode() in warning
    assert "TypeError" in caplog.text
    if value == "text":
        assert b".encode()" in warning


SENDS: dict[str, Callable[[Job, Any], None]] = {
    "data": lambda job, value: job.send_data(value),
    "warning": lambda job, value: job.send_warning(value),
    "complete": lambda job, value: job.send_complete(value),
    "exception": lambda job, value: job.send_exception(value),
    "status": lambda job, value: job.send_status(value, 1),
    "status of": lambda job, value: job.send_status(1, value),
}


@pytest.mark.parametrize("send", SENDS)
def test_wrong_values_are_refused(run: Run, send: str) -> None:
    """A wrong type or value raises before anything is sent; the job goes on."""
    wrong: list[tuple[Any, type[Exception]]] = [("text", TypeError), (None, TypeError)]
    if send.startswith("status"):
        wrong += [(1.0, TypeError), (-1, ValueError), (2**32, ValueError)]
    else:
        wrong += [(1, TypeError)]
    if send == "exception":
        wrong += [(b"", ValueError)]

    def function(job: Job) -> bytes:
        for value, error in wrong:
            with pytest.raises(error) as caught:
                SENDS[send](job, value)
            assert isinstance(caught.value, GearmanError)
        return b"went on"

    assert run(function) == b"went on"


@pytest.mark.parametrize(
    ("first", "outcome"),
    [
        (lambda job: job.send_complete(b"first"), b"first"),
        (lambda job: job.send_fail(), WorkFailError),
        (lambda job: job.send_exception(b"first"), WorkExceptionError),
    ],
    ids=["complete", "fail", "exception"],
)
def test_what_follows_the_end_is_ignored(
    run: Run, first: Callable[[Any], None], outcome: Any
) -> None:
    """Once a job has ended, everything else that is sent or returned is ignored."""

    def function(job: Any) -> bytes:
        first(job)
        job.send_data(b"more")
        job.send_warning(b"more")
        job.send_status(1, 2)
        job.send_complete(b"second")
        job.send_exception(b"second")
        job.send_fail()
        return b"third"

    if isinstance(outcome, bytes):
        assert run(function) == outcome
    else:
        with pytest.raises(outcome) as caught:
            run(function)
        assert caught.value.warnings == ()
    fake = FakeJob()
    function(fake)
    assert len(fake.sent) == 1


def test_large_results_in_pieces(run: Run) -> None:
    """Many large pieces, more than any buffer takes, arrive whole and in order."""
    pieces = [os.urandom(700_000) for _ in range(10)]

    def function(job: Job) -> bytes:
        for number, piece in enumerate(pieces[:-1]):
            job.send_data(piece)
            job.send_status(number, 10)
        return pieces[-1]

    assert run(function) == b"".join(pieces)
