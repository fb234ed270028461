"""Several job servers, dead ones, foreign ones: fail-over that loses and doubles nothing."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest

from pygearman_cffi import (
    Client,
    ConnectionLostError,
    CouldNotConnectError,
    GearmanTimeoutError,
    JobHandle,
    NoServersError,
    NotGearmanError,
    ProtocolError,
    ReturnCode,
    ServerError,
)
from pygearman_cffi.testing import GearmanServer
from tests.fakes import (
    GET_STATUS,
    OPTION_REQ,
    SUBMITS,
    FakeServer,
    Handler,
    answers,
    black_hole,
    closes,
    impostor,
    packet,
    proxy,
    says,
)
from tests.isolated import run_isolated
from tests.programs import c_worker

Call = Callable[[Client], object]

# Every call that goes to a server.
CALLS: dict[str, Call] = {
    "do": lambda client: client.do("echo", b"x"),
    "do_background": lambda client: client.do_background("background", b"x"),
    "job_status": lambda client: client.job_status("H:x:1"),
    "unique_status": lambda client: client.unique_status("x"),
    "echo": lambda client: client.echo(b"x"),
    "set_server_option": lambda client: client.set_server_option("exceptions"),
    "cancel_job": lambda client: client.cancel_job("H:x:1"),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@contextmanager
def dead_port() -> Iterator[tuple[str, int]]:
    """An address on which nobody listens, and nobody can begin to."""
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()


@contextmanager
def own_server() -> Iterator[GearmanServer]:
    """A server of the test's own, which it may end, with a C worker."""
    with GearmanServer() as server, c_worker(server):
        yield server


# -- none, or none that answers ----------------------------------------------------------


@every_call
def test_no_servers(call: Call) -> None:
    """Without a server every call raises NoServersError, which says how to add one."""
    client = Client(())
    for _ in range(2):
        with pytest.raises(NoServersError, match=r"add_server\("):
            call(client)
    assert client.servers == ()


@every_call
def test_dead_server(call: Call, served: GearmanServer) -> None:
    """A server that is down is CouldNotConnectError: the address, and nothing sent."""
    with dead_port() as dead, Client([dead], timeout=10) as client:
        for _ in range(2):
            with pytest.raises(CouldNotConnectError) as caught:
                call(client)
            assert f"{dead[0]}:{dead[1]}" in str(caught.value)
            assert "refused" in str(caught.value)
            assert "Nothing was sent" in str(caught.value)
            assert isinstance(caught.value, ConnectionError)
        client.add_server(served.host, served.port)
        assert client.do("reverse", b"abc") == b"cba"


@every_call
def test_unresolvable_host(call: Call) -> None:
    """A name that nobody knows is CouldNotConnectError with that reason."""
    with Client("no-such-host.invalid:4730") as client:
        with pytest.raises(CouldNotConnectError) as caught:
            call(client)
        assert caught.value.code is ReturnCode.GETADDRINFO
        assert "cannot be resolved" in str(caught.value)


@every_call
def test_black_hole(call: Call) -> None:
    """A server that accepts and never speaks costs connect_timeout, no more."""
    with FakeServer(black_hole) as fake:
        client = Client(fake.address, connect_timeout=0.2)
        begun = time.monotonic()
        with pytest.raises(CouldNotConnectError, match="connect_timeout"):
            call(client)
        assert 0.2 <= time.monotonic() - begun < 0.5


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
        for call in (CALLS["do"], CALLS["echo"], CALLS["unique_status"]):
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
        for call in (CALLS["do"], CALLS["echo"], CALLS["unique_status"]):
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


# -- fail-over ---------------------------------------------------------------------------


@every_call
@pytest.mark.parametrize("dead_first", [True, False])
def test_one_of_two_is_down(
    call: Call, dead_first: bool, served: GearmanServer
) -> None:
    """With one server down from the start every call is served by the other."""
    with dead_port() as dead:
        servers = [dead, (served.host, served.port)]
        with Client(servers if dead_first else servers[::-1], timeout=10) as client:
            for _ in range(3):
                if call is CALLS["cancel_job"]:
                    with pytest.raises(ServerError):
                        call(client)
                else:
                    call(client)
                assert client.do("reverse", b"abc") == b"cba"


@pytest.mark.parametrize("own", [True, False], ids=["call's time", "connect_timeout"])
def test_one_of_two_is_a_black_hole(served: GearmanServer, own: bool) -> None:
    """A black hole costs its time once; the next call succeeds on the other server."""
    with FakeServer(black_hole) as hole:
        servers = [hole.address, served.address]
        limit = 30 if own else 0.2
        with Client(servers, connect_timeout=limit) as client:
            begun = time.monotonic()
            if own:
                with pytest.raises(GearmanTimeoutError):
                    client.do("reverse", b"abc", timeout=0.2)
            for _ in range(3):
                assert client.do("reverse", b"abc", timeout=5) == b"cba"
            assert 0.2 <= time.monotonic() - begun < 0.6


def test_first_server_is_preferred() -> None:
    """Jobs go to the first server of the list; the others are for its failure."""
    with own_server() as first, own_server() as second:
        client = Client([first.address, second.address])
        for number in range(3):
            client.do_background("queued", b"%d" % number)
        assert first.status()["queued"].total == 3
        assert "queued" not in second.status()


def test_server_killed_under_the_client() -> None:
    """A server that is killed between calls: the next call succeeds on the other."""
    with own_server() as first, own_server() as second:
        client = Client([first.address, second.address], timeout=20)
        assert client.do("reverse", b"abc") == b"cba"
        first.kill()
        for _ in range(3):
            assert client.do("reverse", b"abc") == b"cba"
            client.echo(b"x")


