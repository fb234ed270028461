"""The client with the progress bars."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pygearman_cffi import Job, JobFail, Worker
from pygearman_cffi.testing import GearmanServer, WorkerThread
from tests.examples import (
    EXAMPLES,
    PATIENCE,
    at,
    command,
    environment,
    run,
    started,
)

# Colours, and what moves the cursor.
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
def server() -> Iterator[GearmanServer]:
    """A job server for one test."""
    with GearmanServer() as server:
        yield server


def test_many_jobs(server: GearmanServer) -> None:
    """Where nobody looks, the bar of all jobs is printed once, full."""
    worker = ("progress_worker.py", *at(server), "--pause", "0", "--count", "20")
    with started(*worker), started(*worker):
        done = run("progress_client.py", *at(server), "--jobs", "30", "--steps", "5")
    assert (done.returncode, done.stderr) == (0, "")
    *bars, last = done.stdout.splitlines()
    assert last == "30 done, 0 failed"
    (bar,) = (line for line in bars if line.strip())
    assert bar.startswith("all jobs")
    assert "30/30" in bar


def test_failures(server: GearmanServer) -> None:
    """A job that fails is named and counted, and stops no other."""

    def fail_half(job: Job) -> bytes:
        if int(job.handle.split(":")[-1]) % 2:
            raise JobFail("out of luck")
        return b""

    worker = Worker(server.address)
    worker.add_function("progress", fail_half)
    with WorkerThread(worker):
        done = run("progress_client.py", *at(server), "--jobs", "6")
    assert done.returncode == 1
    assert " ".join(done.stdout.split()).count("out of luck") == 3
    assert done.stdout.splitlines()[-1] == "3 done, 3 failed"


def test_bars_move(server: GearmanServer) -> None:
    """On a terminal the bar of a job that runs is seen while it runs."""
    seen = threading.Event()

    def hold(job: Job) -> bytes:
        job.send_status(3, 14)
        seen.wait(PATIENCE)
        return b""

    worker = Worker(server.address)
    worker.add_function("progress", hold)
    ours, theirs = pty.openpty()
    client = subprocess.Popen(
        [*command("progress_client.py"), *at(server), "--jobs", "2"],
        env={**environment(), "TERM": "xterm", "COLUMNS": "100", "LINES": "40"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    screen = ""
    with client, WorkerThread(worker):
        try:
            while not re.search(r"all jobs.*0/2.*\n.*job 1 .*3/14", screen):
                screen += ESCAPES.sub("", os.read(ours, 65536).decode())
            seen.set()
            while "2 done, 0 failed" not in screen:
                screen += ESCAPES.sub("", os.read(ours, 65536).decode())
            assert client.wait(PATIENCE) == 0
        finally:
            seen.set()
            client.kill()
            os.close(ours)


def test_without_rich(tmp_path: Path) -> None:
    """Where rich is missing, one sentence says so and how to get it."""
    (tmp_path / "rich").mkdir()
    (tmp_path / "rich" / "__init__.py").write_text("raise ImportError('none here')")
    done = subprocess.run(
        command("progress_client.py"),
        env={**environment(), "PYTHONPATH": f"{tmp_path}{os.pathsep}{EXAMPLES.parent}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch("This example .* with rich: .*pip install.*\n", done.stderr)
