"""What becomes of tasks when callbacks raise, time is up, or somebody interrupts."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from pygearman_cffi import (
    Client,
    ConnectionLostError,
    GearmanTimeoutError,
    Task,
    TaskState,
)
from pygearman_cffi.testing import GearmanServer
from tests.isolated import run_isolated
from tests.programs import c_worker
from tests.scripts import script

WAITING, DONE, ABANDONED = TaskState.WAITING, TaskState.DONE, TaskState.ABANDONED

MORE_THAN_FIT = 600
"""More tasks than are handed to C at once."""


@pytest.fixture(scope="module")
def server() -> Iterator[GearmanServer]:
    """A server for this file."""
    with GearmanServer() as server:
        yield server


@pytest.fixture(scope="module")
def workers(server: GearmanServer) -> Iterator[None]:
    """C workers for this file; what streams has a worker of its own."""
    with c_worker(server, "task_worker", "--only", "mix"), c_worker(server):
        yield


@pytest.fixture
def client(server: GearmanServer, workers: None) -> Iterator[Client]:
    """A client that gives up rather than hang."""
    with Client(server.address, timeout=20) as client:
        yield client


class OwnError(Exception):
    """What a user's callback raises."""


class OwnExit(BaseException):
    """What ends a program, as KeyboardInterrupt does."""


def raises(task: Task) -> None:
    """Be a callback with a bug."""
    raise OwnError(task.unique)


# -- exceptions of callbacks ------------------------------------------------------------


EVERY_EVENT = pytest.mark.parametrize(
    ("event", "workload"),
    [
        ("created", b"o"),
        ("data", b"dx"),
        ("warning", b"fx"),
        ("status", b"sx"),
        ("complete", b"o"),
        ("exception", b"ex"),
        ("fail", b"fx"),
    ],
)


@EVERY_EVENT
def test_callback_raises(client: Client, event: str, workload: bytes) -> None:
    """The first exception is raised unchanged once what is in flight has finished."""
    raised: list[Exception] = []

    def bug(task: Task) -> None:
        raised.append(OwnError(task.unique))
        raise raised[-1]

    guilty = client.add_task("mix", workload, **{f"on_{event}": bug})  # type: ignore[arg-type]
    more = [client.add_task("mix", b"o%d" % n) for n in range(MORE_THAN_FIT)]
    also = client.add_task("mix", b"o", on_complete=bug)
    with pytest.raises(OwnError) as caught:
        client.run_tasks()
    assert caught.value is raised[0]
    assert guilty.state is DONE
    # The line divides the finished from the waiting: nobody else was harmed.
    states = [task.state for task in more]
    sent = states.count(DONE)
    assert 0 < sent < MORE_THAN_FIT
    assert states == [DONE] * sent + [WAITING] * (MORE_THAN_FIT - sent)
    assert client.has_tasks
    assert not client.has_active_tasks
    with pytest.raises(OwnError) as second:
        client.run_tasks()
    assert second.value is raised[-1]
    assert second.value is not caught.value
    assert [task.result for task in more] == [b"%d" % n for n in range(MORE_THAN_FIT)]
    assert also.result == b""
    assert client.run_tasks() is True


def test_first_exception_wins(client: Client) -> None:
    """Of several exceptions in one run the first is raised."""
    for number in range(3):
        client.add_task("mix", b"o", unique=f"u{number}", on_complete=raises)
    with pytest.raises(OwnError, match="u0"):
        client.run_tasks()
    assert not client.has_tasks


def test_of_a_question(client: Client) -> None:
    """What the callback of a question raises lets the others finish as well."""
    first = client.add_task("echo", b"1")
    by_handle = client.add_task_status("H:x:1", on_status=raises)
    with pytest.raises(OwnError):
        client.run_tasks()
    second = client.add_task("echo", b"2")
    by_unique = client.add_task_status_by_unique("x", on_status=raises)
    third = client.add_task("echo", b"3")
    with pytest.raises(OwnError):
        client.run_tasks()
    assert (first.result, second.result, third.state) == (b"1", b"2", WAITING)
    assert by_handle.is_finished
    assert by_unique.is_finished
    assert client.run_tasks()
    assert third.result == b"3"


def test_raised_before_the_time_is_up(client: Client) -> None:
    """A callback's exception is not hidden by the deadline that passes after it."""
    client.add_task("echo", on_complete=raises)
    stuck = client.add_task("nobody_a")
    with pytest.raises(OwnError):
        client.run_tasks(timeout=0.2)
    assert stuck.state is ABANDONED
    assert isinstance(stuck.error, GearmanTimeoutError)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, OwnExit])
@pytest.mark.parametrize("event", ["created", "complete"])
def test_exit_in_a_callback(
    client: Client, event: str, kind: type[BaseException]
) -> None:
    """What ends a program abandons the run at once: nothing in flight is awaited."""

    def leave(task: Task) -> None:
        raise kind("now")

    stuck = client.add_task("nobody_b")
    client.add_task("echo", **{f"on_{event}": leave})  # type: ignore[arg-type]
    rest = [client.add_task("echo") for _ in range(MORE_THAN_FIT)]
    start = time.monotonic()
    with pytest.raises(kind, match="now"):
        client.run_tasks()
    assert time.monotonic() - start < 5
    assert stuck.state is ABANDONED
    assert isinstance(stuck.error, ConnectionLostError)
    assert str(stuck.job_handle) in str(stuck.error)
    # Each is either given up, with the reason, or waits for the next run.
    assert all((task.error is None) is (task.state in {WAITING, DONE}) for task in rest)
    assert rest[-1].state is WAITING
    waiting = [task for task in rest if task.state is WAITING]
    assert client.run_tasks() is True
    assert {task.state for task in waiting} == {DONE}


