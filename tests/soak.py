"""Many jobs through one client and one worker, and what that does to memory.

    python -m tests.soak [--jobs 1000000] [--way do|tasks|map|background]

Each side runs in a process of its own and is looked at from outside, through /proc.
Memory has to stay flat after the warm-up, the number of descriptors constant. The end
is a table.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pygearman_cffi.testing import GearmanServer

ROOT = Path(__file__).parent.parent
WAYS = ("do", "tasks", "map", "background")
SAMPLES = 20
WARM_UP = 0.1
"""The share of all jobs after which memory may grow no more."""

_WORKER = """
import sys
from pygearman_cffi import Worker

worker = Worker(sys.argv[1])
worker.add_function("echo", lambda job: job.workload)
print("ready", flush=True)
worker.run()
"""

# Does as many jobs as each line of its input says, and then prints one.
_CLIENT = """
import sys
from pygearman_cffi import Client

address, way = sys.argv[1:]
client = Client(address)
payload = bytes(range(256)) * 4

def do(number):
    for index in range(number):
        assert client.do("echo", payload) == payload

def tasks(number):
    while number > 0:
        block = [client.add_task("echo", payload) for _ in range(min(500, number))]
        assert client.run_tasks()
        assert all(task.result == payload for task in block)
        number -= 500

def map(number):
    for result in client.map("echo", (payload for _ in range(number))):
        assert result == payload

def background(number):
    for index in range(number):
        client.do_background("echo", payload)
    client.do("echo", payload, priority=2)  # the worker has done the others by then

for line in sys.stdin:
    globals()[way](int(line))
    print("done", flush=True)
"""


@dataclass
class Side:
    """A process that is looked at."""

    name: str
    process: subprocess.Popen[str]
    memory: list[int] = field(default_factory=list)
    """KiB, at each sample."""
    descriptors: list[int] = field(default_factory=list)

    def look(self) -> None:
        """Take a sample."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        self.memory.append(int(line.split()[1]))
        folder = Path(f"/proc/{self.process.pid}/fd")
        self.descriptors.append(len(list(folder.iterdir())))

    @property
    def growth(self) -> int:
        """KiB that memory grew by after the warm-up."""
        warm = max(1, int(len(self.memory) * WARM_UP))
        return self.memory[-1] - self.memory[warm]

    def row(self) -> str:
        """Return a line of the table."""
        warm = max(1, int(len(self.memory) * WARM_UP))
        fds = sorted(set(self.descriptors[1:]))
        return (
            f"{self.name:8} {self.memory[0]:>10} {self.memory[warm]:>10} "
            f"{max(self.memory):>10} {self.memory[-1]:>10} {self.growth:>10}   {fds}"
        )


@dataclass
class Outcome:
    """What a soak has come to."""

    way: str
    jobs: int
    seconds: float
    sides: list[Side]

    def table(self) -> str:
        """Return it, for reading."""
        head = (
            f"{'KiB':8} {'at first':>10} {'warm':>10} {'most':>10} {'at last':>10} "
            f"{'growth':>10}   descriptors"
        )
        rate = self.jobs / self.seconds
        return "\n".join(
            [
                f"{self.jobs} jobs by {self.way}, {rate:.0f} a second",
                head,
                *(side.row() for side in self.sides),
            ]
        )

    def problems(self, allowed: int) -> list[str]:
        """Return what is not as it should be; `allowed` is a growth in KiB."""
        found = []
        for side in self.sides:
            if side.growth > allowed:
                found.append(f"the {side.name} grew by {side.growth} KiB")
            if len(set(side.descriptors[1:])) != 1:
                found.append(f"descriptors of the {side.name}: {side.descriptors}")
        return found


@contextmanager
def _python(script: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def soak(jobs: int, way: str) -> Outcome:
    """Run so many jobs and watch both processes."""
    with (
        GearmanServer() as server,
        _python(_WORKER, server.address) as worker,
        _python(_CLIENT, server.address, way) as client,
    ):
        assert worker.stdout is not None
        assert client.stdin is not None
        assert client.stdout is not None
        worker.stdout.readline()
        sides = [Side("client", client), Side("worker", worker)]
        began = time.monotonic()
        for _ in range(SAMPLES):
            client.stdin.write(f"{jobs // SAMPLES}\n")
            client.stdin.flush()
            if client.stdout.readline() != "done\n":
                raise AssertionError("the client has ended")
            for side in sides:
                side.look()
        return Outcome(way, jobs, time.monotonic() - began, sides)


def main() -> int:
    """Soak; return 1 when memory or descriptors did not stay as they were."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--way", choices=WAYS, action="append")
    parser.add_argument("--growth", type=int, default=1024, help="KiB that are allowed")
    options = parser.parse_args()
    problems = []
    for way in options.way or ["do"]:
        outcome = soak(options.jobs, way)
        print(outcome.table(), flush=True)
        problems += outcome.problems(options.growth)
    for problem in problems:
        print(f"FAILED: {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
