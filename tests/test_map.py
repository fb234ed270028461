"""`Client.map`: the results of many jobs, in constant memory."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator

import pytest

from pygearman_cffi import (
    Client,
    CouldNotConnectError,
    GearmanTimeoutError,
    ServerError,
    WorkExceptionError,
    WorkFailError,
)
from pygearman_cffi.errors import ConnectionLostError
from pygearman_cffi.testing import GearmanServer
from tests.isolated import run_isolated
from tests.programs import c_worker


@pytest.fixture(scope="module")
def server() -> Iterator[GearmanServer]:
    """A server with two C workers of each function."""
    with (
        GearmanServer() as server,
        c_worker(server, "task_worker"),
        c_worker(server),
        c_worker(server),
    ):
        yield server


@pytest.fixture
def client(server: GearmanServer) -> Iterator[Client]:
    """A client that gives up rather than hang."""
    with Client(server.address, timeout=20) as client:
        yield client


def numbers(count: int) -> list[bytes]:
    """Different payloads."""
    return [b"%d" % number for number in range(count)]


class Counted:
    """An endless source that counts what was taken from it."""

    taken = 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        self.taken += 1
        return b"%d" % (self.taken - 1)


class Killer:
    """A source that kills the server when it is asked for its 150th item."""

    def __init__(self, server: GearmanServer) -> None:
        self._server = server
        self._taken = 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        self._taken += 1
        if self._taken == 150:
            self._server.kill()
        return b"%d" % self._taken


# -- results ------------------------------------------------------------------------------


def test_in_order(client: Client) -> None:
    """Results come in the order of the workloads, of any iterable."""
    assert list(client.map("upper", [b"a", bytearray(b"b"), memoryview(b"c")])) == [
        b"A",
        b"B",
        b"C",
    ]
    assert list(client.map("echo", iter(numbers(3000)))) == numbers(3000)
    assert list(client.map(b"echo", {b"key": 1})) == [b"key"]
    assert list(client.map("echo", [b""])) == [b""]
    assert list(client.map("echo", [])) == []


@pytest.mark.parametrize("window", [1, 2, 3, 7, 1000])
def test_windows(client: Client, window: int) -> None:
    """Any window gives the same results."""
    assert list(client.map("echo", numbers(500), window=window)) == numbers(500)
    loose = client.map("echo", numbers(500), window=window, ordered=False)
    assert sorted(loose) == sorted(numbers(500))


def test_slow_jobs(client: Client) -> None:
    """A slow job holds its place in line; unordered, the others overtake it."""
    payloads = [b"200", b"1", b"2", b"3"]
    assert list(client.map("sleep_ms", payloads)) == payloads
    loose = list(client.map("sleep_ms", payloads, ordered=False))
    assert sorted(loose) == sorted(payloads)
    assert loose[-1] == b"200"


def test_chunks_are_joined(client: Client) -> None:
    """What workers send in chunks arrives whole."""
    assert list(client.map("chunks", [b"abcdef", b"xyz"])) == [b"abcdef", b"xyz"]


def test_hundred_thousand(client: Client, server: GearmanServer) -> None:
    """100,000 results are right and in order; memory does not grow with them."""
    printed = run_isolated(
        """
        import json, sys, time
        from pygearman_cffi import Client

        def resident():
            with open("/proc/self/statm") as statm:
                return int(statm.read().split()[1]) * 4096

        client = Client(sys.argv[1], timeout=60)
        workloads = (b"%d" % number for number in range(100_000))
        start = time.monotonic()
        for number, result in enumerate(client.map("echo", workloads)):
            assert result == b"%d" % number
            if number == 10_000:
                before = resident()
        assert number == 99_999
        print(json.dumps([resident() - before, time.monotonic() - start]))
        """,
        server.address,
    )
    grown, seconds = json.loads(printed)
    print(f"100,000 through map: {seconds:.1f} s, memory {grown / 1024:+.0f} KiB")
    assert grown < 2 * 2**20


# -- failures -----------------------------------------------------------------------------


def test_failure(client: Client) -> None:
    """A failed job raises where its result would be, and ends the iteration."""
    results = client.map("mix", [b"oa", b"ob", b"fwhy", b"oc"])
    assert [next(results), next(results)] == [b"a", b"b"]
    with pytest.raises(WorkFailError, match="why") as caught:
        next(results)
    assert "Client.map('mix')" in str(caught.value)
    assert caught.value.warnings == (b"why",)
    assert caught.value.job_handle
    assert list(results) == []
    with pytest.raises(WorkExceptionError, match="boom"):
        list(client.map("mix", [b"eboom"]))


@pytest.mark.parametrize("ordered", [True, False])
def test_return_exceptions(client: Client, ordered: bool) -> None:
    """With return_exceptions each failure stands in its place, and all others run."""
    letters = [b"o", b"f", b"e"]
    workloads = [letters[number % 3] + b"%d" % number for number in range(900)]
    results = list(
        client.map("mix", workloads, ordered=ordered, return_exceptions=True)
    )
    assert len(results) == 900
    for number, result in enumerate(results):
        payload = b"%d" % number
        if ordered and number % 3 == 0:
            assert result == payload
        elif ordered and number % 3 == 1:
            assert isinstance(result, WorkFailError)
            assert result.warnings == (payload,)
        elif ordered:
            assert isinstance(result, WorkExceptionError)
            assert result.payload == payload
    kinds = [type(result) for result in results]
    assert [
        kinds.count(kind) for kind in (bytes, WorkFailError, WorkExceptionError)
    ] == [
        300,
        300,
        300,
    ]


def test_refused(client: Client, server: GearmanServer) -> None:
    """A job that the server refuses is a failure like another."""
    client.do_background("full")
    server.command("maxqueue full 1")
    results = list(client.map("full", numbers(300), return_exceptions=True))
    assert [type(result) for result in results] == [ServerError] * 300
    with pytest.raises(ServerError, match="queue is full"):
        next(client.map("full", numbers(3)))


def test_server_is_down() -> None:
    """When no server is reached the first step says so."""
    with Client("127.0.0.1:1") as client:
        results = client.map("echo", [b"x"], return_exceptions=True)
        with pytest.raises(CouldNotConnectError, match=r"Client\.map\('echo'\)"):
            next(results)
        assert results.closed


def test_server_is_killed() -> None:
    """What was in flight is lost and says so; the rest goes to the next server."""
    with (
        GearmanServer() as first,
        GearmanServer() as second,
        c_worker(first, "task_worker"),
        c_worker(second, "task_worker"),
        Client([first.address, second.address], timeout=20) as client,
    ):
        results = client.map("echo", numbers(2000), window=50, return_exceptions=True)
        got = [next(results) for _ in range(100)]
        first.kill()
        got += results
        first.start()
    lost = [result for result in got if not isinstance(result, bytes)]
    assert len(lost) <= 50
    assert all(isinstance(result, ConnectionLostError) for result in lost)
    right = [result == b"%d" % number for number, result in enumerate(got)]
    assert (len(got), right.count(False)) == (2000, len(lost))


def test_only_server_is_killed() -> None:
    """Without another server lost jobs are told in their turn, then that none is left."""
    with (
        GearmanServer() as own,
        c_worker(own, "task_worker"),
        Client(own.address, timeout=20) as client,
    ):
        results = client.map("echo", Killer(own), window=50, return_exceptions=True)
        got: list[object] = []
        with pytest.raises(CouldNotConnectError):
            got.extend(iter(results.__next__, None))
        own.start()
    assert len(got) >= 50
    lost = [result for result in got if not isinstance(result, bytes)]
    assert all(isinstance(result, ConnectionLostError) for result in lost)
    assert results.closed


@pytest.mark.parametrize("source", [numbers(3), iter(numbers(3)), Counted()])
def test_deadline(client: Client, source: Iterable[bytes]) -> None:
    """One step takes no longer than timeout, and then the iteration is over."""
    results = client.map("nobody", source, timeout=0.2, return_exceptions=True)
    start = time.monotonic()
    with pytest.raises(GearmanTimeoutError, match=r"Client\.map\('nobody'\)"):
        next(results)
    assert 0.2 <= time.monotonic() - start < 3
    assert list(results) == []
    assert client.do("echo", b"x") == b"x"


def test_deadline_is_for_each_step(client: Client) -> None:
    """Steps that each keep to the timeout may take longer together."""
    payloads = [b"60"] * 12
    start = time.monotonic()
    assert list(client.map("sleep_ms", payloads, window=2, timeout=0.3)) == payloads
    assert time.monotonic() - start > 0.3


def test_deadline_with_a_slow_source(client: Client) -> None:
    """A source that trickles does not put the deadline of a step off."""

    def trickle() -> Iterator[bytes]:
        while True:
            time.sleep(0.01)  # the source is what is slow here
            yield b"x"

    start = time.monotonic()
    with pytest.raises(GearmanTimeoutError):
        next(client.map("nobody", trickle(), timeout=0.2))
    assert time.monotonic() - start < 2
