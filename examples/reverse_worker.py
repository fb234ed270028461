#!/usr/bin/env python3
"""Serve the function "reverse", one job at a time by work().

Shows a worker with a loop of its own, progress sent to the client, a result sent in
pieces, and what C and PHP call the context of a function. The twin of
reverse_worker.php, the blocking worker of the PHP manual (its setTimeout(5000) is
`--timeout 5` here); with `--chunk` or `--status` it sends what libgearman's example
reverse_worker sends. It ends when the job server does, as these; a worker that should
survive that uses run() instead of the loop, as jfy_worker.py does.

    python reverse_worker.py
    python reverse_worker.py --chunk --status

Ctrl-C ends it at once and gives an unfinished job back to the job server; SIGTERM lets
it finish the job first.
"""

from __future__ import annotations

import argparse
import functools
import signal
import sys

from pygearman_cffi import GearmanError, Job, ReturnCode, Worker


def received(job: Job, *, unique: bool) -> None:
    """Print what came."""
    print(f"Received job: {job.handle}", flush=True)
    if unique:
        print(f"Unique: {job.unique}", flush=True)
    text = job.workload.decode(errors="replace")
    print(f"Workload: {text} ({job.workload_size})", flush=True)


def reverse(job: Job, *, unique: bool) -> bytes:
    """Reverse the workload, telling the client how far it is."""
    received(job, unique=unique)
    size = job.workload_size
    for done in range(size):  # not needed, only to show how it works
        print(f"Sending status: {done}/{size} complete", flush=True)
        job.send_status(done, size)
    result = job.workload[::-1]
    print(f"Result: {result.decode(errors='replace')}", flush=True)
    return result


def reverse_ahead(job: Job, *, chunk: bool, status: bool, unique: bool) -> None:
    """Send the result ahead, in one piece or byte by byte, and return nothing."""
    received(job, unique=unique)
    size = job.workload_size
    result = job.workload[::-1]
    if chunk:
        for place in range(size):
            job.send_data(result[place : place + 1])
            if status:
                job.send_status(place, size)
    else:
        if status:
            job.send_status(0, size)
        job.send_data(result)
        if status:
            job.send_status(size, size)
    print(f"Result: {result.decode(errors='replace')}", flush=True)


def reverse_fast(job: Job) -> bytes:
    """Do the same, without a word."""
    return job.workload[::-1]


def main() -> int:
    """Run the program and return its exit status."""
    parser = argparse.ArgumentParser(description="Serve the function reverse.")
    parser.add_argument("--host", default="localhost")
    parser.add_argument("-p", "--port", type=int, default=4730)
    parser.add_argument(
        "-c", "--count", type=int, default=0, metavar="N", help="jobs; 0: for ever"
    )
    parser.add_argument(
        "-t", "--timeout", type=float, metavar="S", help="end when idle for S seconds"
    )
    parser.add_argument(
        "-d", "--chunk", action="store_true", help="send the result byte by byte"
    )
    parser.add_argument(
        "-s", "--status", action="store_true", help="send how far it is, as C does"
    )
    parser.add_argument(
        "-u", "--unique", action="store_true", help="print the job's unique"
    )
    parser.add_argument(
        "--identifier", metavar="NAME", help="what the job server calls this worker"
    )
    parser.add_argument("--fast", action="store_true", help="print nothing for a job")
    args = parser.parse_args()

    print("Starting", flush=True)
    with Worker(
        [(args.host, args.port)], timeout=args.timeout, identifier=args.identifier
    ) as worker:
        if args.fast:
            worker.add_function("reverse", reverse_fast)
        elif args.chunk or args.status:
            options = {"chunk": args.chunk, "status": args.status}
            worker.add_function(
                "reverse",
                functools.partial(reverse_ahead, unique=args.unique, **options),
            )
        else:
            worker.add_function(
                "reverse", functools.partial(reverse, unique=args.unique)
            )
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
