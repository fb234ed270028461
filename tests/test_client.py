"""The client's calls, one by one, against a real job server and a C worker."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from pygearman_cffi import (
    Client,
    GearmanError,
    JobHandle,
    Priority,
    ReturnCode,
    ServerError,
    Task,
    TaskState,
    WorkExceptionError,
    WorkFailError,
)
from pygearman_cffi.testing import GearmanServer
from tests.fakes import FakeServer, impostor, packet
from tests.programs import gearman_tool_worker, wait_for

ALL_BYTES = bytes(range(256))


# -- do --------------------------------------------------------------------------------


def test_do(client: Client) -> None:
    """`do` returns the worker's result; names may be `str` or `bytes`."""
    assert client.do("reverse", b"abc") == b"cba"
    assert client.do(b"reverse", bytearray(b"abc")) == b"cba"
    assert client.do("echo") == b""
    assert client.do("echo", memoryview(ALL_BYTES)[::-1]) == ALL_BYTES[::-1]


def test_do_joins_chunks(client: Client) -> None:
    """Chunks that the worker sends come before the final payload, joined."""
    assert client.do("chunks", b"abcdefgh") == b"abcdefgh"


def test_do_passes_the_unique(client: Client) -> None:
    """A unique arrives as it was given; without one each job has a new one."""
    assert client.do("unique", unique="mine") == b"mine"
    assert client.do("unique", unique=b"\xff" * 63) == b"\xff" * 63
    made = {client.do("unique") for _ in range(20)}
    assert len(made) == 20
    assert all(0 < len(unique) <= 63 for unique in made)


def test_special_uniques(client: Client) -> None:
    """The uniques "-" and "#" do what libgearman and the job server make of them."""
    assert client.do("echo", b"x", unique="-") == b"x"
    assert client.do("unique", b"x", unique="#").isdigit()
    assert client.do("echo", b"y", unique="#") == b"y"


def test_events_of_do(client: Client) -> None:
    """The callbacks of `do` see each packet in its order, with its payload."""
    seen: list[tuple[str, object]] = []

    def note(event: str) -> object:
        return lambda task: seen.append((event, task.data))

    def created(task: Task) -> None:
        assert task.state is TaskState.CREATED
        assert task.job_handle
        assert task.job_handle.startswith("H:")
        assert task.function_name == "chunks"
        assert task.unique == "mine"
        seen.append(("created", task.data))

    def status(task: Task) -> None:
        seen.append(("status", (task.numerator, task.denominator)))

    result = client.do(
        "chunks",
        b"abcdefgh",
        unique="mine",
        on_created=created,
        on_data=note("data"),  # type: ignore[arg-type]
        on_warning=note("warning"),  # type: ignore[arg-type]
        on_status=status,
    )
    assert result == b"abcdefgh"
    assert seen == [
        ("created", b""),
        ("data", b"ab"),
        ("warning", b"careful"),
        ("status", (1, 2)),
        ("data", b"cd"),
    ]


@pytest.mark.parametrize("event", ["on_created", "on_data", "on_warning", "on_status"])
@pytest.mark.parametrize("cls", [ValueError, GearmanError, KeyboardInterrupt])
def test_exception_in_a_callback(
    client: Client, event: str, cls: type[BaseException]
) -> None:
    """What a callback raises comes out of `do` unchanged, and the client goes on."""
    error = cls("from the callback")

    def fails(_task: Task) -> None:
        raise error

    for _ in range(3):
        with pytest.raises(cls) as caught:
            client.do("chunks", b"abcdefgh", **{event: fails})  # type: ignore[arg-type]
        assert caught.value is error
        assert str(error) == "from the callback"
        assert client.do("reverse", b"abc") == b"cba"


def test_exit_in_a_callback(client: Client) -> None:
    """`sys.exit` in a callback leaves `do` at once."""

    def leave(_task: Task) -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        client.do("sleep_ms", b"500", on_created=leave)
    assert client.do("echo", b"x", timeout=5) == b"x"


def test_callback_exception_wins_over_the_deadline(client: Client) -> None:
    """A deadline that passes later does not hide what a callback raised."""

    def fails(_task: Task) -> None:
        raise ValueError("the cause")

    with pytest.raises(ValueError, match="the cause"):
        client.do("nobody_serves_this", timeout=0.1, on_created=fails)
    assert client.do("echo", b"x") == b"x"


# -- jobs that end badly -----------------------------------------------------------------


def test_failing_job(client: Client) -> None:
    """A job that fails raises WorkFailError, which knows the job."""
    with pytest.raises(WorkFailError) as caught:
        client.do("fail", b"x", unique="the one")
    error = caught.value
    assert error.code is ReturnCode.WORK_FAIL
    assert (error.function_name, error.unique) == ("fail", "the one")
    assert error.job_handle
    assert error.job_handle.startswith("H:")
    assert error.warnings == ()
    assert "Client.do('fail')" in str(error)
    assert client.do("echo", b"x") == b"x"


