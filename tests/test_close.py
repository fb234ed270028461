"""`close()` in every odd place: it works, or says why not, and never harms the process.

Each runs in a process of its own, which must live, be silent and end with status 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest

from pygearman_cffi.testing import GearmanServer
from tests.fakes import FakeServer, impostor
from tests.programs import c_worker
from tests.traps import run_trap

_numbers = count(1)


@pytest.fixture(scope="module")
def server() -> Iterator[GearmanServer]:
    """A server with a C worker, for this file."""
    with GearmanServer() as server, c_worker(server):
        yield server


@pytest.fixture
def name() -> str:
    """A function name that no other test uses."""
    return f"close-{next(_numbers)}"


def test_client_in_callbacks(server: GearmanServer) -> None:
    """In each callback close() is BusyError, which comes out once; then it works."""
    run_trap(
        """
        events = {
            "created": "reverse", "data": "chunks", "warning": "chunks",
            "status": "chunks", "complete": "reverse", "exception": "exception",
            "fail": "fail",
        }
        for event, function in events.items():
            client = Client(ADDRESS, timeout=10)
            close = lambda task: client.close()
            task = client.add_task(function, b"abcdef", **{f"on_{event}": close})
            expect(BusyError, "Client.close()", client.run_tasks)
            assert task.is_finished and not client.closed
            assert client.run_tasks() is True
            if event in ("created", "data", "warning", "status"):
                on = {f"on_{event}": close}
                expect(BusyError, "callback", lambda: client.do(function, b"abc", **on))
            fine(client)
            client.close()
            client.close()
            assert client.closed and task.is_finished
            expect(ClosedError, "closed", lambda: client.do("echo"))
        # The callbacks of questions, of jobs for later, and a map's source.
        client = Client(ADDRESS, timeout=10)
        client.add_task_status("H:x:1", on_status=close)
        expect(BusyError, "Client.close()", client.run_tasks)
        client.add_task_status_by_unique("x", on_status=close)
        expect(BusyError, "Client.close()", client.run_tasks)
        client.add_task_background("nobody", at=time.time() + 60, on_created=close)
        expect(BusyError, "Client.close()", client.run_tasks)
        fine(client)

        def source():
            yield b"ab"
            expect(BusyError, "iterator", results.close)
            yield b"cd"
            client.close()  # not busy: an iterator has connections of its own
            yield b"ef"

        results = client.map("reverse", source())
        got = []
        expect(ClosedError, "closed", lambda: got.extend(results))
        assert list(results) == [] and results.closed and client.closed
        results.close()
        """,
        server.address,
    )


def test_client_in_a_log_function() -> None:
    """In a log function close() is BusyError, also while C is being freed."""
    script = """
        for _ in range(3):
            client = Client(ADDRESS, timeout=5)
            client.set_log_fn(lambda line, verbose: client.close())
            expect(BusyError, "Client.close()", lambda: client.do("f", b"x"))
            client.set_log_fn(None)
            expect(ProtocolError, "magic", lambda: client.do("f", b"x"))
            client.close()
    """
    with FakeServer(impostor(b"\0XXX" + bytes(8))) as fake:
        run_trap(script, fake.address)


def test_client_from_elsewhere(server: GearmanServer) -> None:
    """From another thread, a signal handler or a finaliser: busy, or closed."""
    run_trap(
        """
        def elsewhere(call):
            errors = []
            def act():
                try:
                    call()
                except BaseException as error:
                    errors.append(error)
            thread = threading.Thread(target=act)
            thread.start()
            thread.join()
            return errors

        client = Client(ADDRESS, timeout=10)
        told = []
        got = client.do(
            "chunks", b"abcdef", on_data=lambda _: told.extend(elsewhere(client.close))
        )
        assert got == b"abcdef"
        assert [type(error) for error in told] == [BusyError] * 2
        assert "another thread" in str(told[0])
        fine(client)
        assert elsewhere(client.close) == [] and client.closed
        assert elsewhere(client.close) == []

        # A signal handler that interrupts a call of this very thread.
        for wrapped in (False, True):
            client = Client(ADDRESS, timeout=10)
            def handler(*_):
                try:
                    client.close()
                except BusyError:
                    if not wrapped:
                        raise
            signal.signal(signal.SIGALRM, handler)
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            if wrapped:
                assert client.do("sleep_ms", b"150") == b"150"
            else:
                expect(BusyError, "close", lambda: client.do("sleep_ms", b"150"))
            fine(client)
            client.close()

        # Finalisers, run by a drop, by the collector, and inside a callback.
        class Closer:
            def __init__(self, client):
                self.client, self.me = client, self
            def __del__(self):
                try:
                    self.client.close()
                except BusyError:
                    busy.append(1)

        import weakref
        busy = []
        for way in ("idle", "callback", "own callback", "weakref"):
            client = Client(ADDRESS, timeout=10)
            fine(client)
            if way == "weakref":
                thing = Closer(Client())
                weakref.finalize(thing, client.close)
                del thing
                gc.collect()
                assert client.closed
                continue
            Closer(client)
            if way == "idle":
                gc.collect()
                assert client.closed
            elif way == "own callback":
                client.do("echo", on_created=lambda _: gc.collect())
                assert busy == [1] and not client.closed
                fine(client)
            else:
                with Client(ADDRESS, timeout=10) as other:
                    other.do("echo", on_created=lambda _: gc.collect())
                    fine(other)
                assert client.closed
        """,
        server.address,
    )


def test_client_with_tasks(server: GearmanServer) -> None:
    """Closing with tasks waiting, in flight or abandoned leaves them readable."""
    run_trap(
        """
        begun = time.monotonic()
        for options in (ClientOption(0), ClientOption.NON_BLOCKING):
            client = Client(ADDRESS, options=options, timeout=5)
            done = client.add_task("echo", b"1")
            while not client.run_tasks():
                client.wait()
            flying = [client.add_task("nobody_serves_this", bytes(9000)) for _ in "abc"]
            if options:
                client.run_tasks()
                assert client.has_active_tasks
            waiting = client.add_task("echo", b"2")
            results = client.map("echo", [b"3"] * 9)
            next(results)
            client.close()
            client.close()
            assert done.result == b"1"
            for task in (*flying, waiting):
                assert task.state is not TaskState.DONE
                expect(type(task.error) if task.error else NotFinishedError, "",
                       lambda: task.result)
            expect(ClosedError, "closed", lambda: next(results))
            del client, results
            gc.collect()
        assert time.monotonic() - begun < 3
        """,
        server.address,
    )


def test_at_exit(server: GearmanServer, name: str) -> None:
    """At exit open objects may be used and closed once more, by atexit, or be left."""
    run_trap(
        """
        import atexit
        name, way = sys.argv[2:]
        client, worker = Client(ADDRESS, timeout=10), Worker(ADDRESS, timeout=10)
        worker.add_function(name, lambda job: job.workload)

        def at_exit():
            fine(client)
            client.do_background(name, b"x")
            assert worker.work()
            with Client(ADDRESS, timeout=10) as other:
                fine(other)
            client.close()
            worker.close()
            client.close()

        atexit.register(at_exit)

        class Late:
            # Dropped after atexit, when modules die.
            def __del__(self, close=client.close, stop=worker.stop):
                close()
                stop()

        late = Late()
        me = sys.modules["__main__"]
        me.cycle = [late, client, worker]
        me.cycle.append(me.cycle)
        results = client.map("reverse", [b"ab"] * 9)
        assert next(results) == b"ba"
        """,
        server.address,
        name,
        "",
    )


def test_worker(server: GearmanServer, name: str) -> None:
    """In a function close() is BusyError; from elsewhere it is busy, or closed."""
    run_trap(
        """
        import logging
        logging.getLogger("pygearman_cffi").addHandler(logging.NullHandler())
        logging.getLogger("pygearman_cffi").propagate = False
        name = sys.argv[2]
        worker, told = Worker(ADDRESS, timeout=10), []
        client = Client(ADDRESS, timeout=10)

        def elsewhere(call):
            def act():
                try:
                    call()
                except BaseException as error:
                    told.append(error)
            thread = threading.Thread(target=act)
            thread.start()
            thread.join()

        class Closer:
            def __del__(self):
                try:
                    worker.close()
                except BusyError as error:
                    told.append(error)

        def function(job):
            elsewhere(worker.close)
            Closer()
            worker.close()

        worker.add_function(name, function)
        task = client.add_task(name)
        runner = threading.Thread(target=lambda: client.run_tasks())
        runner.start()
        assert worker.work() and worker.return_code is ReturnCode.WORK_FAIL
        runner.join()
        assert b"BusyError: Worker.close()" in task.warnings[0], task.warnings
        assert [type(error) for error in told] == [BusyError] * 2, told
        # While it waits in another thread; then stop() ends it, and close() works.
        waiting = threading.Thread(target=worker.run)
        waiting.start()
        while not worker._holder:
            time.sleep(0.001)
        expect(BusyError, "another thread", worker.close)
        worker.stop()
        waiting.join()
        # A signal handler that interrupts run() of this thread.
        def handler(*_):
            try:
                worker.close()
            except BusyError:
                worker.stop()
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        worker.run()
        assert not worker.closed
        worker.add_function(name, lambda job: b"fine")
        client.do_background(name)
        assert worker.work()
        # With a job of grab_job() open: the job goes back.
        worker.unregister(name)
        worker.register(name)
        handle = client.do_background(name, b"1")
        while not (job := worker.grab_job()):
            pass
        worker.close()
        worker.close()
        expect(ClosedError, "closed", worker.work)
        try:
            job.send_complete(b"x")
        except GearmanError:
            pass
        else:
            raise SystemExit("no error")
        job.close()
        worker.stop()
        with Worker(ADDRESS, timeout=10) as other:
            other.add_function(name, lambda job: b"fine")
            assert other.work()
            soon(lambda: not client.job_status(handle).known)
        """,
        server.address,
        name,
    )
