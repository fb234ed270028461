"""The worker: functions, waiting for jobs, limits, settings, and its own life."""

from __future__ import annotations

import functools
import gc
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

import pygearman_cffi
from pygearman_cffi import (
    BusyError,
    Client,
    ClosedError,
    GearmanError,
    InvalidArgumentError,
    Job,
    OutOfMemoryError,
    ReturnCode,
    UnsupportedError,
    Verbose,
    Worker,
    WorkerOption,
)
from pygearman_cffi.testing import GearmanServer, WorkerThread
from tests.isolated import run_isolated
from tests.programs import (
    gearman_tool,
    registered,
    run_client,
    wait_for,
    wait_for_worker,
)

_numbers = count(1)
NEVER = float("nan")


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


def echo(job: Job) -> bytes:
    """The function of most tests."""
    return job.workload


def submit(client: Client, name: str, *payloads: bytes) -> None:
    """Queue background jobs, which wait for their worker."""
    for payload in payloads or (b"work",):
        client.do_background(name, payload)


def grab(worker: Worker) -> Job:
    """Grab a job that is there, or comes soon."""
    job = wait_for(worker.grab_job)
    assert job is not None
    return job


# -- work --------------------------------------------------------------------------------


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


# -- run ---------------------------------------------------------------------------------


def test_run_ends_after_max_jobs(worker: Worker, client: Client, name: str) -> None:
    """run(max_jobs=n) serves n jobs, failed ones too, and leaves the next."""
    seen: list[bytes] = []

    def function(job: Job) -> None:
        seen.append(job.workload)
        assert job.workload != b"2"

    worker.add_function(name, function)
    submit(client, name, b"1", b"2", b"3", b"4")
    assert worker.run(max_jobs=3) == 3
    assert seen == [b"1", b"2", b"3"]
    assert worker.run(max_jobs=1) == 1


def test_run_ends_after_max_seconds(worker: Worker, client: Client, name: str) -> None:
    """run(max_seconds=s) ends in time when idle, and between jobs when not."""
    worker.add_function(name, echo)
    began = time.monotonic()
    assert worker.run(max_seconds=0.3) == 0
    assert 0.3 <= time.monotonic() - began < 0.6

    def slow(job: Job) -> None:
        time.sleep(0.1)

    worker.add_function(name, slow)
    submit(client, name, *[b"x"] * 10)
    began = time.monotonic()
    served = worker.run(max_seconds=0.35)
    assert 0.35 <= time.monotonic() - began < 0.7
    assert 3 <= served <= 5
    worker.add_function(name, echo)
    assert worker.run(max_jobs=10 - served) == 10 - served


def test_run_ignores_the_timeout(
    gearman_server: GearmanServer, client: Client, name: str
) -> None:
    """run() goes on though `timeout` passes, with NON_BLOCKING too."""
    options = WorkerOption.NON_BLOCKING
    worker = Worker(gearman_server.address, timeout=0.05, options=options)
    worker.add_function(name, echo)
    with WorkerThread(worker) as running:
        wait_for_worker(gearman_server, name)
        time.sleep(0.3)
        assert client.do(name, b"x") == b"x"
    assert running.result == 1


@pytest.mark.parametrize(
    ("limits", "error"),
    [
        ({"max_jobs": 0}, InvalidArgumentError),
        ({"max_jobs": -1}, InvalidArgumentError),
        ({"max_jobs": 1.0}, TypeError),
        ({"max_jobs": True}, TypeError),
        ({"max_seconds": 0}, InvalidArgumentError),
        ({"max_seconds": -0.1}, InvalidArgumentError),
        ({"max_seconds": NEVER}, InvalidArgumentError),
        ({"max_seconds": "1"}, TypeError),
    ],
)
def test_wrong_limits(
    worker: Worker, name: str, limits: dict[str, Any], error: type[Exception]
) -> None:
    """A limit that makes no sense is refused."""
    worker.add_function(name, echo)
    with pytest.raises(error):
        worker.run(**limits)


# -- stop --------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["run", "work", "wait", "grab_job"])
def test_stop_ends_the_next_call(
    worker: Worker, client: Client, name: str, call: str
) -> None:
    """stop() before a call ends it at once; the call after that is as ever."""
    worker.add_function(name, echo)
    submit(client, name)
    worker.stop()
    worker.stop()
    began = time.monotonic()
    assert not getattr(worker, call)()
    assert worker.return_code is ReturnCode.SHUTDOWN_GRACEFUL
    assert time.monotonic() - began < 0.1
    assert worker.work() is True