@pytest.mark.parametrize("payload", [b"oops", ALL_BYTES, b"x" * 100_000])
def test_job_with_an_exception(client: Client, payload: bytes) -> None:
    """On default settings an exception arrives with its payload, and nothing hangs."""
    with pytest.raises(WorkExceptionError) as caught:
        client.do("exception", payload)
    assert caught.value.payload == payload
    assert caught.value.code is ReturnCode.WORK_EXCEPTION
    assert caught.value.job_handle
    assert len(str(caught.value)) < 2000
    assert pickle.loads(pickle.dumps(caught.value)).payload == payload
    assert client.do("echo", b"x") == b"x"


def test_failed_result_tells_of_warnings() -> None:
    """The warnings that came before a failure are in the error and its message."""
    job = b"H:x:1"
    reply = packet(8, job) + packet(29, job, b"disk \xff full") + packet(14, job)
    with FakeServer(impostor(reply)) as fake, Client(fake.address) as client:
        with pytest.raises(WorkFailError) as caught:
            client.do("f")
        assert caught.value.warnings == (b"disk \xff full",)
        assert "disk \N{REPLACEMENT CHARACTER} full" in str(caught.value)


# -- background jobs, status -------------------------------------------------------------


def test_background_job(served: GearmanServer, client: Client) -> None:
    """`do_background` returns the handle of a job that the server has accepted."""
    handle = client.do_background("background_only", b"x")
    assert isinstance(handle, JobHandle)
    assert handle.server == (served.host, served.port)
    assert served.status()["background_only"].total == 1
    status = client.job_status(handle)
    assert (status.known, status.running) == (True, False)
    assert (status.numerator, status.denominator) == (0, 0)
    assert status.fraction is None
    assert status.client_count is None
    assert client.job_status(str(handle)) == status
    assert client.job_status(handle.encode()) == status


def test_status_of_a_running_job(client: Client) -> None:
    """A job that runs is known and running, and unknown once it has ended."""
    handle = client.do_background("sleep_ms", b"200", unique="sleeper")
    wait_for(lambda: client.job_status(handle).running)
    assert client.unique_status("sleeper").running
    wait_for(lambda: not client.job_status(handle).known)
    assert not client.unique_status("sleeper").known


def test_status_by_unique(client: Client) -> None:
    """`unique_status` also tells how many wait; afterwards the client works on."""
    client.do_background("background_unique", b"x", unique="known one")
    for _ in range(3):
        status = client.unique_status("known one")
        assert (status.known, status.running, status.client_count) == (True, False, 0)
        assert client.unique_status(b"known one") == status
        unknown = client.unique_status("unknown one")
        assert (unknown.known, unknown.running) == (False, False)
        assert client.do("echo", b"x") == b"x"


def test_unknown_handle(client: Client) -> None:
    """A handle that the server does not know is not an error."""
    for handle in ("H:nowhere:1", "no handle at all", b"\xff"):
        status = client.job_status(handle)
        assert (status.known, status.running) == (False, False)


def test_cancel_job(client: Client) -> None:
    """A refusal to cancel (gearmand 1.1 always: JOB_NOT_FOUND) is a ServerError, and the client works on."""
    handle = client.do_background("never_cancelled", b"x")
    with pytest.raises(ServerError) as caught:
        client.cancel_job(handle)
    assert caught.value.code is ReturnCode.JOB_NOT_FOUND
    assert client.job_status(handle).known
    assert client.do("echo", b"x") == b"x"


def test_priorities(tmp_path: Path) -> None:
    """Waiting jobs are handed out by priority, within it in the order submitted."""
    order = tmp_path / "order"
    with GearmanServer() as server, Client(server.address) as client:
        for turn in "12":
            for priority in (Priority.LOW, Priority.NORMAL, Priority.HIGH):
                line = f"{priority.name} {turn}\n".encode()
                client.do_background("note", line, priority=priority)
        with gearman_tool_worker(server, "note", "--", "tee", "-a", str(order)):
            wait_for(lambda: server.status()["note"].total == 0)
    assert order.read_text().splitlines() == [
        *("HIGH 1", "HIGH 2"),
        *("NORMAL 1", "NORMAL 2"),
        *("LOW 1", "LOW 2"),
    ]


@pytest.mark.parametrize("priority", list(Priority))
def test_foreground_priorities(client: Client, priority: Priority) -> None:
    """Each priority has a road for foreground jobs too."""
    assert client.do("reverse", b"abc", priority=priority) == b"cba"


def test_refused_job() -> None:
    """A job that the server refuses (full queue) is a ServerError; others go on."""
    with GearmanServer() as server, Client(server.address) as client:
        kept = client.do_background("full", b"1")
        assert server.command("maxqueue full 1") == ["OK"]
        for _ in range(5):
            with pytest.raises(ServerError) as caught:
                client.do("full", b"2", timeout=5)
            assert caught.value.code is ReturnCode.QUEUE_ERROR
            assert "queue is full" in str(caught.value).lower()
            with pytest.raises(ServerError):
                client.do_background("full", b"3", timeout=5)
            assert client.do_background("other", b"4")
        assert client.job_status(kept).known
        assert server.status()["full"].total == 1
