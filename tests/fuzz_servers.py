"""Fuzz client and worker with job servers that send random bytes.

    python -m tests.fuzz_servers --connections 100000

The long form of `tests/test_hostile.py`. Everything runs in children, so that a crash is
found, and told with its seed; `--only client 33` tries one seed alone.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.hostile import FUZZERS, Hostile, Plan
from tests.isolated import ROOT

THREADS = 4
LIMIT = 0.03
"""Seconds that each call may take."""
BLOCK = 1000
"""Seeds for each child."""
PATIENCE = 300.0
"""Seconds that a child may take."""


@dataclass
class Tally:
    """What came of many seeds."""

    seeds: int = 0
    connections: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    crashes: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Count another one in."""
        self.seeds += other.seeds
        self.connections += other.connections
        self.outcomes += other.outcomes
        self.crashes += other.crashes
        self.wrong += other.wrong


# -- in a child ------------------------------------------------------------------------


def try_seeds(who: str, begin: int, number: int, threads: int) -> None:
    """Try so many seeds in this process, and tell what came of each."""
    logging.getLogger("pygearman_cffi").setLevel(logging.CRITICAL + 1)
    servers: list[Hostile] = []

    def tell(*what: object) -> None:
        sys.stdout.write(json.dumps(what) + "\n")
        sys.stdout.flush()

    def run(mine: range) -> None:
        with Hostile(Plan("job")) as hostile, Hostile(Plan("never")) as good:
            servers.extend((hostile, good))
            for seed in mine:
                tell("begin", seed)
                try:
                    tell("end", seed, FUZZERS[who](seed, hostile, good, LIMIT))
                except Exception as error:  # noqa: BLE001 the finding itself
                    tell("wrong", seed, f"{error!r}, {hostile.plan}")

    running = [
        threading.Thread(target=run, args=(range(begin + n, begin + number, threads),))
        for n in range(threads)
    ]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    tell("connections", sum(server.connections for server in servers))


# -- outside ---------------------------------------------------------------------------


def supervise(who: str, begin: int, number: int, threads: int = THREADS) -> Tally:
    """Have a child try so many seeds; find the one that kills it, if one does."""
    child = [*(str(word) for word in (who, begin, number, threads))]
    command = [sys.executable, "-X", "faulthandler", "-m", "tests.fuzz_servers"]
    try:
        done = subprocess.run(
            [*command, "--child", *child],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        out, err, status = done.stdout, done.stderr, done.returncode
    except subprocess.TimeoutExpired as late:
        out = (late.stdout or b"").decode() if isinstance(late.stdout, bytes) else ""
        err, status = "it hangs", 1
    tally = Tally()
    open_seeds = []
    for event, *what in map(json.loads, out.splitlines()):
        if event == "begin":
            open_seeds.append(what[0])
        elif event == "connections":
            tally.connections = what[0]
        else:
            tally.seeds += 1
            open_seeds.remove(what[0])
            if event == "wrong":
                tally.wrong.append(f"{who} {what[0]}: {what[1]}")
            tally.outcomes[what[1] if event == "end" else "wrong"] += 1
    if status or err:
        suspects = open_seeds
        if threads > 1:  # which of those that were under way?
            alone = [supervise(who, seed, 1, 1) for seed in open_seeds]
            suspects = [s for s, t in zip(open_seeds, alone, strict=True) if t.crashes]
        told = f"{who} {suspects or open_seeds}: status {status}"
        tally.crashes.append(f"{told}\n{err[:1500]}" if threads == 1 else told)
    return tally


def fuzz(connections: int, seed: int) -> Iterator[tuple[str, Tally]]:
    """Fuzz client and worker in turn, until there were so many connections."""
    tallies = {who: Tally() for who in FUZZERS}
    while sum(tally.connections for tally in tallies.values()) < connections:
        for who, tally in tallies.items():
            block = supervise(who, seed, BLOCK)
            tally.add(block)
            yield who, block
        seed += BLOCK
    yield from tallies.items()


def main() -> int:
    """Run the command line; 1 when anything was found."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--connections", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0, help="the first one")
    parser.add_argument("--only", nargs=2, metavar=("WHO", "SEED"))
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        who, *numbers = options.child
        try_seeds(who, *map(int, numbers))
        return 0
    if options.only:
        print(supervise(options.only[0], int(options.only[1]), 1, 1))
        return 0
    begun = time.monotonic()
    whole: dict[str, Tally] = {}
    for who, tally in fuzz(options.connections, options.seed):
        for finding in (*tally.crashes, *tally.wrong):
            if who not in whole:
                print(finding, flush=True)
        whole[who] = tally
    print(f"\n{'who':8} {'seeds':>8} {'connections':>12} {'crashes':>8} {'wrong':>6}")
    for who, tally in whole.items():
        found = f"{len(tally.crashes):8} {len(tally.wrong):6}"
        print(f"{who:8} {tally.seeds:8} {tally.connections:12} {found}")
    for who, tally in whole.items():
        print(
            f"\n{who}: "
            + ", ".join(f"{k} {n}" for k, n in tally.outcomes.most_common())
        )
    print(f"\n{time.monotonic() - begun:.0f} s")
    return int(any(tally.crashes or tally.wrong for tally in whole.values()))


if __name__ == "__main__":
    sys.exit(main())
