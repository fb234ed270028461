"""The plot: each mode's times as multiples of C's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.benchmarks.modes import FLOOR, OURS, PHP, PURE, C
from tests.benchmarks.report import Row

_COLOURS = {
    C: "#777777",
    OURS: "#1f77b4",
    FLOOR: "#7fb8de",
    PURE: "#ff7f0e",
    PHP: "#9467bd",
}
_MODES = {
    "do-16": "do\n16 B",
    "do-1k": "do\n1 KiB",
    "do-64k": "do\n64 KiB",
    "do-1m": "do\n1 MiB",
    "do-16m": "do\n16 MiB",
    "background-16": "background\n16 B",
    "tasks-10k": "tasks\n10,000",
    "map-30k": "map\n30,000",
    "map-100k": "map\n100,000",
    "worker-16": "worker\n16 B",
    "worker-1m": "worker\n1 MiB",
}


def draw(found: dict[str, list[Row]], path: Path) -> None:
    """Draw what there is; without matplotlib, say so."""
    names = [name for name in _MODES if name in found]
    if not names:
        return
    try:
        import matplotlib as mpl
    except ImportError:
        print(f"no plot: matplotlib is missing ({path} is not written)")
        return
    mpl.use("Agg")
    from matplotlib import pyplot

    pyplot.rcParams.update({"font.size": 9, "axes.spines.top": False})
    figure, panels = pyplot.subplots(2, 1, figsize=(11, 7.5), sharex=True)
    for panel, what in zip(panels, ("wall", "cpu"), strict=True):
        _panel(panel, [(name, found[name]) for name in names], what)
    panels[0].set_title(
        "Time a job, as a multiple of the C program's (lower is better)"
    )
    panels[1].set_title("Processor time a job, likewise")
    panels[1].set_xticks(range(len(names)), [_MODES[name] for name in names])
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncol=len(labels), frameon=False)
    figure.tight_layout(rect=(0, 0.04, 1, 1))
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def _panel(panel: Any, modes: list[tuple[str, list[Row]]], what: str) -> None:
    width = 0.17
    for place, name in enumerate(_COLOURS):
        at, middle, low, high = [], [], [], []
        for number, (_, rows) in enumerate(modes):
            for row in rows:
                ratio = row.wall_ratio if what == "wall" else row.cpu_ratio
                if row.name == name and ratio.count:
                    at.append(number + (place - 2) * width)
                    middle.append(ratio.median)
                    low.append(ratio.median - ratio.low)
                    high.append(ratio.high - ratio.median)
        errors = {"ecolor": "#333333", "elinewidth": 0.8}
        colour = _COLOURS[name]
        bars = panel.bar(
            at,
            middle,
            width,
            yerr=(low, high),
            color=colour,
            label=name,
            error_kw=errors,
        )
        panel.bar_label(bars, [f"{each:.2g}" for each in middle], fontsize=7, padding=2)
    panel.set_yscale("log")
    panel.axhline(1, color="#777777", linewidth=0.8, linestyle=":")
    panel.margins(x=0.01, y=0.12)