def test_stop_from_another_thread_is_quick(
    gearman_server: GearmanServer, name: str
) -> None:
    """stop() ends an idle run() in another thread within milliseconds."""
    worker = Worker(gearman_server.address)
    worker.add_function(name, echo)
    times = []
    for _ in range(5):
        thread = threading.Thread(target=worker.run)
        thread.start()
        wait_for_worker(gearman_server, name)
        began = time.monotonic()
        worker.stop()
        thread.join(10)
        times.append(time.monotonic() - began)
    worker.close()
    assert sorted(times)[2] < 0.05


def test_stop_in_a_function(worker: Worker, client: Client, name: str) -> None:
    """stop() in a worker function lets the job end; then run() returns."""

    def function(job: Job) -> bytes:
        worker.stop()
        return job.workload

    worker.add_function(name, function)
    submit(client, name, b"1", b"2", b"3")
    assert worker.run() == 1
    assert worker.run() == 1
    # In a loop of work() the job is reported, and the next call ends the loop.
    assert worker.work() is True
    assert worker.work() is False
    assert worker.return_code is ReturnCode.SHUTDOWN_GRACEFUL


def test_stop_never_gets_lost(
    gearman_server: GearmanServer, client: Client, name: str
) -> None:
    """Under load each stop() ends exactly one run(), whenever it strikes."""
    worker = Worker(gearman_server.address)
    worker.add_function(name, echo)
    submit(client, name, *[b"x"] * 2000)
    served = 0
    for number in range(40):
        timer = threading.Timer(number * 0.0005, worker.stop)
        timer.start()
        served += worker.run()
        timer.join()
    while worker.return_code is not ReturnCode.TIMEOUT:
        served += worker.run(max_seconds=0.3)
    assert served == 2000
    worker.close()


# -- the non-blocking loop ---------------------------------------------------------------


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


# -- functions ---------------------------------------------------------------------------


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
    """What cannot be called is refused, and so is a coroutine function."""

    async def coroutine(job: Job) -> bytes:
        return b""

    functions: list[Any] = [wrong, coroutine]
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


# -- settings ----------------------------------------------------------------------------


def test_a_namespace(gearman_server: GearmanServer, client: Client, name: str) -> None:
    """The namespace stands before each name on the server, not in the job."""
    worker = Worker(gearman_server.address, namespace="space-")
    assert worker.namespace == "space-"
    worker.add_function(name, lambda job: job.function_name.encode())
    with WorkerThread(worker, close=False):
        assert client.do(f"space-{name}") == name.encode()
    worker.namespace = "other-"
    worker.timeout = 10
    submit(client, f"other-{name}")
    assert worker.work() is True
    submit(client, f"other-{name}")
    with grab(worker) as job:
        assert job.function_name == name
        job.send_complete()
    with pytest.raises(InvalidArgumentError, match="512"):
        worker.namespace = "x" * 511
    with pytest.raises(InvalidArgumentError, match="512"):
        worker.add_function("x" * 510, echo)
    assert worker.namespace == "other-"
    worker.close()


def test_an_identifier(gearman_server: GearmanServer, name: str) -> None:
    """The server lists the identifier, and a new one after it was changed."""
    worker = Worker(gearman_server.address, identifier="my-worker")
    worker.add_function(name, echo)

    def listed(identifier: str) -> bool:
        lines = gearman_server.command("workers")
        return any(f" {identifier} : {name}" in line for line in lines)

    with WorkerThread(worker, close=False):
        wait_for(lambda: listed("my-worker"))
    worker.identifier = "renamed"
    with WorkerThread(worker):
        wait_for(lambda: listed("renamed"))
        wait_for(lambda: not listed("my-worker"))


def test_options(gearman_server: GearmanServer) -> None:
    """Options add to the usual two; internal ones and TLS are refused."""
    usual = WorkerOption.GRAB_UNIQ | WorkerOption.GRAB_ALL
    with Worker(gearman_server.address) as worker:
        assert worker.options == usual
        worker.add_options(WorkerOption.NON_BLOCKING)
        assert worker.has_option(WorkerOption.NON_BLOCKING)
        worker.remove_options(WorkerOption.NON_BLOCKING)
        assert worker.options == usual
        worker.add_options(
            WorkerOption.TIMEOUT_RETURN | WorkerOption.STOP_WAIT_ON_SIGNAL
        )
        for refused in (WorkerOption.ALLOCATED, WorkerOption.CHANGE, 1 << 20):
            with pytest.raises(InvalidArgumentError):
                worker.add_options(refused)  # type: ignore[arg-type]
        with pytest.raises(UnsupportedError):
            worker.add_options(WorkerOption.SSL)
        with pytest.raises(UnsupportedError):
            worker.set_ssl()
    with Worker(options=WorkerOption.NON_BLOCKING) as worker:
        assert worker.options == usual | WorkerOption.NON_BLOCKING


