"""The jfy pair and the reverse trio print exactly what they should, in C and in Python."""

from __future__ import annotations

import pytest

from pygearman_cffi import Client, Job, JobFail, Worker
from pygearman_cffi.testing import GearmanServer, WorkerThread
from tests import examples
from tests.examples import (
    JFY_CLIENTS,
    JFY_WORKERS,
    PATIENCE,
    WORKERS,
    at,
    function_of,
    rest,
    run,
    started,
)

server = examples.server


# -- the jfy pair ----------------------------------------------------------------------


@pytest.mark.parametrize("worker", JFY_WORKERS)
@pytest.mark.parametrize("client", JFY_CLIENTS)
def test_jfy(server: GearmanServer, client: str, worker: str) -> None:
    """Each client of the pair prints the same with each worker, and so do these."""
    with started(worker, *at(server), "--count", "3") as serving:
        options = [*at(server), "--interval", "0.01", "--count"]
        done = run(client, *options, "2", "this is a test")
        assert (
            done.stdout.splitlines()
            == [
                "result_size=22,result=this is a test->result=",
                "sleep 0.01s ...",
            ]
            * 2
        )
        assert (done.returncode, done.stderr) == (0, "")
        done = run(client, *options, "1", "")
        assert done.stdout.startswith("result_size=8,result=->result=\n")
        assert rest(serving) == [
            "wait job ...",
            *[
                "job=H:,result_size=14,request=this is a test",
                "job=H:,result_size=22,result=this is a test->result",
            ]
            * 2,
            "job=H:,result_size=0,request=",
            "job=H:,result_size=8,result=->result",
        ]
        assert serving.returncode == 0


@pytest.mark.parametrize("client", JFY_CLIENTS)
def test_jfy_client_of_a_failing_worker(server: GearmanServer, client: str) -> None:
    """A failed job is a line on the standard error, and the client goes on."""

    def fail(job: Job) -> bytes:
        raise JobFail

    worker = Worker(server.address)
    worker.add_function("jfytest", fail)
    with WorkerThread(worker):
        done = run(client, *at(server), "--count", "2", "--interval", "0", "x")
    assert done.stderr == "Work failed\n" * 2
    assert (done.returncode, done.stdout) == (0, "sleep 0s ...\n" * 2)


def test_jfy_client_without_a_worker(server: GearmanServer) -> None:
    """A job that nobody does is a timeout, and the client goes on."""
    options = ["--count", "2", "--interval", "0", "--timeout", "0.1"]
    done = run("jfy_client.py", *at(server), *options, "x")
    assert done.stderr == "Work timeout\n" * 2
    assert (done.returncode, done.stdout) == (0, "sleep 0s ...\n" * 2)


@pytest.mark.parametrize("client", JFY_CLIENTS)
def test_jfy_client_without_a_server(server: GearmanServer, client: str) -> None:
    """A server that is not there is a line on the standard error, and status 0."""
    server.stop()
    done = run(client, *at(server), "--count", "1", "--interval", "0", "x")
    assert (done.returncode, done.stdout) == (0, "sleep 0s ...\n")
    assert len(done.stderr.splitlines()) == 1
    assert "refused" in done.stderr or "COULD_NOT_CONNECT" in done.stderr


@pytest.mark.parametrize("worker", ["jfy_worker.py", "reverse_worker_nonblocking.py"])
def test_worker_without_a_server(server: GearmanServer, worker: str) -> None:
    """A worker that may be started before its server serves once that is there."""
    function = function_of(worker)
    server.stop()
    with started(worker, *at(server), "--count", "1") as serving:
        assert serving.stdout is not None
        while serving.stdout.readline() not in {
            "wait job ...\n",
            "return_code: NO_ACTIVE_FDS\n",
        }:
            assert serving.poll() is None
        server.start()
        with Client(server.address, timeout=PATIENCE) as client:
            assert client.do(function, b"abc")
        rest(serving)
        assert serving.returncode == 0


def test_reverse_worker_without_a_server(server: GearmanServer) -> None:
    """The worker whose loop ends when work() is False says why, with status 1."""
    server.stop()
    done = run("reverse_worker.py", *at(server))
    assert done.stdout.splitlines()[2:] == ["return_code: COULD_NOT_CONNECT"]
    assert (done.returncode, done.stderr) == (1, "")


# -- the reverse trio ------------------------------------------------------------------


REVERSED = [
    "Received job: H:",
    "Workload: Hello! (6)",
    *[f"Sending status: {done}/6 complete" for done in range(6)],
    "Result: !olleH",
]


@pytest.mark.parametrize("worker", WORKERS[1:])
def test_reverse(server: GearmanServer, worker: str) -> None:
    """The client prints what the PHP client prints; so do the workers."""
    with started(worker, *at(server), "--count", "2") as serving:
        done = run("reverse_client.py", *at(server), "Hello!")
        assert done.stdout == "Starting\nSending job\nSuccess: !olleH\n"
        assert (done.returncode, done.stderr) == (0, "")
        assert run("reverse_client.py", *at(server)).stdout == done.stdout
        lines = rest(serving)
        assert serving.returncode == 0
    codes = [line for line in lines if line.startswith("return_code: ")]
    lines = [line for line in lines if line not in codes]
    assert lines == ["Starting", "Waiting for job...", *REVERSED, *REVERSED]
    if worker == "reverse_worker.py":
        assert codes == []
    else:
        assert codes.count("return_code: SUCCESS") == 2
        others = {"SUCCESS", "IO_WAIT", "NO_JOBS"}
        assert {code.split()[1] for code in codes} <= others


def test_reverse_shows_status(server: GearmanServer) -> None:
    """With --status, the client prints what the worker sends on the way."""
    with started("reverse_worker.py", *at(server), "--count", "1"):
        done = run("reverse_client.py", *at(server), "--status", "abc")
    assert done.stdout.splitlines() == [
        "Starting",
        "Sending job",
        *[f"Status: {part}/3 complete" for part in range(3)],
        "Success: cba",
    ]


def test_reverse_fast(server: GearmanServer) -> None:
    """With --fast, the worker does the same without a word."""
    with started("reverse_worker.py", *at(server), "--count", "1", "--fast") as serving:
        done = run("reverse_client.py", *at(server), "--status", "abc")
        assert done.stdout == "Starting\nSending job\nSuccess: cba\n"
        assert rest(serving) == ["Starting", "Waiting for job..."]


@pytest.mark.parametrize("worker", WORKERS[1:])
def test_reverse_worker_ends_when_idle(server: GearmanServer, worker: str) -> None:
    """With --timeout, a worker that has nothing to do ends, as PHP's do."""
    done = run(worker, *at(server), "--timeout", "0.2")
    lines = done.stdout.splitlines()
    assert lines[:2] == ["Starting", "Waiting for job..."]
    assert lines[-1] == "return_code: TIMEOUT"
    assert (done.returncode, done.stderr) == (0, "")


def test_reverse_client_without_a_server(server: GearmanServer) -> None:
    """A server that is not there is a RET line, and status 1."""
    server.stop()
    done = run("reverse_client.py", *at(server))
    assert done.returncode == 1
    *lines, last = done.stdout.splitlines()
    assert lines == ["Starting", "Sending job"]
    assert last.startswith("RET: Client.do('reverse')")
    assert done.stderr == ""
