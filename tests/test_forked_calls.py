"""Children that are forked in the middle of a call, and return to it.

They share the parent's connection, in C, where nobody checks: whatever they do there
must not reach the parent's jobs.
"""

from __future__ import annotations

import pytest

from tests.isolated import run_isolated

PROLOGUE = """
    import logging, os, signal, sys, threading, time, warnings
    from pygearman_cffi import *
    from pygearman_cffi.testing import GearmanServer
    from tests.programs import wait_for

    warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside a thread
    logging.getLogger("pygearman_cffi").setLevel(100)
    server = GearmanServer()
    server.start()
    parent, children = os.getpid(), []

    def fork(*_):
        if not children:
            children.append(os.fork())

    def beside(work):
        # A process of its own, until the end.
        child = os.fork()
        if not child:
            try:
                work()
            finally:
                os._exit(0)
        return child

    def told(call):
        # What the parent gets; the child must get an error, and end.
        children.clear()
        try:
            outcome = call()
        except BaseException as error:
            outcome = error
        if os.getpid() != parent:
            refused = isinstance(outcome, (ForkedError, ConnectionLostError))
            os._exit(0 if refused else 1)
        _, status = os.waitpid(children[0], 0)
        assert status == 0, "the child was let in"
        return outcome

    def slowly(job):
        for piece in (b"1", b"2", b"3"):
            job.send_data(piece)
            time.sleep(0.1)
        return b"4"

    def serve():
        worker = Worker(server.address)
        worker.add_function("slowly", slowly)
        worker.add_function("part", lambda job: job.workload.upper())
        worker.run(max_seconds=60)
"""

CLIENT = """
    other = beside(serve)
    signal.signal(signal.SIGALRM, fork)
    for way in ("on_created", "on_data", "handler"):
        client = Client(server.address, timeout=20)
        client.echo(b"x")
        options = {} if way == "handler" else {way: fork}
        if way == "handler":
            signal.setitimer(signal.ITIMER_REAL, 0.15)
        assert told(lambda: client.do("slowly", **options)) == b"1234"
        if way == "handler":
            signal.setitimer(signal.ITIMER_REAL, 0.15)
            assert told(lambda: list(client.map("slowly", [b""] * 2))) == [b"1234"] * 2
        if way != "handler":
            task = client.add_task("slowly", **options)
            assert told(client.run_tasks) is True
            assert task.result == b"1234"
        assert client.do("slowly") == b"1234"
    os.kill(other, signal.SIGKILL)
    server.stop()
"""

WORKER = """
    signal.signal(signal.SIGALRM, fork)
    def ask():
        time.sleep(0.6)
        with Client(server.address, timeout=20) as client:
            for _ in range(6):
                assert client.do("f") == b"parent's"
            client.do("stop")
    other = beside(ask)
    worker = Worker(server.address, timeout=20)
    worker.add_function("f", lambda _: b"parent's" if os.getpid() == parent else b"no")
    def stop(_):
        raise StopWorker
    worker.add_function("stop", stop)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    assert told(worker.run) == 7
    assert os.waitpid(other, 0)[1] == 0
    server.stop()
"""

DIVIDING = """
    other = beside(serve)
    def ask():
        with Client(server.address, timeout=20) as client:
            for _ in range(3):
                task = client.execute_by_partition("divide", "part", b"abc")
                assert task.result == b"X0,X1", task.error
            client.do("stop")
    asking = beside(ask)
    def aggregator(results):
        fork()
        if os.getpid() != parent:
            return b"the child's"
        time.sleep(0.2)
        return b",".join(results)
    worker = Worker(server.address, timeout=20)
    def mapper(job):
        for number in range(2):
            job.send_data(b"x%d" % number)
    worker.define_partition("divide", mapper, aggregator)
    def stop(_):
        raise StopWorker
    worker.add_function("stop", stop)
    assert told(worker.run) == 4
    assert os.waitpid(asking, 0)[1] == 0
    os.kill(other, signal.SIGKILL)
    server.stop()
"""


@pytest.mark.parametrize(
    "script", [CLIENT, WORKER, DIVIDING], ids=["client", "worker", "aggregator"]
)
def test_a_child_that_returns_does_no_harm(script: str) -> None:
    """A child forked in a callback or a handler reads and answers nothing of its parent."""
    run_isolated(PROLOGUE + script)
