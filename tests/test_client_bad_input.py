"""Bad input: a clear exception before anything is sent, and the client goes on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pygearman_cffi import (
    ArgumentTypeError,
    Client,
    GearmanError,
    InvalidArgumentError,
)
from pygearman_cffi.testing import GearmanServer
from tests.fakes import FakeServer, impostor


class Liar(bytes):
    """Bytes that say another length than they have."""

    def __len__(self) -> int:
        return 50_000_000


def test_bytes_that_lie_about_their_length(client: Client) -> None:
    """C is given the length of the memory, whatever a subclass says of itself."""
    assert client.do("reverse", Liar(b"abc")) == b"cba"
    assert client.do(Liar(b"reverse"), b"abc", unique=Liar(b"u")) == b"cba"
    task = client.add_task("reverse", Liar(b"abc"))
    client.run_tasks()
    assert task.result == b"cba"
    assert list(client.map("reverse", [Liar(b"abc")])) == [b"cba"]
    client.do_background("background", Liar(b"abc"), unique=Liar(b"v"))


# mypy must not refuse what these tests are about.
Call = Callable[[Any], object]

VALUES: dict[str, Call] = {
    # function names
    "empty function": lambda c: c.do("", b"x"),
    "empty bytes function": lambda c: c.do(b"", b"x"),
    "function with a NUL": lambda c: c.do("a\0b", b"x"),
    "function of 513 bytes": lambda c: c.do("f" * 513, b"x"),
    "function of 513 bytes in UTF-8": lambda c: c.do("é" * 257, b"x"),
    "function that is no text": lambda c: c.do("\ud800", b"x"),
    # uniques
    "empty unique": lambda c: c.do("f", b"x", unique=""),
    "unique of 64 bytes": lambda c: c.do("f", b"x", unique="u" * 64),
    "unique with a NUL": lambda c: c.do("f", b"x", unique="a\0b"),
    "background unique": lambda c: c.do_background("f", b"x", unique="u" * 64),
    "unique_status": lambda c: c.unique_status("u" * 64),
    "empty unique_status": lambda c: c.unique_status(""),
    # handles
    "empty handle": lambda c: c.job_status(""),
    "handle of 64 bytes": lambda c: c.job_status("H" * 64),
    "handle with a NUL": lambda c: c.job_status("H:\0:1"),
    "cancelled handle": lambda c: c.cancel_job(""),
    # times
    "timeout 0": lambda c: c.do("f", b"x", timeout=0),
    "timeout 0.0": lambda c: c.do("f", b"x", timeout=0.0),
    "timeout -0.5": lambda c: c.do("f", b"x", timeout=-0.5),
    "timeout NaN": lambda c: c.do("f", b"x", timeout=math.nan),
    "timeout -inf": lambda c: c.do("f", b"x", timeout=-math.inf),
    "background timeout": lambda c: c.do_background("f", b"x", timeout=0),
    "status timeout": lambda c: c.job_status("H:x:1", timeout=-1),
    "unique timeout": lambda c: c.unique_status("u", timeout=math.nan),
    "echo timeout": lambda c: c.echo(b"x", timeout=0),
    "default timeout": lambda c: setattr(c, "timeout", 0),
    # the rest
    "empty echo": lambda c: c.echo(b""),
    "priority": lambda c: c.do("f", b"x", priority=7),
    "empty server option": lambda c: c.set_server_option(""),
    "server option with a NUL": lambda c: c.set_server_option("a\0b"),
    "port 0": lambda c: c.add_server("127.0.0.1", 0),
    "port 70000": lambda c: c.add_server("127.0.0.1", 70000),
    "negative port": lambda c: c.add_server("127.0.0.1", -1),
    "port of text": lambda c: c.add_servers("127.0.0.1:http"),
    "port 0 of text": lambda c: c.add_servers("127.0.0.1:0"),
    "host with a port": lambda c: c.add_server("127.0.0.1:4730", 4730),
    "host with a space": lambda c: c.add_server("a b"),
    "host with a NUL": lambda c: c.add_server("a\0b"),
    "empty server list": lambda c: c.add_servers(""),
    "identifier with a space": lambda c: setattr(c, "identifier", "a b"),
    "empty identifier": lambda c: setattr(c, "identifier", ""),
    "long identifier": lambda c: setattr(c, "identifier", "x" * 255),
    "namespace with a NUL": lambda c: setattr(c, "namespace", "a\0"),
    "long namespace": lambda c: setattr(c, "namespace", "n" * 512),
    "verbosity": lambda c: c.set_log_fn(print, 99),
}

TYPES: dict[str, Call] = {
    "str payload": lambda c: c.do("f", "text"),
    "str background payload": lambda c: c.do_background("f", "text"),
    "str echo": lambda c: c.echo("text"),
    "int payload": lambda c: c.do("f", 10),
    "None payload": lambda c: c.do("f", None),
    "list payload": lambda c: c.do("f", [1, 2]),
    "dict payload": lambda c: c.do("f", {}),
    "None function": lambda c: c.do(None, b"x"),
    "int function": lambda c: c.do(1, b"x"),
    "int unique": lambda c: c.do("f", b"x", unique=1),
    "None handle": lambda c: c.job_status(None),
    "None unique": lambda c: c.unique_status(None),
    "text timeout": lambda c: c.do("f", b"x", timeout="1"),
    "bool timeout": lambda c: c.do("f", b"x", timeout=True),
    "callback": lambda c: c.do("f", b"x", on_data="print"),
    "log function": lambda c: c.set_log_fn("print"),
    "port as text": lambda c: c.add_server("127.0.0.1", "4730"),
    "None host": lambda c: c.add_server(None),
    "bytes host": lambda c: c.add_server(b"127.0.0.1"),
    "servers": lambda c: c.add_servers(4730),
    "options": lambda c: c.add_options("FREE_TASKS"),
}


@pytest.fixture
def watched() -> Iterator[FakeServer]:
    """A server that would hear of anything that is sent."""
    with FakeServer(impostor()) as fake:
        yield fake


def refused(call: Call, cls: type[GearmanError], fake: FakeServer) -> None:
    """Assert that a call is refused before anything is sent, and nothing changes."""
    with Client(fake.address, timeout=1) as client:
        with pytest.raises(cls) as caught:
            call(client)
        assert fake.connections == 0
        assert str(caught.value).count(":") >= 1  # what was attempted: why not
        assert caught.value.doing
        assert client.servers == ((fake.host, fake.port),)
        assert (client.timeout, client.namespace, client.identifier) == (1.0, "", None)
        client.echo(b"x")


@pytest.mark.parametrize("call", VALUES.values(), ids=VALUES)
def test_values(call: Call, watched: FakeServer) -> None:
    """A wrong value is an InvalidArgumentError, a ValueError; nothing is sent."""
    assert issubclass(InvalidArgumentError, ValueError)
    refused(call, InvalidArgumentError, watched)


@pytest.mark.parametrize("call", TYPES.values(), ids=TYPES)
def test_types(call: Call, watched: FakeServer) -> None:
    """A wrong type is an ArgumentTypeError, a TypeError; nothing is sent."""
    assert issubclass(ArgumentTypeError, TypeError)
    refused(call, ArgumentTypeError, watched)


def test_text_payload_names_the_cure(client: Client) -> None:
    """A `str` payload is refused with a word on `.encode()`."""
    with pytest.raises(TypeError, match=r"\.encode\(\)"):
        client.do("echo", "text")  # type: ignore[arg-type]
    assert client.do("echo", b"x") == b"x"


def test_longest_names_work(served: GearmanServer) -> None:
    """The longest function name and unique that are allowed arrive uncut."""
    with Client(served.address, namespace="n" * 12) as client:
        client.do_background("f" * 500, b"x")
        assert served.status()["n" * 12 + "f" * 500].total == 1
        with pytest.raises(InvalidArgumentError, match="together"):
            client.do_background("f" * 501, b"x")
        client.namespace = ""
        assert client.do("unique", unique="u" * 63) == b"u" * 63
        client.namespace = "n" * 511
        with pytest.raises(InvalidArgumentError):
            client.do_background("ff", b"x")


@pytest.mark.parametrize("name", ["a b", "tab\there", "é☃", "x;y", "--", "##", "a/b"])
def test_unusual_names_work(served: GearmanServer, name: str) -> None:
    """Any bytes but NUL are a function name; the server keeps them as they are."""
    with Client(served.address) as client:
        handle = client.do_background(name, b"x", unique=name)
        assert client.job_status(handle).known
        assert client.unique_status(name).known


@pytest.mark.parametrize(
    "arguments",
    [
        {"servers": "a:0"},
        {"servers": "a:70000"},
        {"servers": "a:b"},
        {"servers": [("a", 0)]},
        {"servers": ""},
        {"timeout": 0},
        {"timeout": -1},
        {"timeout": math.nan},
        {"connect_timeout": 0},
        {"connect_timeout": math.nan},
        {"namespace": "a\0b"},
        {"identifier": "a b"},
        {"identifier": ""},
        {"options": 1 << 20},
    ],
    ids=str,
)
def test_constructor_values(arguments: Any) -> None:
    """The constructor refuses wrong values, and a half-made client dies in peace."""
    with pytest.raises(InvalidArgumentError) as caught:
        Client(**arguments)
    assert "Client()" in str(caught.value)


@pytest.mark.parametrize(
    "arguments",
    [
        {"servers": 4730},
        {"servers": [1]},
        {"servers": b"a:1"},
        {"timeout": "1"},
        {"connect_timeout": True},
        {"namespace": 1},
        {"identifier": 1},
        {"options": "NON_BLOCKING"},
    ],
    ids=str,
)
def test_constructor_types(arguments: Any) -> None:
    """The constructor refuses wrong types."""
    with pytest.raises(ArgumentTypeError):
        Client(**arguments)
