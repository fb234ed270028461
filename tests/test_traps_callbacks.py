"""The traps of callbacks: re-entrancy, threads, and exceptions that must not enter C.

Each runs in a process of its own, which must live, be silent and end with status 0.
"""

from __future__ import annotations

import pytest

from pygearman_cffi.testing import GearmanServer
from tests.fakes import FakeServer, impostor
from tests.traps import run_trap

EVENTS = {
    "created": "reverse",
    "data": "chunks",
    "warning": "chunks",
    "status": "chunks",
    "complete": "reverse",
    "exception": "exception",
    "fail": "fail",
}


@pytest.mark.parametrize("event", EVENTS)
def test_9_reentrancy(event: str, served: GearmanServer) -> None:
    """In every callback what would crash C is BusyError, and what is safe works."""
    run_trap(
        """
        event, function = sys.argv[2:]
        client = Client(ADDRESS, timeout=10)
        forbidden = [
            client.run_tasks, client.close, client.remove_servers, client.wait,
            lambda: client.do("echo"), lambda: client.do_background("echo"),
            lambda: client.execute("echo"), lambda: client.echo(b"x"),
            lambda: client.job_status("H:x:1"), lambda: client.unique_status("x"),
            lambda: client.execute_by_partition("a", "b", b"x"),
            lambda: client.add_server("a", 1),
            lambda: client.__exit__(None, None, None),
        ]
        added, seen = [], []

        def use(task):
            for call in forbidden:
                expect(BusyError, "inside a callback use another one", call)
            assert task.job_handle and task.unique and task.function_name == function
            for name in ("data", "warnings", "exception", "error", "is_known",
                         "is_running", "is_finished", "numerator", "client_count"):
                getattr(task, name)
            if len(added) < 3:
                added.append(client.add_task("reverse", b"xyz"))
            seen.extend(client.map("reverse", [b"1a", b"2b"]))
            client.clone().close()

        task = client.add_task(function, b"abcdef", **{f"on_{event}": use})
        assert client.run_tasks() is True
        assert task.is_finished
        assert added and [task.result for task in added] == [b"zyx"] * len(added)
        assert seen == [b"a1", b"b2"] * len(added)
        fine(client)
        """,
        served.address,
        event,
        EVENTS[event],
    )


def test_10_two_threads(served: GearmanServer) -> None:
    """Threads that share a client get their own result or BusyError, never a crash."""
    out = run_trap(
        """
        client, until = Client(ADDRESS, timeout=10), time.monotonic() + 1
        right, busy, other = [0] * 4, [0] * 4, []

        def use(number):
            word = b"%d-" % number
            while time.monotonic() < until:
                try:
                    if number == 3:
                        task = client.add_task("reverse", word)
                        client.run_tasks()
                        ok = task.state is TaskState.WAITING or task.result == word[::-1]
                    else:
                        ok = client.do("reverse", word) == word[::-1]
                    right[number] += ok
                    if not ok:
                        other.append("wrong")
                except BusyError:
                    busy[number] += 1
                except BaseException as error:
                    other.append(repr(error))

        threads = [threading.Thread(target=use, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not other, other[:3]
        client.run_tasks()
        fine(client)
        print(sum(right), sum(busy))
        """,
        served.address,
    )
    right, busy = map(int, out.split())
    assert right > 2
    assert busy > 2


@pytest.mark.parametrize("event", EVENTS)
def test_12_exceptions_of_callbacks(event: str, served: GearmanServer) -> None:
    """What a callback raises comes out once and unchanged; it is not called again."""
    run_trap(
        """
        event, function = sys.argv[2:]
        calls = []

        def guilty(task):
            calls.append(task)
            raise own

        client = Client(ADDRESS, timeout=10)
        runs = [
            lambda on: (client.add_task(function, b"abcdef", **on), client.run_tasks()),
        ]
        if event in ("created", "data", "warning", "status"):
            runs.append(lambda on: client.do(function, b"abcdef", **on))
        for own in (ValueError(1), MemoryError(), KeyboardInterrupt(), SystemExit(3)):
            # Two packets of data come; what ends a program is not called twice.
            both = event == "data" and isinstance(own, Exception)
            for run in runs:
                calls.clear()
                once(own, lambda: run({f"on_{event}": guilty}))
                assert len(calls) == 1 + both
                assert client.run_tasks() is True
                fine(client)
                assert len(calls) == 1 + both
        client.close()
        """,
        served.address,
        event,
        EVENTS[event],
    )


def test_12_exceptions_elsewhere(served: GearmanServer) -> None:
    """So does what a log function, a map's source or a question's callback raises."""
    run_trap(
        """
        def guilty(*_):
            raise own

        def source():
            yield b"ab"
            raise own

        client = Client(ADDRESS, timeout=10)
        for own in (ValueError(1), KeyboardInterrupt(), SystemExit(3)):
            for ordered in (True, False):
                results = client.map("reverse", source(), ordered=ordered)
                once(own, lambda: list(results))
                assert list(results) == [] and results.closed
            for event, function in (
                ("created", "echo"), ("data", "chunks"), ("complete", "echo"),
            ):
                getattr(client, f"set_{event}_fn")(guilty)
                client.add_task(function, b"abcdef")
                once(own, client.run_tasks)
                client.clear_fn()
                assert client.run_tasks() is True
            later = {"at": time.time() + 60, "on_created": guilty}
            client.add_task_background("nobody_serves_this", **later)
            once(own, client.run_tasks)
            client.add_task_status("H:x:1", on_status=guilty)
            once(own, client.run_tasks)
            client.add_task_status_by_unique("x", on_status=guilty)
            once(own, client.run_tasks)
            client.run_tasks()
            fine(client)
        """,
        served.address,
    )


def test_12_exceptions_of_a_log_function() -> None:
    """What a log function raises comes out of the call in which C had to complain."""
    script = """
        def guilty(line, verbose):
            assert line and isinstance(verbose, Verbose)
            raise own

        for own in (ValueError(1), KeyboardInterrupt(), SystemExit(3)):
            client = Client(ADDRESS, timeout=5)
            client.set_log_fn(guilty)
            once(own, lambda: client.do("f", b"x"))
            lines = []
            client.set_log_fn(lambda line, verbose: lines.append(line))
            expect(ProtocolError, "magic", lambda: client.do("f", b"x"))
            print(len(lines))
    """
    with FakeServer(impostor(b"\0XXX" + bytes(8))) as fake:
        run_trap(script, fake.address)
