"""Other protocols and garbage at the address of a job server: the process lives."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pygearman_cffi import (
    Client,
    ConnectionLostError,
    CouldNotConnectError,
    NotGearmanError,
    ProtocolError,
)
from pygearman_cffi.testing import GearmanServer
from tests.fakes import (
    GET_STATUS,
    OPTION_REQ,
    SUBMITS,
    FakeServer,
    Handler,
    answers,
    closes,
    impostor,
    packet,
    says,
)
from tests.isolated import run_isolated

Call = Callable[[Client], object]

CALLS: tuple[Call, ...] = (
    lambda client: client.do("echo", b"x"),
    lambda client: client.echo(b"x"),
    lambda client: client.unique_status("x"),
)

# -- another protocol --------------------------------------------------------------------

FOREIGN = {
    "http": answers(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "memcached": answers(b"ERROR\r\n"),
    "redis": answers(b"-ERR unknown command\r\n"),
    "pong": answers(b"+PONG\r\n"),
    "empty line": answers(b"\r\n"),
    "ssh": says(b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n"),
    "one word": says(b"ERROR\r\n"),
    "a request": answers(b"\0REQ" + bytes(8)),
    "another packet": answers(packet(17, b"another echo")),
    "an error packet": answers(packet(19, b"code", b"text")),
    "a huge packet": answers(b"\0RES\0\0\0\x11\xff\xff\xff\xff"),
}


@pytest.mark.parametrize("handler", FOREIGN.values(), ids=FOREIGN)
def test_another_protocol(handler: Handler, served: GearmanServer) -> None:
    """Another service at the address is an error that says so; the process lives."""
    with FakeServer(handler) as fake, Client(fake.address) as client:
        for call in CALLS:
            with pytest.raises(NotGearmanError, match="not a job server") as caught:
                call(client)
            assert fake.address in str(caught.value)
            assert isinstance(caught.value, CouldNotConnectError)
            assert isinstance(caught.value, ProtocolError)
        client.add_server(served.host, served.port)
        assert client.do("reverse", b"abc") == b"cba"


@pytest.mark.parametrize("handler", [closes, answers(b"\0RES\0\0"), says(b"\0")])
def test_half_a_protocol(handler: Handler, served: GearmanServer) -> None:
    """A service that says too little to tell is passed over like a dead one."""
    with (
        FakeServer(handler) as fake,
        Client(fake.address, connect_timeout=0.2) as client,
    ):
        for call in CALLS:
            with pytest.raises(CouldNotConnectError, match=fake.address):
                call(client)
        client.add_server(served.host, served.port)
        assert client.do("reverse", b"abc") == b"cba"


def test_foreign_services_do_not_kill(served: GearmanServer) -> None:
    """Text that kills libgearman itself never reaches it."""
    script = """
        import sys
        from pygearman_cffi import Client, CouldNotConnectError
        for address in sys.argv[2:]:
            for call in (Client.do, Client.do_background):
                try:
                    call(Client(address), "f")
                except CouldNotConnectError:
                    pass
                else:
                    raise SystemExit("no error")
            assert Client([address, sys.argv[1]]).do("reverse", b"abc") == b"cba"
    """
    with (
        FakeServer(FOREIGN["one word"]) as one,
        FakeServer(FOREIGN["memcached"]) as two,
        FakeServer(FOREIGN["empty line"]) as three,
    ):
        addresses = (one.address, two.address, three.address)
        run_isolated(script, served.address, *addresses)


# -- garbage from what seemed a job server -----------------------------------------------

JOB = b"H:x:1"
GARBAGE = {
    "bad magic": b"\0XXX" + bytes(8),
    "bad command": packet(200, b"x"),
    "text with a space": b"no gearman at all\r\n",
    "too small a size": b"\0RES\0\0\0\x08\0\0\0\0",
    "a reply for nobody": packet(13, b"H:other:1", b"result"),
    "an empty handle": packet(8, b""),
    "a long handle": packet(8, b"H" * 5000),
    "packets of a worker": packet(11, JOB, b"f", b"w") + packet(6) + packet(10),
    "an error without a text": packet(19),
    "an error of an unknown code": packet(19, b"WHAT", b"ever"),
    "half a reply": packet(8, JOB) + packet(13, JOB, b"result")[:-3],
    "status that is no number": packet(8, JOB) + packet(12, JOB, b"a", b"b"),
    "a huge packet": b"\0RES\0\0\0\x0d\xff\xff\xff\xf0",
}


@pytest.mark.parametrize("hangs_up", [False, True], ids=["stays", "hangs up"])
@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage(served: GearmanServer, garbage: str, hangs_up: bool) -> None:
    """Garbage instead of an answer ends in an exception, in time; then all is well."""
    script = """
        import sys, time, resource
        from pygearman_cffi import Client, GearmanError
        bad, good = sys.argv[1:]
        client = Client(bad)
        for _ in range(2):
            begun = time.monotonic()
            try:
                client.do("f", b"x", timeout=0.2)
            except GearmanError as error:
                assert "Client.do('f')" in str(error), error
            else:
                raise SystemExit("no error")
            assert time.monotonic() - begun < 0.5
        # No spinning while it waits for the deadline.
        assert resource.getrusage(resource.RUSAGE_SELF).ru_utime < 1.0
        client.remove_servers()
        client.add_servers(good)
        assert client.do("reverse", b"abc") == b"cba"
    """
    with FakeServer(impostor(GARBAGE[garbage], hangs_up=hangs_up)) as fake:
        run_isolated(script, fake.address, served.address)


def test_server_that_hangs_up_on_a_job() -> None:
    """A connection that ends after a job was sent is ConnectionLostError, not a repeat."""
    jobs: list[bytes] = []

    def watch(kind: int, body: bytes) -> None:
        if kind in SUBMITS:
            jobs.append(body)

    for reply, told in (
        (b"", "whether the job runs is not known"),
        (packet(8, JOB), "the job is H:x:1 and may still run"),
    ):
        jobs.clear()
        handler = impostor(reply, hangs_up=True, watch=watch)
        with FakeServer(handler) as fake, FakeServer(handler) as other:
            client = Client([fake.address, other.address])
            for number in range(3):
                with pytest.raises(ConnectionLostError, match=told):
                    client.do("f", b"x", timeout=5)
                assert len(jobs) == number + 1


@pytest.mark.parametrize("kind", [GET_STATUS, OPTION_REQ])
def test_server_that_fails_while_connecting(served: GearmanServer, kind: int) -> None:
    """A server that ends the connection before any job is passed over."""

    def watch(got: int, _body: bytes) -> None:
        if got == kind:
            raise OSError("ends the connection")

    with FakeServer(impostor(watch=watch)) as fake, Client(fake.address) as client:
        with pytest.raises(CouldNotConnectError):
            client.do("reverse", b"abc", timeout=5)
        client.add_server(served.host, served.port)
        assert client.do("reverse", b"abc", timeout=5) == b"cba"
