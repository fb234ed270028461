"""A worker's functions: names, callables, timeouts, and changes while it serves."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from pygearman_cffi import (
    Client,
    GearmanError,
    InvalidArgumentError,
    Job,
    ReturnCode,
    Worker,
)
from pygearman_cffi.testing import GearmanServer, WorkerThread
from tests import workers
from tests.programs import registered, wait_for
from tests.workers import NEVER, echo, grab, submit

name, client, worker = workers.name, workers.client, workers.worker


# -- callables and names ---------------------------------------------------------------


def test_decorators(worker: Worker, client: Client, name: str) -> None:
    """The decorator takes a name or none, and leaves the function what it is."""

    @worker.function
    def plain(job: Job) -> bytes:
        return b"plain"

    @worker.function(name)
    def named(job: Job) -> bytes:
        return b"named"

    @worker.function(timeout=5)
    def timed(job: Job) -> bytes:
        return b"timed"

    assert plain.__name__ == "plain"
    for function in ("plain", name, "timed"):
        assert worker.function_exist(function)
    assert not worker.function_exist("named")
    worker.unregister("plain")
    worker.unregister("timed")
    submit(client, name)
    assert worker.work() is True


def test_what_can_be_a_function(worker: Worker, client: Client, name: str) -> None:
    """Closures, bound methods, partials and callables are C's function context."""

    class Counter:
        def __init__(self) -> None:
            self.count = 0

        def increase(self, job: Job) -> bytes:
            self.count += 1
            return b""

        __call__ = increase

    def add(amount: int, job: Job) -> bytes:
        counter.count += amount
        return b""

    counter = Counter()
    for function in (counter.increase, counter, functools.partial(add, 5)):
        worker.add_function(name, function)
        submit(client, name)
        assert worker.work() is True
    assert counter.count == 7


@pytest.mark.parametrize("wrong", [None, "text", 1])
def test_what_cannot_be_a_function(worker: Worker, wrong: Any) -> None:
    """What cannot be called is refused, and what only makes a coroutine or generator."""

    async def coroutine(job: Job) -> bytes:
        return b""

    def generator(job: Job) -> Iterator[bytes]:
        yield b""

    async def asynchronous(job: Job) -> AsyncIterator[bytes]:
        yield b""

    bound = functools.partial(generator)
    functions: list[Any] = [wrong, coroutine, generator, asynchronous, bound]
    for function in functions:
        with pytest.raises(TypeError, match="fn is"):
            worker.add_function("f", function)


NAMES: list[tuple[Any, type[Exception]]] = [
    ("", ValueError),
    (None, TypeError),
    (1, TypeError),
    ("a\0b", ValueError),
    ("x" * 513, ValueError),
    (b"", ValueError),
    ("é" * 257, ValueError),
]
NAMED: dict[str, Callable[[Worker, Any], object]] = {
    "add_function": lambda worker, name: worker.add_function(name, echo),
    "register": lambda worker, name: worker.register(name),
    "unregister": lambda worker, name: worker.unregister(name),
    "function_exist": lambda worker, name: worker.function_exist(name),
}


@pytest.mark.parametrize("call", NAMED)
def test_wrong_names(worker: Worker, call: str) -> None:
    """Empty, over-long, NUL-bearing and foreign names are refused everywhere."""
    for name, error in NAMES:
        with pytest.raises(error) as caught:
            NAMED[call](worker, name)
        assert isinstance(caught.value, GearmanError)
    with pytest.raises(InvalidArgumentError) as none:
        worker.unregister("unknown")
    assert none.value.code is ReturnCode.NO_REGISTERED_FUNCTION


@pytest.mark.parametrize(
    "name", ["x" * 512, "with space\tand tab", "Ünicode-ж", b"\xff\xfe bytes"]
)
def test_strange_names_work(
    gearman_server: GearmanServer, client: Client, name: str | bytes
) -> None:
    """Any name of 1 to 512 bytes without NUL is served, and comes back as text."""
    worker = Worker(gearman_server.address)
    worker.add_function(
        name, lambda job: job.function_name.encode("utf-8", "surrogateescape")
    )
    encoded = name.encode() if isinstance(name, str) else name
    with WorkerThread(worker):
        assert client.do(name) == encoded


# -- timeouts --------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", [0, 0.5, 0.999, -1, NEVER])
def test_short_function_timeouts(worker: Worker, name: str, timeout: float) -> None:
    """A function timeout of less than a second, which gearmand takes for one, is refused."""
    for add in (
        lambda: worker.add_function(name, echo, timeout=timeout),
        lambda: worker.register(name, timeout=timeout),
        lambda: worker.function(name, timeout=timeout)(echo),
    ):
        with pytest.raises(InvalidArgumentError, match="timeout"):
            add()
    assert not worker.function_exist(name)


