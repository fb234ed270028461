"""Deadlines and interrupts: they hold whatever the server and the network do."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pygearman_cffi import Client, GearmanTimeoutError, Task
from pygearman_cffi.testing import GearmanServer
from tests.fakes import (
    GET_STATUS,
    FakeServer,
    Pace,
    black_hole,
    impostor,
    packet,
    proxy,
)
from tests.fakes import OPTION_REQ as OPTION
from tests.isolated import run_isolated
from tests.programs import c_worker

BIG = bytes(range(256)) * 16384  # 4 MiB


@contextmanager
def between(low: float, high: float) -> Iterator[None]:
    """Assert how many seconds the block takes."""
    begun = time.monotonic()
    yield
    taken = time.monotonic() - begun
    assert low <= taken < high, f"it took {taken:.3f} s"


@contextmanager
def interrupt_after(seconds: float) -> Iterator[None]:
    """Do what Ctrl-C does, once, after some time."""
    former = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)


# -- deadlines ---------------------------------------------------------------------------


def test_deadline_without_a_worker(client: Client) -> None:
    """`do(timeout=0.3)` ends between 0.3 and 0.6 s, and the next `do` succeeds."""
    for _ in range(3):
        with between(0.3, 0.6), pytest.raises(GearmanTimeoutError) as caught:
            client.do("nobody_serves_this", b"x", timeout=0.3)
        assert "H:" in str(caught.value)  # the job's handle, for whoever asks later
        assert "may still run" in str(caught.value)
        assert client.do("reverse", b"abc") == b"cba"


def test_deadline_of_questions(served: GearmanServer) -> None:
    """Every call that waits has a deadline; after it the client is usable."""
    down = Pace()
    with proxy(served, down=down) as slow, Client(slow.address) as client:
        for call in (
            lambda: client.do("echo", b"x", timeout=0.2),
            lambda: client.do_background("background", b"x", timeout=0.2),
            lambda: client.job_status("H:x:1", timeout=0.2),
            lambda: client.unique_status("x", timeout=0.2),
            lambda: client.echo(b"x", timeout=0.2),
            lambda: client.set_server_option("exceptions", timeout=0.2),
        ):
            call()
            down.set(1, 60.0)
            with between(0.2, 0.5), pytest.raises(GearmanTimeoutError):
                call()
            down.set()
            slow.cut()
            assert client.do("reverse", b"abc", timeout=5) == b"cba"


def test_late_answers_are_nobodys(client: Client) -> None:
    """The answer to a job that timed out is never that of a later call."""
    late = 0
    for turn in range(40):
        workload = b"%d late" % (20 + turn % 20)
        try:
            result = client.do("sleep_ms", workload, timeout=0.001 + turn % 7 * 0.003)
        except GearmanTimeoutError:
            late += 1
        else:  # a busy machine: it was there before anybody looked at the clock
            assert result == workload
        payload = b"mine %d" % turn
        assert client.do("echo", payload) == payload
        client.echo(payload)
    assert late > 20


def test_late_answers_of_jobs_that_waited() -> None:
    """A worker that comes later serves what timed out, and nobody else hears of it."""
    with GearmanServer() as server, Client(server.address) as client:
        for turn in range(30):
            with pytest.raises(GearmanTimeoutError):
                client.do("echo", b"late %d" % turn, timeout=0.005)
        with c_worker(server):
            for turn in range(200):
                payload = b"mine %d" % turn
                assert client.do("echo", payload, timeout=20) == payload


def test_deadline_while_connecting() -> None:
    """A call's own deadline holds while a server accepts and never speaks."""
    for handler in (black_hole, impostor(mute={GET_STATUS}), impostor(mute={OPTION})):
        with FakeServer(handler) as fake, Client(fake.address) as client:
            with between(0.3, 0.6), pytest.raises(GearmanTimeoutError) as caught:
                client.do("f", timeout=0.3)
            assert "Nothing was sent" in str(caught.value)


