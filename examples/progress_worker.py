#!/usr/bin/env python3
"""Serve the function "progress": as many steps as the workload says, each with a pause.

Shows a long job that tells how far it is, for progress_client.py and for job_status().

    python progress_worker.py

Ctrl-C ends it at once and gives an unfinished job back to the job server; SIGTERM lets
it finish the job first.
"""

from __future__ import annotations

import argparse
import functools
import signal
import sys
import time

from pygearman_cffi import GearmanError, Job, JobFail, Worker


def progress(job: Job, pause: float) -> bytes:
    """Take the steps one by one, and tell the client after each."""
    try:
        steps = int(job.workload)
    except ValueError:
        raise JobFail("the workload is a number of steps") from None
    for step in range(steps):
        job.send_status(step, steps)
        time.sleep(pause)  # where others work
    job.send_status(steps, steps)
    return b"done"


def main() -> int:
    """Run the program and return its exit status."""
    parser = argparse.ArgumentParser(description="Serve a job of many steps.")
    parser.add_argument("--host", default="localhost")
    parser.add_argument("-p", "--port", type=int, default=4730)
    parser.add_argument(
        "-c", "--count", type=int, default=0, metavar="N", help="jobs; 0: for ever"
    )
    parser.add_argument(
        "--pause", type=float, default=0.05, metavar="S", help="seconds for a step"
    )
    args = parser.parse_args()

    with Worker([(args.host, args.port)]) as worker:
        worker.add_function("progress", functools.partial(progress, pause=args.pause))
        signal.signal(signal.SIGTERM, lambda *_: worker.stop())
        worker.run(max_jobs=args.count or None)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GearmanError as error:  # a port that is none, no libgearman, ...
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
