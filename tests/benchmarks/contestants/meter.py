"""What the contestants in Python share: the clock, and the line of JSON each prints.

Runs on the peers' Python too, so it imports nothing but the standard library.
"""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable
from typing import NamedTuple

WARM = 50


class Moment(NamedTuple):
    """A time of the clock, and the processor time used until then."""

    wall: float
    user: float
    system: float


def stamp() -> Moment:
    """Take the time."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return Moment(time.perf_counter(), used.ru_utime, used.ru_stime)


def memory(field: str) -> int:
    """Return a line of /proc/self/status: VmHWM, the most ever used, or VmRSS; KiB."""
    with open("/proc/self/status", encoding="ascii") as status:
        for line in status:
            if line.startswith(f"{field}:"):
                return int(line.split()[1])
    raise LookupError(field)


def report(
    jobs: int,
    begun: Moment,
    ended: Moment,
    latencies: list[float] | None = None,
    samples: list[tuple[int, int]] | None = None,
) -> None:
    """Print the result."""
    result = {
        "jobs": jobs,
        "wall": ended.wall - begun.wall,
        "user": ended.user - begun.user,
        "sys": ended.system - begun.system,
        "peak": memory("VmHWM"),
        "latencies": latencies or [],
        "samples": samples or [],
    }
    print(json.dumps(result), flush=True)


def measure(jobs: int, one: Callable[[], object]) -> None:
    """Call a function to warm up, so many times, and a tenth of that with latencies."""
    for _ in range(max(1, min(WARM, jobs // 10))):
        one()
    begun = stamp()
    for _ in range(jobs):
        one()
    ended = stamp()
    # The clock is read in a part of its own: reading it costs, too.
    latencies = []
    for _ in range(jobs // 10):
        before = time.perf_counter()
        one()
        latencies.append(time.perf_counter() - before)
    report(jobs, begun, ended, latencies)