def test_deadline_while_an_upload_trickles(served: GearmanServer) -> None:
    """A deadline holds while 4 MiB trickle out; the next call succeeds."""
    up = Pace()
    with proxy(served, up=up) as slow, Client(slow.address) as client:
        client.do("echo", b"x")
        for call in (
            lambda: client.do("echo", BIG, timeout=0.4),
            lambda: client.do_background("background", BIG, timeout=0.4),
            lambda: client.echo(BIG, timeout=0.4),
        ):
            up.set(4096, 0.02)
            with between(0.4, 0.7), pytest.raises(GearmanTimeoutError):
                call()
            up.set()
            assert client.do("reverse", b"abc", timeout=10) == b"cba"


def test_deadline_while_a_reply_trickles(served: GearmanServer) -> None:
    """A deadline holds while a reply trickles in, and while chunks keep coming."""
    down = Pace()
    with proxy(served, down=down) as slow, Client(slow.address) as client:
        client.do("echo", b"x")
        payload = BIG[:200_000]
        for function in ("echo", "chunks", "exception"):
            down.set(256, 0.01)
            with between(0.4, 0.7), pytest.raises(GearmanTimeoutError):
                client.do(function, payload, timeout=0.4)
            down.set()
            assert client.do("reverse", b"abc", timeout=10) == b"cba"


def test_deadline_under_a_stream_of_packets() -> None:
    """A deadline holds while packets come without a pause: C never waits then."""
    job = b"H:x:1"
    flood = packet(8, job) + packet(28, job, b"x" * 100) * 100_000
    seen = 0

    def count(_task: Task) -> None:
        nonlocal seen
        seen += 1

    with FakeServer(impostor(flood)) as fake, Client(fake.address) as client:
        with between(0.2, 0.6), pytest.raises(GearmanTimeoutError):
            client.do("f", timeout=0.2, on_data=count)
        assert seen


def test_slow_but_in_time(served: GearmanServer) -> None:
    """What trickles but is done before the deadline succeeds."""
    with (
        proxy(served, up=Pace(4096, 0.002), down=Pace(4096, 0.002)) as slow,
        Client(slow.address, timeout=30) as client,
    ):
        payload = BIG[:300_000]
        assert client.do("reverse", payload) == payload[::-1]


TIMER = """
    import signal, sys, time
    from pygearman_cffi import Client, GearmanTimeoutError

    beats = 0
    def beat(*_):
        global beats
        beats += 1
    signal.signal(signal.SIGALRM, beat)
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    mode, host, port = sys.argv[1:]
    client = Client([(host, int(port))], connect_timeout=0.5)
    payload = bytes(4 << 20) if mode == "upload" else b"x"
    for call in (
        lambda: client.do("nobody_serves_this", payload, timeout=0.3),
        lambda: client.do("nobody_serves_this", payload, timeout=0.3),
    ):
        begun = time.monotonic()
        try:
            call()
        except GearmanTimeoutError:
            pass
        else:
            raise SystemExit("no timeout")
        taken = time.monotonic() - begun
        assert 0.3 <= taken < 0.6, taken
    assert beats > 20, beats
    assert client.do("echo", b"x", timeout=10) == b"x"
    signal.setitimer(signal.ITIMER_REAL, 0)
"""


def test_deadline_under_an_interval_timer(served: GearmanServer) -> None:
    """A deadline holds while a signal comes every 20 ms; handlers run meanwhile."""
    run_isolated(TIMER, "wait", served.host, str(served.port))


def test_deadline_of_an_upload_under_an_interval_timer(served: GearmanServer) -> None:
    """The same while 4 MiB trickle out."""
    with proxy(served, up=Pace(65536, 0.02)) as slow:
        run_isolated(TIMER, "upload", slow.host, str(slow.port))


# -- Ctrl-C ------------------------------------------------------------------------------


