"""What a worker function receives, sends, returns and raises."""

from __future__ import annotations

import gc
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

from pygearman_cffi import (
    BusyError,
    Client,
    ClosedError,
    GearmanError,
    InvalidArgumentError,
    Job,
    JobException,
    JobFail,
    Priority,
    RetryJob,
    ReturnCode,
    StopWorker,
    Task,
    Worker,
    WorkerOption,
    WorkExceptionError,
    WorkFailError,
)
from pygearman_cffi.testing import FakeJob, GearmanServer, WorkerThread
from tests.isolated import run_isolated
from tests.programs import gearman_tool, run_client, wait_for

_numbers = count(1)
SIZES = [0, 1, 8191, 8192, 8193, 65470, 65535, 65536, 65540, 1 << 20]


@pytest.fixture
def name() -> str:
    """A function name that no other test uses."""
    return f"job-{next(_numbers)}"


@pytest.fixture
def client(gearman_server: GearmanServer) -> Iterator[Client]:
    """A client that does not wait for ever."""
    with Client(gearman_server.address, timeout=20) as client:
        yield client


Run = Callable[..., Any]


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


# -- what the client asks ----------------------------------------------------------------


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


# -- what the client gets ----------------------------------------------------------------


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
    ids=repr,
)
def test_what_a_function_may_return(run: Run, value: Any) -> None:
    """A function returns bytes-like or None, which is an empty result."""
    assert run(lambda _job: value) == bytes(value or b"")


@pytest.mark.parametrize("value", ["text", 1, ["list"], object()], ids=repr)
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


# -- what a function raises --------------------------------------------------------------


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


# -- the life of a job -------------------------------------------------------------------

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


# -- grabbed jobs ------------------------------------------------------------------------


@pytest.fixture
def grabber(gearman_server: GearmanServer, name: str) -> Iterator[Worker]:
    """A worker that grabs."""
    with Worker(gearman_server.address, timeout=10) as worker:
        worker.register(name)
        yield worker


def grab(worker: Worker) -> Job:
    """Grab a job that is there, or comes soon."""
    job = wait_for(worker.grab_job)
    assert job is not None
    assert worker.return_code is ReturnCode.SUCCESS
    return job


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
