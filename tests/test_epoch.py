"""Scheduled jobs: `at=`, in whatever way it is given."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from pygearman_cffi import (
    Client,
    ClientOption,
    CouldNotConnectError,
    InvalidArgumentError,
    Job,
    Priority,
    Task,
    TaskState,
    Worker,
)
from pygearman_cffi.errors import ArgumentTypeError
from pygearman_cffi.testing import GearmanServer, WorkerThread
from tests.programs import c_worker, wait_for, wait_for_worker

LATER = 3600.0


@pytest.fixture(scope="module")
def server() -> Iterator[GearmanServer]:
    """A server for this file, without a worker."""
    with GearmanServer() as server:
        yield server


@pytest.fixture
def client(server: GearmanServer) -> Iterator[Client]:
    """A client that gives up rather than hang."""
    with Client(server.address, timeout=20) as client:
        yield client


def in_zone(at: float) -> datetime:
    """A time of a zone that is neither ours nor the world's."""
    return datetime.fromtimestamp(at, timezone(timedelta(hours=-9, minutes=-30)))


FORMS: list[Callable[[float], Any]] = [
    float,
    math.ceil,
    in_zone,
    lambda at: datetime.fromtimestamp(at, timezone.utc),
]


@pytest.mark.parametrize("form", FORMS)
def test_known_and_not_running(client: Client, form: Callable[[float], Any]) -> None:
    """A scheduled job is known to the server, and not begun, until it is due."""
    handle = client.do_background("nobody_epoch", b"x", at=form(time.time() + LATER))
    status = client.job_status(handle)
    assert (status.known, status.running) == (True, False)


def test_runs_when_due(tmp_path: Path) -> None:
    """A job runs when it is due and not before, in each form; a past time is now."""
    tally = tmp_path / "tally"
    with (
        GearmanServer() as own,
        c_worker(own, "task_worker", "--slice", "50", "--tally", str(tally)),
        Client(own.address, timeout=20) as client,
    ):

        def ran() -> set[str]:
            return set(tally.read_text().split()) if tally.exists() else set()

        # Less than a second before the next but one: never more than 2 s to wait.
        due = math.floor(time.time()) + 2
        names = [f"form-{number}" for number in range(len(FORMS))]
        for name, form in zip(names, FORMS, strict=True):
            at = form(due - 0.4)  # rounded up to the second
            client.do_background("tally", b"x", unique=name, at=at)
        client.do_background("tally", b"x", unique="past", at=due - 1000)
        client.do_background("tally", b"x", unique="1970", at=0)
        wait_for(lambda: {"past", "1970"} <= ran())
        while time.time() < due - 0.05:
            early = ran()
            assert time.time() >= due or early == {"past", "1970"}
        wait_for(lambda: ran() == {*names, "past", "1970"})
        assert time.time() >= due - 0.05


def test_idle_python_worker(client: Client, server: GearmanServer) -> None:
    """A worker of ours that sleeps runs a job within a second of its time."""
    begun: list[float] = []

    def note(job: Job) -> bytes:
        begun.append(time.time())
        return b""

    worker = Worker(server.address)
    worker.add_function("python_epoch", note)
    with WorkerThread(worker):
        wait_for_worker(server, "python_epoch")
        due = math.ceil(time.time() + 0.2)
        client.do_background("python_epoch", at=due)
        wait_for(lambda: begun)
    # gearmand's clock is a coarser one than ours.
    assert due - 0.05 <= begun[0] < due + 1.5


def test_worker_in_c_is_given_all(server: GearmanServer, client: Client) -> None:
    """An epoch job arrives with its unique and its workload, also an empty one."""
    with c_worker(server, "worker_v2"):
        for workload in (b"", b"\0x", bytes(300_000)):
            client.do_background("echo", workload, at=1)
        wait_for(lambda: server.status()["echo"].total == 0)


def test_execute(client: Client) -> None:
    """execute(at=) returns a task that is DONE, with the handle of the job."""
    context = object()
    task = client.execute(
        "nobody_epoch", b"x", at=time.time() + LATER, unique="mine", context=context
    )
    assert (task.state, task.context) == (TaskState.DONE, context)
    assert (task.unique, task.result, task.is_known) == ("mine", b"", True)
    assert task.job_handle
    assert client.job_status(task.job_handle).known
    assert client.unique_status("mine").known
    assert client.execute("nobody_epoch", at=LATER, background=True).is_finished