def test_a_function_timeout_gives_the_job_to_another(
    gearman_server: GearmanServer, client: Client, name: str
) -> None:
    """When its time is up another worker has the job; the slow one serves on."""
    release = threading.Event()
    calls: list[str] = []

    def slow(job: Job) -> bytes:
        calls.append("slow")
        assert release.wait(10)
        return b"late"

    def quick(job: Job) -> bytes:
        calls.append("quick")
        return b"in time"

    first, second = Worker(gearman_server.address), Worker(gearman_server.address)
    first.add_function(name, slow, timeout=1.0)
    first.add_function(f"{name}-other", lambda job: b"still here")
    second.add_function(name, quick, timeout=1.0)
    with WorkerThread(first):
        results: list[bytes] = []
        asking = threading.Thread(target=lambda: results.append(client.do(name)))
        asking.start()
        wait_for(lambda: calls)
        began = time.monotonic()
        with WorkerThread(second):
            asking.join(10)
        assert results == [b"in time"]
        assert 0.5 < time.monotonic() - began < 2.5
        release.set()  # the late answer is an error for gearmand, not for us
        with Client(gearman_server.address, timeout=10) as other:
            assert other.do(f"{name}-other") == b"still here"
    assert calls == ["slow", "quick"]


# -- changes ---------------------------------------------------------------------------


def test_redefining_a_function(
    gearman_server: GearmanServer, client: Client, name: str
) -> None:
    """The newest function of a name counts, and the server knows the worker once."""
    worker = Worker(gearman_server.address)
    worker.add_function(name, lambda job: b"old")
    with WorkerThread(worker, close=False):
        assert client.do(name) == b"old"
        wait_for(lambda: registered(gearman_server, name) == 1)
    worker.add_function(name, lambda job: b"new")
    with WorkerThread(worker, close=False):
        assert client.do(name) == b"new"
        assert registered(gearman_server, name) == 1
    worker.add_function(name, lambda job: b"timed", timeout=3)
    with WorkerThread(worker):
        assert client.do(name) == b"timed"
        wait_for(lambda: registered(gearman_server, name) == 1)


def test_unregister_and_add_again(
    gearman_server: GearmanServer, worker: Worker, client: Client, name: str
) -> None:
    """After unregister(), also followed by an add, server and worker agree."""
    other = f"{name}-other"
    worker.add_function(name, echo)
    worker.add_function(other, echo)
    submit(client, name)
    assert worker.work()
    worker.unregister(name)
    assert not worker.function_exist(name)
    submit(client, other)
    assert worker.work()
    wait_for(lambda: registered(gearman_server, name) == 0)
    worker.unregister_all()
    assert not worker.function_exist(other)
    worker.add_function(name, echo)
    submit(client, name)
    assert worker.work()
    wait_for(lambda: registered(gearman_server, other) == 0)
    assert registered(gearman_server, name) == 1


def test_changes_in_a_function_take_effect_after_the_job(
    gearman_server: GearmanServer, client: Client, name: str
) -> None:
    """A worker function may add and remove functions, itself included."""
    later = f"{name}-later"
    worker = Worker(gearman_server.address)

    def first(job: Job) -> bytes:
        worker.add_function(later, lambda job: b"later")
        worker.unregister(name)
        assert worker.function_exist(later)
        return b"first"

    worker.add_function(name, first)
    with WorkerThread(worker):
        assert client.do(name) == b"first"
        assert client.do(later) == b"later"
        wait_for(lambda: registered(gearman_server, name) == 0)
        assert registered(gearman_server, later) == 1


def test_a_worker_without_functions(worker: Worker, name: str) -> None:
    """Without a function every call says how to add one."""
    for call in (worker.work, worker.run, worker.wait, worker.grab_job):
        with pytest.raises(InvalidArgumentError, match="add_function") as caught:
            call()
        assert caught.value.code is ReturnCode.NO_REGISTERED_FUNCTIONS
    worker.add_function(name, echo)
    worker.timeout = 0.05
    assert worker.work() is False


def test_a_function_without_a_callable(
    worker: Worker, client: Client, name: str
) -> None:
    """register() serves grab_job() only; work() and run() refuse, and add cures it."""
    worker.register(name)
    for call in (worker.work, worker.run, worker.wait):
        with pytest.raises(InvalidArgumentError, match=r"grab_job\(\)"):
            call()
    submit(client, name)
    with grab(worker) as job:
        job.send_complete()
    worker.add_function(name, echo)
    submit(client, name)
    assert worker.work() is True


def test_the_last_function_goes(worker: Worker, client: Client, name: str) -> None:
    """A function that removes the last one ends run() with the reason."""
    worker.add_function(name, lambda job: worker.unregister_all())
    submit(client, name)
    with pytest.raises(InvalidArgumentError, match="add_function"):
        worker.run()
    worker.add_function(name, echo)
    submit(client, name)
    assert worker.work() is True
