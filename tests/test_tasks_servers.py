"""Tasks and more than one job server: fail-over, losses, and what is never sent twice."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pygearman_cffi import (
    Client,
    ConnectionLostError,
    CouldNotConnectError,
    GearmanTimeoutError,
    JobHandle,
    NoServersError,
    Task,
    TaskState,
)
from pygearman_cffi.testing import GearmanServer
from tests.fakes import GET_STATUS, FakeServer, black_hole, impostor
from tests.programs import c_worker

DOWN = "127.0.0.1:1"

WAITING, DONE, ABANDONED = TaskState.WAITING, TaskState.DONE, TaskState.ABANDONED


@pytest.fixture(scope="module")
def server() -> Iterator[GearmanServer]:
    """A server with a C worker, which stays up."""
    with GearmanServer() as server, c_worker(server, "task_worker"):
        yield server


@contextmanager
def worked(tally: Path) -> Iterator[GearmanServer]:
    """A server that the test may end, with a C worker that keeps a list."""
    with (
        GearmanServer() as own,
        c_worker(own, "task_worker", "--tally", str(tally)),
    ):
        yield own
        own.start()  # the worker's end is seen by what the server says


# -- one of two is killed -----------------------------------------------------------------


def killed_midway(
    client: Client, victim: GearmanServer, count: int
) -> tuple[list[Task], ConnectionLostError]:
    """Run that many tasks; kill a server when a tenth of them is done."""
    done = 0

    def completed(task: Task) -> None:
        nonlocal done
        done += 1
        if done == count // 10:
            victim.kill()

    client.set_complete_fn(completed)
    # The rest may have been answered already: one job is certainly in flight.
    tasks = [client.add_task("nobody", unique="u0")]
    tasks += [
        client.add_task("tally", b"%d" % n, unique=f"u{n}") for n in range(1, count)
    ]
    with pytest.raises(ConnectionLostError) as caught:
        client.run_tasks()
    client.clear_fn()
    return tasks, caught.value


def test_one_of_two_is_killed(tmp_path: Path) -> None:
    """Each task has its result or says what is known, and none that may run is resent."""
    lists = [tmp_path / "first", tmp_path / "second"]
    with worked(lists[0]) as first, worked(lists[1]) as second:
        servers = [first.address, second.address]
        with Client(servers, timeout=30) as client:
            tasks, error = killed_midway(client, first, 1000)
            lost = [task for task in tasks if task.state is ABANDONED]
            # Whatever the first had not been sent went to the second.
            assert {task.state for task in tasks if task not in lost} == {DONE}
            assert 0 < len(lost) <= 256
            assert first.address in str(error)
            assert f"{len(lost)} in flight" in str(error)
            for number, task in enumerate(tasks):
                if task.state is DONE:
                    assert task.result == b"%d" % number
                    continue
                assert isinstance(task.error, ConnectionLostError)
                told = str(task.error)
                assert re.search(r"the job is H:\S+ and may still run|not known", told)
                with pytest.raises(ConnectionLostError):
                    _ = task.result
            assert lost[0] is tasks[0]
            assert str(tasks[0].job_handle) in str(tasks[0].error)
            # The next run works, at once, on the server that is left.
            again = [client.add_task("tally", b"again") for _ in range(50)]
            assert client.run_tasks() is True
            assert {task.result for task in again} == {b"again"}
    ran = Counter(
        name for path in lists if path.exists() for name in path.read_text().split()
    )
    assert all(ran[task.unique] == 1 for task in tasks if task.state is DONE)
    assert all(ran[task.unique] <= 1 for task in lost)


def test_the_only_one_is_killed(tmp_path: Path) -> None:
    """What was not sent waits, and runs when the server is back."""
    with worked(tmp_path / "tally") as own, Client(own.address, timeout=30) as client:

        def completed(task: Task) -> None:
            own.kill()

        stuck = client.add_task("nobody")
        tasks = [client.add_task("echo", b"first", on_complete=completed)]
        tasks += [client.add_task("echo", b"%d" % n) for n in range(1000)]
        with pytest.raises(ConnectionLostError) as caught:
            client.run_tasks()
        assert isinstance(caught.value.__cause__, CouldNotConnectError)
        assert tasks[0].result == b"first"
        ended = [task for task in tasks if task.state is not WAITING]
        assert tasks == ended + [task for task in tasks if task.state is WAITING]
        assert sum(task.state is ABANDONED for task in ended) < 256
        assert stuck.state is ABANDONED
        # Nobody is there: nothing is lost by trying.
        with pytest.raises(CouldNotConnectError):
            client.run_tasks()
        assert {task.state for task in tasks[len(ended) :]} == {WAITING}
        own.start()
        assert client.run_tasks() is True
        results = [task.result for task in tasks[len(ended) :]]
        assert results == [b"%d" % n for n in range(len(ended) - 1, 1000)]


def test_restarted_between_runs(tmp_path: Path) -> None:
    """A server that was restarted between two runs costs no task."""
    with worked(tmp_path / "tally") as own, Client(own.address, timeout=30) as client:
        for payload in (b"a", b"b", b"c"):
            task = client.add_task("echo", payload)
            handle = client.add_task_background("nobody")
            assert client.run_tasks() is True
            assert task.result == payload
            question = client.add_task_status(handle.job_handle or "")
            assert client.run_tasks() is True
            assert question.is_known
            own.kill()
            own.start()


# -- servers that are down ----------------------------------------------------------------


def test_all_are_down(server: GearmanServer) -> None:
    """When no server is reached that is said, and every task waits."""
    with Client([DOWN, "127.0.0.1:2"], timeout=20) as client:
        tasks = [
            client.add_task("echo", b"x", unique="same"),
            client.add_task_background("echo"),
            client.add_task("echo", b"x", unique="same"),
            client.add_task_background("echo", at=4e8),
            client.add_task_status("H:x:1"),
            client.add_task_status_by_unique("same"),
        ]
        for _ in range(2):
            with pytest.raises(CouldNotConnectError, match=r"127\.0\.0\.1:2: "):
                client.run_tasks()
            assert {task.state for task in tasks} == {WAITING}
            assert client.has_tasks
        client.add_server(server.host, server.port)
        assert client.run_tasks() is True
        assert {task.state for task in tasks} == {DONE}
        assert (tasks[0].result, tasks[2].result) == (b"x", b"x")


@pytest.mark.parametrize("add", ["add_task_status", "add_task_status_by_unique"])
def test_questions_without_a_server(server: GearmanServer, add: str) -> None:
    """A question is asked of the servers that there are when it is asked."""
    with Client((), timeout=20) as client:
        task = getattr(client, add)("of nobody")
        with pytest.raises(NoServersError, match="add_server"):
            client.run_tasks()
        client.add_servers(DOWN)
        with pytest.raises(CouldNotConnectError):
            client.run_tasks()
        client.add_server(server.host, server.port)
        assert task.state is WAITING
        assert client.run_tasks() is True
        assert (task.is_finished, task.is_known) == (True, False)


def test_deadline_while_connecting() -> None:
    """A deadline that passes while connecting sends nothing: every task waits."""
    with FakeServer(black_hole) as hole, Client(hole.address) as client:
        task = client.add_task("echo")
        with pytest.raises(GearmanTimeoutError, match="Nothing was sent"):
            client.run_tasks(timeout=0.2)
        assert (task.state, task.error) == (WAITING, None)


def test_connect_timeout_is_passed_over(server: GearmanServer) -> None:
    """A black hole costs connect_timeout, then the next server runs the tasks."""
    with (
        FakeServer(black_hole) as hole,
        Client(
            [hole.address, server.address], timeout=20, connect_timeout=0.2
        ) as client,
    ):
        tasks = [client.add_task("echo", b"%d" % number) for number in range(300)]
        assert client.run_tasks() is True
        assert [task.result for task in tasks] == [b"%d" % n for n in range(300)]


# -- questions ----------------------------------------------------------------------------


def test_handles_know_their_server(server: GearmanServer, tmp_path: Path) -> None:
    """A question about a handle goes to the server that gave it, in or out of order."""
    with worked(tmp_path / "tally") as second:
        with Client(second.address, timeout=20) as other:
            far = [other.do_background("nobody_far") for _ in range(40)]
        with Client([server.address, second.address], timeout=20) as client:
            near = [client.do_background("nobody_near") for _ in range(40)]
            asked = [
                client.add_task_status(handle)
                for pair in zip(near, far, strict=True)
                for handle in pair
            ]
            jobs = [client.add_task("echo", b"%d" % number) for number in range(40)]
            made_up = client.add_task_status(JobHandle("H:x:1", far[0].server))
            assert client.run_tasks() is True
        assert all(task.is_known for task in asked)
        assert not made_up.is_known
        assert [task.result for task in jobs] == [b"%d" % n for n in range(40)]


def test_plain_handles_are_asked_of_all(server: GearmanServer, tmp_path: Path) -> None:
    """A plain text is asked of every server in order, and answered once."""
    with worked(tmp_path / "tally") as second, Client(second.address) as other:
        # The servers number alike: only the second has come so far.
        far = str([other.do_background("nobody_text") for _ in range(300)][-1])
        other.do_background("nobody_text", unique="far away")
        answers: list[Task] = []
        with Client([server.address, second.address], timeout=20) as client:
            known = client.add_task_status(far, on_status=answers.append)
            unknown = client.add_task_status("H:nobody:7", on_status=answers.append)
            by_unique = client.add_task_status_by_unique(
                "far away", on_status=answers.append
            )
            assert client.run_tasks() is True
        assert [task.is_known for task in (known, unknown, by_unique)] == [
            True,
            False,
            True,
        ]
        assert sorted(map(id, answers)) == sorted(map(id, (known, unknown, by_unique)))


def test_question_of_a_dead_server(server: GearmanServer, tmp_path: Path) -> None:
    """A question whose server is gone says so, and keeps nothing else from running."""
    with GearmanServer() as second, Client(second.address) as other:
        handle = other.do_background("nobody_gone")
    with Client([server.address, second.address], timeout=20) as client:
        question = client.add_task_status(handle)
        text = client.add_task_status(str(handle))
        by_unique = client.add_task_status_by_unique("of nobody")
        job = client.add_task("echo", b"x")
        assert client.run_tasks() is True
        assert job.result == b"x"
        assert isinstance(question.error, CouldNotConnectError)
        assert second.address in str(question.error)
        with pytest.raises(CouldNotConnectError):
            _ = question.result
        # The other server has answered: not known, as far as was heard.
        assert (text.error, text.is_known, text.is_finished) == (None, False, True)
        assert (by_unique.error, by_unique.is_known) == (None, False)
        assert client.run_tasks() is True


def test_questions_lost() -> None:
    """A question that is lost with its connection says that nothing was changed."""

    def watch(kind: int, body: bytes) -> None:
        if kind == GET_STATUS and body.startswith(b"H:"):
            raise OSError("ends the connection")

    with FakeServer(impostor(watch=watch)) as fake, Client(fake.address) as client:
        questions = [client.add_task_status(f"H:x:{number}") for number in range(9)]
        with pytest.raises(ConnectionLostError, match="9 in flight"):
            client.run_tasks(timeout=10)
        for task in questions:
            assert task.state is ABANDONED
            assert "nothing was changed" in str(task.error)