def test_tasks(client: Client) -> None:
    """Scheduled tasks run among others; on_created is called for each."""
    created: list[Task] = []
    client.set_created_fn(created.append)
    own: list[Task] = []
    at = time.time() + LATER
    tasks = []
    for number in range(60):
        tasks.append(client.add_task_background("nobody_epoch", b"%d" % number, at=at))
        tasks.append(client.add_task_background("nobody_epoch", b"%d" % number))
    last = client.add_task_background("nobody_epoch", at=at, on_created=own.append)
    assert client.run_tasks() is True
    assert set(created) == set(tasks)
    assert own == [last]
    handles = {task.job_handle for task in [*tasks, last]}
    assert len(handles) == 121
    assert all(client.job_status(handle or "").known for handle in list(handles)[:10])


def test_created_raises(client: Client) -> None:
    """What on_created raises comes out of run_tasks; the job is scheduled."""

    def raises(task: Task) -> None:
        raise LookupError(task.unique)

    task = client.add_task_background(
        "nobody_epoch", unique="raises", at=time.time() + LATER, on_created=raises
    )
    with pytest.raises(LookupError, match="raises"):
        client.run_tasks()
    assert task.is_finished
    assert client.unique_status("raises").known


def test_nonblocking(client: Client) -> None:
    """A scheduled task is accepted in the NON_BLOCKING loop, too."""
    client.options |= ClientOption.NON_BLOCKING
    task = client.add_task_background("nobody_epoch", b"x", at=time.time() + LATER)
    while not client.run_tasks():
        client.wait(10)
    assert task.job_handle


def test_server_is_down() -> None:
    """When no server is reached the scheduled task waits like any other."""
    with Client("127.0.0.1:1", timeout=20) as client:
        with pytest.raises(CouldNotConnectError):
            client.do_background("f", at=LATER)
        task = client.add_task_background("f", at=LATER)
        with pytest.raises(CouldNotConnectError):
            client.run_tasks()
        assert task.state is TaskState.WAITING


@pytest.mark.parametrize(
    ("at", "error", "told"),
    [
        (datetime(2033, 5, 18), InvalidArgumentError, "time zone"),  # noqa: DTZ001
        (datetime(1960, 1, 1, tzinfo=timezone.utc), InvalidArgumentError, "1970"),
        (datetime(2100, 1, 1, tzinfo=timezone.utc), InvalidArgumentError, "2038"),
        (-1, InvalidArgumentError, "1970"),
        (-0.5, InvalidArgumentError, "1970"),
        (2**31, InvalidArgumentError, "2038"),
        (1e300, InvalidArgumentError, "2038"),
        (math.nan, InvalidArgumentError, "nan"),
        (math.inf, InvalidArgumentError, "inf"),
        (True, ArgumentTypeError, "bool"),
        ("2033-05-18", ArgumentTypeError, "str"),
        (timedelta(seconds=5), ArgumentTypeError, "timedelta"),
    ],
)
def test_refused_times(
    client: Client, at: Any, error: type[Exception], told: str
) -> None:
    """A time that cannot be meant is refused at once, in every call that takes one."""
    calls: list[Callable[..., object]] = [
        client.do_background,
        client.execute,
        client.add_task_background,
    ]
    for call in calls:
        with pytest.raises(error, match=told):
            call("nobody_epoch", at=at)
    assert not client.has_tasks


@pytest.mark.parametrize("priority", [Priority.HIGH, Priority.LOW])
def test_refused_priorities(client: Client, priority: Priority) -> None:
    """A scheduled job has normal priority; the server would drop another silently."""
    calls: list[Callable[..., object]] = [
        client.do_background,
        client.execute,
        client.add_task_background,
    ]
    for call in calls:
        with pytest.raises(InvalidArgumentError, match="normal priority"):
            call("nobody_epoch", at=LATER, priority=priority)
    assert not client.has_tasks
