"""The callbacks of tasks: which is called, when, with what, and what it may do."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator

import pytest

from pygearman_cffi import BusyError, Client, Task, TaskState
from pygearman_cffi.errors import ArgumentTypeError
from pygearman_cffi.testing import GearmanServer
from tests.programs import c_worker, compile_program

EVENTS = ("created", "data", "warning", "status", "complete", "exception", "fail")

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


class OwnError(Exception):
    """What a user's callback raises."""


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


# -- callbacks ------------------------------------------------------------------------


@pytest.mark.parametrize("event", EVENTS)
def test_callbacks_are_functions(client: Client, event: str) -> None:
    """What cannot be called is refused when it is given, and nothing is queued."""
    with pytest.raises(ArgumentTypeError, match=f"on_{event}"):
        client.add_task("echo", **{f"on_{event}": "text"})  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match="fn"):
        getattr(client, f"set_{event}_fn")(None)
    assert not client.has_tasks


def watch(client: Client, log: list[str], name: str) -> None:
    """Give the client a function for every event, which notes it."""
    for event in EVENTS:

        def note(task: Task, event: str = event) -> None:
            log.append(f"{name} {event}")

        assert getattr(client, f"set_{event}_fn")(note) is note


def test_client_callbacks(client: Client) -> None:
    """The client's functions are called for every task; a task's own go first."""
    log: list[str] = []
    watch(client, log, "client")
    client.add_task("chunks", b"abcdef", on_status=lambda task: log.append("own"))
    client.run_tasks()
    assert log == [
        "client created",
        "client data",
        "client warning",
        "own",
        "client data",
        "client complete",
    ]
    log.clear()
    client.add_task("fail", on_fail=lambda task: log.append("own fail"))
    client.run_tasks()
    client.add_task("exception")
    client.run_tasks()
    assert log == ["client created", "own fail", "client created", "client exception"]


def test_decorator(client: Client) -> None:
    """The set_*_fn are decorators that leave the function as it is."""
    results = []

    @client.set_complete_fn
    def completed(task: Task) -> int:
        results.append(task.result)
        return 7  # what it returns is of no consequence

    task = client.add_task("echo", b"x")
    client.run_tasks()
    assert (results, completed(task), results) == ([b"x", b"x"], 7, [b"x", b"x"])


def test_resolved_when_added(client: Client) -> None:
    """A task has the functions that the client had when it was added."""
    log: list[str] = []
    client.add_task("echo")
    watch(client, log, "first")
    client.add_task("echo")
    watch(client, log, "second")
    client.add_task("echo")
    client.clear_fn()
    client.add_task("echo")
    client.run_tasks()
    assert sorted(log) == sorted(
        f"{name} {event}"
        for name in ("first", "second")
        for event in ("created", "complete")
    )


def test_not_for_single_jobs(client: Client) -> None:
    """The client's functions do not serve do, do_background, execute and map."""
    log: list[str] = []
    watch(client, log, "client")
    assert client.do("chunks", b"abc") == b"abc"
    client.do_background("nobody_single")
    assert client.execute("echo", b"x").result == b"x"
    assert list(client.map("echo", [b"y"])) == [b"y"]
    assert log == []


def test_clone_copies_callbacks(client: Client) -> None:
    """A clone has the functions of its original, and not its tasks."""
    log: list[str] = []
    watch(client, log, "client")
    client.add_task("echo")
    with client.clone() as twin:
        assert not twin.has_tasks
        twin.clear_fn()
        client.run_tasks()
        assert log == ["client created", "client complete"]
        with client.clone() as other:
            other.add_task("echo")
            other.run_tasks()
    assert len(log) == 4


def test_from_a_callback(client: Client) -> None:
    """In a callback a task and a look are allowed, whatever uses C is BusyError."""
    refused = []
    added = []

    def completed(task: Task) -> None:
        calls: list[Callable[[], object]] = [
            client.run_tasks,
            client.wait,
            client.close,
            lambda: client.echo(b"x"),
            lambda: client.do("echo"),
            lambda: client.job_status("H:x:1"),
            client.remove_servers,
        ]
        for call in calls:
            with pytest.raises(BusyError, match="callback"):
                call()
            refused.append(call)
        added.append(client.add_task("echo", b"second"))
        added.append(client.add_task("echo", b"second"))

    client.add_task("echo", b"first", on_complete=completed)
    assert client.run_tasks()
    assert len(refused) == 7
    assert added[0].result == b"second"


def test_another_client_in_a_callback(client: Client) -> None:
    """In a callback another client may be used, and a `map` of this one."""
    results: list[object] = []

    def completed(task: Task) -> None:
        with client.clone() as other:
            results.append(other.do("upper", task.result))
        results.extend(client.map("upper", [b"b", b"c"]))

    tasks = [client.add_task("echo", b"a", on_complete=completed) for _ in range(3)]
    client.run_tasks()
    assert results == [b"A", b"B", b"C"] * 3
    assert all(task.result == b"a" for task in tasks)


