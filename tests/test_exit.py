"""Garbage and the end of the process: any order, any cycle, threads still in C.

Whatever is alive, the process ends with its own status and says nothing. What depends on
the moment is tried many times.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from pygearman_cffi.testing import GearmanServer
from tests.programs import c_worker, wait_for
from tests.traps import run_trap

TIMES = int(os.environ.get("PYGEARMAN_EXITS", "3"))
"""How often what depends on the moment is tried; `make fuzz` tries it more often."""

_numbers = count(1)


@pytest.fixture(scope="module")
def server() -> Iterator[GearmanServer]:
    """A server with a C worker, for this file."""
    with GearmanServer() as server, c_worker(server):
        yield server


@pytest.fixture
def name() -> str:
    """A function name that no other test uses."""
    return f"exit-{next(_numbers)}"


def run_often(
    script: str, *arguments: str, status: int = 0, times: int = TIMES
) -> None:
    """Run a script many times, two at once."""

    def run(_number: int) -> None:
        run_trap(script, *arguments, status=status)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, range(times)))


THREADS = {
    "do": "client.do('nobody_serves_this')",
    "do with a timeout": "client.do('nobody_serves_this', timeout=0.002)",
    "do busily": "client.do('reverse', b'abc')",
    "tasks": "(client.add_task('nobody_serves_this'), client.run_tasks())",
    "partition": "client.execute_by_partition('nobody_serves_this', 'g', b'x')",
    "map": "list(client.map('reverse', [b'abc'] * 50))",
    "connect": "Client(ADDRESS).echo(b'x')",
    "worker": "worker.run()",
    "busy worker": "worker.run()",
    "work with a timeout": "worker.work()",
}


@pytest.mark.parametrize("call", THREADS)
def test_threads_in_c(call: str, server: GearmanServer, name: str) -> None:
    """Daemon threads that sit in C, or go in and out, do not disturb the end."""
    script = """
        name, call, kind = sys.argv[2:]
        inside = threading.Barrier(5)

        def thread():
            client, worker = Client(ADDRESS), Worker(ADDRESS)
            worker.add_function(name, lambda job: job.workload)
            if kind.startswith("work"):
                worker.timeout = 0.002
            inside.wait()
            while True:
                try:
                    eval(call)
                except GearmanError:
                    pass

        for _ in range(4):
            threading.Thread(target=thread, daemon=True).start()
        inside.wait()
        if kind == "busy worker":
            with Client(ADDRESS) as client:
                for number in range(200):
                    client.do_background(name, b"x")
                assert client.do(name, b"x", timeout=10) == b"x"
        else:
            time.sleep(0.03)  # they go in, and out; nothing to wait for
    """
    run_often(script, server.address, name, THREADS[call], call)


def test_dropped_in_any_order(server: GearmanServer, name: str) -> None:
    """What belongs together may be dropped in any of 120 orders, and in cycles."""
    run_trap(
        """
        import itertools, weakref
        name = sys.argv[2]
        for number, order in enumerate(itertools.permutations(range(5))):
            client, worker = Client(ADDRESS, timeout=10), Worker(ADDRESS, timeout=10)
            worker.register(name)
            client.do_background(name, b"x")
            while not (job := worker.grab_job()):
                pass
            task = client.add_task("reverse", b"ab")
            client.run_tasks()
            results = client.map("reverse", [b"ab"] * 3)
            next(results)
            things = [client, worker, job, task, results]
            gone = [weakref.ref(thing) for thing in (client, worker)]
            if number % 3 == 0:
                task.context = results
                client.context, worker.context = things, things
            if number % 2:
                job.send_complete(b"")
            del client, worker, job, task, results
            for index in order:
                things[index] = None
            del things
            if number % 3 == 0:
                gc.collect()
            assert [ref() for ref in gone] == [None, None], order
        with Worker(ADDRESS, timeout=0.05) as worker:  # those that went back
            worker.add_function(name, lambda job: None)
            while worker.work():
                pass
        """,
        server.address,
        name,
    )
    wait_for(lambda: server.status()[name].total == 0)


def test_alive_at_exit(server: GearmanServer, name: str) -> None:
    """Clients, workers, tasks and jobs may be alive at the end, also in cycles."""
    script = """
        name = sys.argv[2]
        client, worker = Client(ADDRESS, timeout=10), Worker(ADDRESS, timeout=10)
        worker.register(name)
        client.do_background(name, b"x")
        while not (job := worker.grab_job()):
            pass
        waiting = client.add_task("reverse", b"ab")
        results = client.map("reverse", [b"ab"] * 300)
        next(results)
        pending = Client(ADDRESS, options=ClientOption.NON_BLOCKING)
        flying = [pending.add_task("nobody_serves_this") for _ in range(5)]
        pending.run_tasks()
        assert pending.has_active_tasks
        class Cycle:
            def __del__(self, things=(client, worker, job, results, pending)):
                # Modules are dying: errors are fine, crashes and noise are not.
                for thing in things:
                    try:
                        thing.close()
                    except GearmanError:
                        pass
        cycle = Cycle()
        cycle.me = cycle
        client.context = worker.context = waiting.context = cycle
        import builtins
        builtins.kept = [client, worker, job, results, cycle]
    """
    run_often(script, server.address, name)


@pytest.mark.parametrize("place", ["function", "callback", "source", "thread"])
def test_sys_exit(place: str, server: GearmanServer, name: str) -> None:
    """The status that `sys.exit` gives inside a function or a callback is the process's."""
    script = """
        name, place = f"{sys.argv[2]}-{os.getpid()}", sys.argv[3]
        client, worker = Client(ADDRESS, timeout=10), Worker(ADDRESS, timeout=10)
        worker.add_function(name, lambda job: sys.exit(7))

        def source():
            yield b"ab"
            sys.exit(7)

        if place == "callback":
            client.do("chunks", b"abcdef", on_data=lambda task: sys.exit(7))
        elif place == "source":
            list(client.map("reverse", source()))
        client.do_background(name, b"x", unique=name)
        if place == "function":
            worker.run()
        thread = threading.Thread(target=worker.run)  # it ends this thread alone
        thread.start()
        thread.join()
        worker.add_function(name, lambda job: None)
        assert worker.work()
        sys.exit(7)
    """
    run_often(script, server.address, name, place, status=7, times=min(TIMES, 4))


