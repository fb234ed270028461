"""What all examples of the porting gallery have in common.

What each does beside its original is in `test_gallery_clients.py`,
`test_gallery_workers.py` and `test_gallery_progress.py`.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pygearman_cffi.testing import GearmanServer
from tests.examples import (
    EXAMPLES,
    PATIENCE,
    at,
    command,
    environment,
    rest,
    run,
    started,
)
from tests.programs import wait_for, wait_for_worker

# Each with the arguments that it needs, and the function that it is about.
CLIENTS = {
    "reverse_client_bg.py": (["--wait", "x"], "reverse"),
    "reverse_client_cb.py": (["x"], "reverse"),
    "reverse_client_epoch.py": (["--epoch", "0", "x"], "reverse"),
    "reverse_client_nonblocking.py": (["x"], "reverse"),
    "reverse_client_task.py": ([], "reverse"),
    "multi_query_client.py": ([], "lookup_user"),
    "gearman_execute_example.py": ([], "reverse"),
    "gearman_execute_partition.py": ([], "word_split"),
    "progress_client.py": ([], "progress"),
    "c_api/reverse_client_bg.py": (["--wait", "x"], "reverse"),
    "c_api/reverse_client_bg.c": (["--wait", "x"], "reverse"),
    "c_api/reverse_client_cb.py": (["x"], "reverse"),
    "c_api/reverse_client_cb.c": (["x"], "reverse"),
}
ECHOES = {"echo_client.py": (["x"], ""), "echo_worker.py": (["x"], "")}
WORKERS = {
    "wc_worker.py": ([], "wc"),
    "reverse_worker_context.py": ([], "reverse"),
    "multi_query_worker.py": ([], "lookup_user"),
    "gearman_execute_partition_worker.py": (["word_split"], "word_split"),
    "progress_worker.py": ([], "progress"),
    "c_api/reverse_worker.py": ([], "reverse"),
    "c_api/reverse_worker.c": ([], "reverse"),
}
ALL = {**CLIENTS, **ECHOES, **WORKERS}
# On the Pythonic layer.
SAFE = [name for name in ALL if not name.startswith("c_api")]


@pytest.fixture
def server() -> Iterator[GearmanServer]:
    """A job server for one test."""
    with GearmanServer() as server:
        yield server


def is_raw(name: str) -> bool:
    """Tell whether an example is on the raw layer, or in C."""
    return name not in SAFE


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
    assert "usage: " in done.stderr


@pytest.mark.parametrize("name", SAFE)
def test_port_that_is_none(name: str) -> None:
    """A port that cannot be is one sentence on the standard error, and status 1."""
    done = run(name, "--port", "70000", *ALL[name][0])
    assert done.returncode == 1
    assert done.stderr.endswith("70000 is not a port; it must be 1 to 65535\n")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("name", [*CLIENTS, *ECHOES, "wc_worker.py"])
def test_without_a_server(server: GearmanServer, name: str) -> None:
    """A server that is not there is a line on the standard error, and status 1."""
    server.stop()
    done = run(name, *at(server), *ALL[name][0])
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert re.search("refused|COULD_NOT_CONNECT|LOST_CONNECTION", done.stderr)


@pytest.mark.parametrize("name", CLIENTS)
def test_ctrl_c_ends_a_waiting_client(server: GearmanServer, name: str) -> None:
    """Ctrl-C ends a client that waits for a job, without a traceback."""
    arguments, function = CLIENTS[name]
    with started(name, *at(server), *arguments) as waiting:
        wait_for(lambda: function in server.status())
        waiting.send_signal(signal.SIGINT)
        assert not any("Traceback" in line for line in rest(waiting))
    assert waiting.returncode == (-signal.SIGINT if is_raw(name) else 130)


@pytest.mark.parametrize("name", WORKERS)
def test_ctrl_c_ends_an_idle_worker(server: GearmanServer, name: str) -> None:
    """Ctrl-C ends an idle worker without a traceback."""
    arguments, function = WORKERS[name]
    with started(name, *at(server), *arguments) as serving:
        wait_for_worker(server, function)
        serving.send_signal(signal.SIGINT)
        assert not any("Traceback" in line for line in rest(serving))
    assert serving.returncode == (-signal.SIGINT if is_raw(name) else 130)


@pytest.mark.parametrize("name", [name for name in WORKERS if not is_raw(name)])
def test_sigterm_ends_an_idle_worker(server: GearmanServer, name: str) -> None:
    """SIGTERM ends an idle worker with status 0."""
    arguments, function = WORKERS[name]
    with started(name, *at(server), *arguments) as serving:
        wait_for_worker(server, function)
        serving.terminate()
        rest(serving)
    assert serving.returncode == 0


@pytest.mark.parametrize("worker", ["wc_worker.py", "c_api/reverse_worker.py"])
def test_idle_worker_ends(server: GearmanServer, worker: str) -> None:
    """With --timeout, a worker that has nothing to do ends with status 0."""
    done = run(worker, *at(server), "--timeout", "0.2")
    assert done.returncode == 0
    assert "TIMEOUT" in done.stderr


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in CLIENTS
        if re.search(r"_(bg|cb|epoch|example|partition)\.", name)
    ],
)
def test_client_gives_up(server: GearmanServer, name: str) -> None:
    """With --timeout, a client whose job nobody does ends with status 1."""
    if "_bg" in name or "_epoch" in name:  # which wait for the server alone
        os.kill(server.pid, signal.SIGSTOP)
    done = run(name, *at(server), "--timeout", "0.2", *CLIENTS[name][0])
    os.kill(server.pid, signal.SIGCONT)
    assert done.returncode == 1
    assert re.search("TIMEOUT|the time is up", done.stderr)


@pytest.mark.parametrize(
    "name", ["echo_client.py", "echo_worker.py", "reverse_client.py"]
)
def test_text(server: GearmanServer, name: str) -> None:
    """The text is an argument, --text as with C, or the standard input."""
    where = at(server)
    with started("reverse_worker.py", *where, "--fast"):
        whole = [*command(name), *where]
        standard = ["-"] if name == "reverse_client.py" else []
        outputs = [
            subprocess.run(
                [*whole, *arguments],
                env=environment(),
                input=b"Hi \xff",
                capture_output=True,
                check=True,
                timeout=PATIENCE,
            ).stdout
            for arguments in (standard, [b"Hi \xff"], ["--text", b"Hi \xff"])
        ]
    assert len(set(outputs)) == 1
    if name == "reverse_client.py":
        assert outputs[0].decode().endswith("Success: \ufffd iH\n")
    else:
        assert outputs[0] == b"Hi \xff"


def test_no_text() -> None:
    """An echo of nothing is refused, with the usage."""
    done = run("echo_client.py")
    assert done.returncode == 2
    assert "no text" in done.stderr


@pytest.mark.parametrize(
    "name",
    [
        "c_api/reverse_client_bg",
        "c_api/reverse_client_cb",
        "c_api/reverse_worker",
    ],
)
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


def test_every_example_is_tested() -> None:
    """A program that is added to the examples is added to the tests."""
    here = Path(__file__).parent
    files = [here / "examples.py", *here.glob("test_*.py")]
    tests = "".join(path.read_text() for path in files)
    for path in [*EXAMPLES.rglob("*.py"), *EXAMPLES.rglob("*.c")]:
        name = path.relative_to(EXAMPLES).as_posix()
        assert f'"{name}"' in tests, name
