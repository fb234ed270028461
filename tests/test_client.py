"""The client's calls, one by one, against a real job server and a C worker."""

from __future__ import annotations

import logging
import pickle
import socket
import threading
from pathlib import Path

import pytest

from pygearman_cffi import (
    Client,
    ClientOption,
    ClosedError,
    GearmanError,
    JobHandle,
    Priority,
    ReturnCode,
    ServerError,
    Task,
    TaskState,
    UnsupportedError,
    Verbose,
    WorkExceptionError,
    WorkFailError,
)
from pygearman_cffi.testing import GearmanServer
from tests.fakes import OPTION_REQ, FakeServer, impostor, packet, proxy
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


# -- the connection ----------------------------------------------------------------------


@pytest.mark.parametrize("payload", [b"x", b"\0", ALL_BYTES * 300, bytes(300_000)])
def test_echo(client: Client, payload: bytes) -> None:
    """`echo` returns when the server has sent the same bytes back."""
    client.echo(payload)
    client.echo(memoryview(payload))
    assert client.do("echo", b"x") == b"x"


def test_server_option(client: Client) -> None:
    """An option that the server knows passes; one that it does not is a ServerError."""
    client.set_server_option("exceptions")
    client.set_server_option("exceptions")
    with pytest.raises(ServerError, match="no_such_option") as caught:
        client.set_server_option("no_such_option")
    assert "UNKNOWN_OPTION" in str(caught.value)
    assert client.do("echo", b"x") == b"x"


def test_server_option_is_asked_again_after_a_reconnect() -> None:
    """A server option holds for every later connection of the client."""
    asked: list[bytes] = []

    def handler(server: FakeServer, connection: socket.socket) -> None:
        def note(kind: int, body: bytes) -> None:
            if kind == OPTION_REQ:
                asked.append(body)

        impostor(b"\0XXX" + bytes(8), watch=note)(server, connection)

    with FakeServer(handler) as fake, Client(fake.address, exceptions=False) as client:
        client.set_server_option("exceptions")
        client.set_server_option("another")
        assert asked == [b"exceptions", b"another"]
        with pytest.raises(GearmanError):
            client.do("f")
        client.echo(b"x")
        assert asked[2:] == [b"exceptions", b"another"]
        with client.clone() as twin:
            twin.echo(b"x")
        assert asked[4:] == [b"exceptions", b"another"]


def test_without_exceptions(served: GearmanServer) -> None:
    """`exceptions=False` does not ask for exceptions; jobs work all the same."""
    with Client(served.address, exceptions=False) as client:
        assert client.do("echo", b"x") == b"x"
        assert client._config.exceptions is False


def test_identifier(served: GearmanServer) -> None:
    """The server lists the connection under the client's identifier."""
    with Client(served.address, identifier="test-client") as client:
        client.do("echo", b"x")
        assert client.identifier == "test-client"
        assert any(" test-client :" in line for line in served.command("workers"))
        client.identifier = "another"
        client.echo(b"x")
        assert any(" another :" in line for line in served.command("workers"))
        client.identifier = None
        assert client.identifier is None
        client.echo(b"x")
        assert not any(" another :" in line for line in served.command("workers"))


def test_namespace(served: GearmanServer) -> None:
    """A namespace is put before each function name; it can be changed."""
    with Client(served.address, namespace="rev") as client:
        assert client.do("erse", b"abc") == b"cba"
        client.namespace = ""
        assert client.do("reverse", b"abc") == b"cba"
        client.namespace = "ns/"
        client.do_background("job", b"x")
        assert served.status()["ns/job"].total == 1
        assert client.namespace == "ns/"


def test_log_function() -> None:
    """The lines that libgearman logs reach a function or a logger, at their level."""
    lines: list[tuple[str, Verbose]] = []
    garbage = b"\0XXX" + bytes(8)
    with FakeServer(impostor(*[garbage] * 9)) as fake, Client(fake.address) as client:
        client.set_log_fn(lambda line, level: lines.append((line, level)))
        with pytest.raises(GearmanError):
            client.do("f", timeout=2)
        assert lines
        assert all(isinstance(line, str) and line for line, _ in lines)
        assert {level for _, level in lines} <= {Verbose.ERROR, Verbose.FATAL}
        lines.clear()
        client.set_log_fn(None)
        with pytest.raises(GearmanError):
            client.do("f", timeout=2)
        assert lines == []


def test_log_into_a_logger(caplog: pytest.LogCaptureFixture) -> None:
    """A logger gets the lines as errors, with the text unformatted."""
    garbage = b"\0XXX" + bytes(8)
    with FakeServer(impostor(garbage)) as fake, Client(fake.address) as client:
        client.set_log_fn(logging.getLogger("pygearman_cffi.libgearman"))
        with pytest.raises(GearmanError):
            client.do("f", timeout=2)
    assert {record.levelno for record in caplog.records} == {logging.ERROR}


def test_exception_in_a_log_function() -> None:
    """What a log function raises comes out of the call during which it ran."""

    def fails(_line: str, _level: Verbose) -> None:
        raise ZeroDivisionError

    garbage = b"\0XXX" + bytes(8)
    with FakeServer(impostor(garbage)) as fake, Client(fake.address) as client:
        client.set_log_fn(fails)
        with pytest.raises(ZeroDivisionError):
            client.do("f", timeout=2)


# -- settings ----------------------------------------------------------------------------


