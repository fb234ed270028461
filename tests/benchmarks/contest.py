"""Runs contestants against a job server: rounds in rotated order, one at a time."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

from pygearman_cffi.testing import GearmanServer
from tests.benchmarks.modes import C, Entry, Mode, client, worker

Result: TypeAlias = "dict[str, Any]"
"""What a contestant printed: jobs, wall, user, sys, peak, latencies; or error."""

_PATIENCE = 1800.0
_FUNCTION = "echo"


def argv(
    server: GearmanServer, command: Sequence[str], arguments: Sequence[str]
) -> list[str]:
    """Return a whole command line."""
    return [*command, server.host, str(server.port), *arguments]


def run(command: list[str]) -> Result:
    """Run a contestant to its end."""
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=_PATIENCE
    )
    if done.returncode != 0 or not done.stdout.startswith("{"):
        lines = (done.stdout + done.stderr).strip().splitlines()
        return {"error": lines[-1] if lines else f"exit status {done.returncode}"}
    result: Result = json.loads(done.stdout.splitlines()[-1])
    return result


@contextmanager
def beside(server: GearmanServer, command: Sequence[str]) -> Iterator[None]:
    """Run a worker while the block lasts; it has registered when that begins."""
    if not command:
        yield
        return
    with tempfile.TemporaryFile() as told:
        *program, last = command
        wide = [last] if last == "wide" else []
        jobs = program.pop() if wide else last
        process = subprocess.Popen(
            argv(server, program, [jobs, *wide]), stdout=told, stderr=told
        )
        try:
            _await(lambda: _status(server)[1] > 0)
            yield
        finally:
            process.kill()
            process.wait()
            _await(lambda: _status(server)[1] == 0)


def _status(server: GearmanServer) -> tuple[int, int]:
    """Return the number of jobs and of workers."""
    status = server.status().get(_FUNCTION)
    return (status.total, status.workers) if status else (0, 0)


def _await(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError("the job server does not show what it should")
        time.sleep(0.005)


def drain(server: GearmanServer) -> None:
    """Have whatever is queued done, by a worker in C."""
    left = _status(server)[0]
    if left:
        run(argv(server, worker(C), [str(left), "wide"]))
        _await(lambda: _status(server) == (0, 0))


def feed(server: GearmanServer, jobs: int, size: int) -> None:
    """Queue jobs that nobody waits for, by a client in C."""
    subprocess.run(argv(server, client(C), ["feed", str(jobs), str(size)]), check=True)


def _one(mode: Mode, entry: Entry, server: GearmanServer) -> Result:
    if mode.feed:
        feed(server, entry.jobs, mode.size)
    with beside(server, entry.other):
        result = run(argv(server, entry.command, entry.arguments))
    drain(server)
    return result


def _start(entry: Entry) -> Result:
    """Run a whole program; its time is that from its start to its end."""
    before = time.perf_counter()
    process = os.posix_spawn(entry.command[0], entry.command, os.environ)
    _, status, used = os.wait4(process, 0)
    wall = time.perf_counter() - before
    if status:
        return {"error": f"exit status {os.waitstatus_to_exitcode(status)}"}
    times = {"user": used.ru_utime, "sys": used.ru_stime}
    return {"jobs": 1, "wall": wall, **times, "peak": 0, "latencies": []}


def hold(mode: Mode, say: Callable[[str], None]) -> dict[str, list[Result | None]]:
    """Run all rounds of a mode; return the results of each contestant by round.

    None stands for a round that a slow contestant has sat out.
    """
    results: dict[str, list[Result | None]] = {each.name: [] for each in mode.entries}
    with GearmanServer() as server:
        for number in range(mode.rounds):
            turn = number % len(mode.entries)
            for entry in mode.entries[turn:] + mode.entries[:turn]:
                if entry.rounds is not None and number >= entry.rounds:
                    results[entry.name].append(None)
                    continue
                plain = not entry.arguments
                result = _start(entry) if plain else _one(mode, entry, server)
                result["load"] = os.getloadavg()[0]
                results[entry.name].append(result)
                if "error" in result:
                    say(f"{mode.name}, {entry.name}: {result['error']}")
                    server.stop()
                    server.start()
            say(f"{mode.name}: round {number + 1} of {mode.rounds}")
    return results
