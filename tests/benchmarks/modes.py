"""Who competes in what: every mode, and the command of every contestant in it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from tests import c_compiler

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
BUILD = ROOT / "build" / "benchmarks"
VENVS = ROOT / ".venv-bench"

C = "C"
OURS = "pygearman_cffi"
PURE = "pygearman"
PHP = "php-gearman"
BARE = "bare Python"
FLOOR = "cffi alone"

KIB, MIB = 1024, 1024 * 1024


@dataclass(frozen=True)
class Entry:
    """A contestant in one mode."""

    name: str
    command: tuple[str, ...]
    """The program; the server's host and port come after the program, see `argv`."""
    arguments: tuple[str, ...]
    jobs: int
    other: tuple[str, ...] = ()
    """The worker that serves meanwhile, likewise; empty for none."""
    rounds: int | None = None
    """No more rounds than this: it is slow."""
    first: bool = False
    """The one that the others are compared with."""


@dataclass(frozen=True)
class Mode:
    """One thing that is measured."""

    name: str
    title: str
    entries: tuple[Entry, ...]
    rounds: int
    size: int = 16
    feed: bool = False
    """The jobs are queued beforehand: a worker is measured."""
    note: str = ""
    unit: str = "job"
    details: dict[str, str] = field(default_factory=dict)


# -- the contestants ----------------------------------------------------------


