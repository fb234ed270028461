"""Forks, process pools and threads: nobody gets another one's connection or answer."""

from __future__ import annotations

import threading
import time

import pytest

from pygearman_cffi import Client, Worker
from pygearman_cffi.testing import GearmanServer, WorkerThread
from tests import workers
from tests.isolated import run_isolated
from tests.programs import wait_for

name = workers.name

CHILDREN = 4
JOBS = 1000
"""Of each child."""

FORKS = f"""
    import os, sys
    from pygearman_cffi import Client
    from tests import forked

    # The parent has made uniques before, and goes on making some: a child that
    # continued the same row would get the answers of somebody else's jobs.
    client = forked.inherited = Client(sys.argv[1])
    assert client.do("reverse", b"abc") == b"cba"
    children = []
    for number in range({CHILDREN}):
        child = os.fork()
        if not child:
            wrong = forked.strangers(sys.argv[1], f"child {{number}}", {JOBS})
            os._exit(min(wrong, 100))
        children.append(child)
    wrong = forked.strangers(sys.argv[1], "parent", {JOBS})
    ends = [os.waitpid(child, 0)[1] for child in children]
    assert client.do("reverse", b"abc") == b"cba"
    print(wrong, ends)
"""


@pytest.mark.slow
def test_forked_children_get_their_own_answers(served: GearmanServer) -> None:
    """Four forked children and their parent, a thousand jobs each: all their own."""
    told = run_isolated(FORKS, served.address, timeout=100)
    assert told == f"0 {[0] * CHILDREN}\n"


POOLS = {
    "multiprocessing, fork": "multiprocessing.get_context('fork').Pool(4)",
    "multiprocessing, spawn": "multiprocessing.get_context('spawn').Pool(4)",
    "multiprocessing, forkserver": "multiprocessing.get_context('forkserver').Pool(4)",
    "futures, fork": "concurrent.futures.ProcessPoolExecutor("
    "4, mp_context=multiprocessing.get_context('fork'))",
    "futures, spawn": "concurrent.futures.ProcessPoolExecutor("
    "4, mp_context=multiprocessing.get_context('spawn'))",
}


@pytest.mark.slow
@pytest.mark.parametrize("pool", POOLS)
def test_process_pools(served: GearmanServer, pool: str) -> None:
    """Children of a pool have clients of their own, and leave the parent's alone."""
    script = f"""
        import concurrent.futures, functools, multiprocessing, sys, warnings
        from pygearman_cffi import Client
        from tests import forked

        # Of a pool's own threads, in the parent, before its later forks.
        warnings.simplefilter("ignore", DeprecationWarning)
        client = forked.inherited = Client(sys.argv[1])
        assert client.do("reverse", b"abc") == b"cba"
        with {POOLS[pool]} as pool:
            ask = functools.partial(forked.strangers, sys.argv[1], jobs=200)
            print(list(pool.map(ask, ["a", "b", "c", "d"])))
            assert client.do("reverse", b"abc") == b"cba"
            if "fork'" in {POOLS[pool]!r}:
                print(set(pool.map(forked.touch, range(4))))
        assert client.do("reverse", b"abc") == b"cba"
    """
    told = run_isolated(script, served.address, timeout=100)
    expected = "[0, 0, 0, 0]\n"
    if pool.endswith(", fork"):
        expected += "{'FFFF'}\n"
    assert told == expected


def test_the_parents_connection_survives_any_exit(served: GearmanServer) -> None:
    """However a child ends, the parent's connection goes on in mid-stream."""
    script = """
        import os, signal, sys
        from pygearman_cffi import Client
        client = Client(sys.argv[1])
        results = client.map("echo", (b"%d" % n for n in range(300)), window=10)
        task = client.add_task("echo", b"waits")
        for n, result in enumerate(results):
            assert result == b"%d" % n, (n, result)
            if n % 60 == 5:
                child = os.fork()
                if not child:
                    way = n // 60
                    if way == 0:
                        sys.exit(0)  # with every destructor
                    elif way == 1:
                        os._exit(0)
                    elif way == 2:
                        os.kill(os.getpid(), signal.SIGKILL)
                    elif way == 3:
                        client.close()
                        sys.exit(0)
                    os.execv("/bin/true", ["true"])
                os.waitpid(child, 0)
        assert client.run_tasks() and task.result == b"waits"
        print("parent")
    """
    assert run_isolated(script, served.address) == "parent\n"


def test_workers_in_forked_children(gearman_server: GearmanServer) -> None:
    """A worker in each child of a process that has used a client and a worker."""
    script = """
        import os, sys
        from pygearman_cffi import Client, ForkedError, Worker
        from tests import forked
        address = sys.argv[1]
        client = Client(address)
        worker = Worker(address, timeout=10)
        worker.add_function("warm", lambda job: b"")
        client.do_background("warm")
        assert worker.work()
        children = []
        for _ in range(3):
            child = os.fork()
            if not child:
                try:
                    worker.work()
                except ForkedError:
                    os._exit(forked.serve(address, "pid", 20))
                os._exit(99)
            children.append(child)
        told = {int(result) for result in client.map("pid", [b""] * 60)}
        assert told <= set(children)
        print([os.waitstatus_to_exitcode(os.waitpid(c, 0)[1]) for c in children])
        client.do_background("warm")
        assert worker.work()
    """
    assert run_isolated(script, gearman_server.address) == "[20, 20, 20]\n"


THREADS = 8
NAP = 0.25


def test_threads_run_in_parallel(gearman_server: GearmanServer) -> None:
    """Clients in threads wait at the same time: C runs without the GIL."""

    def make() -> Worker:
        worker = Worker(gearman_server.address)
        worker.add_function("nap", lambda job: time.sleep(NAP))
        return worker

    def nap(count: int) -> float:
        def one() -> None:
            with Client(gearman_server.address, timeout=30) as client:
                results.append(client.do("nap"))

        results: list[bytes] = []
        threads = [threading.Thread(target=one) for _ in range(count)]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == [b""] * count
        return time.monotonic() - began

    runners = [WorkerThread(make()) for _ in range(THREADS)]
    try:
        for runner in runners:
            runner.start()
        single = nap(1)
        ratio = nap(THREADS) / single
    finally:
        for runner in runners:
            runner.stop()
    print(f"{THREADS} jobs in {THREADS} threads take {ratio:.2f} times as long as one")
    # One after the other they would take eight times as long.
    assert ratio < THREADS / 2


@pytest.mark.parametrize("divided", [False, True], ids=["do", "execute_by_partition"])
def test_python_runs_while_c_waits(
    gearman_server: GearmanServer, name: str, divided: bool
) -> None:
    """A client that waits for its result leaves the interpreter to the other threads."""
    results: list[bytes] = []

    def ask() -> None:
        if divided:
            results.append(client.execute_by_partition(name, "part", b"x").result)
        else:
            results.append(client.do(name))

    with Client(gearman_server.address, timeout=60) as client:
        thread = threading.Thread(target=ask)
        thread.start()
        wait_for(lambda: name in gearman_server.status())
        steps = 0
        while steps < 300_000:
            steps += 1
        assert thread.is_alive()
        worker, part = Worker(gearman_server.address), Worker(gearman_server.address)
        part.add_function("part", lambda job: b"done")
        if divided:
            worker.define_partition(name, lambda job: job.send_data(b"x"), b"".join)
        else:
            worker.add_function(name, lambda job: b"done")
        with WorkerThread(worker), WorkerThread(part):
            thread.join(20)
        assert results == [b"done"]
