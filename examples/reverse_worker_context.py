#!/usr/bin/env python3
"""Serve the function "reverse", numbering the jobs.

Shows state that lasts from job to job. What PHP passes as the context of a function is
an object here, and the function one of its methods; a closure or functools.partial
would do as well. The twin of the addFunction() page of the PHP manual.

    python reverse_worker_context.py

Ctrl-C ends it at once and gives an unfinished job back to the job server; SIGTERM lets
it finish the job first.
"""

from __future__ import annotations

import argparse
import signal
import sys

from pygearman_cffi import GearmanError, Job, Worker


class Reverser:
    """A worker function that remembers how often it was called."""

    def __init__(self) -> None:
        self.count = 0

    def reverse(self, job: Job) -> bytes:
        """Reverse the workload, after a number."""
        self.count += 1
        return f"{self.count}: ".encode() + job.workload[::-1]


def main() -> int:
    """Run the program and return its exit status."""
    parser = argparse.ArgumentParser(description="Serve reverse, numbering the jobs.")
    parser.add_argument("--host", default="localhost")
    parser.add_argument("-p", "--port", type=int, default=4730)
    parser.add_argument(
        "-c", "--count", type=int, default=0, metavar="N", help="jobs; 0: for ever"
    )
    args = parser.parse_args()

    reverser = Reverser()
    with Worker([(args.host, args.port)]) as worker:
        worker.add_function("reverse", reverser.reverse)
        signal.signal(signal.SIGTERM, lambda *_: worker.stop())
        worker.run(max_jobs=args.count or None)
    print(f"{reverser.count} jobs done", flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GearmanError as error:  # a port that is none, no libgearman, ...
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
