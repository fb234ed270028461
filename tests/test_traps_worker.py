"""The traps of libgearman's worker: what its C functions would do, and ours do instead.

The numbers of traps are the ones of the list that the package was written against. Each
runs in a process of its own, which must live, be silent and end with status 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest

from pygearman_cffi.testing import GearmanServer
from tests.traps import run_trap, run_worker_trap

_numbers = count(1)


@pytest.fixture
def name() -> str:
    """A function name that no other test uses."""
    return f"trap-{next(_numbers)}"


@pytest.fixture(scope="module")
def server() -> Iterator[GearmanServer]:
    """A server of this file."""
    with GearmanServer() as server:
        yield server


def test_6_ssl() -> None:
    """A worker that should speak TLS and would not is refused, with the reason."""
    run_trap(
        """
        worker = Worker("a:1")
        expect(UnsupportedError, "TLS", lambda: worker.set_ssl(True))
        expect(UnsupportedError, "TLS", lambda: worker.add_options(WorkerOption.SSL))
        expect(UnsupportedError, "TLS", lambda: Worker(options=WorkerOption.SSL))
        """,
        "-",
    )


def test_9_reentrancy(server: GearmanServer, name: str) -> None:
    """In a worker function what would crash C is BusyError, and what is safe works."""
    run_worker_trap(
        """
        worker = serving()
        keep = []

        def use(job):
            for call in (
                worker.work, worker.run, worker.wait, worker.grab_job, worker.close,
                lambda: worker.__exit__(None, None, None), worker.remove_servers,
                lambda: worker.add_server("a", 1),
            ):
                expect(BusyError, "", call)
            job.send_status(1, 2)
            job.send_warning(b"careful")
            job.send_data(b"some ")
            worker.echo(b"x")
            worker.unregister(name)
            worker.add_function(name, use)
            worker.clone().close()
            assert worker.function_exist(name)
            with Client(ADDRESS, timeout=5) as client:
                client.echo(b"x")
            keep.append(job)
            job.send_complete(job.workload)
            # Nothing after the end is sent, and nothing crashes.
            for call in (job.send_fail, lambda: job.send_data(b"late"),
                         lambda: job.send_complete(b"late")):
                call()

        worker.add_function(name, use)
        for word in (b"1", b"2"):
            asked = Asked(name, word)
            assert worker.work()
            assert asked.end().result == b"some " + word
        for job in keep:
            try:
                job.send_data(b"x")
            except GearmanError as error:
                assert "over" in str(error) or "ended" in str(error), error
            else:
                raise SystemExit("no error")
        good(worker)
        worker.close()
        """,
        server,
        name,
    )


def test_10_two_threads(server: GearmanServer, name: str) -> None:
    """Threads that share a worker get BusyError, never a crash."""
    out = run_worker_trap(
        """
        worker = serving(x=lambda job: job.workload)
        worker.timeout = 0.01
        until, counts, other = time.monotonic() + 1, [0, 0], []

        def use(call):
            while time.monotonic() < until:
                try:
                    call()
                    counts[0] += 1
                except BusyError:
                    counts[1] += 1
                except BaseException as error:
                    other.append(repr(error))

        calls = [
            worker.work, worker.wait, lambda: worker.run(max_seconds=0.01),
            lambda: worker.add_function(name + "y", print), worker.stop,
            lambda: worker.clone().close(),
        ]
        threads = [threading.Thread(target=use, args=(call,)) for call in calls]
        for thread in threads:
            thread.start()
        with Client(ADDRESS, timeout=10) as client:
            while time.monotonic() < until:
                client.do_background(name + "x", b"1")
                time.sleep(0.001)
        for thread in threads:
            thread.join()
        assert not other, other[:3]
        worker.timeout = 1
        while worker.work() or worker.return_code is not ReturnCode.TIMEOUT:
            pass  # jobs that are left, and the last stop()
        worker.timeout = 10
        good(worker)
        print(*counts)
        """,
        server,
        name,
    )
    worked, busy = map(int, out.split())
    assert worked > 2
    assert busy > 2


def test_12_errors_of_a_function(server: GearmanServer, name: str) -> None:
    """An exception fails the job once; what ends a program gives it back and comes out."""
    run_worker_trap(
        """
        calls = []

        def guilty(job):
            calls.append(job.handle)
            if len(calls) == 1:
                raise own
            return b"second"

        worker = serving(f=guilty)
        for own in (ValueError("mine"), MemoryError(), GearmanError("mine"),
                    StopIteration(), RecursionError()):
            calls.clear()
            asked = Asked(name + "f")
            assert worker.work() and worker.return_code is ReturnCode.WORK_FAIL
            task = asked.end()
            assert type(task.error) is WorkFailError, task.error
            assert task.warnings[0].startswith(type(own).__name__.encode())
            assert len(calls) == 1
        for own in (KeyboardInterrupt(), SystemExit(3), GeneratorExit()):
            for call in (worker.work, worker.run):
                calls.clear()
                asked = Asked(name + "f")
                once(own, call)
                worker.work()  # the job has gone back to the server
                assert asked.end().result == b"second"
                assert len(calls) == 2 and calls[0] == calls[1]
        good(worker)
        worker.close()
        """,
        server,
        name,
    )


def test_12_errors_of_a_division(server: GearmanServer, name: str) -> None:
    """An exception of a mapper or an aggregator fails the job, and the worker lives."""
    run_worker_trap(
        """
        if not hasattr(Worker, "define_partition"):
            raise SystemExit
        parts = serving(part=lambda job: job.workload.upper())
        threading.Thread(target=parts.run, daemon=True).start()
        worker = Worker(ADDRESS, timeout=10)
        where = [None]

        def mapper(job):
            for number in range(3):
                job.send_data(b"%d" % number)
            if where[0] == "mapper":
                raise own

        def aggregator(results):
            if where[0] == "aggregator":
                raise own
            return b",".join(results)

        worker.define_partition(name, mapper, aggregator)

        class Divided(Asked):
            def run(self):
                with Client(ADDRESS) as client:
                    self.task = client.execute_by_partition(
                        name, name + "part", b"x", timeout=10
                    )

        def whole():
            where[0] = None
            asked = Divided(name)
            assert worker.work()
            assert asked.end().result == b"0,1,2"

        whole()
        for own in (ValueError("mine"), MemoryError(), StopIteration()):
            for where[0] in ("mapper", "aggregator"):
                asked = Divided(name)
                assert worker.work()
                assert type(asked.end().error) is WorkFailError, (where, own)
            whole()
        for own in (KeyboardInterrupt(), SystemExit(3)):
            for at in ("mapper", "aggregator"):
                where[0] = at
                asked = Divided(name)
                once(own, worker.work)
                where[0] = None
                assert worker.work(), at
                assert asked.end().result == b"0,1,2"
        good(worker)
        parts.stop()
        """,
        server,
        name,
    )
