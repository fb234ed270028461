"""`execute_by_partition`: a C worker divides a job among C workers."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import pytest

from pygearman_cffi import (
    Client,
    ConnectionLostError,
    CouldNotConnectError,
    GearmanTimeoutError,
    InvalidArgumentError,
    JobHandle,
    NoServersError,
    Priority,
    ReturnCode,
    ServerError,
    TaskState,
    WorkExceptionError,
    WorkFailError,
)
from pygearman_cffi._descriptor import Descriptor
from pygearman_cffi.errors import ArgumentTypeError
from pygearman_cffi.testing import GearmanServer
from tests.fakes import FakeServer, black_hole
from tests.isolated import run_isolated
from tests.programs import c_worker, wait_for
from tests.scripts import script


@pytest.fixture
def server() -> Iterator[GearmanServer]:
    """A server with a dividing worker and two that do the parts."""
    with (
        GearmanServer() as server,
        c_worker(server, "partition_worker"),
        c_worker(server),
        c_worker(server, "task_worker"),
    ):
        yield server


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """Every test ends with the threads that it began with."""
    before = len(os.listdir("/proc/self/task"))
    yield
    wait_for(lambda: len(os.listdir("/proc/self/task")) <= before)


@pytest.fixture
def client(server: GearmanServer) -> Iterator[Client]:
    """A client that gives up rather than hang."""
    with Client(server.address, timeout=20) as client:
        yield client


def test_result(client: Client, server: GearmanServer) -> None:
    """The parts go to the named function; the joined result comes back."""
    context = object()
    task = client.execute_by_partition(
        "divide", "upper", b"this dog does not hunt", unique="mine", context=context
    )
    assert task.result == b"THIS DOG DOES NOT HUNT"
    assert (task.state, task.return_code) == (TaskState.DONE, ReturnCode.SUCCESS)
    assert (task.function_name, task.unique) == ("upper", "mine")
    assert task.context is context
    assert isinstance(task.job_handle, JobHandle)
    assert task.job_handle.server == (server.host, server.port)
    assert not task.is_running


def test_workloads(client: Client) -> None:
    """Bytes-like workloads of any content arrive whole, also many parts."""
    words = [b"%d" % number for number in range(300)]
    for payload in (bytearray(b"a b"), memoryview(b"a b")):
        assert client.execute_by_partition("divide", "echo", payload).result == b"a b"
    result = client.execute_by_partition("divide", "reverse", b" ".join(words)).result
    assert result == b" ".join(word[::-1] for word in words)
    odd = b"\0\xff " + b"x" * 100_000
    assert client.execute_by_partition(b"divide", b"echo", odd).result == odd
    for priority in Priority:
        task = client.execute_by_partition("divide", "echo", b"x", priority=priority)
        assert task.result == b"x"


def test_failing_part(client: Client) -> None:
    """A part that fails is a failure of the task, not an exception of the call."""
    for _ in range(2):
        task = client.execute_by_partition("divide", "fail", b"a b", unique="bad")
        assert (task.state, task.return_code) == (TaskState.DONE, ReturnCode.WORK_FAIL)
        with pytest.raises(WorkFailError, match="execute_by_partition") as caught:
            _ = task.result
        assert (caught.value.function_name, caught.value.unique) == ("fail", "bad")
    assert client.execute_by_partition("divide", "echo", b"a b").result == b"a b"


def test_exception_of_the_divider(client: Client) -> None:
    """An exception that the dividing worker sends is told with its payload."""
    task = client.execute_by_partition("mix", "echo", b"eboom")
    with pytest.raises(WorkExceptionError, match="boom") as caught:
        _ = task.result
    assert (caught.value.payload, task.exception) == (b"boom", b"boom")


def test_refused(client: Client, server: GearmanServer) -> None:
    """A job that the server refuses is a failed task, like one of execute."""
    client.do_background("full")
    server.command("maxqueue full 1")
    task = client.execute_by_partition("full", "echo", b"x")
    assert task.return_code is ReturnCode.QUEUE_ERROR
    assert "libgearman/" not in str(task.error)
    with pytest.raises(ServerError):
        _ = task.result


def test_slow_parts(client: Client) -> None:
    """Parts that take longer than a second are awaited."""
    task = client.execute_by_partition("divide", "sleep_ms", b"600 700")
    assert task.result == b"600 700"


def test_deadline(client: Client) -> None:
    """The deadline holds; the next calls of the client work."""
    for partition, function in (("nobody", "echo"), ("divide", "nobody")):
        start = time.monotonic()
        with pytest.raises(GearmanTimeoutError, match="execute_by_partition"):
            client.execute_by_partition(partition, function, b"a b", timeout=0.2)
        assert 0.2 <= time.monotonic() - start < 3
        assert client.do("echo", b"x") == b"x"
    client.timeout = 0.2
    with pytest.raises(GearmanTimeoutError):
        client.execute_by_partition("nobody", "echo", b"x")


def test_deadline_while_connecting() -> None:
    """A server that never speaks costs no more than the deadline."""
    with FakeServer(black_hole) as hole, Client(hole.address) as client:
        start = time.monotonic()
        with pytest.raises(GearmanTimeoutError, match="Nothing was sent"):
            client.execute_by_partition("divide", "echo", b"x", timeout=0.2)
        assert time.monotonic() - start < 3


@pytest.mark.parametrize("function", ["nobody", "sleep_ms"])
def test_ctrl_c(server: GearmanServer, function: str) -> None:
    """Ctrl-C ends the call at once; the client is usable, and no thread is left."""
    source = """
        import json, sys, threading, time
        from pygearman_cffi import Client
        client = Client(sys.argv[1])
        print("ready", flush=True)
        try:
            client.execute_by_partition("divide", sys.argv[2], b"30000 30000")
        except KeyboardInterrupt:
            struck = time.monotonic()
        usable = client.do("mix", b"ox") == b"x"
        client.close()
        soon = time.monotonic() - struck < 3
        print(json.dumps([usable, soon, threading.active_count()]))
    """
    with script(source, server.address, function) as running:
        assert running.line() == "ready"
        # It is inside once the job server has given the job to the worker.
        while (status := server.status().get("divide")) is None or not status.running:
            pass
        start = time.monotonic()
        running.interrupt()
        assert running.finish() == [True, True, 1]
        assert time.monotonic() - start < 5


def test_server_is_killed(client: Client, server: GearmanServer) -> None:
    """When the server dies meanwhile the call says so, and the next one connects."""

    def kill() -> None:
        while not server.status()["divide"].running:
            pass
        server.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(ConnectionLostError, match="execute_by_partition"):
        client.execute_by_partition("divide", "nobody", b"a b")
    killer.join()
    with pytest.raises(CouldNotConnectError, match="Nothing was sent"):
        client.execute_by_partition("divide", "echo", b"a b")
    server.start()
    assert client.do_background("nobody")


def test_fail_over(server: GearmanServer) -> None:
    """A server that is down is passed over."""
    with Client(["127.0.0.1:1", server.address], timeout=20) as client:
        assert client.execute_by_partition("divide", "echo", b"a b").result == b"a b"


def test_bad_arguments(client: Client) -> None:
    """What C would crash on, or could not divide, is refused before it is asked."""
    with pytest.raises(InvalidArgumentError, match="empty"):
        client.execute_by_partition("divide", "echo", b"")
    with pytest.raises(InvalidArgumentError):
        client.execute_by_partition("", "echo", b"x")
    with pytest.raises(InvalidArgumentError):
        client.execute_by_partition("divide", "", b"x")
    with pytest.raises(InvalidArgumentError, match="NUL"):
        client.execute_by_partition("div\0ide", "echo", b"x")
    with pytest.raises(ArgumentTypeError, match="encode"):
        client.execute_by_partition("divide", "echo", "x")  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError):
        client.execute_by_partition("divide", "echo", b"x", unique="u" * 64)
    with pytest.raises(InvalidArgumentError):
        client.execute_by_partition("divide", "echo", b"x", timeout=0)
    with Client(()) as nowhere, pytest.raises(NoServersError):
        nowhere.execute_by_partition("divide", "echo", b"x")


def test_beside_tasks(client: Client) -> None:
    """Tasks that wait are not touched, and run afterwards."""
    task = client.add_task("echo", b"later")
    assert client.execute_by_partition("divide", "echo", b"a b").result == b"a b"
    assert task.state is TaskState.WAITING
    client.run_tasks()
    assert task.result == b"later"


def test_deadline_without_a_descriptor(
    server: GearmanServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the connection cannot be shut down C ends by itself, and its thread too."""
    monkeypatch.setattr(Descriptor, "find", lambda *_: None)
    with Client(server.address) as client:
        begun = time.monotonic()
        with pytest.raises(GearmanTimeoutError):
            client.execute_by_partition("nobody", "reverse", b"a b", timeout=0.3)
        assert 0.3 <= time.monotonic() - begun < 0.8
        task = client.execute_by_partition("divide", "reverse", b"ab", timeout=20)
        assert task.result == b"ba"


OUT_OF_MEMORY = """
    import resource, sys
    from pygearman_cffi import Client, OutOfMemoryError

    client = Client(sys.argv[1], timeout=20)
    client.echo(b"x")
    payload = bytes(300_000_000)
    with open("/proc/self/statm") as statm:
        size = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + 200_000_000,) * 2)
    for call in (
        lambda: client.execute_by_partition("divide", "echo", payload),
        lambda: client.do("echo", payload),
        lambda: client.do_background("echo", payload, at=1.0),
    ):
        try:
            call()
        except OutOfMemoryError:
            pass
        else:
            raise SystemExit("it was taken")
    task = client.execute_by_partition("divide", "echo", b"a b")
    assert task.result == b"a b"
"""


def test_without_memory(server: GearmanServer) -> None:
    """C does not look whether it could copy a workload: we do, before it tries."""
    run_isolated(OUT_OF_MEMORY, server.address)
