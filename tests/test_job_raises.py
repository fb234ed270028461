"""What a worker function raises: errors, and the words that end a job or give it back."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from pygearman_cffi import (
    Client,
    InvalidArgumentError,
    Job,
    JobException,
    JobFail,
    RetryJob,
    ReturnCode,
    StopWorker,
    Worker,
    WorkExceptionError,
    WorkFailError,
)
from pygearman_cffi.testing import GearmanServer, WorkerThread
from tests import workers
from tests.programs import gearman_tool
from tests.workers import Run

name, client, run = workers.name, workers.client, workers.run


# -- errors ----------------------------------------------------------------------------


class BrokenError(Exception):
    """An exception that cannot even be printed."""

    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("bad é"), "ValueError: bad é".encode()),
        (KeyError("k"), b"KeyError: 'k'"),
        (RuntimeError(), b"RuntimeError"),
        (UnicodeError("\udc80"), b"UnicodeError: \\udc80"),
        (BrokenError(), b"BrokenError: "),
        (AssertionError("x" * 100_000), b"AssertionError: xxx"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_exception_fails_the_job(
    run: Run, error: Exception, text: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """An exception becomes a warning that names it, then a failure, and is logged."""

    def function(job: Job) -> bytes:
        raise error

    with pytest.raises(WorkFailError) as caught:
        run(function)
    [warning] = caught.value.warnings
    assert warning.startswith(text)
    assert len(warning) <= 8192
    [record] = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert record.name == "pygearman_cffi.worker"
    assert record.exc_info is not None
    assert record.exc_info[1] is error
    assert "Traceback" not in warning.decode()


def test_exceptions_can_be_sent_as_such(run: Run) -> None:
    """With send_exceptions an exception ends the job as one, with the same text."""

    def function(job: Job) -> bytes:
        raise ValueError("bad")

    with pytest.raises(WorkExceptionError) as caught:
        run(function, options={"send_exceptions": True})
    assert (caught.value.payload, caught.value.warnings) == (b"ValueError: bad", ())


def test_the_next_job_is_served(
    gearman_server: GearmanServer, name: str, client: Client
) -> None:
    """After a failed job the worker serves the next, as does `gearman` see it."""
    worker = Worker(gearman_server.address)

    def function(job: Job) -> bytes:
        if job.workload == b"bad":
            raise ValueError("bad")
        return job.workload

    worker.add_function(name, function)
    with WorkerThread(worker) as running:
        for _ in range(5):
            with pytest.raises(WorkFailError):
                client.do(name, b"bad")
            assert client.do(name, b"good") == b"good"
        tool = gearman_tool(gearman_server, "-f", name, "-s", payload=b"good")
        assert tool.returncode == 0
        tool = gearman_tool(gearman_server, "-f", name, payload=b"bad")
        assert tool.returncode != 0
    assert running.result == 12


# -- words -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "code", "outcome", "warnings"),
    [
        (JobFail(), "WORK_FAIL", WorkFailError, ()),
        (JobFail("why é"), "WORK_FAIL", WorkFailError, ("why é".encode(),)),
        (JobFail(b"\xff"), "WORK_FAIL", WorkFailError, (b"\xff",)),
        (JobException(b"e\0"), "WORK_EXCEPTION", WorkExceptionError, ()),
        (StopWorker(bytearray(b"last")), "SUCCESS", b"last", ()),
        (StopWorker(), "SUCCESS", b"", ()),
    ],
    ids=repr,
)
def test_words_of_a_worker_function(
    gearman_server: GearmanServer,
    name: str,
    client: Client,
    word: Exception,
    code: str,
    outcome: Any,
    warnings: tuple[bytes, ...],
) -> None:
    """JobFail, JobException and StopWorker end a job the way they say."""

    def function(job: Job) -> bytes:
        raise word

    worker = Worker(gearman_server.address, timeout=10)
    worker.add_function(name, function)
    results: list[Any] = []
    thread = threading.Thread(
        target=lambda: results.extend([worker.work(), worker.return_code])
    )
    thread.start()
    if isinstance(outcome, bytes):
        assert client.do(name) == outcome
    else:
        with pytest.raises(outcome) as caught:
            client.do(name)
        assert caught.value.warnings == warnings
        assert getattr(caught.value, "payload", b"e\0") == b"e\0"
    thread.join(10)
    assert results == [True, ReturnCode[code]]
    # StopWorker ends a loop of work() as it ends run().
    assert worker._wakeup.stopping is isinstance(word, StopWorker)
    worker.close()


def test_stop_worker_ends_run(
    gearman_server: GearmanServer, name: str, client: Client
) -> None:
    """StopWorker completes its job, run() returns, and the next run() is as ever."""
    worker = Worker(gearman_server.address)

    def function(job: Job) -> bytes:
        raise StopWorker(b"stopped by " + job.workload)

    worker.add_function(name, function)
    served: list[int] = []
    for number in (b"1", b"2"):
        thread = threading.Thread(target=lambda: served.append(worker.run()))
        thread.start()
        assert client.do(name, number) == b"stopped by " + number
        thread.join(10)
    assert served == [1, 1]
    worker.close()


@pytest.mark.parametrize(
    "word",
    [
        lambda: JobException("text"),  # type: ignore[arg-type]
        lambda: JobException(b""),
        lambda: JobFail(1),  # type: ignore[arg-type]
        lambda: StopWorker("text"),  # type: ignore[arg-type]
    ],
)
def test_wrong_words(word: Callable[[], Exception]) -> None:
    """A word with a wrong argument is refused where it is made."""
    with pytest.raises((TypeError, InvalidArgumentError)):
        word()


# -- jobs that are given back ----------------------------------------------------------


def test_retry_job(gearman_server: GearmanServer, name: str, client: Client) -> None:
    """RetryJob gives the job back; the worker waits a second, others have it at once."""
    tries: list[float] = []

    def function(job: Job) -> bytes:
        tries.append(time.monotonic())
        if len(tries) == 1:
            raise RetryJob
        return b"try " + str(len(tries)).encode()

    worker = Worker(gearman_server.address)
    worker.add_function(name, function)
    with WorkerThread(worker) as running:
        assert client.do(name) == b"try 2"
        assert 0.9 <= tries[1] - tries[0] < 1.6
        assert client.do(name) == b"try 3"  # without a pause
    assert running.result == 3


def test_another_worker_takes_a_retried_job(
    gearman_server: GearmanServer, name: str, client: Client
) -> None:
    """A job that was given back is another worker's at once."""
    given_back = threading.Event()

    def reluctant(job: Job) -> bytes:
        given_back.set()
        raise RetryJob

    first = Worker(gearman_server.address)
    first.add_function(name, reluctant)
    second = Worker(gearman_server.address)
    second.add_function(name, lambda job: b"second")
    with WorkerThread(first):
        task = threading.Thread(target=lambda: results.append(client.do(name)))
        results: list[bytes] = []
        task.start()
        assert given_back.wait(10)
        began = time.monotonic()
        with WorkerThread(second):
            task.join(10)
        assert results == [b"second"]
        assert time.monotonic() - began < 0.9


def test_work_after_a_retry(
    gearman_server: GearmanServer, name: str, client: Client
) -> None:
    """work() returns True with ERROR after RetryJob, and the next one waits a while."""
    worker = Worker(gearman_server.address, timeout=0.3)

    def function(job: Job) -> bytes:
        raise RetryJob

    worker.add_function(name, function)
    client.do_background(name)
    assert worker.work() is True
    assert worker.return_code is ReturnCode.ERROR
    assert worker.work() is False
    assert worker.return_code.name == "TIMEOUT"
    worker.close()
