"""Run the benchmarks: python -m tests.benchmarks.run [--quick] [--only MODE]...

Results go to --out: results.txt (tables), results.json (every figure of every round),
results.png (the plot). With --publish the tables and the plot go into BENCHMARKS.md too.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pygearman_cffi import _library
from tests.benchmarks import memory, modes, plot, report
from tests.benchmarks.contest import hold


def _told(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).strip().splitlines()
    return lines[0] if lines else ""


def conditions() -> dict[str, str]:
    """Return what the figures depend on."""
    model = ""
    with open("/proc/cpuinfo", encoding="utf-8") as cpus:
        for line in cpus:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    ours = modes.python(modes.OURS)
    versions = (
        "import sys, sysconfig, cffi, pygearman_cffi as p;"
        "fast = '--enable-optimizations' in str(sysconfig.get_config_var('CONFIG_ARGS'));"
        "print('pygearman_cffi', p.__version__, '| cffi', cffi.__version__, '|',"
        "sys.implementation.name, sys.version.split()[0],"
        "'' if fast else '(not configured with --enable-optimizations)')"
    )
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{model}, {os.cpu_count()} cores",
        "kernel": platform.release(),
        "libgearman": _library.version_text(),
        "gearmand": _told("gearmand", "--version"),
        "C": _told("cc", "--version"),
        "ours": _told(ours, "-c", versions),
        "pygearman": _told(
            modes.python(modes.PURE), "-c", "import gearman; print(gearman.__version__)"
        ),
        "php": _told("php", "--version"),
        "load at the start": f"{os.getloadavg()[0]:.2f}",
    }


def say(line: str) -> None:
    """Tell how far it has come."""
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


def write(out: Path, facts: dict[str, str], done: dict[str, Any]) -> str:
    """Write what there is so far; return the text."""
    found = {name: each["rows"] for name, each in done.items() if "rows" in each}
    text = "\n".join(f"{name}: {fact}" for name, fact in facts.items()) + "\n\n"
    text += "\n".join(
        report.table(each["mode"], each["rows"])
        for each in done.values()
        if "rows" in each
    )
    if "memory" in done:
        text += "\n" + memory.table(done["memory"])
    text += "\n### Targets\n\n" + report.targets(found)
    raw = {
        name: {
            "rows": [asdict(row) for row in each["rows"]],
            "rounds": each["rounds"],
        }
        if "rows" in each
        else each
        for name, each in done.items()
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "results.txt").write_text(text, encoding="utf-8")
    (out / "results.json").write_text(
        json.dumps({"conditions": facts, "modes": raw}), encoding="utf-8"
    )
    return text


_BEGIN, _END = "<!-- results: begin -->\n", "<!-- results: end -->\n"


def publish(text: str, picture: Path) -> None:
    """Put the tables and the plot into BENCHMARKS.md, in the place of the last ones."""
    page = modes.ROOT / "BENCHMARKS.md"
    before, _, rest = page.read_text(encoding="utf-8").partition(_BEGIN)
    _, _, after = rest.partition(_END)
    facts, _, tables = text.partition("\n\n")
    facts = "\n".join(f"- {fact}" for fact in facts.splitlines())
    page.write_text(
        f"{before}{_BEGIN}\n{facts}\n\n{tables}\n{_END}{after}", encoding="utf-8"
    )
    if picture.exists():
        shutil.copy(picture, modes.HERE / "results.png")


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few jobs: does it work?")
    parser.add_argument("--only", action="append", choices=[*modes.MODES, "memory"])
    parser.add_argument("--memory", action="store_true", help="also 1,000,000 jobs")
    parser.add_argument("--rounds", type=int, help="no more rounds than this")
    parser.add_argument("--publish", action="store_true", help="update BENCHMARKS.md")
    parser.add_argument("--out", type=Path, default=modes.BUILD)
    arguments = parser.parse_args()
    names = arguments.only or [*modes.MODES, *(["memory"] if arguments.memory else [])]
    facts = conditions()
    done: dict[str, Any] = {}
    for name in names:
        if name == "memory":
            done[name] = memory.measure(20_000 if arguments.quick else 1_000_000)
            say("memory: done")
        else:
            mode = modes.MODES[name]()
            if arguments.quick:
                mode = modes.quick(mode)
            if arguments.rounds:
                mode = modes.at_most(mode, arguments.rounds)
            rounds = hold(mode, say)
            rows = report.rows(mode, rounds)
            done[name] = {"mode": mode, "rounds": rounds, "rows": rows}
        text = write(arguments.out, facts, done)
    print(text)
    picture = arguments.out / "results.png"
    found = {name: each["rows"] for name, each in done.items() if "rows" in each}
    plot.draw(found, picture)
    if arguments.publish:
        publish(text, picture)
    say(f"written to {arguments.out}")


if __name__ == "__main__":
    main()
