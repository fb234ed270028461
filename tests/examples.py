"""The example programs: run to their end, or beside a test."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pygearman_cffi.testing import GearmanServer
from tests.programs import compile_program

EXAMPLES = Path(__file__).parent.parent / "examples"
PATIENCE = 30.0

CLIENTS = ["jfy_client.py", "reverse_client.py"]
WORKERS = ["jfy_worker.py", "reverse_worker.py", "reverse_worker_nonblocking.py"]
JFY_CLIENTS = ["c_api/jfy_client.c", "c_api/jfy_client.py", "jfy_client.py"]
JFY_WORKERS = ["c_api/jfy_worker.c", "c_api/jfy_worker.py", "jfy_worker.py"]

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
