#!/usr/bin/env python3
"""Serve the function "jfytest": its result is the workload with "->result" after it.

Shows a worker: a function of the job, and run(), which serves until it is stopped and
survives a restart of the job server. The twin of c_api/jfy_worker.c.

    python jfy_worker.py

Ctrl-C ends it at once and gives an unfinished job back to the job server; SIGTERM lets
it finish the job first.
"""

from __future__ import annotations

import argparse
import signal
import sys

from pygearman_cffi import GearmanError, Job, Worker


def jfytest(job: Job) -> bytes:
    """Take a job, return its result. What it raises fails the job, not the worker."""
    request = job.workload
    shown = request.decode(errors="replace")
    print(f"job={job.handle},result_size={len(request)},request={shown}", flush=True)

    result = request + b"->result"
    shown = result.decode(errors="replace")
    print(f"job={job.handle},result_size={len(result)},result={shown}", flush=True)
    return result


def main() -> int:
    """Run the program and return its exit status."""
    parser = argparse.ArgumentParser(description="Serve the function jfytest.")
    parser.add_argument("--host", default="localhost")
    parser.add_argument("--port", type=int, default=4730)
    parser.add_argument(
        "--count", type=int, default=0, metavar="N", help="jobs to do; 0: for ever"
    )
    args = parser.parse_args()

    with Worker([(args.host, args.port)]) as worker:
        worker.add_function("jfytest", jfytest)
        signal.signal(signal.SIGTERM, lambda *_: worker.stop())
        print("wait job ...", flush=True)
        worker.run(max_jobs=args.count or None)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GearmanError as error:  # a port that is none, no libgearman, ...
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