def test_atexit(server: GearmanServer, name: str) -> None:
    """Handlers of atexit may use clients and workers, old ones and new ones."""
    script = """
        import atexit
        name = sys.argv[2]
        client, worker = Client(ADDRESS, timeout=10), Worker(ADDRESS, timeout=10)
        worker.add_function(name, lambda job: job.workload[::-1])
        if len(sys.argv[1]) % 2:
            fine(client)

        @atexit.register
        def last():
            fine(client)
            task = client.add_task("reverse", b"ab")
            client.run_tasks()
            assert task.result == b"ba"
            assert list(client.map("reverse", [b"ab"] * 300)) == [b"ba"] * 300
            with Client(ADDRESS, timeout=10) as other:
                other.do_background(name, b"x")
                fine(other)
            assert worker.work()
            print("done", flush=True)
    """

    def run(_number: int) -> None:
        assert run_trap(script, server.address, name) == "done\n"

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, range(min(TIMES, 4))))


def test_collection_anywhere(server: GearmanServer, name: str) -> None:
    """The collector may run at any moment, in any callback, over any of our objects."""
    run_trap(
        """
        name = sys.argv[2]

        def litter(*_):
            client, worker = Client(ADDRESS), Worker(ADDRESS, timeout=0.01)
            client.echo(b"x")
            worker.add_function("never called", print)
            worker.work()
            results = client.map("reverse", [b"ab"] * 3)
            next(results)
            client.context = worker.context = [client, worker, results]

        def collect(*_):
            litter()
            gc.collect()

        def serve():
            worker = Worker(ADDRESS)
            worker.add_function(name, lambda job: collect() or job.workload[::-1])
            worker.run(max_jobs=20)
            worker.close()

        thread = threading.Thread(target=serve)
        thread.start()
        with Client(ADDRESS, timeout=10) as client:
            for event in ("created", "data", "warning", "status", "complete"):
                getattr(client, f"set_{event}_fn")(collect)
            for number in range(5):
                task = client.add_task("chunks", b"abcdef")
                assert client.run_tasks() and task.result == b"abcdef"
                assert client.do("reverse", b"ab", on_created=collect) == b"ba"
            gc.set_threshold(1)
            results = client.map(name, (b"%d-" % n for n in range(20)))
            assert list(results) == [f"{n}-"[::-1].encode() for n in range(20)]
            litter()
            thread.join()
        """,
        server.address,
        name,
    )


def test_an_exception_ends_the_process(server: GearmanServer) -> None:
    """What nobody catches is the only thing that is written at the end."""
    script = """
        sys.excepthook = lambda kind, error, trace: print(kind.__name__, error)
        client, worker = Client(ADDRESS, timeout=10), Worker(ADDRESS)
        fine(client)
        client.do("reverse", b"ab", on_created=lambda task: 1 / 0)
    """
    told = run_trap(script, server.address, status=1)
    assert told == "ZeroDivisionError division by zero\n"
