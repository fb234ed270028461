"""The descriptor of C's connection: found for certain, or done without."""

from __future__ import annotations

import os
import signal
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from pygearman_cffi import (
    Client,
    ConnectionLostError,
    GearmanTimeoutError,
    ServerError,
    WorkExceptionError,
    WorkFailError,
    _descriptor,
    _sockets,
)
from pygearman_cffi._descriptor import Descriptor
from pygearman_cffi._sockets import Reached
from pygearman_cffi.testing import GearmanServer
from tests.fakes import FakeServer, frozen, impostor, packet, proxy
from tests.programs import c_worker

# -- without -----------------------------------------------------------------------------


@pytest.fixture
def blind(served: GearmanServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A client on a platform that shows no descriptors."""
    monkeypatch.setattr(Descriptor, "find", lambda *_: None)
    with Client(served.address) as client:
        yield client


def test_calls_without_a_descriptor(blind: Client) -> None:
    """Every call works where the platform shows no descriptors."""
    for _ in range(3):
        assert blind.do("reverse", b"abc") == b"cba"
        assert blind.do("echo") == b""
        assert blind.do("chunks", b"abcdef", on_data=lambda _: None) == b"abcdef"
        with pytest.raises(WorkFailError):
            blind.do("fail")
        with pytest.raises(WorkExceptionError):
            blind.do("exception", b"oops")
        handle = blind.do_background("background", b"x", unique="blind")
        assert blind.job_status(handle).known
        assert blind.unique_status("blind").known
        blind.echo(b"x" * 100_000)
        blind.set_server_option("exceptions")
        with pytest.raises(ServerError):
            blind.set_server_option("no_such_option")
        with pytest.raises(ServerError):
            blind.cancel_job(handle)
    assert blind.do("echo", b"x" * 500_000) == b"x" * 500_000


def test_deadline_without_a_descriptor(blind: Client) -> None:
    """A deadline holds there too, and the client is usable afterwards."""
    for _ in range(2):
        begun = time.monotonic()
        with pytest.raises(GearmanTimeoutError):
            blind.do("nobody_serves_this", timeout=0.3)
        assert 0.3 <= time.monotonic() - begun < 0.6
        assert blind.do("reverse", b"abc") == b"cba"


def test_late_answers_without_a_descriptor(blind: Client) -> None:
    """A late answer is nobody's there either."""
    for turn in range(10):
        with pytest.raises(GearmanTimeoutError):
            blind.do("sleep_ms", b"20 late", timeout=0.01)
        assert blind.do("echo", b"%d" % turn) == b"%d" % turn


def test_echo_deadline_without_a_descriptor(
    served: GearmanServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A blocked `echo` ends at its deadline, and the next call succeeds."""
    monkeypatch.setattr(Descriptor, "find", lambda *_: None)
    with GearmanServer() as server, Client(server.address) as client:
        client.echo(b"x")
        with frozen(server):
            begun = time.monotonic()
            with pytest.raises(TimeoutError):
                client.echo(b"y", timeout=0.3)
            assert 0.3 <= time.monotonic() - begun < 0.6
        client.echo(b"z", timeout=10)


def test_interrupt_without_a_descriptor(blind: Client) -> None:
    """Ctrl-C ends a waiting `do` in less than half a second there too."""
    former = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        begun = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(KeyboardInterrupt):
            blind.do("nobody_serves_this")
        assert time.monotonic() - begun < 0.5
    finally:
        signal.signal(signal.SIGALRM, former)
    assert blind.do("reverse", b"abc") == b"cba"


def test_refused_job_without_a_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused job is a ServerError there too."""
    monkeypatch.setattr(Descriptor, "find", lambda *_: None)
    with GearmanServer() as server, Client(server.address) as client:
        client.do_background("full", b"1")
        server.command("maxqueue full 1")
        for _ in range(3):
            with pytest.raises(ServerError):
                client.do("full", b"2", timeout=5)
            assert client.do_background("other", b"x")


def test_lost_connection_without_a_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a look at the socket would prevent is told, and the next call succeeds."""
    monkeypatch.setattr(Descriptor, "find", lambda *_: None)
    with FakeServer(impostor(b"", hangs_up=True)) as fake:
        client = Client(fake.address)
        with pytest.raises(ConnectionLostError):
            client.do("f", timeout=5)
        client.echo(b"x", timeout=5)
    with GearmanServer() as server, Client(server.address) as client:
        client.echo(b"x")
        server.kill()
        server.start()
        with c_worker(server):
            try:
                client.do("reverse", b"abc", timeout=5)
            except ConnectionLostError:
                pass  # nobody could know before
            assert client.do("reverse", b"abc", timeout=5) == b"cba"


# -- found -------------------------------------------------------------------------------


def descriptor_of(client: Client) -> Descriptor | None:
    """Return what the client takes for the socket of its connection."""
    return client._engine.lanes._jobs[0]._descriptor


def test_descriptor_is_found(client: Client) -> None:
    """On this platform the descriptor is found, and stays while the connection does."""
    client.echo(b"x")
    first = descriptor_of(client)
    assert first is not None
    assert first.open
    client.do("echo", b"x")
    assert descriptor_of(client) is first
    client.close()
    assert not first.open


def test_wrong_guess_is_noticed(
    served: GearmanServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another's socket to the same server is never written to, nor taken for C's."""
    find = Descriptor.find
    with Client(served.address) as other, Client(served.address) as client:
        other.echo(b"x")
        theirs = descriptor_of(other)
        assert theirs is not None
        guesses = [Descriptor(theirs.number)]

        def guess(*arguments: Any) -> Descriptor | None:
            return guesses.pop() if guesses else find(*arguments)

        monkeypatch.setattr(Descriptor, "find", guess)
        assert client.do("reverse", b"abc", timeout=10) == b"cba"
        assert guesses == []
        ours = descriptor_of(client)
        assert ours is not None
        assert ours.number != theirs.number
        assert other._engine.lanes._jobs[0].fresh
        assert other.do("reverse", b"abc", timeout=10) == b"cba"


def test_wrong_guesses_without_end(
    served: GearmanServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where every guess is wrong the connection is used without a descriptor."""
    mine, theirs = socket.socketpair()
    with mine, theirs, Client(served.address) as client:
        number = mine.fileno()
        monkeypatch.setattr(Descriptor, "find", lambda *_: Descriptor(number))
        client.timeout = 10
        assert client.do("reverse", b"abc") == b"cba"
        assert descriptor_of(client) is None
        client.echo(b"x")
        mine.sendall(b"still ours")
        assert theirs.recv(100) == b"still ours"
        theirs.setblocking(False)
        with pytest.raises(BlockingIOError):
            theirs.recv(1)


@pytest.fixture
def without_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let C's socket never have the number that ours had before."""
    preflight = _sockets.preflight

    def hide(*arguments: Any) -> Reached:
        reached = preflight(*arguments)
        return Reached(reached.host, reached.port, 0)

    monkeypatch.setattr(_sockets, "preflight", hide)


@pytest.mark.usefixtures("without_hint")
def test_others_in_the_process_that_use_libgearman(served: GearmanServer) -> None:
    """Sockets of other users of libgearman are not taken for ours, nor changed.

    They keep its mark for as long as they live: those of C programs embedded in the
    process, of the raw layer, of C's own client in a worker that divides a job.
    """
    mark = struct.pack("ii", 1, 10)  # what libgearman sets, at SO_LINGER
    with ExitStack() as stack:
        others = []
        for number in range(900, 905):  # they are looked at first
            with socket.create_connection((served.host, served.port)) as made:
                os.dup2(made.fileno(), number)
                others.append(stack.enter_context(socket.socket(fileno=number)))
            others[-1].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, mark)
        with Client(served.address) as client:
            assert client.do("reverse", b"abc", timeout=10) == b"cba"
            ours = descriptor_of(client)
            assert ours is not None
            assert not 900 <= ours.number < 905
        for other in others:
            assert other.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8) == mark
            other.settimeout(0)
            with pytest.raises(BlockingIOError):
                other.recv(1)


def test_answer_to_a_longer_question() -> None:
    """The answer to question 12 is not the answer to question 1."""
    mine, theirs = socket.socketpair()
    with mine, theirs:
        descriptor = Descriptor(mine.fileno())
        assert not descriptor.shows(b"nudge:1")
        theirs.sendall(packet(20, b"nudge:12", b"0", b"0", b"0", b"0"))
        assert not descriptor.shows(b"nudge:1")
        assert descriptor.shows(b"nudge:12")


@pytest.mark.usefixtures("without_hint")
def test_search_without_a_hint(served: GearmanServer) -> None:
    """Where the guessed number is wrong all descriptors are searched; none is left."""
    reading, writing = os.pipe()  # no sockets
    try:
        with Client(served.address) as client:
            client.echo(b"x")
            before = len(os.listdir("/proc/self/fd"))
            for _ in range(5):
                client.remove_servers()  # ends the connection
                client.add_server(served.host, served.port)
                assert client.do("reverse", b"abc") == b"cba"
                assert descriptor_of(client) is not None
            assert len(os.listdir("/proc/self/fd")) <= before
    finally:
        os.close(reading)
        os.close(writing)


def test_default_timeout_of_sockets(
    served: GearmanServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`socket.setdefaulttimeout` changes nothing here, nor other sockets by us."""
    mine, theirs = socket.socketpair()
    monkeypatch.setattr(
        _descriptor, "descriptors", lambda _hint: iter(range(1000))
    )  # also those of others
    former = socket.getdefaulttimeout()
    socket.setdefaulttimeout(0.05)
    try:
        with mine, theirs, Client(served.address) as client:
            assert os.get_blocking(mine.fileno())
            assert client.do("sleep_ms", b"150") == b"150"
            client.echo(b"x" * 100_000)
            assert os.get_blocking(mine.fileno())
            assert os.get_blocking(theirs.fileno())
    finally:
        socket.setdefaulttimeout(former)


def test_closing_never_blocks(served: GearmanServer) -> None:
    """Leaving unsent data behind costs no time: C would wait ten seconds for it."""
    with proxy(served) as between, Client(between.address) as client:
        client.do("echo", b"x")
        with frozen(served):
            begun = time.monotonic()
            with pytest.raises(GearmanTimeoutError):
                client.do("echo", bytes(8 << 20), timeout=0.2)
            client.close()
            assert time.monotonic() - begun < 0.6


def test_unasked_data_makes_a_connection_stale() -> None:
    """A connection that brings what nobody asked for is replaced before the next job."""
    done = packet(8, b"H:x:1") + packet(13, b"H:x:1", b"done")
    with FakeServer(impostor(done)) as fake, Client(fake.address, timeout=5) as client:
        for _ in range(3):
            assert client.do("f") == b"done"
            poll = client._engine.lanes._jobs[0]._poll
            assert not poll.poll(0)
            fake.send(packet(13, b"H:x:0", b"late"))
            assert poll.poll(5000)
