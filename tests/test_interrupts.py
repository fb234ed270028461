"""Exceptions of signal handlers: anywhere, twice, of any kind; and the client after."""

from __future__ import annotations

import pytest

from pygearman_cffi.testing import GearmanServer
from tests.isolated import run_isolated

PROLOGUE = """
    import os, random, signal, sys, threading, time
    from pygearman_cffi import *

    sys.unraisablehook = lambda _: None  # interrupted finalizers
    address = sys.argv[1]
    chance = random.Random(1)
"""

DIVIDED = """
    class Hit(BaseException): pass
    armed = False
    def interrupt(*_):
        global armed
        if armed:
            armed = False
            raise Hit
    signal.signal(signal.SIGALRM, interrupt)
    client = Client(address)
    descriptors = len(os.listdir("/proc/self/fd"))
    interrupted = ended = 0
    end = time.monotonic() + 2.5
    while time.monotonic() < end or min(interrupted, ended) < 50:
        try:
            armed = True
            signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.0003, 0.004))
            try:
                client.execute_by_partition("nobody", "f", b"x" * 1000, timeout=0.003)
            finally:
                armed = False
        except Hit:
            interrupted += 1
        except GearmanTimeoutError:
            ended += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert client.do("reverse", b"abc", timeout=10) == b"cba"
    end = time.monotonic() + 10
    while len(os.listdir("/proc/self/task")) > 1 and time.monotonic() < end:
        time.sleep(0.01)
    assert len(os.listdir("/proc/self/task")) == 1, "a thread stays"
    print("alive")
"""


def test_divided_jobs_interrupted_anywhere(served: GearmanServer) -> None:
    """Wherever the call is interrupted, its thread alone frees what C uses, and ends."""
    assert run_isolated(PROLOGUE + DIVIDED, served.address) == "alive\n"


TWICE = """
    calls = {
        "do": lambda client: client.do("nobody"),
        "run_tasks": lambda client: (client.add_task("nobody"), client.run_tasks()),
        "map": lambda client: next(client.map("nobody", [b""])),
        "divide": lambda client: client.execute_by_partition("nobody", "f", b"x"),
    }
    def again(*_):
        raise KeyboardInterrupt
    def first(*_):
        signal.setitimer(signal.ITIMER_REAL, gap)
        raise KeyboardInterrupt
    signal.signal(signal.SIGINT, first)
    signal.signal(signal.SIGALRM, again)
    twice = 0
    for turn in range(60):
        gap = (turn % 60 + 1) * 1e-5
        client = Client(address, timeout=20)
        threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            try:
                calls[sys.argv[2]](client)
            except KeyboardInterrupt:
                pass
            time.sleep(0.01)  # where the second came during the first, it is one
        except KeyboardInterrupt:
            twice += 1
        assert client.do("reverse", b"abc") == b"cba"
        client.echo(b"x")
        assert not client.has_active_tasks
        client.close()
    print(twice)
"""


@pytest.mark.parametrize("call", ["do", "run_tasks", "map", "divide"])
def test_two_in_a_row(served: GearmanServer, call: str) -> None:
    """A second Ctrl-C, while the first is seen to, leaves the client usable too."""
    assert int(run_isolated(PROLOGUE + TWICE, served.address, call)) > 10


OWN = """
    client = Client(address, timeout=20)
    calls = {
        "do": lambda: client.do("nobody"),
        "divide": lambda: client.execute_by_partition("nobody", "f", b"x"),
        "map": lambda: list(client.map("nobody", [b"1"])),
        "run_tasks": lambda: (client.add_task("nobody"), client.run_tasks()),
        "job_status": lambda: [client.job_status("H:x:1") for _ in range(10**6)],
    }
    errors = [
        RuntimeError("mine"), BusyError("mine"), GearmanTimeoutError("my alarm"),
        ConnectionLostError("mine"), TimeoutError("t"), KeyboardInterrupt(), SystemExit(),
    ]
    for own in errors:
        def handler(*_):
            raise own
        signal.signal(signal.SIGALRM, handler)
        for name, call in calls.items():
            signal.setitimer(signal.ITIMER_REAL, 0.03)
            try:
                call()
            except BaseException as error:
                if error is not own:
                    print(f"{name}: {own!r} has become {error!r}")
            else:
                print(name, "was not interrupted")
            assert client.do("reverse", b"abc") == b"cba"
    signal.signal(signal.SIGALRM, lambda *_: client.close())
    for call in ("do", "divide"):
        signal.setitimer(signal.ITIMER_REAL, 0.03)
        try:
            calls[call]()
        except BusyError as error:
            assert "Client.close()" in str(error), error
        else:
            print("it was closed")
"""


def test_exceptions_of_handlers_come_out_unchanged(served: GearmanServer) -> None:
    """What a signal handler raises comes out as it is, also where it looks like ours."""
    assert run_isolated(PROLOGUE + OWN, served.address) == ""
