"""The examples: each runs against a real job server and prints exactly what it should.

The C programs beside them are compiled and take part: a port must serve the original's
client, ask the original's worker, and say the same.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from pygearman_cffi import Client, Job, JobFail, Worker
from pygearman_cffi.testing import GearmanServer, WorkerThread
from tests.programs import compile_program, is_listening, wait_for, wait_for_worker

EXAMPLES = Path(__file__).parent.parent / "examples"
PATIENCE = 30.0

CLIENTS = ["jfy_client.py", "reverse_client.py"]
WORKERS = ["jfy_worker.py", "reverse_worker.py", "reverse_worker_nonblocking.py"]
JFY_CLIENTS = ["c_api/jfy_client.c", "c_api/jfy_client.py", "jfy_client.py"]
JFY_WORKERS = ["c_api/jfy_worker.c", "c_api/jfy_worker.py", "jfy_worker.py"]
ALL = sorted({*CLIENTS, *WORKERS, *JFY_CLIENTS, *JFY_WORKERS})

Process = subprocess.Popen[str]


@pytest.fixture
def server() -> Iterator[GearmanServer]:
    """A job server for one test."""
    with GearmanServer() as server:
        yield server


def command(name: str) -> list[str]:
    """Return what runs an example, with Python's warnings as errors."""
    path = EXAMPLES / name
    if path.suffix == ".c":
        return [str(compile_program(path.stem))]
    return [sys.executable, "-X", "dev", "-W", "error", str(path)]


def environment() -> dict[str, str]:
    """Return our environment without job servers, which C programs would add."""
    return {k: v for k, v in os.environ.items() if k != "GEARMAN_SERVERS"}


def at(server: GearmanServer) -> list[str]:
    """Return the options that lead an example to this server."""
    return ["--host", server.host, "--port", str(server.port)]


def run(name: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run an example to its end."""
    return subprocess.run(
        [*command(name), *options],
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


@contextmanager
def started(name: str, *options: str) -> Iterator[Process]:
    """Run an example beside the test; its errors go to its output."""
    with subprocess.Popen(
        [*command(name), *options],
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def rest(process: Process) -> list[str]:
    """Wait for its end and return the lines not read yet, handles made alike."""
    output, _ = process.communicate(timeout=PATIENCE)
    return re.sub(r"\bH:[^\s,]+:\d+", "H:", output).splitlines()


def function_of(name: str) -> str:
    """Return the function that an example is about."""
    return "jfytest" if "jfy" in name else "reverse"


# --- every example -----------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_help(name: str) -> None:
    """Every example explains its options when asked with -h."""
    done = run(name, "-h")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: ")
    assert "--host" in done.stdout
    assert "--port" in done.stdout


@pytest.mark.parametrize("name", ALL)
def test_unknown_option(name: str) -> None:
    """An option that does not exist is answered with the usage, and status 2."""
    done = run(name, "--no-such-option")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith((f"usage: {Path(name).name}", f"{Path(name)}", "/"))


@pytest.mark.parametrize("name", CLIENTS + WORKERS)
def test_port_that_is_none(name: str) -> None:
    """A port that cannot be is one sentence on the standard error, and status 1."""
    text = ["x"] if name in CLIENTS else []
    done = run(name, "--port", "70000", *text)
    assert done.returncode == 1
    assert done.stderr.endswith("70000 is not a port; it must be 1 to 65535\n")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("name", ["c_api/jfy_client", "c_api/jfy_worker"])
def test_raw_ports_quote_c(name: str) -> None:
    """A raw port quotes its original: verbatim, in order, and every call of it."""
    source = [line.strip() for line in (EXAMPLES / f"{name}.c").read_text().split("\n")]
    port = (EXAMPLES / f"{name}.py").read_text().split("\n")
    quoted = [line.split("# | ")[1].strip() for line in port if "# | " in line]
    position = 0
    for line in quoted:
        assert line in source[position:], f"not there, or out of order: {line}"
        position = source.index(line, position) + 1
    calls = {line for line in source if re.search(r"\bgearman_\w+\(", line)}
    assert calls <= set(quoted)


def test_index() -> None:
    """The index of the examples names every program, and none that is not there."""
    text = (EXAMPLES / "README.md").read_text()
    named = set(re.findall(r"\]\(([\w/]+\.(?:py|c))\)", text))
    there = {
        path.relative_to(EXAMPLES).as_posix()
        for path in [*EXAMPLES.rglob("*.py"), *EXAMPLES.rglob("*.c")]
    }
    assert named == there


# --- the jfy pair ------------------------------------------------------------


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


# --- the reverse trio --------------------------------------------------------

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


# --- signals -----------------------------------------------------------------


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


# --- the demo ----------------------------------------------------------------


def test_demo() -> None:
    """The demo shows both results, succeeds, and leaves no process behind."""
    demo = subprocess.Popen(
        command("demo.py"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    with demo:
        output, _ = demo.communicate(timeout=2 * PATIENCE)
    assert demo.returncode == 0, output
    assert "result=this is a test->result=" in output
    assert "Success: !olleH" in output
    (port,) = re.findall(r"127\.0\.0\.1:(\d+)", output)
    assert not is_listening(int(port))
    with pytest.raises(ProcessLookupError):
        os.killpg(demo.pid, 0)
