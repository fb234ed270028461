"""The connection of a client, its settings, and its life."""

from __future__ import annotations

import inspect
import logging
import socket
import threading
from typing import Any

import pytest

from pygearman_cffi import (
    ArgumentTypeError,
    Client,
    ClientOption,
    ClosedError,
    GearmanError,
    Priority,
    ServerError,
    UnsupportedError,
    Verbose,
    Worker,
    WorkerOption,
    WorkExceptionError,
    WorkFailError,
)
from pygearman_cffi.testing import GearmanServer
from tests.fakes import OPTION_REQ, FakeServer, impostor, proxy

ALL_BYTES = bytes(range(256))


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
    client.set_server_option(b"exceptions")
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


def test_options_of_a_worker() -> None:
    """An enum that is not ClientOption is refused by that name; plain ints are not."""
    client = Client()
    wrong: tuple[Any, ...] = (WorkerOption.NON_BLOCKING, Priority.LOW, True)
    for option in wrong:
        for use in (client.add_options, client.remove_options):
            with pytest.raises(ArgumentTypeError, match="options are ClientOption"):
                use(option)
        with pytest.raises(ArgumentTypeError, match="ClientOption"):
            client.options = option
        with pytest.raises(ArgumentTypeError, match="ClientOption"):
            Client(options=option)
    assert client.options == ClientOption(0)
    plain: Any = int(ClientOption.NON_BLOCKING)
    client.add_options(plain)
    assert client.options is ClientOption.NON_BLOCKING


def test_the_two_faces_take_the_same() -> None:
    """What client and worker both are given is of the same types, at type check too."""
    mine, theirs = (inspect.signature(face).parameters for face in (Client, Worker))
    for name in (mine.keys() & theirs.keys()) - {"options"}:
        assert mine[name].annotation == theirs[name].annotation
    client = Client(connect_timeout=None, namespace=b"space-", identifier=b"me")
    assert (client.namespace, client.identifier) == ("space-", "me")


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