def test_the_identifier_option(gearman_server: GearmanServer, name: str) -> None:
    """With the option IDENTIFIER the library makes an identifier of its own."""
    worker = Worker(gearman_server.address, options=WorkerOption.IDENTIFIER)
    worker.add_function(name, echo)

    def identifier() -> str:
        for line in gearman_server.command("workers"):
            if line.endswith(f" : {name}"):
                return line.split(" : ")[0].split()[2]
        return ""

    with WorkerThread(worker):
        assert len(wait_for(identifier)) > 20


@pytest.mark.parametrize("value", [0, -1, NEVER])
def test_wrong_timeouts(worker: Worker, value: float) -> None:
    """A timeout of zero, a negative one and NaN are refused everywhere."""
    with pytest.raises(InvalidArgumentError):
        Worker(timeout=value)
    with pytest.raises(InvalidArgumentError):
        Worker(connect_timeout=value)
    with pytest.raises(InvalidArgumentError):
        worker.timeout = value
    assert worker.timeout == 10


@pytest.mark.parametrize("servers", ["h:0", "h:70000", "h:text", "a b", [("h", 0)]])
def test_wrong_servers(worker: Worker, servers: Any) -> None:
    """Bad ports and hosts are refused, and change nothing."""
    before = worker.servers
    with pytest.raises(InvalidArgumentError):
        Worker(servers)
    with pytest.raises(InvalidArgumentError):
        worker.add_servers(servers)
    assert worker.servers == before


