"""Byte-exact payloads between a Python worker and clients that are not Python."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest

from pygearman_cffi import Job, JobException, JobFail, Worker
from pygearman_cffi.testing import GearmanServer, WorkerThread
from tests.programs import gearman_tool, php, run_client, wait_for
from tests.test_client_interop import ALL_BYTES, EDGES, LARGE, payload_of

Ask = Callable[[GearmanServer, str, bytes], bytes]


def from_c(server: GearmanServer, function: str, payload: bytes) -> bytes:
    """Do a job with the C client."""
    done = run_client(server, function, payload)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout


def from_c_task(server: GearmanServer, function: str, payload: bytes) -> bytes:
    """Do a job with the C client's tasks, which tell the size only."""
    done = run_client(server, function, payload, "--tasks", "1")
    assert done.stdout.splitlines()[-1] == b"complete %d" % len(payload), done.stderr
    return payload


def from_tool(server: GearmanServer, function: str, payload: bytes) -> bytes:
    """Do a job with the `gearman` tool."""
    done = gearman_tool(server, "-f", function, payload=payload)
    assert done.returncode == 0, done.stderr
    return done.stdout


def from_php(server: GearmanServer, function: str, payload: bytes) -> bytes:
    """Do a job with php-gearman."""
    done = php(server, "client.php", function, payload=payload)
    assert done.returncode == 0, done.stderr
    return done.stdout


PARTNERS: dict[str, Ask] = {
    "c": from_c,
    "c task": from_c_task,
    "tool": from_tool,
    "php": from_php,
}
every_partner = pytest.mark.parametrize("ask", PARTNERS.values(), ids=PARTNERS)


def explode(_job: Job) -> bytes:
    """Raise what a bug raises."""
    raise ZeroDivisionError("by zero")


def fail(_job: Job) -> bytes:
    """Fail on purpose."""
    raise JobFail


def refuse(job: Job) -> bytes:
    """End with an exception for the client."""
    raise JobException(job.workload)


def chunks(job: Job) -> bytes:
    """Do what the C workers do under this name."""
    workload = job.workload
    third = len(workload) // 3
    job.send_data(workload[:third])
    job.send_warning(b"careful")
    job.send_status(1, 2)
    job.send_data(workload[third : 2 * third])
    return workload[2 * third :]


@pytest.fixture(scope="module")
def server() -> Iterator[GearmanServer]:
    """A server with one Python worker."""
    with GearmanServer() as server:
        worker = Worker(server.address)
        worker.add_function("echo", lambda job: job.workload)
        worker.add_function("taken", lambda job: job.take_workload())
        worker.add_function("unique", lambda job: job.unique.encode())
        worker.add_function("handle", lambda job: job.handle.encode())
        worker.add_function("size", lambda job: b"%d" % job.workload_size)
        for function in (explode, fail, refuse, chunks):
            worker.add_function(function.__name__, function)
        with WorkerThread(worker):
            yield server


@every_partner
def test_edges(server: GearmanServer, ask: Ask) -> None:
    """Sizes around the edges of buffers go there and back as they are."""
    smallest = 1 if ask is from_php else 0  # php-gearman cannot send an empty one
    # A process for each: every third, and the very edges.
    for size in {*EDGES[:8], *EDGES[8::6], 65536} - set(range(smallest)):
        payload = payload_of(size)
        assert ask(server, "echo", payload) == payload, size


@every_partner
@pytest.mark.parametrize("size", LARGE)
def test_large(server: GearmanServer, ask: Ask, size: int) -> None:
    """A megabyte, and one byte more, go there and back as they are."""
    payload = payload_of(size)
    assert ask(server, "echo", payload) == payload


@every_partner
@pytest.mark.parametrize("payload", [b"\0", b"\0" * 1000, b"a\0b\0", ALL_BYTES * 4])
def test_nul_bytes(server: GearmanServer, ask: Ask, payload: bytes) -> None:
    """NUL bytes are bytes like any other, also in a workload that was taken."""
    assert ask(server, "echo", payload) == payload
    assert ask(server, "taken", payload) == payload


def test_every_edge_in_one_process(server: GearmanServer) -> None:
    """Every size of them arrives whole, as the worker itself counts it."""
    for size in (0, 1, *range(8191, 8194)):
        assert from_c(server, "size", payload_of(size)) == b"%d" % size


def test_what_a_c_client_sees(server: GearmanServer) -> None:
    """A C client hears of chunks, warnings, status and the end, in order."""
    seen = run_client(server, "chunks", b"abcdefgh", "--tasks", "1")
    assert seen.stdout.decode().splitlines() == [
        "created",
        "data 2",
        "warning 7",
        "status 1/2",
        "data 2",
        "complete 4",
    ]
    assert from_c(server, "chunks", payload_of(200_000)) == payload_of(200_000)
    assert from_c(server, "handle", b"").startswith(b"H:")
    assert run_client(server, "unique", b"", "--unique", "u").stdout == b"u"


def test_priorities_and_background(server: GearmanServer) -> None:
    """Jobs of a C client arrive whatever their priority, also in the background."""
    for priority in ("high", "low"):
        done = run_client(server, "echo", b"x", "--priority", priority)
        assert done.stdout == b"x"
        done = run_client(server, "echo", b"x", "--priority", priority, "--background")
        assert done.stdout.startswith(b"H:")
    wait_for(lambda: server.status()["echo"].total == 0)


def test_failures_reach_a_c_client(
    server: GearmanServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever ends a job badly, a C client hears of it, and the worker goes on."""
    caplog.set_level(logging.CRITICAL, logger="pygearman_cffi.worker")
    for function in ("fail", "explode"):
        done = run_client(server, function, b"x")
        assert (done.returncode, done.stderr) == (1, b"24 GEARMAN_WORK_FAIL\n")
    done = run_client(server, "refuse", b"oops")
    assert (done.returncode, done.stderr) == (1, b"23 GEARMAN_WORK_EXCEPTION\n")
    seen = run_client(server, "refuse", b"oops", "--tasks", "1")
    assert seen.stdout == b"created\nexception 4\n"
    seen = run_client(server, "explode", b"", "--tasks", "1")
    size = len("ZeroDivisionError: by zero")
    assert seen.stdout == b"created\nwarning %d\nfail\n" % size
    assert from_c(server, "echo", b"x") == b"x"


def test_failures_reach_php(server: GearmanServer) -> None:
    """The same with php-gearman, which did not ask for exceptions."""
    for function in ("fail", "explode"):
        done = php(server, "client.php", function, payload=b"x")
        assert done.returncode == 1
        assert done.stderr.startswith(b"24 "), done.stderr
    assert from_php(server, "echo", b"x") == b"x"