def test_interrupt_while_waiting(client: Client) -> None:
    """Ctrl-C ends a waiting `do` at once and leaves the client usable."""
    for _ in range(3):
        with (
            interrupt_after(0.1),
            between(0.1, 0.5),
            pytest.raises(KeyboardInterrupt),
        ):
            client.do("nobody_serves_this")
        assert client.do("reverse", b"abc") == b"cba"


def test_interrupt_while_connecting() -> None:
    """Ctrl-C ends a call that waits for a server that never speaks."""
    with GearmanServer() as server, FakeServer(black_hole) as mute:
        client = Client(mute.address, connect_timeout=30)
        for call in (
            lambda: client.do("f"),
            lambda: client.echo(b"x"),
            lambda: client.unique_status("x"),
        ):
            with (
                interrupt_after(0.1),
                between(0.1, 0.5),
                pytest.raises(KeyboardInterrupt),
            ):
                call()
        client.remove_servers()
        client.add_server(server.host, server.port)
        client.echo(b"x", timeout=5)


def test_interrupt_of_an_upload(served: GearmanServer) -> None:
    """Ctrl-C ends calls whose large payload trickles out: `do` and `echo`."""
    up = Pace()
    with proxy(served, up=up) as slow, Client(slow.address) as client:
        client.do("echo", b"x")
        for call in (lambda: client.do("echo", BIG), lambda: client.echo(BIG)):
            up.set(4096, 0.02)
            with (
                interrupt_after(0.2),
                between(0.2, 0.6),
                pytest.raises(KeyboardInterrupt),
            ):
                call()
            up.set()
            assert client.do("reverse", b"abc", timeout=10) == b"cba"


def test_interrupt_of_a_reply(served: GearmanServer) -> None:
    """Ctrl-C ends calls whose reply trickles in: `do` and `echo`."""
    down = Pace()
    with proxy(served, down=down) as slow, Client(slow.address) as client:
        client.do("echo", b"x")
        payload = BIG[:200_000]
        for call in (lambda: client.do("echo", payload), lambda: client.echo(payload)):
            down.set(256, 0.01)
            with (
                interrupt_after(0.2),
                between(0.2, 0.6),
                pytest.raises(KeyboardInterrupt),
            ):
                call()
            down.set()
            assert client.do("reverse", b"abc", timeout=10) == b"cba"


def test_handler_that_returns_disturbs_nothing(client: Client) -> None:
    """A signal whose handler returns does not end a call, nor spoil its result."""
    beats = []
    former = signal.signal(signal.SIGALRM, lambda *_: beats.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        for turn in range(200):
            payload = b"%d" % turn * 500
            assert client.do("reverse", payload) == payload[::-1]
        assert client.do("sleep_ms", b"100") == b"100"
        client.echo(BIG[:100_000])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)
    assert len(beats) > 50


HAMMER = """
    import random, signal, sys, time
    from pygearman_cffi import Client

    sys.unraisablehook = lambda _: None  # interrupted finalizers
    armed = False
    def interrupt(*_):
        if armed:
            raise KeyboardInterrupt
    signal.signal(signal.SIGALRM, interrupt)
    client = Client(sys.argv[1])
    chance = random.Random(1)
    done = interrupted = 0
    end = time.monotonic() + 2.5
    while time.monotonic() < end or min(done, interrupted) < 100:
        payload = b"%d" % (done + interrupted)
        try:
            signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.00001, 0.001))
            armed = True
            result = client.do("echo", payload, on_data=lambda task: None)
            armed = False
        except KeyboardInterrupt:
            interrupted += 1
        else:
            assert result == payload, (result, payload)
            done += 1
        armed = False
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert client.do("echo", b"x") == b"x"
    print(done, interrupted)
"""


def test_interrupts_anywhere(served: GearmanServer) -> None:
    """Ctrl-C at any moment whatever is not lost, and leaves the client usable."""
    done, interrupted = map(int, run_isolated(HAMMER, served.address).split())
    assert done >= 100
    assert interrupted >= 100