def test_server_killed_during_a_call() -> None:
    """A job that may have run is not sent again; the next call is served elsewhere."""
    with own_server() as first, own_server() as second:
        with Client([first.address, second.address], timeout=20) as client:
            client.do("echo", b"x")
            killer = threading.Timer(0.2, first.kill)
            killer.start()
            with pytest.raises(ConnectionLostError, match="may still run"):
                client.do("sleep_ms", b"5000")
            killer.join()
            assert client.do("reverse", b"abc") == b"cba"
        assert "sleep_ms" not in {
            name for name, numbers in second.status().items() if numbers.total
        }


def test_restarted_server_costs_no_call() -> None:
    """A gearmand that is restarted between calls costs no failed call."""
    with GearmanServer() as server, Client(server.address, timeout=20) as client:
        for number, end in enumerate([server.stop, server.kill, server.stop]):
            client.do_background("queued", b"x")
            client.echo(b"x")
            end()
            server.start()
            with c_worker(server):
                assert client.do("reverse", b"abc") == b"cba"
                client.echo(b"%d" % number)


def test_down_and_up_again() -> None:
    """While the only server is down calls fail at once; then the next one succeeds."""
    with GearmanServer() as server, Client(server.address, timeout=20) as client:
        client.echo(b"x")
        server.kill()
        for _ in range(3):
            with pytest.raises(CouldNotConnectError):
                client.do("reverse", b"abc")
        server.start()
        with c_worker(server):
            assert client.do("reverse", b"abc") == b"cba"


def test_cut_connections_cost_no_call(served: GearmanServer) -> None:
    """A connection that somebody ended between calls costs no failed call."""
    with proxy(served) as between, Client(between.address, timeout=20) as client:
        for _ in range(5):
            assert client.do("reverse", b"abc") == b"cba"
            between.cut()
            client.echo(b"x")
            between.cut()
            assert not client.job_status("H:x:1").known


# -- questions about jobs ----------------------------------------------------------------


def test_questions_go_to_the_right_server() -> None:
    """A handle remembers its server; a plain one is asked of all, in order."""
    with GearmanServer() as first, GearmanServer() as second:
        client = Client([first.address, second.address])
        there = Client(second.address).do_background("f", b"x", unique="far away")
        assert client.job_status(there).known
        assert client.job_status(str(there)).known
        assert client.unique_status("far away").known
        assert not client.unique_status("nowhere").known
        # Only its own server is asked about a handle that remembers one.
        assert there.server == (second.host, second.port)
        elsewhere = JobHandle(there, (first.host, first.port))
        assert not client.job_status(elsewhere).known


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_questions_pass_over_dead_servers(order: tuple[int, ...]) -> None:
    """A question finds the server that knows the job, whoever else is down."""
    with dead_port() as dead, GearmanServer() as empty, GearmanServer() as full:
        with Client(full.address) as client:
            handle = str(client.do_background("f", b"x", unique="here"))
        servers = [dead, (empty.host, empty.port), (full.host, full.port)]
        with Client([servers[n] for n in order], timeout=10) as client:
            assert client.unique_status("here").known
            assert client.job_status(handle).known
            # As far as was heard: nobody knows what the dead server would say.
            assert not client.unique_status("nowhere").known
            assert not client.job_status("H:nowhere:1").known


def test_handle_of_a_server_that_is_gone() -> None:
    """A question about a job of a dead server says that it could not be asked."""
    with (
        dead_port() as dead,
        Client("127.0.0.1:1") as client,
        pytest.raises(CouldNotConnectError, match=str(dead[1])),
    ):
        client.job_status(JobHandle("H:x:1", dead))


# -- the list ----------------------------------------------------------------------------

DEFAULT: tuple[tuple[str, int], ...] = (("localhost", 4730),)


def test_default_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first server that is added replaces the default, the others are added."""
    monkeypatch.delenv("GEARMAN_SERVERS", raising=False)
    client = Client()
    assert client.servers == DEFAULT
    client.add_server("a", 1)
    client.add_servers("b:2,c:3")
    assert client.servers == (("a", 1), ("b", 2), ("c", 3))
    client.remove_servers()
    assert not client.servers
    client.add_server()
    assert client.servers == DEFAULT
    client.add_server("a", 1)
    assert client.servers == (*DEFAULT, ("a", 1))


def test_servers_that_were_given_are_kept() -> None:
    """Servers that the constructor was given are added to, not replaced."""
    client = Client("a:1")
    client.add_server("b", 2)
    assert client.servers == (("a", 1), ("b", 2))
    with pytest.raises(ValueError, match="port"):
        client.add_servers("c:3,d:0")
    assert client.servers == (("a", 1), ("b", 2))


def test_changing_servers_between_calls(served: GearmanServer) -> None:
    """A change of the list takes effect with the next call."""
    with GearmanServer() as other, Client(other.address) as client:
        client.echo(b"x")
        client.remove_servers()
        with pytest.raises(NoServersError):
            client.echo(b"x")
        client.add_server(served.host, served.port)
        assert client.do("reverse", b"abc") == b"cba"


def test_ipv6(served: GearmanServer) -> None:
    """An IPv6 literal is an address like any other."""
    if not socket.has_ipv6:
        pytest.fail("this machine has no IPv6")
    with proxy(served, host="::1") as between:
        for servers in (f"[::1]:{between.port}", [("::1", between.port)]):
            with Client(servers, timeout=20) as client:
                assert client.do("reverse", b"abc") == b"cba"
                client.echo(b"x")
                assert client._engine.lanes._jobs[0]._descriptor is not None


def test_name_with_several_addresses(served: GearmanServer) -> None:
    """A name is tried at each of its addresses: localhost is ::1 and 127.0.0.1."""
    with Client(f"localhost:{served.port}", timeout=20) as client:
        assert client.do("reverse", b"abc") == b"cba"
