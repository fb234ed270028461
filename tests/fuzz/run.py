"""Random sequences of calls, for a time, in processes that are watched.

    python -m tests.fuzz.run --seconds 600 [--seed 1] [--steps 40] [--examples 25]

Every process has a seed of its own. One that fails, crashes or hangs is shown with the
steps that led there and with the command that repeats it. The end is a table.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PATIENCE = 400.0
"""Seconds for one process; a step that hangs ends it much sooner."""

ENOUGH = 5
"""Failures after which there is enough to be looked at."""


class Totals:
    """What all processes have done."""

    def __init__(self) -> None:
        self.steps: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.late = 0.0
        self.latest = ""

    def add(self, record: dict[str, Any]) -> None:
        """Add what one process has printed."""
        self.steps.update(record.pop("steps"))
        self.errors.update(record.pop("errors"))
        late, latest = record.pop("late"), record.pop("latest")
        if late > self.late:
            self.late, self.latest = late, latest
        self.counts.update(record)

    def table(self) -> str:
        """Return all of it, for reading."""
        lines = [f"{'call or event':28} {'times':>9}"]
        lines += [f"{name:28} {n:>9}" for name, n in self.steps.most_common()]
        lines += ["", f"{'exception, all expected':28} {'times':>9}"]
        lines += [f"{name:28} {n:>9}" for name, n in self.errors.most_common()]
        words = {
            "examples": "sequences",
            "jobs": "jobs ordered",
            "background": "  accepted in background",
            "ran": "runs of jobs",
            "again": "  more than once",
            "kills": "servers killed",
        }
        lines += ["", f"{'steps':28} {sum(self.steps.values()):>9}"]
        lines += [f"{text:28} {self.counts[name]:>9}" for name, text in words.items()]
        lines += [
            f"{'longest beyond a deadline':28} {self.late:>8.3f}s ({self.latest})"
        ]
        return "\n".join(lines)


def run_one(seed: int, examples: int, steps: int) -> tuple[dict[str, Any] | None, str]:
    """Run one process; return its record, or None and what there is to say."""
    with tempfile.NamedTemporaryFile("r", prefix="fuzz-", suffix=".steps") as journal:
        command = [sys.executable, "-m", "tests.fuzz.child"]
        command += [str(seed), str(examples), str(steps), journal.name]
        try:
            done = subprocess.run(
                command,
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=False,
                timeout=PATIENCE,
            )
        except subprocess.TimeoutExpired:
            status, output = "did not end", ""
        else:
            if done.returncode == 0:
                record: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
                return record, ""
            status, output = f"ended with {done.returncode}", done.stdout + done.stderr
        command[-1] = "/dev/null"
        again = " ".join(["python", *command[1:]])
        return None, (
            f"{output}\nthe last sequence of calls:\n{journal.read()}\n"
            f"seed {seed} {status}; again with: {again}"
        )


def main() -> int:
    """Run until the time is over; return 1 when a process failed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=None, help="of the first process")
    parser.add_argument("--examples", type=int, default=25, help="of one process")
    parser.add_argument("--processes", type=int, default=3, help="at a time")
    parser.add_argument("--steps", type=int, default=40, help="of one sequence")
    options = parser.parse_args()
    seed = int(time.time()) if options.seed is None else options.seed
    first, totals = seed, Totals()
    failed: list[int] = []
    began = time.monotonic()
    # Most of its time a process waits: for a server to come back, for a deadline.
    with ThreadPoolExecutor(options.processes) as pool:
        running: dict[Future[tuple[dict[str, Any] | None, str]], int] = {}
        while True:
            while (
                len(running) < options.processes
                and time.monotonic() - began < options.seconds
                and len(failed) < ENOUGH
            ):
                future = pool.submit(run_one, seed, options.examples, options.steps)
                running[future] = seed
                seed += 1
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                record, failure = future.result()
                if record is None:
                    failed.append(running[future])
                    print(failure, flush=True)
                else:
                    totals.add(record)
                del running[future]
    print(totals.table())
    print(f"seeds {first} to {seed - 1}, in {time.monotonic() - began:.0f} seconds")
    if failed:
        print(f"FAILED: {failed}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
