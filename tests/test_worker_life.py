"""A worker's life: closed, busy, cloned, forgotten, forked, and without memory for code."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable

import pytest

from pygearman_cffi import (
    BusyError,
    Client,
    ClosedError,
    Job,
    OutOfMemoryError,
    ReturnCode,
    Worker,
    WorkerOption,
)
from pygearman_cffi.testing import GearmanServer, WorkerThread
from tests import workers
from tests.isolated import run_isolated
from tests.programs import registered, wait_for, wait_for_worker
from tests.workers import echo, submit

name, client, worker = workers.name, workers.client, workers.worker

CALLS: dict[str, Callable[[Worker], object]] = {
    "work": lambda worker: worker.work(),
    "run": lambda worker: worker.run(),
    "wait": lambda worker: worker.wait(),
    "grab_job": lambda worker: worker.grab_job(),
    "echo": lambda worker: worker.echo(b"x"),
    "add_function": lambda worker: worker.add_function("f", echo),
    "register": lambda worker: worker.register("f"),
    "unregister": lambda worker: worker.unregister("f"),
    "unregister_all": lambda worker: worker.unregister_all(),
    "function_exist": lambda worker: worker.function_exist("f"),
    "add_server": lambda worker: worker.add_server("h", 1),
    "remove_servers": lambda worker: worker.remove_servers(),
    "timeout": lambda worker: setattr(worker, "timeout", 1.0),
    "namespace": lambda worker: setattr(worker, "namespace", "n"),
    "options": lambda worker: setattr(worker, "options", WorkerOption(0)),
    "set_log_fn": lambda worker: worker.set_log_fn(None),
    "set_server_option": lambda worker: worker.set_server_option("exceptions"),
    "clone": lambda worker: worker.clone(),
    "with": lambda worker: worker.__enter__(),
}


def test_a_closed_worker(worker: Worker, client: Client, name: str) -> None:
    """A closed worker raises ClosedError; close() and stop() may be repeated."""
    worker.add_function(name, echo)
    submit(client, name)
    assert worker.work()
    worker.close()
    worker.close()
    worker.stop()
    assert worker.closed
    for call in CALLS.values():
        with pytest.raises(ClosedError, match="closed"):
            call(worker)
    assert worker.return_code is ReturnCode.SUCCESS
    assert worker.options
    assert worker.servers


def test_another_thread(gearman_server: GearmanServer, name: str) -> None:
    """While a thread is in a worker another one gets BusyError, and can stop it."""
    worker = Worker(gearman_server.address)
    worker.add_function(name, echo)
    with WorkerThread(worker, close=False):
        wait_for_worker(gearman_server, name)
        harmless = {"with", "function_exist"}
        calls = [call for key, call in CALLS.items() if key not in harmless]
        for call in (*calls, Worker.close):
            with pytest.raises(BusyError, match="another thread"):
                call(worker)
        assert worker.function_exist(name)
        assert worker.return_code is ReturnCode.SUCCESS
    worker.close()


def test_calls_in_a_worker_function(worker: Worker, client: Client, name: str) -> None:
    """In a worker function what would re-enter C raises BusyError; the job goes on."""
    allowed = {"echo", "add_function", "register", "unregister", "unregister_all"}
    allowed |= {"function_exist", "timeout", "clone", "with", "set_server_option"}
    caught: list[str] = []

    def function(job: Job) -> bytes:
        for key in CALLS.keys() - allowed:
            try:
                CALLS[key](worker)
            except BusyError:
                caught.append(key)
        try:
            worker.close()
        except BusyError:
            caught.append("close")
        return b""

    worker.add_function(name, function)
    submit(client, name, b"1")
    assert worker.work()
    assert worker.return_code is ReturnCode.SUCCESS
    assert set(caught) == (CALLS.keys() - allowed) | {"close"}


def test_a_clone(gearman_server: GearmanServer, client: Client, name: str) -> None:
    """A clone has the configuration and the functions, and a life of its own."""
    original = Worker(
        gearman_server.address, timeout=10, namespace="c-", identifier="me"
    )
    original.add_function(name, lambda job: b"cloned", timeout=2)
    original.context = object()
    twin = original.clone()
    original.close()
    assert (twin.servers, twin.timeout) == (original.servers, 10)
    assert (twin.namespace, twin.identifier, twin.context) == ("c-", "me", None)
    with WorkerThread(twin):
        assert client.do(f"c-{name}") == b"cloned"


def test_workers_leave_nothing_behind(
    gearman_server: GearmanServer, client: Client, name: str
) -> None:
    """Closed or forgotten, a worker gives back its descriptors and its connection."""

    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    def use(close: bool) -> None:
        worker = Worker(gearman_server.address, timeout=10)
        worker.add_function(name, echo)
        submit(client, name)
        assert worker.work()
        if close:
            worker.close()

    use(close=True)
    gc.collect()
    before = descriptors()
    for _ in range(20):
        use(close=True)
        use(close=False)
    gc.collect()
    assert descriptors() == before
    wait_for(lambda: registered(gearman_server, name) == 0)


def test_a_constructor_that_fails() -> None:
    """A worker whose constructor failed half-way goes without a word."""
    for bad in ({"servers": "h:x"}, {"namespace": "\0"}, {"options": "x"}):
        with pytest.raises((ValueError, TypeError)):
            Worker(**bad)  # type: ignore[arg-type]
    gc.collect()


def test_a_forked_child(gearman_server: GearmanServer, name: str) -> None:
    """A child gets a clear error, and its end does not disturb the parent's worker."""
    script = """
        import gc, os, sys
        from pygearman_cffi import Client, ForkedError, Worker
        address, name = sys.argv[1:]
        worker = Worker(address, timeout=20)
        worker.add_function(name, lambda job: job.workload)
        client = Client(address)
        client.do_background(name, b"1")
        assert worker.work()
        child = os.fork()
        if not child:
            for call in (worker.work, worker.run, worker.grab_job):
                try:
                    call()
                except ForkedError as error:
                    assert "after the fork" in str(error)
                else:
                    os._exit(1)
            worker.stop()
            worker.close()  # leaves the parent's connections alone
            del worker, call
            gc.collect()
            # A worker of the child's own works beside the parent's.
            own = Worker(address, timeout=20)
            own.add_function(name + "-child", lambda job: None)
            with Client(address) as other:
                other.do_background(name + "-child", b"")
            assert own.work()
            own.close()
            sys.exit(0)
        assert os.waitpid(child, 0)[1] == 0
        client.do_background(name, b"2")
        assert worker.work()
        worker.close()
        client.close()
    """
    run_isolated(script, gearman_server.address, name)


