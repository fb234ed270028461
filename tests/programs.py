"""Other programs that speak Gearman, for the tests of interoperation.

C programs on libgearman (compiled here, from ``tests/c`` and the examples), php-gearman
scripts from ``tests/php``, and the ``gearman`` command-line tool; each as a worker
beside the test or as a client that is run to its end.
"""

from __future__ import annotations

import atexit
import os
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TypeVar

import pytest

from pygearman_cffi.testing import GearmanServer
from tests import c_compiler

T = TypeVar("T")

TESTS = Path(__file__).parent
C_EXAMPLES = TESTS.parent / "examples" / "c_api"

_PATIENCE = 60.0  # seconds, for what takes a fraction of one


def wait_for(predicate: Callable[[], T], timeout: float = 10.0) -> T:
    """Ask until the answer is true, and return it; the one place that sleeps.

    Raises:
        AssertionError: it was never true within the time.
    """
    deadline = time.monotonic() + timeout
    while not (answer := predicate()):
        if time.monotonic() > deadline:
            raise AssertionError(f"still {answer!r} after {timeout} seconds")
        time.sleep(0.002)
    return answer


def wait_for_worker(server: GearmanServer, function: str, workers: int = 1) -> None:
    """Wait until so many workers have registered this function."""
    wait_for(lambda: registered(server, function) >= workers)


def registered(server: GearmanServer, function: str) -> int:
    """Count the workers that have registered this function."""
    functions = server.status()
    return functions[function].workers if function in functions else 0


def is_listening(port: int) -> bool:
    """Tell whether anybody accepts connections on this port of the loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


# --- C -----------------------------------------------------------------------


@cache
def compile_program(name: str) -> Path:
    """Compile a C program, once in this process.

    Args:
        name: a file of ``tests/c`` or ``examples/c_api``, without ``.c``.

    Returns:
        The program.
    """
    source = TESTS / "c" / f"{name}.c"
    if not source.exists():
        source = C_EXAMPLES / f"{name}.c"
    program = _folder() / name
    warnings = ["-Wall", "-Wextra", "-Werror"]
    done = c_compiler.run(
        [
            *c_compiler.command(),
            *["-std=gnu11", "-O1", *warnings, str(source), "-o", str(program)],
            *_link_flags(),
        ]
    )
    if done.returncode != 0:
        pytest.fail(f"{source} does not compile:\n{done.stderr}")
    return program


@cache
def _folder() -> Path:
    """Make a folder for the programs; parallel test runs have one each."""
    folder = Path(tempfile.mkdtemp(prefix="pygearman-cffi-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _link_flags() -> list[str]:
    pkg_config = shutil.which("pkg-config")
    if pkg_config is not None:
        found = c_compiler.run([pkg_config, "--libs", "gearmand"])
        if found.returncode == 0:
            return shlex.split(found.stdout)
    return ["-lgearman"]


@contextmanager
def c_worker(
    server: GearmanServer, name: str = "worker_v2", *options: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a C worker of ``tests/c``, registered when the block begins."""
    command = [str(compile_program(name)), server.host, str(server.port), *options]
    with _worker(server, "echo", command) as process:
        yield process


def run_client(
    server: GearmanServer,
    function: str,
    payload: bytes = b"",
    *options: str,
    name: str = "client_do",
) -> subprocess.CompletedProcess[bytes]:
    """Run a C client of ``tests/c`` to its end, the payload on its standard input."""
    program = str(compile_program(name))
    return _run([program, server.host, str(server.port), function, *options], payload)


# --- PHP ---------------------------------------------------------------------


@contextmanager
def php_worker(
    server: GearmanServer, script: str = "echo_worker.php", function: str = "echo_php"
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a PHP worker, ``function`` registered when the block begins."""
    with _worker(server, function, _php(server, script)) as process:
        yield process


def php(
    server: GearmanServer, script: str, *arguments: str, payload: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Run a PHP script to its end, with host, port and these arguments."""
    return _run([*_php(server, script), *arguments], payload)


def _php(server: GearmanServer, script: str) -> list[str]:
    program = _tool("php", "php-cli and php-gearman")
    path = str(TESTS / "php" / script)
    return [program, "-d", "display_errors=stderr", path, server.host, str(server.port)]


# --- the gearman tool --------------------------------------------------------


@contextmanager
def gearman_tool_worker(
    server: GearmanServer, function: str, *command: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``gearman -w``: each workload goes through this command, such as ``cat``."""
    arguments = [*_gearman(server), "-w", "-f", function, *command]
    with _worker(server, function, arguments, says_ready=False) as process:
        yield process


def gearman_tool(
    server: GearmanServer, *options: str, payload: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Run the ``gearman`` tool, as a client by default, to its end."""
    return _run([*_gearman(server), *options], payload)


def _gearman(server: GearmanServer) -> list[str]:
    program = _tool("gearman", "gearman-tools")
    return [program, "-h", server.host, "-p", str(server.port)]


# --- processes ---------------------------------------------------------------


def _tool(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.fail(f"{name} is not in PATH: install {package}")
    return found


def _run(command: list[str], payload: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        command, input=payload, capture_output=True, check=False, timeout=_PATIENCE
    )


@contextmanager
def _worker(
    server: GearmanServer, function: str, command: list[str], *, says_ready: bool = True
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker while the block lasts; registered when it begins."""
    expected = registered(server, function) + 1
    with tempfile.TemporaryFile() as errors:

        def is_registered() -> bool:
            if process.poll():
                text = os.pread(errors.fileno(), 4096, 0).decode(errors="replace")
                pytest.fail(f"{command} ended with {process.returncode}: {text}")
            # One that had few jobs to do may have done them by now.
            return process.returncode == 0 or registered(server, function) >= expected

        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if says_ready else subprocess.DEVNULL,
            stderr=errors,
        )
        with process:
            try:
                if process.stdout is not None:
                    process.stdout.readline()
                wait_for(is_registered)
                yield process
            finally:
                process.kill()
        _wait_until_gone(server, function, expected)


def _wait_until_gone(server: GearmanServer, function: str, workers: int) -> None:
    """Give the server time to notice, or the next worker would count this one."""
    try:
        wait_for(lambda: registered(server, function) < workers, timeout=1.0)
    except (OSError, AssertionError):
        pass  # the test has ended the server, or started other workers meanwhile
