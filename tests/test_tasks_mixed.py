"""Tasks of every fate in one run: each ends as it must, whatever the others do."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pygearman_cffi import (
    Client,
    ClientOption,
    GearmanTimeoutError,
    ReturnCode,
    ServerError,
    Task,
    TaskState,
    WorkExceptionError,
    WorkFailError,
)
from pygearman_cffi.testing import GearmanServer
from tests.programs import c_worker, wait_for

FATES = ("success", "failure", "exception", "refused", "abandoned")


class OwnExit(BaseException):
    """What ends a program, as KeyboardInterrupt does."""


@pytest.fixture(scope="module")
def server() -> Iterator[GearmanServer]:
    """A server with a C worker, and a function "full" whose queue is full."""
    with GearmanServer() as server, c_worker(server, "task_worker"):
        fill(server, "full")
        yield server


@pytest.fixture
def client(server: GearmanServer) -> Iterator[Client]:
    """A client that gives up rather than hang."""
    with Client(server.address, timeout=20) as client:
        yield client


def fill(server: GearmanServer, function: str) -> None:
    """Have the server refuse every further job of a function that nobody serves."""
    with Client(server.address, timeout=20) as client:
        client.do_background(function)
    assert server.command(f"maxqueue {function} 1") == ["OK"]


def add(client: Client, fate: str, number: int) -> Task:
    """Queue a task that will end in a certain way."""
    letter = {"success": b"o", "failure": b"f", "exception": b"e"}
    payload = b"%d" % number
    if fate in letter:
        return client.add_task("mix", letter[fate] + payload)
    if fate == "twin":
        return client.add_task("mix", b"o" + payload, unique="the twin")
    return client.add_task("full" if fate == "refused" else "nobody", payload)


def check(task: Task, fate: str, number: int) -> None:
    """Check that a task has ended so, with all that it must tell."""
    payload = b"%d" % number
    if fate in {"success", "twin"}:
        assert (task.state, task.result) == (TaskState.DONE, payload)
    elif fate == "failure":
        assert isinstance(task.error, WorkFailError)
        assert (task.state, task.warnings) == (TaskState.DONE, (payload,))
    elif fate == "exception":
        assert isinstance(task.error, WorkExceptionError)
        assert (task.state, task.exception) == (TaskState.DONE, payload)
    elif fate == "refused":
        assert isinstance(task.error, ServerError)
        assert task.state is TaskState.DONE
        assert (task.return_code, task.job_handle) == (ReturnCode.QUEUE_ERROR, None)
        assert "Job queue is full" in str(task.error)
    else:
        assert task.state is TaskState.ABANDONED
        assert task.error is not None
        assert str(task.job_handle) in str(task.error)


def run_until_settled(client: Client, tasks: list[Task], left: int) -> None:
    """Run until all but so many have ended, then abandon these, without a deadline."""

    def count(task: Task) -> None:
        if sum(each.state is TaskState.DONE for each in tasks) == len(tasks) - left:
            raise OwnExit

    for task in tasks:
        task._on_complete = task._on_fail = task._on_exception = count
    with pytest.raises(OwnExit):
        client.run_tasks()


def test_every_order(server: GearmanServer) -> None:
    """In all 120 orders each task ends with its own state, error and result."""
    with Client(server.address, timeout=20) as client:
        for order in itertools.permutations(FATES):
            tasks = [add(client, fate, number) for number, fate in enumerate(order)]
            run_until_settled(client, tasks, left=1)
            for number, fate in enumerate(order):
                check(tasks[number], fate, number)


def test_every_order_at_once(client: Client) -> None:
    """600 tasks of mixed fates in one run end at the deadline, each as it must."""
    orders = list(itertools.permutations(FATES))
    random.Random(3).shuffle(orders)
    fates = [fate for order in orders for fate in order]
    tasks = [add(client, fate, number) for number, fate in enumerate(fates)]
    start = time.monotonic()
    with pytest.raises(GearmanTimeoutError):
        client.run_tasks(timeout=2)
    assert time.monotonic() - start < 5
    for number, fate in enumerate(fates):
        check(tasks[number], fate, number)
        if fate == "abandoned":
            assert isinstance(tasks[number].error, GearmanTimeoutError)
    assert not client.has_tasks
    assert client.do("echo", b"x") == b"x"


@pytest.mark.parametrize(
    "order", random.Random(5).sample(list(itertools.permutations(FATES)), 4)
)
def test_deadline(client: Client, order: tuple[str, ...]) -> None:
    """A deadline abandons only what has not ended; the client works on."""
    tasks = [add(client, fate, number) for number, fate in enumerate(order)]
    with pytest.raises(GearmanTimeoutError):
        client.run_tasks(timeout=0.4)
    for number, fate in enumerate(order):
        check(tasks[number], fate, number)
    again = add(client, "success", 9)
    assert client.run_tasks() is True
    check(again, "success", 9)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(fates=st.lists(st.sampled_from([*FATES[:4], "twin"]), min_size=1, max_size=24))
def test_any_mixture(client: Client, fates: list[str]) -> None:
    """Without a stuck job any mixture runs to its end, and the client goes on."""
    tasks = [add(client, fate, number) for number, fate in enumerate(fates)]
    assert client.run_tasks() is True
    for number, fate in enumerate(fates):
        check(tasks[number], fate, number)
    assert not client.has_tasks


def test_refusals_stall_nobody(client: Client) -> None:
    """Neither a refused job nor a slow one keeps those behind them from running."""
    tasks = [add(client, "abandoned", 0)]
    tasks += [add(client, "refused", 0) for _ in range(300)]
    tasks += [add(client, "success", number) for number in range(300)]
    run_until_settled(client, tasks, left=1)
    assert [task.result for task in tasks[301:]] == [b"%d" % n for n in range(300)]


def test_many_refused(client: Client) -> None:
    """Thousands of refused jobs among others cost none of them its answer."""
    fates = ["refused" if number % 3 else "success" for number in range(1500)]
    tasks = [add(client, fate, number) for number, fate in enumerate(fates)]
    assert client.run_tasks() is True
    for number, fate in enumerate(fates):
        check(tasks[number], fate, number)


def test_refused_tells(client: Client) -> None:
    """A refused task calls on_fail, and what that raises comes out of run_tasks."""
    seen: list[Task] = []
    client.set_fail_fn(seen.append)
    task = client.add_task("full")
    background = client.add_task_background("full")
    epoch = client.add_task_background("full", at=time.time() + 60)
    assert client.run_tasks() is True
    assert len(seen) == 3
    assert set(seen) == {task, background, epoch}
    for each in seen:
        check(each, "refused", 0)
        with pytest.raises(ServerError, match="queue is full"):
            _ = each.result

    def raises(task: Task) -> None:
        raise LookupError(task.unique)

    client.add_task("full", unique="mine", on_fail=raises)
    with pytest.raises(LookupError, match="mine"):
        client.run_tasks()


def test_no_longer_full(client: Client, server: GearmanServer) -> None:
    """Once the queue has room the same client's jobs are taken again."""
    fill(server, "soon")
    refused = client.add_task_background("soon")
    client.run_tasks()
    check(refused, "refused", 0)
    server.command("maxqueue soon 0")
    taken = client.add_task_background("soon")
    client.run_tasks()
    assert taken.return_code is ReturnCode.SUCCESS


