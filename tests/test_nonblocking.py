"""ClientOption.NON_BLOCKING: the loop of `run_tasks` and `wait`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pygearman_cffi import (
    BusyError,
    Client,
    ClientOption,
    ConnectionLostError,
    CouldNotConnectError,
    GearmanTimeoutError,
    Task,
    TaskState,
    UnsupportedError,
)
from pygearman_cffi.testing import GearmanServer
from tests.fakes import FakeServer, black_hole, impostor, packet
from tests.programs import c_worker, wait_for

NON_BLOCKING = ClientOption.NON_BLOCKING


@pytest.fixture(scope="module")
def server() -> Iterator[GearmanServer]:
    """A server with a C worker."""
    with GearmanServer() as server, c_worker(server, "task_worker"):
        yield server


@pytest.fixture
def client(server: GearmanServer) -> Iterator[Client]:
    """A client whose calls do not wait."""
    with Client(server.address, timeout=20, options=NON_BLOCKING) as client:
        yield client


def loop(client: Client) -> int:
    """Run to the end as a porter would; count the turns."""
    turns = 1
    while not client.run_tasks():
        assert client.wait(20)
        turns += 1
    return turns


def test_loop(client: Client) -> None:
    """run_tasks is False while tasks remain; wait and it again bring them to their end."""
    tasks = [client.add_task("echo", b"%d" % number) for number in range(1000)]
    assert client.has_tasks
    assert not client.has_active_tasks
    assert client.run_tasks() is False
    assert loop(client) > 1
    assert [task.result for task in tasks] == [b"%d" % n for n in range(1000)]
    assert not client.has_tasks
    assert client.run_tasks() is True


def test_every_kind(client: Client) -> None:
    """Tasks of every kind and fate end as they do otherwise."""
    done = client.add_task("mix", b"dx")
    failed, thrown = client.add_task("mix", b"fx"), client.add_task("mix", b"ex")
    detached = client.add_task_background("nobody", unique="here")
    known = client.add_task_status_by_unique("here")
    unknown = client.add_task_status("H:x:1")
    loop(client)
    assert (done.result, failed.warnings, thrown.exception) == (b"xxx", (b"x",), b"x")
    assert detached.job_handle
    # Questions and jobs go different ways: which comes first is not said.
    assert known.is_finished
    assert not unknown.is_known
    large = client.add_task("echo", bytes(300_000))
    loop(client)
    assert large.result == bytes(300_000)


def test_does_not_wait(client: Client) -> None:
    """A pass with nothing to do returns at once."""
    client.add_task("nobody")
    client.run_tasks()
    start = time.monotonic()
    for _ in range(50):
        assert client.run_tasks() is False
    assert time.monotonic() - start < 2


def test_without_wait(client: Client) -> None:
    """A program that only comes by now and then, without wait, gets its results too."""
    task = client.add_task("echo", b"x")
    wait_for(client.run_tasks)
    assert task.result == b"x"


def test_wait(client: Client) -> None:
    """`wait` is True when a task can be sent, False without one or in vain."""
    start = time.monotonic()
    assert client.wait() is False
    task = client.add_task("nobody")
    assert client.wait() is True
    assert time.monotonic() - start < 5
    wait_for(lambda: client.run_tasks() or task.state is TaskState.CREATED)
    start = time.monotonic()
    assert client.wait(0.2) is False
    assert 0.15 <= time.monotonic() - start < 3


def test_wait_again() -> None:
    """What `wait` has seen it sees again, until run_tasks takes it."""
    with GearmanServer() as own, Client(own.address, options=NON_BLOCKING) as client:
        task = client.add_task("echo", b"x")
        wait_for(lambda: client.run_tasks() or task.state is TaskState.CREATED)
        with c_worker(own, "task_worker"):
            assert [client.wait(20) for _ in range(3)] == [True] * 3
            loop(client)
    assert task.result == b"x"


def test_wait_of_a_blocking_client(server: GearmanServer) -> None:
    """Without the option wait has nothing to wait for, and harms nothing."""
    with Client(server.address, timeout=20) as client:
        task = client.add_task("echo", b"x")
        assert client.wait(5) is True
        assert client.run_tasks() is True
        assert client.wait(5) is False
        assert task.result == b"x"


SINGLE: list[tuple[str, Callable[[Client], Any]]] = [
    ("do", lambda client: client.do("echo", b"x")),
    ("do_background", lambda client: client.do_background("nobody")),
    ("job_status", lambda client: client.job_status("H:x:1")),
    ("unique_status", lambda client: client.unique_status("x")),
    ("execute", lambda client: client.execute("echo")),
    ("execute at", lambda client: client.execute("nobody", at=4e8)),
    ("partition", lambda client: client.execute_by_partition("p", "f", b"x")),
    ("echo", lambda client: client.echo(b"x")),
    ("set_server_option", lambda client: client.set_server_option("exceptions")),
    ("cancel_job", lambda client: client.cancel_job("H:x:1")),
]


@pytest.mark.parametrize(
    "call", [call for _, call in SINGLE], ids=[name for name, _ in SINGLE]
)
def test_single_calls(client: Client, call: Callable[[Client], Any]) -> None:
    """Calls that must wait for their answer are refused; tasks in flight go on."""
    task = client.add_task("echo", b"x")
    client.run_tasks()
    with pytest.raises(UnsupportedError, match="NON_BLOCKING"):
        call(client)
    loop(client)
    assert task.result == b"x"


def test_map(client: Client) -> None:
    """`map` has connections of its own, and waits for them."""
    assert list(client.map("echo", [b"a", b"b"])) == [b"a", b"b"]


def test_switching(client: Client) -> None:
    """Without the option, run_tasks finishes what an earlier pass has begun."""
    tasks = [client.add_task("echo", b"%d" % number) for number in range(300)]
    assert client.run_tasks() is False
    client.remove_options(NON_BLOCKING)
    assert client.run_tasks() is True
    assert [task.result for task in tasks] == [b"%d" % n for n in range(300)]
    assert client.do("echo", b"y") == b"y"


@pytest.mark.parametrize(
    "call", [call for _, call in SINGLE], ids=[name for name, _ in SINGLE]
)
def test_single_calls_after_switching(
    client: Client, call: Callable[[Client], Any]
) -> None:
    """Nor do they wait for what an earlier pass has left in flight."""
    task = client.add_task("nobody")
    wait_for(lambda: client.run_tasks() or task.state is TaskState.CREATED)
    client.remove_options(NON_BLOCKING)
    with pytest.raises(BusyError, match="until it returns True"):
        call(client)
    assert task.state is TaskState.CREATED


# -- failures -----------------------------------------------------------------------------


def test_callback_raises(client: Client) -> None:
    """An exception comes out of the pass; what is in flight goes on in the next."""

    def raises(task: Task) -> None:
        raise LookupError("mine")

    client.add_task("echo", on_complete=raises)
    others = [client.add_task("echo", b"%d" % number) for number in range(600)]
    with pytest.raises(LookupError, match="mine"):
        loop(client)
    assert client.has_tasks
    loop(client)
    assert [task.result for task in others] == [b"%d" % n for n in range(600)]


def test_exit_in_a_callback(client: Client) -> None:
    """KeyboardInterrupt abandons what is in flight at once."""

    def leave(task: Task) -> None:
        raise KeyboardInterrupt

    stuck = client.add_task("nobody")
    client.add_task("echo", on_complete=leave)
    with pytest.raises(KeyboardInterrupt):
        loop(client)
    assert stuck.state is TaskState.ABANDONED
    assert not client.has_active_tasks


def test_connection_is_lost() -> None:
    """A lost connection is told once, by run_tasks; the loop then goes on."""
    with GearmanServer() as own:
        with Client(own.address, options=NON_BLOCKING) as client:
            stuck = client.add_task("nobody")
            wait_for(lambda: client.run_tasks() or stuck.state is TaskState.CREATED)
            own.kill()
            assert client.wait(10)
            with pytest.raises(ConnectionLostError):
                client.run_tasks()
            assert stuck.state is TaskState.ABANDONED
            assert client.run_tasks() is True
            task = client.add_task("echo", b"x")
            with pytest.raises(CouldNotConnectError):
                client.run_tasks()
            own.start()
            with c_worker(own, "task_worker"):
                loop(client)
        assert task.result == b"x"


def test_deadline_while_connecting() -> None:
    """The timeout of a pass bounds its connecting, the one thing it waits for."""
    with (
        FakeServer(black_hole) as hole,
        Client(hole.address, options=NON_BLOCKING) as client,
    ):
        task = client.add_task("echo")
        start = time.monotonic()
        with pytest.raises(GearmanTimeoutError):
            client.run_tasks(timeout=0.2)
        assert 0.2 <= time.monotonic() - start < 3
        assert task.state is TaskState.WAITING


def test_settings_between_passes(server: GearmanServer) -> None:
    """What is set between passes leaves alone what is in flight, and serves the rest."""
    lines: list[str] = []
    with Client(server.address, timeout=20, options=NON_BLOCKING) as client:
        early = [client.add_task("echo", b"%d" % number) for number in range(300)]
        assert client.run_tasks() is False
        assert client.has_active_tasks
        client.set_log_fn(lambda line, _: lines.append(line))
        client.identifier = "later"
        client.add_server("127.0.0.1", 1)
        late = [client.add_task("echo", b"late %d" % number) for number in range(300)]
        loop(client)
        assert [task.result for task in early] == [b"%d" % n for n in range(300)]
        assert [task.result for task in late] == [b"late %d" % n for n in range(300)]


def test_deadline_while_replies_stream_in() -> None:
    """A pass ends at its timeout also where replies come without a pause."""
    job = b"H:x:1"
    flood = packet(8, job) + packet(28, job, b"x" * 100) * 200_000
    with (
        FakeServer(impostor(flood)) as fake,
        Client(fake.address, options=NON_BLOCKING) as client,
    ):
        task = client.add_task("endless", on_data=lambda _: None)
        begun = time.monotonic()

        def passes() -> None:
            nonlocal begun
            while True:
                begun = time.monotonic()
                assert client.run_tasks(timeout=0.2) is False
                assert client.wait(20)

        with pytest.raises(GearmanTimeoutError):
            passes()
        assert 0.2 <= time.monotonic() - begun < 1.2
        assert task.state is TaskState.ABANDONED


def test_close(server: GearmanServer) -> None:
    """Closing abandons what is in flight, and the task says so."""
    client = Client(server.address, options=NON_BLOCKING)
    stuck, waiting = client.add_task("nobody"), client.add_task("nobody")
    wait_for(lambda: client.run_tasks() or stuck.state is TaskState.CREATED)
    waiting = client.add_task("nobody")
    client.close()
    assert "the client was closed" in str(stuck.error)
    assert str(stuck.job_handle) in str(stuck.error)
    assert waiting.state is TaskState.WAITING