# -- deadlines --------------------------------------------------------------------------


def test_deadline(client: Client, server: GearmanServer) -> None:
    """When the time is up what is in flight is abandoned, what was not sent waits."""
    done = client.add_task("echo", b"x")
    tasks = [client.add_task("nobody_c") for _ in range(MORE_THAN_FIT)]
    start = time.monotonic()
    with pytest.raises(GearmanTimeoutError, match=r"256 in flight|in flight") as caught:
        client.run_tasks(timeout=0.3)
    assert 0.3 <= time.monotonic() - start < 5
    assert "Client.run_tasks()" in str(caught.value)
    assert done.result == b"x"
    sent = [task for task in tasks if task.state is ABANDONED]
    waiting = [task for task in tasks if task.state is WAITING]
    assert (sent, waiting) == (tasks[: len(sent)], tasks[len(sent) :])
    assert sent
    assert waiting
    for task in sent:
        assert str(task.job_handle).startswith("H:")
        assert str(task.job_handle) in str(task.error)
        with pytest.raises(GearmanTimeoutError, match="may still run"):
            _ = task.result
        assert (task.is_finished, task.is_running) == (False, False)
    assert client.do("echo", b"still usable") == b"still usable"
    assert client.has_tasks
    assert client._engine.queue.popleft() is waiting[0]


def test_deadline_while_replies_stream_in(server: GearmanServer) -> None:
    """A stream of replies that never pauses does not hold a deadline up."""
    with (
        GearmanServer() as own,
        c_worker(own, "task_worker", "--only", "stream"),
        Client(own.address) as client,
    ):
        task = client.add_task("stream", b"60000")
        start = time.monotonic()
        with pytest.raises(GearmanTimeoutError):
            client.run_tasks(timeout=0.3)
        assert 0.3 <= time.monotonic() - start < 3
        assert task.state is ABANDONED
        assert len(task.data) == 16
        assert client.add_task("echo").state is WAITING


# -- Ctrl-C -----------------------------------------------------------------------------

INTERRUPTED = """
    import json, sys, time
    from pygearman_cffi import Client, TaskState
    client = Client(sys.argv[1])
    function, workload = sys.argv[2:4]
    tell = iter(["ready"])
    say = lambda task: [print(word, flush=True) for word in tell]
    tasks = [
        client.add_task(function, workload.encode(), **{sys.argv[4]: say})
        for _ in range(600)
    ]
    try:
        client.run_tasks()
    except KeyboardInterrupt:
        struck = time.monotonic()
    states = [task.state.name for task in tasks]
    told = {
        task.job_handle in str(task.error) and "interrupted" in str(task.error)
        for task in tasks if task.state is TaskState.ABANDONED and task.job_handle
    }
    usable = client.do("echo", b"x") == b"x"
    client.close()
    seconds = time.monotonic() - struck
    print(json.dumps([sorted(set(states)), states[-1], list(told), usable, seconds < 3]))
"""


@pytest.mark.parametrize(
    ("function", "workload", "event"),
    [("nobody_d", "", "on_created"), ("stream", "60000", "on_data")],
)
def test_ctrl_c(
    client: Client, server: GearmanServer, function: str, workload: str, event: str
) -> None:
    """Ctrl-C ends run_tasks at once, also while replies stream in; the client lives."""
    with (
        c_worker(server, "task_worker", "--only", "stream"),
        script(INTERRUPTED, server.address, function, workload, event) as running,
    ):
        assert running.line() == "ready"
        start = time.monotonic()
        running.interrupt()
        states, last, told, usable, soon = running.finish()
        assert time.monotonic() - start < 5
    assert states == ["ABANDONED", "WAITING"]
    assert (last, told, usable, soon) == ("WAITING", [True], True, True)


def test_interrupts_lose_no_task(client: Client, server: GearmanServer) -> None:
    """Wherever an interrupt strikes, each task has ended or waits for the next run."""
    printed = run_isolated(
        """
        import random, signal, sys, time, warnings
        from pygearman_cffi import Client, TaskState
        from pygearman_cffi.errors import ConnectionLostError

        # A socket of Python's can be struck before anybody has it.
        warnings.simplefilter("ignore", ResourceWarning)

        class Struck(BaseException):
            pass

        def strike(*_):
            raise Struck

        def unraisable(seen):
            # Python drops what is raised while it destroys something.
            if not isinstance(seen.exc_value, Struck):
                sys.__unraisablehook__(seen)

        sys.unraisablehook = unraisable
        signal.signal(signal.SIGALRM, strike)
        chance = random.Random(7)
        until = time.monotonic() + 2
        strikes = rounds = 0
        while time.monotonic() < until or not strikes:
            rounds += 1
            client = Client(sys.argv[1], timeout=20)
            # An abandoned job may still run, and its twin gets the result of that.
            tasks = [
                client.add_task("echo", b"%d" % (n % 50), unique=f"u{n % 50}" if n % 3 else None)
                for n in range(300)
            ]
            tasks += [client.add_task_status(f"H:x:{n}") for n in range(9)]
            finished = False
            while not finished:
                try:
                    signal.setitimer(signal.ITIMER_REAL, chance.uniform(2e-4, 0.02))
                    client.run_tasks()
                    signal.setitimer(signal.ITIMER_REAL, 0)
                    finished = True
                except Struck:
                    strikes += 1
            for n, task in enumerate(tasks):
                if task.state is TaskState.ABANDONED:
                    assert isinstance(task.error, ConnectionLostError)
                else:
                    assert task.state is TaskState.DONE, (rounds, n, task)
                    assert n >= 300 or task.result == b"%d" % (n % 50)
            client.close()
        print(strikes > 10)
        """,
        server.address,
    )
    assert printed == "True\n"
