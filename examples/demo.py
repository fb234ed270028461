#!/usr/bin/env python3
"""Run two pairs of example programs against a job server of their own.

What ``make demo`` shows: a gearmand on a free port, two workers and two clients, each
a process of its own, and whether each client printed the result it should.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from pygearman_cffi.testing import GearmanServer

HERE = Path(__file__).parent
PATIENCE = 30.0  # seconds, for what takes a fraction of one

Process = subprocess.Popen[str]


class Pair(NamedTuple):
    """Two programs, and what the client must print when they work together."""

    worker: str
    client: str
    arguments: tuple[str, ...]
    expected: str


PAIRS = (
    Pair(
        worker="jfy_worker.py",
        client="jfy_client.py",
        arguments=("--count", "1", "--interval", "0", "this is a test"),
        expected="this is a test->result",
    ),
    Pair(
        worker="reverse_worker.py",
        client="reverse_client.py",
        arguments=("Hello!",),
        expected="!olleH",
    ),
)


@contextmanager
def started(server: GearmanServer, program: str, *arguments: str) -> Iterator[Process]:
    """Run an example beside us; it does not outlive the ``with`` block."""
    where = ["--host", server.host, "--port", str(server.port)]
    process = subprocess.Popen(
        [sys.executable, str(HERE / program), *where, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def finished(process: Process, name: str, patience: float = PATIENCE) -> str:
    """Wait for an example to end, print what it printed, and return that."""
    try:
        output, _ = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
        output += f"\n(killed: it did not end within {patience:g} seconds)"
    for line in output.splitlines():
        print(f"{name:>18} | {line}")
    return output


def problem(server: GearmanServer, pair: Pair) -> str | None:
    """Run a worker for one job and a client that submits it; say what went wrong.

    Nobody waits for the worker to be ready: the server keeps the job until it is.
    """
    with (
        started(server, pair.worker, "--count", "1") as worker,
        started(server, pair.client, *pair.arguments) as client,
    ):
        printed = finished(client, pair.client)
        # A worker whose client failed may wait for its one job for ever.
        finished(worker, pair.worker, 1.0 if client.returncode else PATIENCE)
    if client.returncode or worker.returncode:
        return (
            f"{pair.client} ended with exit code {client.returncode}, "
            f"{pair.worker} with {worker.returncode}"
        )
    if pair.expected not in printed:
        return f"{pair.client} did not print {pair.expected!r}"
    return None


def main() -> int:
    """Run the pairs; the exit code says whether all went well."""
    with GearmanServer() as server:
        print(f"gearmand listens on {server.address}")
        for pair in PAIRS:
            wrong = problem(server, pair)
            if wrong:
                print(f"demo: {wrong}", file=sys.stderr)
                return 1
    print("Both clients printed what they should.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
