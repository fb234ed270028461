"""Every call of the public API, once or a few times: what valgrind watches.

python -m tests.valgrind.calls ADDRESS
"""

from __future__ import annotations

import gc
import socket
import sys
import threading
import time
from collections.abc import Callable
from functools import partial

from pygearman_cffi import (
    Client,
    ClientOption,
    GearmanError,
    Job,
    JobException,
    JobFail,
    Priority,
    StopWorker,
    Verbose,
    Worker,
    WorkerOption,
)
from tests.fakes import (
    ECHO_REQ,
    ECHO_RES,
    GET_STATUS,
    JOB_CREATED,
    OPTION_REQ,
    OPTION_RES,
    STATUS_RES,
    SUBMITS,
    WORK_COMPLETE,
    FakeServer,
    packet,
    requests,
)

GRAB_JOB_ALL, JOB_ASSIGN_UNIQ = 39, 31
BIG = bytes(300_000)


def attempt(call: Callable[[], object]) -> None:
    """Make a call that is to fail."""
    try:
        call()
    except (GearmanError, ZeroDivisionError):
        return
    raise AssertionError("it did not fail")


def all_of(job: Job) -> bytes:
    """Be a worker function that uses all of a job."""
    job.send_data(b"data")
    job.send_warning(b"careful")
    job.send_status(1, 2)
    payload = bytes(job.take_workload())
    assert job.handle
    assert job.function_name
    str(job.unique)
    return payload


def fails(job: Job) -> None:
    """Fail."""
    raise JobFail("no")


def throws(job: Job) -> None:
    """Send an exception."""
    raise JobException(b"no")


def bug(job: Job) -> None:
    """Raise."""
    raise ValueError("no")


def divides(job: Job) -> None:
    """Divide a job into its bytes."""
    for byte in job.workload:
        job.send_data(bytes([byte]))


def serve(address: str) -> Worker:
    """Return a worker with every kind of function."""
    worker = Worker(address, identifier="valgrind")
    worker.set_log_fn(lambda line, verbose: None, Verbose.INFO)
    worker.add_function("all", all_of, timeout=100)
    worker.add_function("fails", fails)
    worker.add_function("throws", throws)
    worker.add_function("bug", bug)
    worker.add_function("echo", lambda job: job.workload)
    worker.add_function("complete", lambda job: job.send_complete(job.workload))
    worker.add_function("sends fail", lambda job: job.send_fail())
    worker.add_function("sends exception", lambda job: job.send_exception(b"no"))
    return worker


def use_client(address: str) -> None:
    """Make every call of a client."""
    client = Client(address, timeout=60, identifier="valgrind")
    client.echo(b"x" * 1000)
    for payload in b"", b"x", BIG:
        assert client.do("echo", payload) == payload
        assert client.do("all", payload, on_data=lambda task: None).endswith(payload)
        assert client.do("complete", payload, priority=Priority.HIGH) == payload
        client.do("echo", payload, priority=Priority.LOW, unique="u")
    for name in "fails", "throws", "bug", "sends fail", "sends exception":
        attempt(partial(client.do, name, b"x"))
    handle = client.do_background("echo", b"x", unique="background")
    client.do_background("echo", b"x", at=time.time() - 1)
    client.job_status(handle)
    client.unique_status("background")
    attempt(lambda: client.cancel_job(handle))
    client.set_server_option("exceptions")
    attempt(lambda: client.set_server_option("nonsense"))
    for setter in (
        client.set_created_fn,
        client.set_data_fn,
        client.set_warning_fn,
        client.set_status_fn,
        client.set_complete_fn,
        client.set_exception_fn,
        client.set_fail_fn,
    ):
        setter(repr)
    for name in "echo", "all", "fails", "throws", "bug":
        for priority in Priority:
            client.add_task(name, BIG[:1000], priority=priority, context=name)
            client.add_task_background(name, b"x", priority=priority)
    client.add_task_status(handle)
    client.add_task_status_by_unique("background")
    assert client.run_tasks()
    client.clear_fn()
    client.add_task("echo", b"x", on_complete=lambda task: 1 / 0)
    attempt(client.run_tasks)
    assert client.execute("echo", b"x").result == b"x"
    client.execute("echo", b"x", background=True)
    assert list(client.map("echo", [b"1", b"2", BIG])) == [b"1", b"2", BIG]
    early = client.map("echo", [b"1"] * 10, window=2)
    next(early)
    early.close()
    attempt(lambda: client.do("nobody", BIG, timeout=0.05))
    for _ in range(3):
        client.add_task("nobody", BIG)
        attempt(lambda: client.run_tasks(0.05))
    twin = client.clone()
    twin.add_options(ClientOption.NON_BLOCKING)
    task = twin.add_task("echo", b"x")
    while not twin.run_tasks():
        twin.wait()
    assert task.result == b"x"
    twin.add_task("nobody", BIG)
    twin.run_tasks()
    del twin  # with a task in flight
    gc.collect()
    client.namespace = "space"
    client.remove_servers()
    attempt(lambda: client.echo(b"x"))
    client.add_server("127.0.0.1", 1)
    attempt(lambda: client.echo(b"x"))
    client.close()