def test_where_executable_memory_is_refused(
    gearman_server: GearmanServer, client: Client, name: str
) -> None:
    """Without executable memory work() names cause and cure; grab_job() still works."""
    script = """
        import sys
        from pygearman_cffi import Client, OutOfMemoryError, Worker, _callbacks
        class Refusing:
            def __getattr__(self, name):
                return getattr(real, name)
            def callback(self, *args, **options):
                raise MemoryError("Cannot allocate write+execute memory")
        real, _callbacks.ffi = _callbacks.ffi, Refusing()
        address, name = sys.argv[1:]
        worker = Worker(address, timeout=20)
        worker.add_function(name, lambda job: None)
        for _ in range(2):
            try:
                worker.work()
            except OutOfMemoryError as error:
                assert "MemoryDenyWriteExecute" in str(error), error
            else:
                sys.exit("not refused")
        worker.unregister_all()
        worker.register(name)
        with worker.grab_job() as job:
            job.send_complete(job.workload.upper())
        worker.close()
    """
    assert OutOfMemoryError is not None
    results: list[bytes] = []
    asking = threading.Thread(target=lambda: results.append(client.do(name, b"abc")))
    asking.start()
    wait_for(lambda: name in gearman_server.status())
    run_isolated(script, gearman_server.address, name)
    asking.join(10)
    assert results == [b"ABC"]


def test_without_descriptors() -> None:
    """A worker that gets no descriptor says so, and works when there are some again."""
    run_isolated(
        """
        import os, resource
        from pygearman_cffi import Client, OutOfMemoryError, Worker
        from pygearman_cffi.testing import GearmanServer

        with GearmanServer() as server, Client(server.address, timeout=20) as client:
            client.do_background("f")
            worker = Worker(server.address, timeout=0.1)
            worker.add_function("f", lambda job: None)
            _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (64, most))
            taken = []
            try:
                while True:
                    taken.append(os.dup(0))
            except OSError:
                pass
            try:
                Worker(server.address)
            except OutOfMemoryError as error:
                assert "ulimit -n" in str(error), error
            else:
                raise SystemExit("it was made")
            assert worker.work() is False
            for number in taken:
                os.close(number)
            worker.timeout = 20
            assert worker.work() is True
            worker.close()
        """
    )