# -- equal uniques ----------------------------------------------------------------------


@contextmanager
def looping(server: GearmanServer) -> Iterator[Client]:
    """A client that can be looked at while its tasks are in flight."""
    with Client(
        server.address, timeout=20, options=ClientOption.NON_BLOCKING
    ) as client:
        yield client


def test_never_twice_in_flight(server: GearmanServer, tmp_path: Path) -> None:
    """Of equal uniques of one function one is in flight; the others follow in turn."""
    tally = tmp_path / "tally"
    with GearmanServer() as own, looping(own) as client:
        twins = [client.add_task("tally", b"%d" % n, unique="u") for n in range(5)]
        other = client.add_task("tally", b"x", unique="v")
        same_name = client.add_task("echo", b"y", unique="u")

        def sent() -> bool:
            client.run_tasks()
            status = own.status()
            return "echo" in status and status["tally"].total == 2

        wait_for(sent)
        assert [task.state for task in twins[1:]] == [TaskState.WAITING] * 4
        assert client.has_tasks
        with c_worker(own, "task_worker", "--tally", str(tally)):
            while not client.run_tasks():
                client.wait()
    assert [task.result for task in twins] == [b"%d" % number for number in range(5)]
    assert (other.result, same_name.result) == (b"x", b"y")
    assert sorted(tally.read_text().split()) == ["u"] * 5 + ["v"]


@pytest.mark.parametrize("fate", ["failure", "exception", "refused"])
def test_twin_of_a_failure(client: Client, fate: str) -> None:
    """The twin of a task that ends badly runs all the same."""
    tasks = []
    for number in range(3):
        letter = {"failure": b"f", "exception": b"e"}.get(fate, b"o")
        function = "full" if fate == "refused" else "mix"
        payload = letter + b"%d" % number
        tasks.append(client.add_task(function, payload, unique="same"))
        tasks.append(client.add_task("mix", b"ofine", unique="same"))
    assert client.run_tasks() is True
    for number, task in enumerate(tasks[::2]):
        check(task, fate, number)
    assert {task.result for task in tasks[1::2]} == {b"fine"}


def test_special_uniques(client: Client) -> None:
    """The server's `-` and the library's `#` give every task its own result."""
    for special in ("-", "#"):
        payloads = [b"a", b"b", b"a", b"c", b"a"]
        tasks = [client.add_task("echo", each, unique=special) for each in payloads]
        assert client.run_tasks() is True
        assert [task.result for task in tasks] == payloads


def test_twin_of_a_background_job(client: Client) -> None:
    """A background job does not take the answer of a foreground one of its unique."""
    detached = client.add_task_background("echo", b"1", unique="both")
    waiting = client.add_task("echo", b"1", unique="both")
    again = client.add_task_background("echo", b"1", unique="both")
    assert client.run_tasks() is True
    assert (detached.result, waiting.result, again.result) == (b"", b"1", b"")
    assert all(task.job_handle for task in (detached, waiting, again))
