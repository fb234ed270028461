"""`Client.map` as an iterator: what it takes from its source, and how it ends."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import pytest

from pygearman_cffi import BusyError, Client, ClosedError, InvalidArgumentError
from pygearman_cffi.errors import ArgumentTypeError
from pygearman_cffi.testing import GearmanServer
from tests.programs import c_worker, wait_for
from tests.scripts import script


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


# -- sources ------------------------------------------------------------------------------


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("window", [1, 10, 256])
def test_laziness(client: Client, window: int, ordered: bool) -> None:
    """Never more than twice the window is taken ahead of what was yielded."""
    source = Counted()
    results = client.map("echo", source, window=window, ordered=ordered)
    assert source.taken == 0
    for yielded in range(1, 6 * window):
        next(results)
        assert yielded <= source.taken <= yielded + 2 * window
    results.close()


def test_slow_source_gets_results(client: Client) -> None:
    """Results come while a slow source is still giving: it need not be exhausted."""
    behind: list[int] = []
    received = 0

    def slow() -> Iterator[bytes]:
        for number in range(20):
            behind.append(number - received)
            time.sleep(0.01)  # the source is what is slow here
            yield b"%d" % number

    for received, result in enumerate(client.map("echo", slow()), start=1):
        assert result == b"%d" % (received - 1)
    assert max(behind) < 10


def test_source_raises(client: Client) -> None:
    """An exception of the source comes out unchanged, and ends the iteration."""
    error = LookupError("mine")

    def source() -> Iterator[bytes]:
        yield b"a"
        raise error

    results = client.map("echo", source())
    with pytest.raises(LookupError) as caught:
        list(results)
    assert caught.value is error
    assert results.closed
    for bad in ("text", None, 7):
        with pytest.raises(ArgumentTypeError, match=r"Client\.map\('echo'\)"):
            list(client.map("echo", [b"x", bad]))  # type: ignore[list-item]
    assert client.do("echo", b"x") == b"x"


def test_bad_arguments(client: Client) -> None:
    """Wrong arguments are refused at once, not at the first step."""
    with pytest.raises(ArgumentTypeError, match="one payload"):
        client.map("echo", b"bytes")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        client.map("echo", 7)  # type: ignore[call-overload]
    with pytest.raises(InvalidArgumentError):
        client.map("", [])
    for window in (0, -1, 100_001):
        with pytest.raises(InvalidArgumentError, match="window"):
            client.map("echo", [], window=window)
    for wrong in (True, 1.5, "2"):
        with pytest.raises(ArgumentTypeError, match="window"):
            client.map("echo", [], window=wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError):
        client.map("echo", [], timeout=0)


def test_two_interleaved(client: Client) -> None:
    """Two iterators and the client itself serve the same program in turn."""
    first, second = client.map("echo", numbers(600)), client.map("upper", [b"a"] * 600)
    for number, (one, other) in enumerate(zip(first, second, strict=True)):
        assert (one, other) == (b"%d" % number, b"A")
        if number % 100 == 0:
            assert client.do("echo", b"x") == b"x"
            task = client.add_task("echo", b"y")
            client.run_tasks()
            assert task.result == b"y"


def test_nested(client: Client) -> None:
    """An iterator may be another's source, and a source may use the client."""
    inner = client.map("upper", [b"abc"] * 300)
    assert list(client.map("reverse", inner)) == [b"CBA"] * 300
    asking = (client.do("upper", b"%c" % letter) for letter in b"abcdef")
    assert b"".join(client.map("echo", asking)) == b"ABCDEF"


# -- ends ---------------------------------------------------------------------------------


def test_early_close(client: Client, server: GearmanServer) -> None:
    """Closed early, an iterator ends and leaves no connection; the client works on."""
    before = len(server.command("workers"))
    results = client.map("echo", Counted())
    assert next(results) == b"0"
    assert len(server.command("workers")) > before
    results.close()
    results.close()
    assert results.closed
    assert list(results) == []
    wait_for(lambda: len(server.command("workers")) == before)
    with client.map("echo", Counted()) as block:
        assert list(islice(block, 3)) == numbers(3)
    assert block.closed
    assert client.do("echo", b"x") == b"x"


