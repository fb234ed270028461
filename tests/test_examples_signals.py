"""Ctrl-C and SIGTERM end each example, idle or in the middle of a job."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from pygearman_cffi import Client
from pygearman_cffi.testing import GearmanServer
from tests import examples
from tests.examples import (
    CLIENTS,
    JFY_CLIENTS,
    JFY_WORKERS,
    PATIENCE,
    WORKERS,
    Process,
    at,
    function_of,
    rest,
    started,
)
from tests.programs import wait_for, wait_for_worker

server = examples.server


@pytest.mark.parametrize("worker", [*WORKERS, *JFY_WORKERS[:2]])
def test_ctrl_c_ends_an_idle_worker(server: GearmanServer, worker: str) -> None:
    """Ctrl-C ends an idle worker without a traceback."""
    with started(worker, *at(server)) as serving:
        wait_for_worker(server, function_of(worker))
        serving.send_signal(signal.SIGINT)
        lines = rest(serving)
    assert serving.returncode == (-signal.SIGINT if "c_api" in worker else 130)
    assert lines[0] in {"wait job ...", "Starting"}
    assert {line.split(":")[0] for line in lines[2:]} <= {"return_code"}


@pytest.mark.parametrize("client", [*CLIENTS, *JFY_CLIENTS[:2]])
def test_ctrl_c_ends_a_waiting_client(server: GearmanServer, client: str) -> None:
    """Ctrl-C ends a client that waits for its result, without a traceback."""
    with started(client, *at(server), "x") as waiting:
        wait_for(lambda: function_of(client) in server.status())
        waiting.send_signal(signal.SIGINT)
        assert rest(waiting) in ([], ["Starting", "Sending job"])
    assert waiting.returncode == (-signal.SIGINT if "c_api" in client else 130)


@pytest.mark.parametrize("worker", WORKERS)
def test_sigterm_ends_an_idle_worker(server: GearmanServer, worker: str) -> None:
    """SIGTERM ends an idle worker with status 0."""
    with started(worker, *at(server)) as serving:
        wait_for_worker(server, function_of(worker))
        serving.terminate()
        lines = rest(serving)
    assert serving.returncode == 0
    assert lines[0] in {"wait job ...", "Starting"}
    assert {line.split(":")[0] for line in lines[2:]} <= {"return_code"}


# With these the workers print more than a pipe can hold: a job that has begun cannot end
# before its worker's output is read.
LONG = {"jfytest": b"ab" * 50_000, "reverse": b"ab" * 1_500}


def until_it_works(serving: Process) -> None:
    """Read until the worker has begun a job, and no further."""
    assert serving.stdout is not None
    while "job=" not in (line := serving.stdout.readline()) and "job: " not in line:
        assert line


@pytest.mark.parametrize("worker", WORKERS)
def test_sigterm_lets_a_job_finish(server: GearmanServer, worker: str) -> None:
    """SIGTERM in the middle of a job: its result is sent, then the worker ends."""
    with (
        Client(server.address, timeout=PATIENCE) as client,
        ThreadPoolExecutor(1) as pool,
        started(worker, *at(server)) as serving,
    ):
        function = function_of(worker)
        result = pool.submit(client.do, function, LONG[function])
        until_it_works(serving)
        serving.terminate()
        rest(serving)
        assert serving.returncode == 0
        expected = {
            "jfytest": LONG["jfytest"] + b"->result",
            "reverse": LONG["reverse"][::-1],
        }
        assert result.result(PATIENCE) == expected[function]


@pytest.mark.parametrize("worker", WORKERS)
def test_ctrl_c_gives_a_job_back(server: GearmanServer, worker: str) -> None:
    """Ctrl-C in the middle of a job: another worker gets it, and nothing is lost."""
    function = function_of(worker)
    with (
        Client(server.address, timeout=PATIENCE) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        result = pool.submit(client.do, function, LONG[function])
        with started(worker, *at(server)) as serving:
            until_it_works(serving)
            serving.send_signal(signal.SIGINT)
            lines = rest(serving)
        assert serving.returncode == 130
        assert not any("Traceback" in line for line in lines)
        wait_for(lambda: server.status()[function].running == 0)
        assert server.status()[function].total == 1
        with started(worker, *at(server), "--count", "1") as second:
            rest(second)
        assert len(result.result(PATIENCE)) >= len(LONG[function])
