"""Memory over a million jobs: our client and our worker, sampled as they go."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from pygearman_cffi.testing import GearmanServer
from tests.benchmarks.contest import argv
from tests.benchmarks.modes import OURS, client, worker

_SAMPLES = 20


def measure(jobs: int) -> dict[str, Any]:
    """Run so many jobs through map(); return the memory of both sides, in KiB."""
    sample = str(jobs // _SAMPLES)
    with GearmanServer() as server:
        serving = subprocess.Popen(
            argv(server, worker(OURS), [str(jobs), sample]), stdout=subprocess.PIPE
        )
        asking = subprocess.run(
            argv(server, client(OURS), ["map", str(jobs), "16", sample]),
            stdout=subprocess.PIPE,
            check=True,
        )
        told, _ = serving.communicate(timeout=60)
    return {
        "jobs": jobs,
        "client": json.loads(asking.stdout)["samples"],
        "worker": json.loads(told)["samples"],
    }


def table(measured: dict[str, Any]) -> str:
    """Return it as a table."""
    lines = [
        f"### Memory over {measured['jobs']:,} jobs, map(), 16 B",
        "",
        "| jobs done | client, MiB | worker, MiB |",
        "|---|---|---|",
    ]
    both = list(zip(measured["client"], measured["worker"], strict=True))
    for (done, ours), (_, theirs) in [both[0], both[len(both) // 2], both[-1]]:
        lines.append(f"| {done:,} | {ours / 1024:.1f} | {theirs / 1024:.1f} |")
    return "\n".join(lines) + "\n"