def test_default_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without servers: $GEARMAN_SERVERS or localhost, which the first added replaces."""
    monkeypatch.delenv("GEARMAN_SERVERS", raising=False)
    with Worker() as worker:
        assert worker.servers == (("localhost", 4730),)
        worker.add_server("other", 1)
        assert worker.servers == (("other", 1),)
    monkeypatch.setenv("GEARMAN_SERVERS", "a:1,b:2")
    with Worker() as worker:
        assert worker.servers == (("a", 1), ("b", 2))


def test_changing_servers(
    gearman_server: GearmanServer, client: Client, name: str
) -> None:
    """Servers that are added or removed count from the next call."""
    with GearmanServer() as second, Worker(second.address, timeout=10) as worker:
        worker.add_function(name, echo)
        with Client(second.address) as other:
            submit(other, name)
        assert worker.work()
        worker.add_server(gearman_server.host, gearman_server.port)
        submit(client, name)
        assert worker.work()
        worker.timeout = 0.1
        wait_for(lambda: not worker.work() and registered(second, name) == 1)
        worker.remove_servers()
        wait_for(lambda: registered(second, name) == 0)
        worker.add_servers(gearman_server.address)
        worker.timeout = 10
        submit(client, name)
        assert worker.work()


def test_the_log_function(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """What libgearman logs goes to a function or a logger; None ends it."""
    lines: list[tuple[str, Verbose]] = []
    with GearmanServer() as server:
        worker = Worker(server.address, timeout=10)
        worker.set_log_fn(lambda line, verbose: lines.append((line, verbose)))
        worker.add_function(name, lambda job: server.kill())
        with Client(server.address) as client:
            submit(client, name)
        assert worker.work()
        worker.set_log_fn(logging.getLogger("mine"))
        worker.set_log_fn(None)
        worker.close()
    assert all(isinstance(line, str) for line, _ in lines)


# -- its life ----------------------------------------------------------------------------


CALLS: dict[str, Callable[[Worker], object]] = {
    "work": lambda worker: worker.work(),
    "run": lambda worker: worker.run(),
    "wait": lambda worker: worker.wait(),
    "grab_job": lambda worker: worker.grab_job(),
    "echo": lambda worker: worker.echo(b"x"),
    "add_function": lambda worker: worker.add_function("f", echo),
    "register": lambda worker: worker.register("f"),
    "unregister": lambda worker: worker.unregister("f"),
    "unregister_all": lambda worker: worker.unregister_all(),
    "function_exist": lambda worker: worker.function_exist("f"),
    "add_server": lambda worker: worker.add_server("h", 1),
    "remove_servers": lambda worker: worker.remove_servers(),
    "timeout": lambda worker: setattr(worker, "timeout", 1.0),
    "namespace": lambda worker: setattr(worker, "namespace", "n"),
    "options": lambda worker: setattr(worker, "options", WorkerOption(0)),
    "set_log_fn": lambda worker: worker.set_log_fn(None),
    "set_server_option": lambda worker: worker.set_server_option("exceptions"),
    "clone": lambda worker: worker.clone(),
    "with": lambda worker: worker.__enter__(),
}


def test_a_closed_worker(worker: Worker, client: Client, name: str) -> None:
    """A closed worker raises ClosedError; close() and stop() may be repeated."""
    worker.add_function(name, echo)
    submit(client, name)
    assert worker.work()
    worker.close()
    worker.close()
    worker.stop()
    assert worker.closed
    for call in CALLS.values():
        with pytest.raises(ClosedError, match="closed"):
            call(worker)
    assert worker.return_code is ReturnCode.SUCCESS
    assert worker.options
    assert worker.servers


def test_another_thread(gearman_server: GearmanServer, name: str) -> None:
    """While a thread is in a worker another one gets BusyError, and can stop it."""
    worker = Worker(gearman_server.address)
    worker.add_function(name, echo)
    with WorkerThread(worker, close=False):
        wait_for_worker(gearman_server, name)
        harmless = {"with", "function_exist"}
        calls = [call for key, call in CALLS.items() if key not in harmless]
        for call in (*calls, Worker.close):
            with pytest.raises(BusyError, match="another thread"):
                call(worker)
        assert worker.function_exist(name)
        assert worker.return_code is ReturnCode.SUCCESS
    worker.close()


def test_calls_in_a_worker_function(worker: Worker, client: Client, name: str) -> None:
    """In a worker function what would re-enter C raises BusyError; the job goes on."""
    allowed = {"echo", "add_function", "register", "unregister", "unregister_all"}
    allowed |= {"function_exist", "timeout", "clone", "with", "set_server_option"}
    caught: list[str] = []

    def function(job: Job) -> bytes:
        for key in CALLS.keys() - allowed:
            try:
                CALLS[key](worker)
            except BusyError:
                caught.append(key)
        try:
            worker.close()
        except BusyError:
            caught.append("close")
        return b""

    worker.add_function(name, function)
    submit(client, name, b"1")
    assert worker.work()
    assert worker.return_code is ReturnCode.SUCCESS
    assert set(caught) == (CALLS.keys() - allowed) | {"close"}


def test_a_clone(gearman_server: GearmanServer, client: Client, name: str) -> None:
    """A clone has the configuration and the functions, and a life of its own."""
    original = Worker(
        gearman_server.address, timeout=10, namespace="c-", identifier="me"
    )
    original.add_function(name, lambda job: b"cloned", timeout=2)
    original.context = object()
    twin = original.clone()
    original.close()
    assert (twin.servers, twin.timeout) == (original.servers, 10)
    assert (twin.namespace, twin.identifier, twin.context) == ("c-", "me", None)
    with WorkerThread(twin):
        assert client.do(f"c-{name}") == b"cloned"


def test_workers_leave_nothing_behind(
    gearman_server: GearmanServer, client: Client, name: str
) -> None:
    """Closed or forgotten, a worker gives back its descriptors and its connection."""

    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    def use(close: bool) -> None:
        worker = Worker(gearman_server.address, timeout=10)
        worker.add_function(name, echo)
        submit(client, name)
        assert worker.work()
        if close:
            worker.close()

    use(close=True)
    gc.collect()
    before = descriptors()
    for _ in range(20):
        use(close=True)
        use(close=False)
    gc.collect()
    assert descriptors() == before
    wait_for(lambda: registered(gearman_server, name) == 0)


def test_a_constructor_that_fails() -> None:
    """A worker whose constructor failed half-way goes without a word."""
    for bad in ({"servers": "h:x"}, {"namespace": "\0"}, {"options": "x"}):
        with pytest.raises((ValueError, TypeError)):
            Worker(**bad)  # type: ignore[arg-type]
    gc.collect()


def test_a_forked_child(gearman_server: GearmanServer, name: str) -> None:
    """A child gets a clear error, and its end does not disturb the parent's worker."""
    script = """
        import gc, os, sys
        from pygearman_cffi import Client, ForkedError, Worker
        address, name = sys.argv[1:]
        worker = Worker(address, timeout=20)
        worker.add_function(name, lambda job: job.workload)
        client = Client(address)
        client.do_background(name, b"1")
        assert worker.work()
        child = os.fork()
        if not child:
            for call in (worker.work, worker.run, worker.grab_job):
                try:
                    call()
                except ForkedError as error:
                    assert "after the fork" in str(error)
                else:
                    os._exit(1)
            worker.stop()
            worker.close()  # leaves the parent's connections alone
            del worker, call
            gc.collect()
            # A worker of the child's own works beside the parent's.
            own = Worker(address, timeout=20)
            own.add_function(name + "-child", lambda job: None)
            with Client(address) as other:
                other.do_background(name + "-child", b"")
            assert own.work()
            own.close()
            sys.exit(0)
        assert os.waitpid(child, 0)[1] == 0
        client.do_background(name, b"2")
        assert worker.work()
        worker.close()
        client.close()
    """
    run_isolated(script, gearman_server.address, name)