def use_worker(address: str) -> None:
    """Make every call of a worker that does not run in a thread."""
    with Client(address, timeout=60) as client:
        worker = Worker(address, timeout=20, namespace="by hand")
        client.namespace = "by hand"
        worker.echo(b"x")
        worker.register("grabbed")
        for end in "complete", "fail", "close", "drop":
            client.do_background("grabbed", BIG)
            job = worker.grab_job()
            assert job is not None
            assert job.workload == BIG
            if end == "complete":
                job.send_complete(BIG)
            elif end == "fail":
                job.send_fail()
            if end != "drop":
                job.close()
            del job
        for _ in range(2):  # those that went back
            job = worker.grab_job()
            assert job is not None
            job.send_complete()
            job.close()
        assert worker.grab_job() is None
        worker.unregister("grabbed")

        def stops(job: Job) -> None:
            raise StopWorker(b"end")

        worker.add_function("stops", stops)
        worker.add_function("echo", lambda job: job.workload)
        client.do_background("echo", b"x")
        assert worker.work()
        client.do_background("stops")
        assert worker.run() == 1
        worker.add_options(WorkerOption.NON_BLOCKING)
        client.do_background("echo", BIG)
        while not worker.work():
            worker.wait()
        worker.clone().close()
        worker.unregister_all()
        worker.remove_servers()
        worker.stop()
        worker.close()


def half_a_job(server: FakeServer, connection: socket.socket) -> None:
    """Be a job server that stops in the middle of whatever it sends of a job."""
    for kind, body in requests(connection):
        if kind == ECHO_REQ:
            connection.sendall(packet(ECHO_RES, body))
        elif kind == OPTION_REQ:
            connection.sendall(packet(OPTION_RES, body))
        elif kind == GET_STATUS:  # asked while connecting
            connection.sendall(packet(STATUS_RES, body, b"0", b"0", b"0", b"0"))
        elif kind == GRAB_JOB_ALL:
            job = packet(JOB_ASSIGN_UNIQ, b"H:x:1", b"f", b"u", BIG)
            connection.sendall(job[: len(job) // 2])
        elif kind in SUBMITS:
            result = packet(WORK_COMPLETE, b"H:x:1", BIG)
            connection.sendall(packet(JOB_CREATED, b"H:x:1"))
            connection.sendall(result[: len(result) // 2])


def end_half_way() -> None:
    """Close, while C is in the middle of receiving something."""
    with FakeServer(half_a_job) as server:
        worker = Worker(server.address, timeout=2)
        worker.add_function("f", lambda job: None)
        assert not worker.work()
        worker.close()
        with Client(server.address, timeout=60, connect_timeout=60) as client:
            attempt(lambda: client.do("f", BIG, timeout=10))
            client.add_options(ClientOption.NON_BLOCKING)
            client.add_task("f", b"x")
            for _ in range(20):
                client.run_tasks()
                client.wait(0.1)


def divide(address: str) -> None:
    """Have a job divided among workers."""
    worker = Worker(address)
    worker.define_partition("divides", divides, b"".join)
    runner = threading.Thread(target=worker.run)
    runner.start()
    with Client(address, timeout=60) as client:
        task = client.execute_by_partition("divides", "echo", b"abc")
        assert task.result == b"abc"
    worker.stop()
    runner.join()
    worker.close()


def main() -> None:
    """Make the calls, with a worker beside them."""
    address = sys.argv[1]
    worker = serve(address)
    runner = threading.Thread(target=worker.run)
    runner.start()
    use_client(address)
    divide(address)
    worker.stop()
    runner.join()
    worker.close()
    use_worker(address)
    end_half_way()
    gc.collect()
    print("every call was made")


if __name__ == "__main__":
    main()
