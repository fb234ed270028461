"""Background jobs under a job server with a persistent queue that is killed.

    python -m tests.lossless [--jobs 10000] [--clients 4] [--workers 4] [--kills 5]

Every process that matters is one of its own: the clients, the workers, the job server.
Each client writes down the jobs whose submission succeeded, each worker the jobs that it
ran; at the end the lists are compared. It prints a table.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pygearman_cffi.testing import GearmanServer
from tests.programs import wait_for

ROOT = Path(__file__).parent.parent

LIMIT = 10.0
"""Seconds that a submission may take."""

# A line for each job whose submission succeeded ("+"), and for each that raised ("-");
# at the end the longest that a call took ("=").
_CLIENT = """
import sys, time
from pygearman_cffi import Client, GearmanError

address, name, number, path, limit = sys.argv[1:]
client = Client(address, timeout=float(limit))
longest = 0.0
with open(path, "w", buffering=1) as list:
    for index in range(int(number)):
        job = f"{name}-{index}"
        begun = time.monotonic()
        try:
            client.do_background("note", job.encode(), unique=job)
        except GearmanError as error:
            list.write(f"- {job} {type(error).__name__}\\n")
            time.sleep(0.02)
        else:
            list.write(f"+ {job}\\n")
        finally:
            longest = max(longest, time.monotonic() - begun)
    list.write(f"= {longest}\\n")
"""

# Unbuffered, and before the job is completed: what runs is written down, even if the
# worker is killed right after it.
_WORKER = """
import os, sys
from pygearman_cffi import Worker

address, path = sys.argv[1:]
list = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
worker = Worker(address)
worker.add_function(
    "note", lambda job: os.write(list, job.workload + b"\\n") and job.workload
)
worker.run()
"""


@dataclass
class Outcome:
    """What has become of the jobs."""

    accepted: set[str]
    refused: Counter[str]
    ran: Counter[str]
    server_kills: int
    worker_kills: int
    seconds: float
    longest: float
    """Seconds that the slowest submission took."""

    @property
    def lost(self) -> set[str]:
        """The jobs whose submission succeeded and that never ran."""
        return self.accepted - set(self.ran)

    @property
    def duplicates(self) -> int:
        """How many runs there were beyond the first of each job."""
        return sum(self.ran.values()) - len(self.ran)

    def table(self) -> str:
        """Return it, for reading."""
        unknown = len(set(self.ran) - self.accepted)
        rows = {
            "gearmand killed": self.server_kills,
            "workers killed": self.worker_kills,
            "submissions that succeeded": len(self.accepted),
            **{f"  raised {name}": n for name, n in self.refused.items()},
            "lost": len(self.lost),
            "run more than once": self.duplicates,
            "run though submission raised": unknown,
            "seconds": round(self.seconds),
            f"longest call of {LIMIT:g} s": f"{self.longest:.2f}",
        }
        return "\n".join(f"{text:32} {number:>8}" for text, number in rows.items())


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


class Scene:
    """The processes, and the files that they write."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.server = GearmanServer(persistent=folder / "queue.sqlite")
        stack.callback(self.server.kill)
        self._stack = stack
        self._processes: list[subprocess.Popen[bytes]] = []
        self._errors: IO[str] = stack.enter_context((folder / "errors").open("w"))

    def start(self, script: str, *arguments: object) -> subprocess.Popen[bytes]:
        """Start a client or a worker."""
        process = subprocess.Popen(
            [sys.executable, "-c", script, self.server.address, *map(str, arguments)],
            cwd=ROOT,
            stderr=self._errors,
        )
        self._stack.enter_context(process)
        self._stack.callback(process.kill)
        self._processes.append(process)
        return process

    def check(self) -> None:
        """Fail at once when a process has ended that nobody killed."""
        for process in self._processes:
            if process.poll() not in (None, 0, -signal.SIGKILL):
                raise AssertionError((self.folder / "errors").read_text())

    def worker(self, number: int) -> subprocess.Popen[bytes]:
        """Start a worker."""
        return self.start(_WORKER, self.folder / f"ran-{number}")

    def submitted(self) -> int:
        """Count the submissions so far."""
        lists = (_lines(path) for path in self.folder.glob("submitted-*"))
        return sum(not line.startswith("=") for list_ in lists for line in list_)

    def await_submissions(self, number: float) -> None:
        """Wait until so many jobs have been submitted, or refused."""

        def enough() -> bool:
            self.check()
            return self.submitted() >= number

        wait_for(enough, timeout=600.0)

    def outcome(self, kills: int, worker_kills: int, seconds: float) -> Outcome:
        """Read the lists."""
        accepted: set[str] = set()
        refused: Counter[str] = Counter()
        longest = 0.0
        for path in self.folder.glob("submitted-*"):
            for line in _lines(path):
                sign, job, *why = line.split()
                if sign == "+":
                    accepted.add(job)
                elif sign == "=":
                    longest = max(longest, float(job))
                else:
                    refused.update(why)
        ran = Counter(
            line for path in self.folder.glob("ran-*") for line in _lines(path)
        )
        return Outcome(accepted, refused, ran, kills, worker_kills, seconds, longest)


def try_to_lose(
    jobs: int, clients: int, workers: int, kills: int, *, seed: int = 1
) -> Outcome:
    """Submit so many jobs while servers and workers are killed, and count.

    Returns:
        What became of them, once every accepted job has run or a minute has passed
        without any progress.
    """
    chance = random.Random(seed)
    began = time.monotonic()
    # The queue outlives the job server, not the machine: memory is enough for it, and
    # on a slow disk gearmand would write for minutes.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as folder, ExitStack() as stack:
        scene = Scene(Path(folder), stack)
        crew = [scene.worker(number) for number in range(workers)]
        submitters = [
            scene.start(
                _CLIENT,
                f"c{n}",
                jobs // clients,
                scene.folder / f"submitted-{n}",
                LIMIT,
            )
            for n in range(clients)
        ]
        killed = 0
        for number in range(kills):
            # In the middle of the submissions, at places that differ with the seed.
            goal = jobs * (number + chance.uniform(0.5, 1.0)) / (kills + 1)
            scene.await_submissions(goal)
            scene.server.kill()
            if number % 2 == 0:
                one = chance.randrange(workers)
                crew[one].kill()
                killed += 1
                crew[one] = scene.worker(workers + number)
            scene.server.start()
        for process in submitters:
            assert process.wait(300.0) == 0, (scene.folder / "errors").read_text()
        before, still = -1, time.monotonic()
        while True:
            scene.check()
            outcome = scene.outcome(kills, killed, time.monotonic() - began)
            if not outcome.lost or time.monotonic() - still > 60.0:
                return outcome
            if len(outcome.ran) != before:
                before, still = len(outcome.ran), time.monotonic()
            time.sleep(0.05)


def main() -> int:
    """Try; return 1 when a job was lost or a call outlasted its limit."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    outcome = try_to_lose(
        options.jobs,
        options.clients,
        options.workers,
        options.kills,
        seed=options.seed,
    )
    print(outcome.table())
    if outcome.lost:
        print(f"FAILED: lost {sorted(outcome.lost)[:20]}")
    if outcome.longest > LIMIT + 1:
        print(f"FAILED: a call took {outcome.longest:.2f} s")
    return 1 if outcome.lost or outcome.longest > LIMIT + 1 else 0


if __name__ == "__main__":
    sys.exit(main())