@cache
def c_program(name: str) -> str:
    """Compile one of the C programs, and return its path."""
    BUILD.mkdir(parents=True, exist_ok=True)
    source, program = HERE / "c" / f"{name}.c", BUILD / name
    built = subprocess.run(
        [*c_compiler.command(), "-O2", "-Wall", "-Wextra", str(source)]
        + ["-o", str(program), "-lgearman"],
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode != 0:
        sys.exit(f"the C compiler failed ({c_compiler.INSTALL}):\n{built.stderr}")
    return str(program)


def python(name: str) -> str:
    """Return the Python in which a contestant is installed, as its users would."""
    program = VENVS / (OURS if name == FLOOR else name) / "bin" / "python"
    if not program.exists():
        sys.exit(
            f"{name} is not installed in {program.parent.parent}: run `make bench`"
        )
    return str(program)


_SCRIPTS = {OURS: "", PURE: "pygearman_", FLOOR: "bare_"}


def _script(name: str) -> str:
    return str(HERE / "contestants" / name)


def client(name: str) -> tuple[str, ...]:
    """Return the command of a client."""
    if name == C:
        return (c_program("bench_client"),)
    if name == PHP:
        return _php(), _script("client.php")
    return python(name), _script(_SCRIPTS[name] + "client.py")


def worker(name: str) -> tuple[str, ...]:
    """Return the command of an echo worker."""
    if name == C:
        return (c_program("bench_worker"),)
    if name == PHP:
        return _php(), _script("worker.php")
    return python(name), _script(_SCRIPTS[name] + "worker.py")


def _php() -> str:
    found = shutil.which("php")
    if found is None:
        sys.exit("php is not in PATH: install php-cli and php-gearman")
    return found


# -- the modes ----------------------------------------------------------------


def _submits(
    name: str, what: str, jobs: int, size: int, *, other: str | None = C, call: str = ""
) -> Entry:
    return Entry(
        name,
        client(call or name),
        (what, str(jobs), str(size)),
        jobs,
        (*worker(other), "0") if other else (),
        first=name == C,
    )


# Many short rounds: a shared machine changes its pace from one second to the next, and
# only what is measured side by side can be compared.


def _do(name: str, title: str, jobs: int, size: int, rounds: int) -> Mode:
    names = (C, FLOOR, OURS, PURE, PHP)
    entries = [_submits(each, "do", jobs, size) for each in names]
    return Mode(name, title, tuple(entries), rounds, size, note="worker: C")


def _large(name: str, title: str, few: int, many: int, size: int, rounds: int) -> Mode:
    """Large payloads: who sends over a small buffer waits, so both sides matter."""
    wide = _submits("C, buffers widened", "do_wide", many, size, call=C)
    entries = (
        replace(_submits(C, "do", few, size), rounds=rounds),
        replace(wide, other=(*worker(C), "0", "wide")),
        _submits(OURS, "do", many, size, other=OURS),
        replace(
            _submits(f"{OURS}, worker in C", "do", few, size, call=OURS), rounds=rounds
        ),
        replace(
            _submits(f"C, worker in {OURS}", "do", few, size, other=OURS, call=C),
            rounds=rounds,
        ),
        _submits(PURE, "do", many // 4, size, other=PURE),
        replace(_submits(PHP, "do", few, size, other=PHP), rounds=rounds),
    )
    return Mode(name, title, entries, 5, size, note="worker: its own, unless named")


def _background() -> Mode:
    entries = [
        _submits(each, "background", 1_500, 16, other=None)
        for each in (C, FLOOR, OURS, PURE, PHP)
    ]
    return Mode("background-16", "do_background, 16 B", tuple(entries), 41)


def _tasks() -> Mode:
    jobs = 10_000
    entries = (
        _submits(C, "tasks", jobs, 16),
        _submits("C, FREE_TASKS", "tasks_free", jobs, 16, call=C),
        _submits(OURS, "tasks", jobs, 16),
        _submits(PURE, "tasks", jobs, 16),
        _submits(PHP, "tasks", jobs, 16),
    )
    return Mode("tasks-10k", "10,000 tasks, 16 B", entries, 7, note="worker: C")


def _map(name: str, title: str, jobs: int, rounds: int, slow: int) -> Mode:
    entries = (
        replace(_submits(C, "tasks", jobs, 16), rounds=slow),
        _submits("C, FREE_TASKS", "tasks_free", jobs, 16, call=C),
        _submits(OURS, "map", jobs, 16),
        _submits(PURE, "tasks", jobs, 16),
        replace(_submits(PHP, "tasks", jobs, 16), rounds=slow),
    )
    note = "worker: C. Ours is map(), C's and PHP's one run_tasks of as many tasks"
    return Mode(name, title, entries, rounds, note=note)


def _worker(name: str, title: str, jobs: int, size: int, rounds: int) -> Mode:
    entries = [
        Entry(each, worker(each), (str(jobs),), jobs, first=each == C)
        for each in (C, FLOOR, OURS, PURE, PHP)
    ]
    if size >= MIB:
        wide = Entry("C, buffers widened", worker(C), (str(jobs), "wide"), jobs)
        entries.insert(1, wide)
    note = "jobs queued by a C client beforehand"
    return Mode(name, title, tuple(entries), rounds, size, feed=True, note=note)


def _imports() -> Mode:
    lines = {
        BARE: (OURS, "pass"),
        OURS: (OURS, "import pygearman_cffi"),
        f"{OURS}, library open": (OURS, "from pygearman_cffi import lib"),
        PURE: (PURE, "import gearman"),
    }
    entries = tuple(
        Entry(name, (python(venv), "-c", line), (), 1, first=name == BARE)
        for name, (venv, line) in lines.items()
    )
    note = "a whole `python -c`, start and end included"
    return Mode("import", "import", entries, 40, note=note, unit="process")


MODES: dict[str, Callable[[], Mode]] = {
    "do-16": lambda: _do("do-16", "do, 16 B", 600, 16, 41),
    "do-1k": lambda: _do("do-1k", "do, 1 KiB", 600, KIB, 25),
    "do-64k": lambda: _do("do-64k", "do, 64 KiB", 300, 64 * KIB, 15),
    "do-1m": lambda: _large("do-1m", "do, 1 MiB", 5, 100, MIB, 3),
    "do-16m": lambda: _large("do-16m", "do, 16 MiB", 1, 12, 16 * MIB, 2),
    "background-16": _background,
    "tasks-10k": _tasks,
    "map-30k": lambda: _map("map-30k", "30,000 jobs, 16 B", 30_000, 5, 3),
    "map-100k": lambda: _map("map-100k", "100,000 jobs, 16 B", 100_000, 3, 1),
    "worker-16": lambda: _worker("worker-16", "worker, 16 B", 2_000, 16, 41),
    "worker-1m": lambda: _worker("worker-1m", "worker, 1 MiB", 30, MIB, 3),
    "import": _imports,
}


def quick(mode: Mode) -> Mode:
    """Return the same with so few jobs that it only shows that all works."""
    entries = []
    for entry in mode.entries:
        jobs = max(2, entry.jobs // 100) if entry.jobs > 1 else 1
        arguments = tuple(
            str(jobs) if argument == str(entry.jobs) else argument
            for argument in entry.arguments
        )
        entries.append(replace(entry, jobs=jobs, arguments=arguments))
    return replace(mode, entries=tuple(entries), rounds=min(2, mode.rounds))


def at_most(mode: Mode, rounds: int) -> Mode:
    """Return the same with fewer rounds."""
    return replace(mode, rounds=min(mode.rounds, rounds))
