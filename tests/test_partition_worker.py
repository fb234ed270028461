"""Divided jobs: a Python mapper and aggregator, with reducers of every kind."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator

import pytest

from pygearman_cffi import (
    Client,
    InvalidArgumentError,
    Job,
    JobFail,
    ReturnCode,
    TaskState,
    Worker,
    WorkFailError,
)
from pygearman_cffi.testing import GearmanServer, WorkerThread
from tests import workers
from tests.isolated import run_isolated

name = workers.name


def split(job: Job) -> None:
    """Give each word to the reducer."""
    for word in job.workload.split():
        job.send_data(word)


def join(parts: list[bytes]) -> bytes:
    """Join what came back, visibly."""
    return b"|".join(parts)


@pytest.fixture
def divider(served: GearmanServer) -> Iterator[Callable[..., Worker]]:
    """Return a function that starts a worker which divides jobs as `part`."""
    threads: list[WorkerThread] = []

    def start(
        mapper: Callable[[Job], object] = split,
        aggregator: Callable[[list[bytes]], bytes | None] = join,
        *,
        reduce_timeout: float | None = None,
    ) -> Worker:
        worker = Worker(served.address)
        worker.define_partition(
            "part", mapper, aggregator, reduce_timeout=reduce_timeout
        )
        threads.append(WorkerThread(worker))
        threads[-1].__enter__()
        return worker

    yield start
    for thread in threads:
        thread.__exit__(None, None, None)


def test_c_reducer(client: Client, divider: Callable[..., Worker]) -> None:
    """The parts go to a C worker and are joined in the order they were sent in."""
    divider()
    words = [b"w%d" % number for number in range(50)]
    task = client.execute_by_partition("part", "upper", b" ".join(words), timeout=20)
    assert task.result == b"|".join(word.upper() for word in words)
    assert task.return_code is ReturnCode.SUCCESS


def test_slow_python_reducer(
    served: GearmanServer, client: Client, divider: Callable[..., Worker]
) -> None:
    """A reducer may take longer than any slice in which a worker waits."""
    divider()
    reducer = Worker(served.address)

    def slow(job: Job) -> bytes:
        threading.Event().wait(1.3)
        return job.workload

    reducer.add_function("slow", slow)
    with WorkerThread(reducer):
        task = client.execute_by_partition("part", "slow", b"x y", timeout=20)
    assert task.result == b"x|y"


def test_reduce_timeout(
    served: GearmanServer, client: Client, divider: Callable[..., Worker]
) -> None:
    """Parts that nobody answers in reduce_timeout fail the job."""
    divider(reduce_timeout=0.3)
    task = client.execute_by_partition("part", "nobody_reduces", b"x", timeout=20)
    assert task.return_code is ReturnCode.WORK_FAIL


@pytest.mark.parametrize("reducer", ["fail"])
def test_failing_reducer(
    client: Client, divider: Callable[..., Worker], reducer: str
) -> None:
    """A part that fails fails the whole job, and the worker serves the next one."""
    divider()
    task = client.execute_by_partition("part", reducer, b"a b", timeout=20)
    assert (task.state, task.return_code) == (TaskState.DONE, ReturnCode.WORK_FAIL)
    assert client.execute_by_partition("part", "upper", b"a", timeout=20).result == b"A"


def test_aggregator_that_raises(
    client: Client, divider: Callable[..., Worker], caplog: pytest.LogCaptureFixture
) -> None:
    """C would report success with nothing: the job fails, and its log says why."""

    def fails(parts: list[bytes]) -> bytes:
        if parts == [b"BAD"]:
            raise KeyError("joining")
        return join(parts)

    divider(aggregator=fails)
    task = client.execute_by_partition("part", "upper", b"bad", timeout=20)
    assert task.return_code is ReturnCode.WORK_FAIL
    assert client.execute_by_partition("part", "upper", b"a", timeout=20).result == b"A"
    told = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert [type(r.exc_info[1]).__name__ for r in told if r.exc_info] == ["KeyError"]


@pytest.mark.parametrize("error", [ValueError("mapping"), JobFail("not today")])
def test_mapper_that_raises(
    client: Client, divider: Callable[..., Worker], error: Exception
) -> None:
    """A mapper that raises fails the job, and the worker serves the next one."""

    def fails(job: Job) -> None:
        if job.workload == b"bad":
            raise error
        split(job)

    divider(mapper=fails)
    task = client.execute_by_partition("part", "upper", b"bad", timeout=20)
    assert task.return_code is ReturnCode.WORK_FAIL
    assert client.execute_by_partition("part", "upper", b"a", timeout=20).result == b"A"


def test_aggregator_without_a_result(
    client: Client, divider: Callable[..., Worker]
) -> None:
    """An aggregator that returns None gives an empty result."""
    divider(aggregator=lambda _parts: None)
    task = client.execute_by_partition("part", "upper", b"a b", timeout=20)
    assert task.result == b""


def test_empty_and_large_results(
    client: Client, divider: Callable[..., Worker]
) -> None:
    """Parts with empty results are there, and large ones are joined byte by byte."""
    large = bytes(range(33, 127)) * 4000
    divider(aggregator=lambda parts: b"%d:" % len(parts) + b"".join(parts))
    task = client.execute_by_partition("part", "echo", large + b" " + large, timeout=30)
    assert task.result == b"2:" + large + large


def test_plain_job_of_a_divided_function(
    client: Client, divider: Callable[..., Worker]
) -> None:
    """A job that names no reducer gets what the mapper sends, as in C."""
    divider()
    assert client.do("part", b"ab cd", timeout=20) == b"abcd"


def test_wrong_arguments() -> None:
    """What is not callable, and a time that cannot be, is refused."""
    with Worker(()) as worker:
        with pytest.raises(TypeError):
            worker.define_partition("part", None, join)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            worker.define_partition("part", split, b"")  # type: ignore[arg-type]
        with pytest.raises(InvalidArgumentError):
            worker.define_partition("part", split, join, reduce_timeout=0)


DIVIDE = """
    import os, signal, sys, threading, time
    from pygearman_cffi import Client, Worker, _cworker
    from pygearman_cffi.testing import GearmanServer, WorkerThread

    mode = sys.argv[1]
    if mode == "another's number":  # C's socket did not get the number we expected
        mode = "aggregator"
        _cworker.next_number = lambda spare: 999
    with GearmanServer() as server:
        client = Client(server.address, timeout=20)
        worker, reducer = Worker(server.address), Worker(server.address)
        begun, go_on = threading.Event(), threading.Event()
        struck = []

        def aggregate(parts):
            if mode == "aggregator" and not struck:
                struck.append(time.monotonic())
                raise KeyboardInterrupt
            return b"|".join(parts)

        def reduce(job):
            begun.set()
            if mode == "parts":
                go_on.wait(10)
            return job.workload.upper()

        def strike():
            begun.wait()
            struck.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)

        def mapper(job):
            for part in job.workload.split():
                job.send_data(part)

        worker.define_partition("part", mapper, aggregate)
        reducer.add_function("reduce", reduce)
        results = []
        asker = threading.Thread(target=lambda: results.append(
            client.execute_by_partition("part", "reduce", b"a b").result))
        with WorkerThread(reducer):
            asker.start()
            if mode == "parts":
                threading.Thread(target=strike).start()
            try:
                worker.run(max_jobs=1)
            except KeyboardInterrupt:
                assert time.monotonic() - struck[0] < 0.5
            else:
                sys.exit("no KeyboardInterrupt")
            go_on.set()
            assert worker.run(max_jobs=1) == 1
            asker.join()
        assert results == [b"A|B"], results
