"""Count the instructions of a job: python -m tests.benchmarks.instructions [NAME]...

callgrind counts what the process under test does in user space, so neither the machine's
load nor its speed matters. Each contestant runs twice, and the difference of the counts
is divided by the difference of the jobs: start and end do not count. NAME is C,
"cffi alone", pygearman_cffi (without names, these three), pygearman or php-gearman.

With --annotate, the C functions that take most of it are listed as well.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from pygearman_cffi.testing import GearmanServer
from tests.benchmarks.contest import argv, beside, drain, feed
from tests.benchmarks.modes import FLOOR, OURS, PHP, PURE, C, client, worker

_WARM = 50
_FEW, _MANY = 300, 2300
_CALLS = {
    "do": "do",
    "do_background": "background",
    "tasks": "tasks",
    "map": "map",
    "worker": "",
}
_FLOOR = {"do", "do_background", "worker"}
"""What cffi alone is measured in."""


def count(command: list[str], out: Path) -> int:
    """Run a program under callgrind; return how many instructions it took."""
    tool = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"]
    done = subprocess.run(
        [*tool, *command], capture_output=True, text=True, check=False
    )
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode != 0 or found is None:
        sys.exit(f"{command} failed under callgrind:\n{done.stderr[-2000:]}")
    return int(found.group(1))


def calls(call: str, jobs: int) -> int:
    """Return how many jobs a program runs that is told to measure so many."""
    if call in {"do", "do_background"}:  # see `measure`
        return jobs + jobs // 10 + min(_WARM, jobs // 10)
    return jobs


def per_job(name: str, call: str, folder: Path) -> float:
    """Return the instructions of a job."""
    counts = []
    for jobs in (_FEW, _MANY):
        out = folder / f"{name}-{call}-{jobs}.callgrind"
        with GearmanServer() as server:
            if call == "worker":
                feed(server, jobs, 16)
                counts.append(count(argv(server, worker(name), [str(jobs)]), out))
                continue
            other = (*worker(C), "0") if call != "do_background" else ()
            with beside(server, other):
                what = _CALLS[call] if name == OURS or call != "map" else "tasks"
                arguments = [what, str(jobs), "16"]
                counts.append(count(argv(server, client(name), arguments), out))
            drain(server)
    return (counts[1] - counts[0]) / (calls(call, _MANY) - calls(call, _FEW))


def annotate(path: Path) -> str:
    """Return the C functions that take most instructions."""
    done = subprocess.run(
        ["callgrind_annotate", str(path)], capture_output=True, text=True, check=False
    )
    lines = [
        line for line in done.stdout.splitlines() if re.match(r" *[\d,]+ \(", line)
    ]
    return "\n".join(line[:150] for line in lines[:45])


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--call", action="append", choices=_CALLS)
    parser.add_argument("--annotate", action="store_true")
    arguments = parser.parse_args()
    names = arguments.names or [C, FLOOR, OURS]
    if unknown := set(names) - {C, FLOOR, OURS, PURE, PHP}:
        parser.error(f"unknown: {', '.join(unknown)}")
    wanted = arguments.call or list(_CALLS)
    print("user instructions a job, 16 B:")
    print(f"{'':16}" + "".join(f"{call:>16}" for call in wanted))
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            cells = [
                f"{per_job(name, call, Path(folder)):16,.0f}"
                if name != FLOOR or call in _FLOOR
                else f"{'':16}"
                for call in wanted
            ]
            print(f"{name:16}" + "".join(cells), flush=True)
            for call in wanted if arguments.annotate else []:
                print(f"\n{name}, {call}:")
                print(annotate(Path(folder) / f"{name}-{call}-{_MANY}.callgrind"))


if __name__ == "__main__":
    main()
