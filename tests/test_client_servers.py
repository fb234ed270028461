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
    ReturnCode,
    ServerError,
    _sockets,
)
from pygearman_cffi.testing import GearmanServer
from tests.fakes import FakeServer, black_hole, proxy, says
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
    """A question that dead servers would have to answer tells once of each why."""
    with dead_port() as dead, Client("127.0.0.1:1,127.0.0.1:2") as client:
        for handle, ports in ("H:x:1", (1, 2)), (JobHandle("H:x:1", dead), dead[1:]):
            with pytest.raises(CouldNotConnectError) as caught:
                client.job_status(handle)
            message = str(caught.value)
            for port in ports:
                assert message.count(f"{dead[0]}:{port}: Connection refused") == 1
            assert message.count("Nothing was sent") == 1
            assert message.count("no job server could") <= 1
            assert caught.value.detail.count("refused") == len(ports)


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


@pytest.mark.parametrize("own", [True, False], ids=["call's time", "connect_timeout"])
@pytest.mark.parametrize("first", ["dead", "black hole", "foreign", "no family"])
def test_name_with_several_addresses(
    served: GearmanServer, monkeypatch: pytest.MonkeyPatch, first: str, own: bool
) -> None:
    """A name is tried at each of its addresses, whatever the first is."""
    with (
        dead_port() as dead,
        FakeServer(black_hole) as hole,
        FakeServer(says(b"220 ready\r\n")) as mail,
    ):
        bad = {
            "dead": (socket.AF_INET, dead),
            "black hole": (socket.AF_INET, (hole.host, hole.port)),
            "foreign": (socket.AF_INET, (mail.host, mail.port)),
            "no family": (999, ("x", 1)),
        }
        good = (socket.AF_INET, (served.host, served.port))
        monkeypatch.setattr(_sockets, "resolve", lambda _server: [bad[first], good])
        with Client("a.name:1", connect_timeout=60 if own else 0.4) as client:
            limit = 0.8 if own else None
            assert client.do("reverse", b"abc", timeout=limit) == b"cba"
            assert client.unique_status("x", timeout=limit).known is False


def test_localhost(served: GearmanServer) -> None:
    """The name localhost leads to a server that listens on 127.0.0.1 only."""
    with Client(f"localhost:{served.port}", timeout=20) as client:
        assert client.do("reverse", b"abc") == b"cba"