"""


@pytest.mark.parametrize("mode", ["parts", "aggregator", "another's number"])
def test_ctrl_c(mode: str) -> None:
    """Ctrl-C while C waits for the parts ends it at once, and the job is not lost."""
    run_isolated(DIVIDE, mode)


def test_servers_of_the_environment() -> None:
    """C's inner client takes no servers from $GEARMAN_SERVERS; Python always sees it."""
    run_isolated(
        """
        import os, threading
        from pygearman_cffi import Client, Worker
        from pygearman_cffi.testing import GearmanServer, WorkerThread

        seen, over, missed = [], threading.Event(), []

        def look():
            while not over.is_set():
                if "GEARMAN_SERVERS" not in os.environ:
                    missed.append(1)

        looking = threading.Thread(target=look)
        looking.start()

        def mapper(job):
            seen.append(os.environ.get("GEARMAN_SERVERS"))
            job.send_data(job.workload)

        with GearmanServer() as server, Client(server.address, timeout=20) as client:
            worker, reducer = Worker(server.address), Worker(server.address)
            worker.define_partition("part", mapper, b"".join)
            reducer.add_function("reduce", lambda job: job.workload.upper())
            with WorkerThread(worker), WorkerThread(reducer):
                for _ in range(50):
                    task = client.execute_by_partition("part", "reduce", b"a")
                    assert task.result == b"A"
        over.set()
        looking.join()
        assert not missed
        assert set(seen) == {"no.such.host.invalid:1"}, seen
        assert os.environ["GEARMAN_SERVERS"] == "no.such.host.invalid:1"
        """,
        GEARMAN_SERVERS="no.such.host.invalid:1",
    )


@pytest.mark.parametrize("way", ["returns", "completes", "raises", "fails"])
def test_a_function_that_does_not_divide(
    gearman_server: GearmanServer, name: str, way: str
) -> None:
    """A job to be divided fails at once where its function cannot: C takes no answer."""
    calls = []

    def function(job: Job) -> bytes:
        calls.append(job.handle)
        if way == "completes":
            job.send_complete(b"x")
        elif way == "raises":
            raise ValueError("mine")
        elif way == "fails":
            raise JobFail
        return b"x"

    worker = Worker(gearman_server.address)
    worker.add_function(name, function)
    with (
        WorkerThread(worker),
        Client(gearman_server.address, timeout=20) as client,
    ):
        task = client.execute_by_partition(name, "part", b"x")
        assert isinstance(task.error, WorkFailError)
        assert len(calls) == 1
        if way == "returns":  # what nobody asked to divide is done
            assert client.do(name, b"x") == b"x"