def test_where_executable_memory_is_refused(
    gearman_server: GearmanServer, client: Client, name: str
) -> None:
    """Without executable memory work() names cause and cure; grab_job() still works."""
    script = """
        import sys
        from pygearman_cffi import Client, OutOfMemoryError, Worker, _callbacks
        class Refusing:
            def __getattr__(self, name):
                return getattr(real, name)
            def callback(self, *args, **options):
                raise MemoryError("Cannot allocate write+execute memory")
        real, _callbacks.ffi = _callbacks.ffi, Refusing()
        address, name = sys.argv[1:]
        worker = Worker(address, timeout=20)
        worker.add_function(name, lambda job: None)
        for _ in range(2):
            try:
                worker.work()
            except OutOfMemoryError as error:
                assert "MemoryDenyWriteExecute" in str(error), error
            else:
                sys.exit("not refused")
        worker.unregister_all()
        worker.register(name)
        with worker.grab_job() as job:
            job.send_complete(job.workload.upper())
        worker.close()
    """
    assert OutOfMemoryError is not None
    results: list[bytes] = []
    asking = threading.Thread(target=lambda: results.append(client.do(name, b"abc")))
    asking.start()
    wait_for(lambda: name in gearman_server.status())
    run_isolated(script, gearman_server.address, name)
    asking.join(10)
    assert results == [b"ABC"]


# -- other programs ----------------------------------------------------------------------


def test_clients_of_all_kinds(
    gearman_server: GearmanServer, client: Client, name: str
) -> None:
    """Our worker serves a C client, the gearman tool and ours, byte by byte."""
    payload = bytes(range(256)) * 30
    worker = Worker(gearman_server.address)

    def function(job: Job) -> bytes:
        third = job.workload_size // 3
        job.send_data(job.workload[:third])
        job.send_warning(b"careful")
        job.send_status(1, 2)
        job.send_data(job.workload[third : 2 * third])
        return job.workload[2 * third :]

    worker.add_function(name, function)
    with WorkerThread(worker):
        done = run_client(gearman_server, name, payload)
        assert (done.returncode, done.stdout) == (0, payload)
        events = run_client(gearman_server, name, payload, "--tasks", "1")
        assert events.stdout.decode().split("\n")[:-1] == [
            "created",
            "data 2560",
            "warning 7",
            "status 1/2",
            "data 2560",
            "complete 2560",
        ]
        tool = gearman_tool(gearman_server, "-f", name, payload=payload)
        assert tool.stdout.replace(b"careful", b"").startswith(payload[:2560])
        assert client.do(name, payload) == payload


def test_many_jobs(gearman_server: GearmanServer, name: str) -> None:
    """Thousands of jobs, in several workers at once, are each done exactly once."""
    done: list[bytes] = []
    workers = [Worker(gearman_server.address) for _ in range(3)]
    for worker in workers:
        worker.add_function(name, lambda job: done.append(job.workload))
    with Client(gearman_server.address) as client:
        submit(client, name, *[str(number).encode() for number in range(3000)])
    beside = [WorkerThread(worker) for worker in workers]
    for thread in beside:
        thread.start()
    wait_for(lambda: len(done) >= 3000, timeout=30)
    for thread in beside:
        thread.stop()
    assert sorted(done) == sorted(str(number).encode() for number in range(3000))
    assert sum(thread.result or 0 for thread in beside) == 3000
