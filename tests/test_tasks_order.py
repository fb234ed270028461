"""The order in which tasks are sent, in windows, on every version of the library."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from pygearman_cffi import Client, ClientOption, Priority, Task, TaskState, _library
from pygearman_cffi.testing import GearmanServer
from tests.programs import c_worker, wait_for


@pytest.fixture(scope="module")
def server() -> Iterator[GearmanServer]:
    """A server for this file, without a worker."""
    with GearmanServer() as server:
        yield server


@pytest.fixture
def client(server: GearmanServer) -> Iterator[Client]:
    """A client that gives up rather than hang."""
    with Client(server.address, timeout=30) as client:
        yield client


def number_of(task: Task) -> int:
    """The server's own count of the job, from its handle."""
    assert task.job_handle is not None
    return int(task.job_handle.rpartition(":")[2])


# -- first in, first out ------------------------------------------------------------------


def test_fifo(server: GearmanServer, tmp_path: Path) -> None:
    """Tasks are sent in the order in which they were added, over many windows."""
    tally = tmp_path / "tally"
    with (
        GearmanServer() as own,
        c_worker(own, "task_worker", "--tally", str(tally)),
        Client(own.address, timeout=30) as client,
    ):
        tasks = [client.add_task("tally", b"x", unique=f"u{n}") for n in range(2000)]
        client.run_tasks()
    assert [number_of(task) for task in tasks] == list(range(1, 2001))
    assert tally.read_text().split() == [f"u{number}" for number in range(2000)]


def test_fifo_of_every_kind(client: Client) -> None:
    """Foreground and background tasks keep their order among each other."""
    client.options |= ClientOption.NON_BLOCKING
    tasks = []
    for number in range(700):
        add = client.add_task if number % 5 else client.add_task_background
        priority = list(Priority)[number % 3]
        tasks.append(add("nobody_order", b"x", priority=priority))

    def many_in_flight() -> bool:
        client.run_tasks()
        # The window fills with foreground jobs that nobody does.
        return sum(task.job_handle is not None for task in tasks) >= 200

    wait_for(many_in_flight)
    known = [number_of(task) for task in tasks if task.job_handle is not None]
    assert known == list(range(known[0], known[0] + len(known)))
    assert all(task.job_handle is None for task in tasks[len(known) :])
    assert {task.state for task in tasks[len(known) :]} == {TaskState.WAITING}


def test_fifo_with_large_payloads(tmp_path: Path) -> None:
    """A payload that takes many writes is sent in its turn, and comes back whole."""
    tally = tmp_path / "tally"
    with (
        GearmanServer() as own,
        c_worker(own, "task_worker", "--tally", str(tally)),
        Client(own.address, timeout=30) as client,
    ):
        payloads = [
            bytes([number]) * (400_000 if number % 8 == 3 else number)
            for number in range(60)
        ]
        tasks = [
            client.add_task("tally", payload, unique=f"u{number}")
            for number, payload in enumerate(payloads)
        ]
        assert client.run_tasks() is True
    assert [task.result for task in tasks] == payloads
    assert [number_of(task) for task in tasks] == list(range(1, 61))
    assert tally.read_text().split() == [f"u{number}" for number in range(60)]


def test_ten_thousand(client: Client, server: GearmanServer) -> None:
    """10,000 tasks in one run_tasks all have their own result."""
    completed: list[Task] = []
    client.set_complete_fn(completed.append)
    with c_worker(server, "task_worker"):
        tasks = [client.add_task("echo", b"%d" % number) for number in range(10_000)]
        start = time.monotonic()
        assert client.run_tasks() is True
        seconds = time.monotonic() - start
    assert [task.result for task in tasks] == [b"%d" % n for n in range(10_000)]
    # One worker does them in the order in which they were sent.
    assert completed == tasks
    assert seconds < 20
    print(f"10,000 tasks: {seconds:.2f} s")


# -- a library that may give a reply to the wrong task ------------------------------------


@pytest.fixture
def loose(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat the library as one of 2.0.0, whose replies may go astray."""
    features = replace(_library.features(), loose_replies=True)
    monkeypatch.setattr(_library, "_features", features)


def connections(server: GearmanServer) -> Callable[[], int]:
    """Return a function that counts connections beyond those of now."""
    before = len(server.command("workers"))
    return lambda: len(server.command("workers")) - before


def test_loose_one_at_a_time(
    server: GearmanServer, client: Client, loose: None
) -> None:
    """Then no connection has two foreground jobs in flight, and there are at most 16."""
    client.options |= ClientOption.NON_BLOCKING
    tasks = [client.add_task("nobody_loose", b"x") for _ in range(40)]

    def sent() -> int:
        client.run_tasks()
        return sum(task.state is TaskState.CREATED for task in tasks)

    wait_for(lambda: sent() == 16)
    for _ in range(20):
        client.wait(0.01)
        assert sent() == 16
    assert server.status()["nobody_loose"].total == 16
    assert [len(session.live) for session in client._engine.lanes.active] == [1] * 16
    assert [task.state for task in tasks[16:]] == [TaskState.WAITING] * 24


def test_loose_results(server: GearmanServer, client: Client, loose: None) -> None:
    """Every task of a large run has its own result, also with several workers."""
    with ExitStack() as running:
        for _ in range(3):
            running.enter_context(c_worker(server, "task_worker"))
        letters = {0: b"o", 1: b"d", 2: b"e", 3: b"f"}
        tasks = [
            client.add_task("mix", letters[number % 4] + b"%d" % number)
            for number in range(800)
        ]
        background = [client.add_task_background("mix", b"o") for _ in range(50)]
        question = client.add_task_status("H:x:1")
        assert client.run_tasks() is True
        for number, task in enumerate(tasks):
            payload = b"%d" % number
            if number % 4 == 0:
                assert task.result == payload
            elif number % 4 == 1:
                assert task.result == payload * 3
            else:
                told = task.exception if number % 4 == 2 else task.warnings[0]
                assert told == payload
        assert all(task.is_finished for task in background)
        assert question.is_finished
        assert client.do("echo", b"x") == b"x"
        assert list(client.map("echo", [b"%d" % n for n in range(100)])) == [
            b"%d" % number for number in range(100)
        ]


def test_loose_refused(server: GearmanServer, client: Client, loose: None) -> None:
    """A refused job is told from its neighbours there, too."""
    client.do_background("full_loose")
    server.command("maxqueue full_loose 1")
    with c_worker(server, "task_worker"):
        tasks = [
            client.add_task("full_loose" if number % 3 == 0 else "echo", b"%d" % number)
            for number in range(60)
        ]
        assert client.run_tasks() is True
    for number, task in enumerate(tasks):
        if number % 3 == 0:
            assert "queue is full" in str(task.error)
        else:
            assert task.result == b"%d" % number
