#!/usr/bin/env python3
"""Serve the function "reverse", one job at a time by work().

Shows a worker with a loop of its own, and progress sent to the client. The twin of
reverse_worker.php, the blocking worker of the PHP manual (its setTimeout(5000) is
`--timeout 5` here). It ends when the job server does, as PHP's; a worker that should
survive that uses run() instead of the loop, as jfy_worker.py does.

    python reverse_worker.py

Ctrl-C ends it at once and gives an unfinished job back to the job server; SIGTERM lets
it finish the job first.
"""

from __future__ import annotations

import argparse
import signal
import sys

from pygearman_cffi import GearmanError, Job, ReturnCode, Worker


def reverse(job: Job) -> bytes:
    """Reverse the workload, telling the client how far it is."""
    print(f"Received job: {job.handle}", flush=True)
    size = job.workload_size
    text = job.workload.decode(errors="replace")
    print(f"Workload: {text} ({size})", flush=True)
    for done in range(size):  # not needed, only to show how it works
        print(f"Sending status: {done}/{size} complete", flush=True)
        job.send_status(done, size)
    result = job.workload[::-1]
    print(f"Result: {result.decode(errors='replace')}", flush=True)
    return result


def reverse_fast(job: Job) -> bytes:
    """Do the same, without a word."""
    return job.workload[::-1]


def main() -> int:
    """Run the program and return its exit status."""
    parser = argparse.ArgumentParser(description="Serve the function reverse.")
    parser.add_argument("--host", default="localhost")
    parser.add_argument("--port", type=int, default=4730)
    parser.add_argument(
        "--count", type=int, default=0, metavar="N", help="jobs to do; 0: for ever"
    )
    parser.add_argument(
        "--timeout", type=float, metavar="S", help="end when idle for so many seconds"
    )
    parser.add_argument("--fast", action="store_true", help="print nothing for a job")
    args = parser.parse_args()

    print("Starting", flush=True)
    with Worker([(args.host, args.port)], timeout=args.timeout) as worker:
        worker.add_function("reverse", reverse_fast if args.fast else reverse)
        signal.signal(signal.SIGTERM, lambda *_: worker.stop())
        print("Waiting for job...", flush=True)
        jobs = 0
        while worker.work():
            jobs += 1
            if jobs == args.count:
                return 0
        print(f"return_code: {worker.return_code.name}", flush=True)
        stopped = (ReturnCode.TIMEOUT, ReturnCode.SHUTDOWN_GRACEFUL)
        return 0 if worker.return_code in stopped else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GearmanError as error:  # a port that is none, no libgearman, ...
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