@pytest.mark.parametrize("steps", [0, 3])
def test_dropped(client: Client, server: GearmanServer, steps: int) -> None:
    """An iterator that is dropped is freed at once, with its source and connection."""
    before = len(server.command("workers"))
    source = Counted()
    results = client.map("echo", source)
    list(islice(results, steps))
    gone = weakref.ref(results), weakref.ref(source)
    gc.disable()
    try:
        del results, source
        assert [each() for each in gone] == [None, None]
    finally:
        gc.enable()
    wait_for(lambda: len(server.command("workers")) == before)


def test_client_is_closed(server: GearmanServer) -> None:
    """After the client was closed its iterators say so, and are over."""
    client = Client(server.address, timeout=20)
    results = client.map("echo", Counted())
    next(results)
    client.close()
    with pytest.raises(ClosedError):
        next(results)
    assert list(results) == []
    with pytest.raises(ClosedError):
        client.map("echo", [])


def test_ctrl_c(server: GearmanServer) -> None:
    """Ctrl-C ends a step at once, and the iterator; the client is usable."""
    source = """
        import json, sys, time
        from pygearman_cffi import Client
        client = Client(sys.argv[1])
        def source():
            yield b"x"
            print("ready", flush=True)
        results = client.map("nobody", source())
        try:
            next(results)
        except KeyboardInterrupt:
            struck = time.monotonic()
        usable = client.do("reverse", b"abc") == b"cba"
        soon = time.monotonic() - struck < 3
        print(json.dumps([results.closed, list(results), usable, soon]))
    """
    with script(source, server.address) as running:
        assert running.line() == "ready"
        wait_for(lambda: server.status().get("nobody", (0,))[0] > 0)
        start = time.monotonic()
        running.interrupt()
        assert running.finish() == [True, [], True, True]
        assert time.monotonic() - start < 5


def test_reentrancy(client: Client) -> None:
    """An iterator that its own source asks for a result is BusyError, not a crash."""
    results: Iterator[object] = iter(())

    def source() -> Iterator[bytes]:
        yield b"a"
        next(results)

    results = client.map("echo", source())
    with pytest.raises(BusyError):
        list(results)


def test_threads(client: Client) -> None:
    """A second thread that asks meanwhile is BusyError, and harms nobody."""
    caught: list[BaseException] = []
    inside, done = threading.Event(), threading.Event()

    def source() -> Iterator[bytes]:
        yield b"a"
        inside.set()
        assert done.wait(20)
        yield b"b"

    results = client.map("echo", source())

    def other(call: Callable[[], object]) -> None:
        try:
            call()
        except BusyError as error:
            caught.append(error)

    def intrude() -> None:
        assert inside.wait(20)
        other(results.__next__)
        other(results.close)
        done.set()

    thread = threading.Thread(target=intrude)
    thread.start()
    assert list(results) == [b"a", b"b"]
    thread.join()
    assert len(caught) == 2
    assert "thread" in str(caught[0])


@pytest.mark.parametrize("ordered", [True, False])
def test_results_before_the_failure_of_a_source(client: Client, ordered: bool) -> None:
    """What a source gave before it failed is yielded; then comes its exception."""

    def failing() -> Iterator[bytes]:
        yield b"ab"
        yield b"cd"
        raise KeyError("mine")

    def wrong() -> Iterator[Any]:
        yield b"ab"
        yield "text"
        yield b"cd"

    results: list[bytes] = []
    with pytest.raises(KeyError, match="mine"):
        results.extend(client.map("reverse", failing(), ordered=ordered, timeout=20))
    mapped = client.map("reverse", failing(), ordered=ordered, timeout=20)
    results = [next(mapped), next(mapped)]
    assert sorted(results) == [b"ba", b"dc"]
    with pytest.raises(KeyError, match="mine"):
        next(mapped)
    assert mapped.closed
    mapped = client.map("reverse", wrong(), ordered=ordered, window=1, timeout=20)
    assert next(mapped) == b"ba"
    with pytest.raises(ArgumentTypeError):
        next(mapped)
