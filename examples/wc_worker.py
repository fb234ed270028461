#!/usr/bin/env python3
"""Serve the function "wc": how many words a text has.

Shows a worker as short as it can be: a function of the job, a loop over work(). The
twin of libgearman's example wc_worker. It ends when the job server does, as that one;
run() in the place of the loop would survive it.

    python wc_worker.py

Ctrl-C ends it at once and gives an unfinished job back to the job server; SIGTERM lets
it finish the job first.
"""

from __future__ import annotations

import argparse
import re
import signal
import sys

from pygearman_cffi import GearmanError, Job, ReturnCode, Worker


def count_words(job: Job) -> bytes:
    """Count the words between blanks, tabs and line feeds."""
    count = len(re.findall(rb"[^ \t\n]+", job.workload))
    text = job.workload.decode(errors="replace")
    print(f"Job={job.handle} Workload={text} Result={count}", flush=True)
    return str(count).encode()  # results are bytes


def main() -> int:
    """Run the program and return its exit status."""
    parser = argparse.ArgumentParser(description="Serve the function wc.")
    parser.add_argument("--host", default="localhost")
    parser.add_argument("-p", "--port", type=int, default=4730)
    parser.add_argument(
        "-c", "--count", type=int, default=0, metavar="N", help="jobs; 0: for ever"
    )
    parser.add_argument(
        "-u", "--timeout", type=float, metavar="S", help="end when idle for S seconds"
    )
    args = parser.parse_args()

    with Worker([(args.host, args.port)], timeout=args.timeout) as worker:
        worker.add_function("wc", count_words)
        signal.signal(signal.SIGTERM, lambda *_: worker.stop())
        jobs = 0
        while worker.work():
            jobs += 1
            if jobs == args.count:
                return 0
        print(f"return_code: {worker.return_code.name}", file=sys.stderr)
        stopped = (ReturnCode.TIMEOUT, ReturnCode.SHUTDOWN_GRACEFUL)
        return 0 if worker.return_code in stopped else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GearmanError as error:  # a port that is none, no libgearman, ...
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