# -- the same calls in C and in Python ------------------------------------------------


def transcript(client: Client, *specs: str) -> list[str]:
    """Do what tests/c/client_tasks.c does and note the same lines."""
    lines: list[str] = []
    last = ""

    def created(task: Task) -> None:
        nonlocal last
        last = task.job_handle or ""
        lines.append(f"created {'H:' if last.startswith('H:') else '?'}")

    def packet(event: str) -> Callable[[Task], None]:
        return lambda task: lines.append(
            f"{event} [{task.data.decode()}] GEARMAN_{task.return_code.name}"
        )

    client.set_created_fn(created)
    for event in ("data", "warning", "complete", "exception", "fail"):
        getattr(client, f"set_{event}_fn")(packet(event))
    client.set_status_fn(
        lambda task: lines.append(
            f"status {task.numerator}/{task.denominator} "
            f"known={task.is_known:d} running={task.is_running:d}"
        )
    )
    for spec in specs:
        kind, _, rest = spec.partition(":")
        function, _, workload = rest.partition(":")
        if kind == "status":
            client.add_task_status(last if rest == "last" else rest)
        elif kind == "bg":
            client.add_task_background(function, workload.encode())
        else:
            client.add_task(function, workload.encode())
        client.run_tasks()
    return lines


@pytest.mark.parametrize(
    ("specs", "expected"),
    [
        (
            "fg:chunks:abcdefgh",
            "created H:|data [ab] GEARMAN_UNKNOWN_STATE"
            "|warning [careful] GEARMAN_UNKNOWN_STATE|status 1/2 known=1 running=1"
            "|data [cd] GEARMAN_UNKNOWN_STATE|complete [efgh] GEARMAN_SUCCESS",
        ),
        (
            "fg:mix:dxy",
            "created H:|data [xy] GEARMAN_UNKNOWN_STATE|data [xy] GEARMAN_UNKNOWN_STATE"
            "|complete [xy] GEARMAN_SUCCESS",
        ),
        ("fg:echo:", "created H:|complete [] GEARMAN_SUCCESS"),
        ("fg:mix:ewhy", "created H:|exception [why] GEARMAN_WORK_EXCEPTION"),
        (
            "fg:mix:fwhy",
            "created H:|warning [why] GEARMAN_UNKNOWN_STATE|fail [] GEARMAN_WORK_FAIL",
        ),
        (
            "bg:nobody_both:x status:last",
            "created H:|status 0/0 known=1 running=0",
        ),
        ("status:H:nowhere:1", "status 0/0 known=0 running=0"),
    ],
)
def test_as_in_c(
    client: Client, server: GearmanServer, specs: str, expected: str
) -> None:
    """Callbacks come in C's order and see what C's callbacks see."""
    program = str(compile_program("client_tasks"))
    done = subprocess.run(
        [program, server.host, str(server.port), *specs.split()],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert transcript(client, *specs.split()) == expected.split("|")
    assert done.stdout.splitlines() == expected.split("|")


# -- tasks added while it runs ------------------------------------------------------------


def test_chain(client: Client) -> None:
    """A task that a callback adds runs in the same run_tasks, and may add others."""
    results = []

    def again(task: Task) -> None:
        results.append(task.result)
        if len(results) < 50:
            client.add_task("echo", b"%d" % len(results), on_complete=again)

    client.add_task("echo", b"0", on_complete=again)
    assert client.run_tasks() is True
    assert results == [b"%d" % number for number in range(50)]


@EVERY_EVENT
def test_added_in_any_callback(client: Client, event: str, workload: bytes) -> None:
    """Every callback may add tasks of every kind."""
    added: list[Task] = []

    def add(task: Task) -> None:
        added.append(client.add_task("upper", b"x", unique="of a callback"))
        added.append(client.add_task_background("nobody_e"))
        added.append(client.add_task_status("H:x:1"))
        added.append(client.add_task_status_by_unique("of nobody"))

    for _ in range(3):
        client.add_task("mix", workload, **{f"on_{event}": add})  # type: ignore[arg-type]
    assert client.run_tasks() is True
    assert len(added) >= 12
    assert {task.state for task in added} == {TaskState.DONE}
    assert {task.result for task in added[::4]} == {b"X"}


def test_added_and_then_raised(client: Client) -> None:
    """A task that a callback adds before it raises waits for the next run."""
    added: list[Task] = []

    def add(task: Task) -> None:
        added.append(client.add_task("echo", b"later"))
        raise OwnError

    client.add_task("echo", on_complete=add)
    with pytest.raises(OwnError):
        client.run_tasks()
    assert added[0].state is TaskState.WAITING
    client.run_tasks()
    assert added[0].result == b"later"