def test_options(client: Client) -> None:
    """Options are recorded; those that crash C or are internal to it are refused."""
    assert client.options == ClientOption(0)
    client.add_options(ClientOption.FREE_TASKS | ClientOption.GENERATE_UNIQUE)
    assert client.has_option(ClientOption.FREE_TASKS)
    assert not client.has_option(ClientOption.FREE_TASKS | ClientOption.NON_BLOCKING)
    client.remove_options(ClientOption.FREE_TASKS)
    assert client.options == ClientOption.GENERATE_UNIQUE
    assert client.do("echo", b"x") == b"x"
    with pytest.raises(UnsupportedError, match="on_data"):
        client.add_options(ClientOption.UNBUFFERED_RESULT)
    for option in (ClientOption.NO_NEW, ClientOption.ALLOCATED, ClientOption(1 << 20)):
        with pytest.raises(ValueError, match="cannot be set"):
            client.options = option
    with pytest.raises(TypeError):
        client.options = "NON_BLOCKING"  # type: ignore[assignment]
    assert client.options == ClientOption.GENERATE_UNIQUE


def test_non_blocking_clients_cannot_wait(served: GearmanServer) -> None:
    """With NON_BLOCKING the calls that wait are refused, by name; without, they work."""
    with Client(served.address, options=ClientOption.NON_BLOCKING) as client:
        for call in (
            lambda: client.do("echo", b"x"),
            lambda: client.do_background("echo", b"x"),
            lambda: client.job_status("H:x:1"),
            lambda: client.unique_status("x"),
            lambda: client.echo(b"x"),
        ):
            with pytest.raises(UnsupportedError, match="run_tasks"):
                call()
        client.remove_options(ClientOption.NON_BLOCKING)
        assert client.do("echo", b"x") == b"x"


def test_tls_is_refused(client: Client) -> None:
    """TLS is refused, with the reason; switching it off is not."""
    with pytest.raises(UnsupportedError, match="tunnel"):
        client.set_ssl()
    with pytest.raises(UnsupportedError):
        client.set_ssl(True, ca_file="/x", certificate="/y", key_file="/z")
    with pytest.raises(UnsupportedError):
        client.add_options(ClientOption.SSL)
    client.set_ssl(False)
    assert client.do("echo", b"x") == b"x"


def test_timeout_setting(client: Client) -> None:
    """The client's timeout is the default of its calls; each call can have its own."""
    assert client.timeout is None
    client.timeout = 0.05
    with pytest.raises(TimeoutError):
        client.do("nobody_serves_this")
    assert client.do("sleep_ms", b"100", timeout=5) == b"100"
    assert client.do("sleep_ms", b"100", timeout=None) == b"100"
    client.timeout = None
    assert client.do("sleep_ms", b"100") == b"100"


def test_context_is_the_callers() -> None:
    """`context` is the caller's own, never looked at."""
    client = Client()
    assert client.context is None
    client.context = thing = object()
    assert client.context is thing
    assert client.clone().context is None


# -- life ----------------------------------------------------------------------------------


def test_with(served: GearmanServer) -> None:
    """A client is closed at the end of its block; closing again is harmless."""
    with Client(served.address) as client:
        assert not client.closed
        assert client.do("echo", b"x") == b"x"
    assert client.closed
    client.close()
    with pytest.raises(ClosedError), client:
        pass


def test_constructing_does_no_io() -> None:
    """A client connects at its first call, not before."""
    with FakeServer(impostor()) as fake:
        client = Client(fake.address, identifier="x", namespace="y")
        client.add_server("127.0.0.1", 1)
        client.timeout = 1
        client.close()
        assert fake.connections == 0


def test_one_connection_serves_many_calls(served: GearmanServer) -> None:
    """The connection is kept between calls, also after jobs that end badly."""
    with proxy(served) as between, Client(between.address) as client:
        client.do("echo", b"x")
        made = between.connections
        for _ in range(5):
            client.do("echo", b"x")
            client.echo(b"x")
            with pytest.raises(WorkFailError):
                client.do("fail")
            with pytest.raises(WorkExceptionError):
                client.do("exception")
            client.do_background("echo", b"x")
        assert between.connections == made


def test_clone(served: GearmanServer) -> None:
    """A clone has the same settings and a life of its own."""
    first = Client(
        served.address, timeout=7, namespace="rev", identifier="me", exceptions=False
    )
    first.do("erse", b"abc")
    twin = first.clone()
    assert twin.servers == first.servers
    assert (twin.timeout, twin.namespace, twin.identifier) == (7.0, "rev", "me")
    twin.add_server("127.0.0.1", 1)
    twin.namespace = ""
    assert len(first.servers) == 1
    assert first.namespace == "rev"
    first.close()
    assert twin.do("reverse", b"abc") == b"cba"
    twin.close()


def test_clone_keeps_the_default_replaceable() -> None:
    """The clone of a client with the default server replaces it as well."""
    twin = Client().clone()
    twin.add_server("a", 1)
    assert twin.servers == (("a", 1),)


def test_clients_in_threads(served: GearmanServer) -> None:
    """One client per thread: they do not disturb each other, however they connect."""
    wrong: list[object] = []

    def work(number: int) -> None:
        for turn in range(60):
            payload = b"%d-%d" % (number, turn)
            with Client(served.address, timeout=20) as client:
                try:
                    results = client.do("echo", payload), client.do("reverse", payload)
                    client.echo(payload)
                    if results != (payload, payload[::-1]):
                        wrong.append(results)
                except Exception as error:  # noqa: BLE001  the thread's own
                    wrong.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
