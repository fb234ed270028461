"""Tasks: what they are given, what they tell, and when their callbacks are called."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pygearman_cffi import (
    Client,
    ClientOption,
    JobHandle,
    NotFinishedError,
    Priority,
    ReturnCode,
    Task,
    TaskState,
    WorkExceptionError,
    WorkFailError,
)
from pygearman_cffi.errors import (
    ArgumentTypeError,
    ClosedError,
    InvalidArgumentError,
)
from pygearman_cffi.testing import GearmanServer
from tests.programs import c_worker, wait_for

EVENTS = ("created", "data", "warning", "status", "complete", "exception", "fail")


@pytest.fixture(scope="module")
def server() -> Iterator[GearmanServer]:
    """A server for this file."""
    with GearmanServer() as server:
        yield server


@pytest.fixture(scope="module")
def workers(server: GearmanServer) -> Iterator[None]:
    """C workers for this file."""
    with c_worker(server, "task_worker"), c_worker(server, "worker_v2"):
        yield


@pytest.fixture
def client(server: GearmanServer, workers: None) -> Iterator[Client]:
    """A client that gives up rather than hang."""
    with Client(server.address, timeout=20) as client:
        yield client


# -- what a task tells ----------------------------------------------------------------


def test_before_and_after(client: Client, server: GearmanServer) -> None:
    """A task waits until run_tasks, then it is DONE and has result and handle."""
    context = object()
    assert not client.has_tasks
    task = client.add_task("upper", b"abc", context=context)
    assert client.has_tasks
    assert not client.has_active_tasks
    assert (task.state, task.return_code) == (
        TaskState.WAITING,
        ReturnCode.UNKNOWN_STATE,
    )
    assert (task.function_name, task.context) == ("upper", context)
    assert (task.job_handle, task.error, task.exception) == (None, None, None)
    assert (task.is_finished, task.is_known, task.is_running) == (False, False, False)
    with pytest.raises(NotFinishedError, match="run_tasks"):
        _ = task.result
    assert client.run_tasks() is True
    assert not client.has_tasks
    assert (task.state, task.return_code) == (TaskState.DONE, ReturnCode.SUCCESS)
    assert (task.result, task.data, task.error) == (b"ABC", b"ABC", None)
    assert (task.is_finished, task.is_known, task.is_running) == (True, False, False)
    assert isinstance(task.job_handle, JobHandle)
    assert task.job_handle.startswith("H:")
    assert task.job_handle.server == (server.host, server.port)


def test_nothing_to_do() -> None:
    """Without a task run_tasks is True at once, and needs no server."""
    with Client("127.0.0.1:1") as client:
        assert client.run_tasks() is True
        assert client.wait(5) is False


def test_parts(client: Client) -> None:
    """Chunks and the final payload are joined; warnings and numbers are kept."""
    task = client.add_task("chunks", b"abcdefgh")
    client.run_tasks()
    assert (task.result, task.result) == (b"abcdefgh", b"abcdefgh")
    assert (task.data, task.warnings) == (b"efgh", (b"careful",))
    assert (task.numerator, task.denominator) == (1, 2)


def test_exception(client: Client) -> None:
    """What the worker threw is in `exception`, and in the error that `result` raises."""
    task = client.add_task("mix", b"e\0oops", unique="u-exception")
    client.run_tasks()
    assert (task.exception, task.return_code) == (
        b"\0oops",
        ReturnCode.WORK_EXCEPTION,
    )
    with pytest.raises(WorkExceptionError, match="oops") as caught:
        _ = task.result
    error = caught.value
    assert error is task.error
    assert (error.payload, error.code) == (b"\0oops", ReturnCode.WORK_EXCEPTION)
    assert (error.function_name, error.unique) == ("mix", "u-exception")
    assert error.job_handle == task.job_handle
    assert "Client.add_task('mix')" in str(error)


def test_fail(client: Client) -> None:
    """A failed task raises WorkFailError with the warnings that came before it."""
    task = client.add_task("mix", b"fwhy")
    client.run_tasks()
    assert (task.state, task.return_code) == (TaskState.DONE, ReturnCode.WORK_FAIL)
    assert task.warnings == (b"why",)
    with pytest.raises(WorkFailError, match="why") as caught:
        _ = task.result
    assert caught.value.warnings == (b"why",)
    assert caught.value.job_handle == task.job_handle
    assert str(task.job_handle).startswith("H:")


def test_one_failure_stops_no_other(client: Client) -> None:
    """A task that fails raises nothing from run_tasks and stops no other."""
    tasks = [client.add_task("mix", kind + b"x") for kind in (b"f", b"o", b"e", b"o")]
    assert client.run_tasks() is True
    codes = [task.return_code.name for task in tasks]
    assert codes == ["WORK_FAIL", "SUCCESS", "WORK_EXCEPTION", "SUCCESS"]


def test_background(client: Client) -> None:
    """A background task is DONE, with a handle and no result, once it is accepted."""
    seen: list[Task] = []
    task = client.add_task_background("nobody_bg", b"x", on_created=seen.append)
    client.run_tasks()
    assert seen == [task]
    assert (task.state, task.return_code) == (TaskState.DONE, ReturnCode.SUCCESS)
    assert (task.result, task.is_known) == (b"", True)
    assert task.job_handle
    assert client.job_status(task.job_handle).known


def test_status(client: Client) -> None:
    """A status task tells what the server knows of a job, by handle or by unique."""
    job = client.add_task_background("nobody_status", b"x", unique="u-status")
    client.run_tasks()
    assert job.job_handle
    known = client.add_task_status(job.job_handle, context=7)
    unknown = client.add_task_status(b"H:nowhere:1")
    by_unique = client.add_task_status_by_unique("u-status")
    not_by_unique = client.add_task_status_by_unique("u-never")
    client.run_tasks()
    assert (known.is_known, known.is_running, known.context) == (True, False, 7)
    assert (known.numerator, known.denominator, known.client_count) == (0, 0, None)
    assert (unknown.is_known, unknown.is_finished) == (False, True)
    assert (by_unique.is_known, by_unique.client_count) == (True, 0)
    assert not not_by_unique.is_known
    assert known.job_handle == job.job_handle
    assert by_unique.unique == "u-status"
    assert [task.result for task in (known, unknown, by_unique)] == [b"", b"", b""]


def test_readable_after_close(client: Client) -> None:
    """Everything of a task stays readable after the client was closed."""
    done, failed = client.add_task("chunks", b"abcdef"), client.add_task("fail")
    thrown = client.add_task("exception", b"boom")
    client.run_tasks()
    waiting = client.add_task("echo")
    client.close()
    assert (done.result, done.warnings, done.denominator) == (
        b"abcdef",
        (b"careful",),
        2,
    )
    assert thrown.exception == b"boom"
    with pytest.raises(WorkFailError):
        _ = failed.result
    with pytest.raises(NotFinishedError):
        _ = waiting.result
    with pytest.raises(ClosedError):
        client.run_tasks()
    with pytest.raises(ClosedError):
        client.add_task("echo")


def test_task_keeps_its_client(server: GearmanServer, workers: None) -> None:
    """A task that waits keeps its client alive."""
    task = Client(server.address, timeout=20).add_task("echo", b"x")
    assert isinstance(task._client, Client)
    assert task._client.run_tasks()
    assert task.result == b"x"


# -- what a task is given -------------------------------------------------------------


def test_unique(client: Client) -> None:
    """The worker sees the given unique; without one each task has its own."""
    given = client.add_task("unique", unique="größe 1")
    raw = client.add_task("unique", unique=b"\xff")
    made = [client.add_task("unique") for _ in range(3)]
    client.run_tasks()
    assert given.result == "größe 1".encode()
    assert (given.unique, raw.unique, raw.result) == ("größe 1", "\udcff", b"\xff")
    assert len({task.unique for task in made}) == 3
    assert [task.result.decode() for task in made] == [task.unique for task in made]


def test_namespace(server: GearmanServer) -> None:
    """The namespace is put before the name on the server, not in the task."""
    with Client(server.address, timeout=20, namespace="ns-") as client:
        task = client.add_task_background("spaced", b"x")
        client.run_tasks()
        assert task.function_name == "spaced"
    assert "ns-spaced" in server.status()


def test_payload_is_copied(client: Client) -> None:
    """A payload that changes after add_task is sent as it was."""
    payload = bytearray(b"before")
    tasks = [client.add_task("echo", payload), client.add_task("echo", memoryview(b""))]
    payload[:] = b"after!"
    client.run_tasks()
    assert [task.result for task in tasks] == [b"before", b""]


def test_priorities(server: GearmanServer, tmp_path: Path) -> None:
    """HIGH runs before NORMAL before LOW, first in first out in each."""
    tally = tmp_path / "tally"
    order = [Priority.LOW, Priority.NORMAL, Priority.HIGH] * 2
    with GearmanServer() as own, Client(own.address, timeout=20) as client:
        for number, priority in enumerate(order):
            client.add_task_background(
                "tally", unique=f"{priority.name}{number}", priority=priority
            )
        client.run_tasks()
        with c_worker(own, "task_worker", "--tally", str(tally)):
            wait_for(lambda: own.status()["tally"].total == 0)
    expected = ["HIGH2", "HIGH5", "NORMAL1", "NORMAL4", "LOW0", "LOW3"]
    assert tally.read_text().split() == expected


def test_foreground_priorities(server: GearmanServer) -> None:
    """Foreground tasks are queued with their priority, too."""
    with Client(
        server.address, timeout=20, options=ClientOption.NON_BLOCKING
    ) as client:
        for count, priority in enumerate(Priority, start=1):
            for _ in range(count):
                client.add_task("nobody_priority", priority=priority)

        def queued() -> bool:
            client.run_tasks()
            lines = server.command("prioritystatus")
            return "nobody_priority\t1\t2\t3\t0" in lines

        wait_for(queued)


def test_bad_arguments(client: Client) -> None:
    """Bad names, uniques, payloads and priorities are refused when they are given."""
    with pytest.raises(ArgumentTypeError, match=r"encode"):
        client.add_task("echo", "text")  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="unique"):
        client.add_task("echo", unique="")
    with pytest.raises(InvalidArgumentError, match="63"):
        client.add_task_background("echo", unique="u" * 64)
    with pytest.raises(InvalidArgumentError):
        client.add_task("", b"")
    with pytest.raises(InvalidArgumentError):
        client.add_task("echo", priority=9)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError):
        client.add_task_status("")
    with pytest.raises(InvalidArgumentError):
        client.run_tasks(timeout=0)
    assert not client.has_tasks
