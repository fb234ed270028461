"""What the rounds come to: medians, spread, ratios, percentiles; as a table of text."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.benchmarks.contest import Result
from tests.benchmarks.modes import OURS, C, Mode

_MANY = 8


@dataclass(frozen=True)
class Spread:
    """A median, and how far the rounds were apart: quartiles where they are many."""

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Take the rounds together."""
        low, high = min(values), max(values)
        if len(values) >= _MANY:
            low, _, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(statistics.median(values), low, high, len(values))


@dataclass(frozen=True)
class Row:
    """One contestant in one mode, all rounds together; times in seconds a job."""

    name: str
    wall: Spread
    cpu: Spread
    wall_ratio: Spread
    """To the first contestant, in the same round; beyond its rounds to its median."""
    cpu_ratio: Spread
    percentiles: tuple[float, float, float] | None
    """p50, p95, p99 of all rounds."""
    peak: float
    """KiB."""


def _wall(result: Result) -> float:
    return float(result["wall"]) / max(1, int(result["jobs"]))


def _cpu(result: Result) -> float:
    return float(result["user"] + result["sys"]) / max(1, int(result["jobs"]))


def rows(mode: Mode, results: dict[str, list[Result | None]]) -> list[Row]:
    """Return a row for each contestant that had a result."""
    first = next(entry.name for entry in mode.entries if entry.first)
    found = []
    for entry in mode.entries:
        rounds = results[entry.name]
        good = [each for each in rounds if each is not None and "error" not in each]
        if not good:
            continue
        latencies = sorted(time for each in good for time in each["latencies"])
        found.append(
            Row(
                entry.name,
                Spread.of([_wall(each) for each in good]),
                Spread.of([_cpu(each) for each in good]),
                _ratios(rounds, results[first], _wall),
                _ratios(rounds, results[first], _cpu),
                _percentiles(latencies),
                statistics.median(each["peak"] for each in good),
            )
        )
    return found


def _ratios(
    rounds: list[Result | None],
    first: list[Result | None],
    measure: Callable[[Result], float],
) -> Spread:
    usual = [
        measure(each) for each in first if each is not None and "error" not in each
    ]
    if not usual:
        return Spread(0.0, 0.0, 0.0, 0)
    middle = statistics.median(usual)
    ratios = []
    for mine, its in zip(rounds, first, strict=True):
        if mine is None or "error" in mine:
            continue
        theirs = middle if its is None or "error" in its else measure(its)
        ratios.append(measure(mine) / (theirs or middle or 1e-9))
    return Spread.of(ratios)


def _percentiles(latencies: list[float]) -> tuple[float, float, float] | None:
    if len(latencies) < 100:
        return None
    cuts = statistics.quantiles(latencies, n=100, method="inclusive")
    return cuts[49], cuts[94], cuts[98]


# -- as text ------------------------------------------------------------------


def _time(seconds: float) -> str:
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.1f} us"


def _ratio(spread: Spread) -> str:
    if not spread.count:
        return ""
    digits = 2 if spread.median < 10 else 0
    low, high = f"{spread.low:.{digits}f}", f"{spread.high:.{digits}f}"
    if spread.median < 0.2:
        return f"1/{1 / spread.median:.0f} ({1 / spread.high:.0f}-{1 / spread.low:.0f})"
    return f"{spread.median:.{digits}f} ({low}-{high})"


def table(mode: Mode, found: list[Row]) -> str:
    """Return a mode as a table: of text, and of Markdown."""
    first = next(entry.name for entry in mode.entries if entry.first)
    head = ["", f"time a {mode.unit}", f"x {first}", f"CPU a {mode.unit}", f"x {first}"]
    head += ["p50", "p95", "p99", "peak MiB"]
    lines = [head]
    for row in found:
        cuts = [_time(cut) for cut in row.percentiles] if row.percentiles else [""] * 3
        lines.append(
            [row.name, _time(row.wall.median), _ratio(row.wall_ratio)]
            + [_time(row.cpu.median), _ratio(row.cpu_ratio)]
            + [*cuts, f"{row.peak / 1024:.0f}" if row.peak else ""]
        )
    keep = [x for x in range(len(head)) if any(line[x] for line in lines[1:])]
    lines = [[line[x] for x in keep] for line in lines]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    shown = ["| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines]
    shown.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    counts = {row.wall.count for row in found}
    rounds = "/".join(map(str, sorted(counts)))
    note = f" {mode.note}." if mode.note else ""
    return f"### {mode.title}\n\n{rounds} rounds.{note}\n\n" + "\n".join(shown) + "\n"


# -- the targets --------------------------------------------------------------

# Mode, contestant, wall or CPU, and the most that its ratio to C may be.
TARGETS = (
    ("do-16", OURS, "wall", 1.05),
    ("do-16", OURS, "cpu", 1.2),
    ("background-16", OURS, "wall", 1.05),
    ("background-16", OURS, "cpu", 1.2),
    ("worker-16", OURS, "wall", 1 / 0.95),
    ("worker-16", OURS, "cpu", 1.4),
    ("tasks-10k", OURS, "wall", 1.0),
    ("map-30k", OURS, "wall", 1 / 3),
    ("map-100k", OURS, "wall", 1 / 6),
    ("do-1m", OURS, "wall", 1 / 50),
)


def targets(found: dict[str, list[Row]]) -> str:
    """Return what was aimed at and what was reached, as lines of a table."""
    lines = [f"| target | at most x {C} | measured | met |", "|---|---|---|---|"]
    for mode, name, what, most in TARGETS:
        for row in found.get(mode, []):
            if row.name == name:
                ratio = row.wall_ratio if what == "wall" else row.cpu_ratio
                met = "yes" if ratio.median <= most else "no"
                lines.append(
                    f"| {mode}, {what} | {most:.3g} | {_ratio(ratio)} | {met} |"
                )
    for row in found.get("import", []):
        if row.name == OURS:
            bare = next(each for each in found["import"] if each.wall_ratio.high == 1)
            more = row.wall.median - bare.wall.median
            met = "yes" if more <= 0.010 else "no"
            lines.append(f"| import | 10 ms over bare Python | {_time(more)} | {met} |")
    return "\n".join(lines) + "\n"
