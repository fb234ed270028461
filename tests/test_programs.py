"""The partners of the interoperation tests, with each other: they do what they say.

A failure here explains a failure there.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from pygearman_cffi.testing import GearmanServer
from tests.programs import (
    c_worker,
    compile_program,
    gearman_tool,
    gearman_tool_worker,
    php,
    php_worker,
    run_client,
    wait_for_worker,
)

ALL_BYTES = bytes(range(256))


@pytest.fixture(scope="module")
def server() -> Iterator[GearmanServer]:
    """A server for this file; every test ends its workers."""
    with GearmanServer() as server:
        yield server


@pytest.mark.parametrize("style", ["worker_v1", "worker_v2"])
def test_c_worker_and_c_client(server: GearmanServer, style: str) -> None:
    """Both styles of C worker serve the same functions, to a C client."""
    with c_worker(server, style):
        for payload in (b"", b"\0", ALL_BYTES, ALL_BYTES * 300):
            assert run_client(server, "echo", payload).stdout == payload
        assert run_client(server, "reverse", ALL_BYTES).stdout == ALL_BYTES[::-1]
        assert run_client(server, "upper", b"abc").stdout == b"ABC"
        assert run_client(server, "chunks", b"abcdefgh").stdout == b"abcdefgh"
        assert run_client(server, "unique", b"", "--unique", "u").stdout == b"u"
        assert run_client(server, "handle", b"").stdout.startswith(b"H:")
        assert run_client(server, "sleep_ms", b"1", "--priority", "low").stdout == b"1"


@pytest.mark.parametrize("style", ["worker_v1", "worker_v2"])
def test_c_client_as_tasks(server: GearmanServer, style: str) -> None:
    """The C client tells the callbacks of its tasks in their order."""
    with c_worker(server, style):
        seen = run_client(server, "chunks", b"abcdefgh", "--tasks", "1")
        assert seen.stdout.decode().splitlines() == [
            "created",
            "data 2",
            "warning 7",
            "status 1/2",
            "data 2",
            "complete 4",
        ]
        seen = run_client(server, "exception", b"oops", "--tasks", "1")
        assert seen.stdout == b"created\nexception 4\n"
        seen = run_client(server, "fail", b"", "--tasks", "1", "--priority", "high")
        assert seen.stdout == b"created\nfail\n"
        seen = run_client(server, "echo", b"x", "--tasks", "5", "--unique", "t")
        assert seen.stdout.count(b"complete 1\n") == 5


@pytest.mark.parametrize("style", ["worker_v1", "worker_v2"])
def test_c_failures(server: GearmanServer, style: str) -> None:
    """A C client says which return code a job ended with; -c counts failed jobs too."""
    with c_worker(server, style, "-c", "2") as worker:
        failed = run_client(server, "fail", b"x")
        assert (failed.returncode, failed.stderr) == (1, b"24 GEARMAN_WORK_FAIL\n")
        failed = run_client(server, "exception", b"x")
        assert (failed.returncode, failed.stderr) == (1, b"23 GEARMAN_WORK_EXCEPTION\n")
        assert worker.wait(10) == 0
    failed = run_client(server, "nobody", b"x", "--timeout", "100")
    assert (failed.returncode, failed.stderr) == (1, b"47 GEARMAN_TIMEOUT\n")


def test_php(server: GearmanServer) -> None:
    """The PHP client and worker are byte-exact; the client cannot send b""."""
    with php_worker(server):
        for payload in (b"\0", ALL_BYTES, ALL_BYTES * 300):
            done = php(server, "client.php", "echo_php", payload=payload)
            assert (done.returncode, done.stdout) == (0, payload), done.stderr
        done = php(server, "client.php", "reverse_php", payload=b"Hello!")
        assert done.stdout == b"!olleH"
        # php-gearman gives C a pointer with a size of 0, which C refuses.
        assert b"invalid workload" in php(server, "client.php", "echo_php").stderr
        done = run_client(server, "echo_php", b"")
        assert (done.returncode, done.stdout) == (0, b""), done.stderr


def test_gearman_tool(server: GearmanServer) -> None:
    """The command-line tool is byte-exact as client and as worker."""
    with gearman_tool_worker(server, "tool", "cat"):
        for payload in (b"", ALL_BYTES, ALL_BYTES * 300):
            done = gearman_tool(server, "-f", "tool", payload=payload)
            assert (done.returncode, done.stdout) == (0, payload), done.stderr


def test_jfy_pair(server: GearmanServer) -> None:
    """The C originals of the examples print what their ports must print."""
    address = ["--host", server.host, "--port", str(server.port)]
    worker = [str(compile_program("jfy_worker")), *address, "--count", "2"]
    client = [str(compile_program("jfy_client")), *address, "--count", "1"]
    with subprocess.Popen(worker, stdout=subprocess.PIPE, text=True) as serving:
        try:
            wait_for_worker(server, "jfytest")
            for text in ("this is a test", "x" * 3000):
                command = [*client, "--interval", "0.01", text]
                printed = subprocess.check_output(command, text=True, timeout=30)
                first, pause = printed.splitlines()
                assert first == f"result_size={len(text) + 8},result={text}->result="
                assert pause == "sleep 0.01s ..."
            said, _ = serving.communicate(timeout=10)
        finally:
            serving.kill()
    first, request, result, *_ = said.splitlines()
    assert first == "wait job ..."
    assert request.endswith(",result_size=14,request=this is a test")
    assert result.endswith(",result_size=22,result=this is a test->result")
    assert request.startswith("job=H:")
