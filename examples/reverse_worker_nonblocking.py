#!/usr/bin/env python3
"""Serve the function "reverse", without ever being stuck in work().

Shows a worker for a program that has other things to do: a NON_BLOCKING work() does a
job that is there or returns at once, and wait() waits until it may be worth a try. The
twin of the non-blocking worker of the PHP manual (its setTimeout(1000) is `--timeout 1`
here).

    python reverse_worker_nonblocking.py

Ctrl-C ends it at once and gives an unfinished job back to the job server; SIGTERM lets
it finish the job first.
"""

from __future__ import annotations

import argparse
import signal
import sys

from pygearman_cffi import GearmanError, Job, ReturnCode, Worker, WorkerOption


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


def serve(worker: Worker, count: int) -> int:
    """Work until stopped, idle for too long, or `count` jobs are done."""
    jobs = 0
    while worker.work() or worker.return_code in (
        ReturnCode.IO_WAIT,
        ReturnCode.NO_JOBS,
    ):
        print(f"return_code: {worker.return_code.name}", flush=True)
        if worker.return_code == ReturnCode.SUCCESS:
            jobs += 1
            if jobs == count:
                return 0
            continue
        # Nothing to do at the moment: here the program could do something else.
        if not worker.wait():
            print(f"return_code: {worker.return_code.name}", flush=True)
            if worker.return_code == ReturnCode.NO_ACTIVE_FDS:
                continue  # no server; wait() has waited until one may be tried again
            break
    stopped = (ReturnCode.TIMEOUT, ReturnCode.SHUTDOWN_GRACEFUL)
    return 0 if worker.return_code in stopped else 1


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
    args = parser.parse_args()

    print("Starting", flush=True)
    with Worker(
        [(args.host, args.port)],
        timeout=args.timeout,
        options=WorkerOption.NON_BLOCKING,
    ) as worker:
        worker.add_function("reverse", reverse)
        signal.signal(signal.SIGTERM, lambda *_: worker.stop())
        print("Waiting for job...", flush=True)
        return serve(worker, args.count)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GearmanError as error:  # a port that is none, no libgearman, ...
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
