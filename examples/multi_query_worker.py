#!/usr/bin/env python3
"""Serve three questions about a user, each of which takes its time.

Shows several functions in one worker, added as decorators. A worker does one job at a
time: start three to see multi_query_client.py served in parallel. The twin of
gearman.org's "multi-query" example.

    python multi_query_worker.py & python multi_query_worker.py &
    python multi_query_worker.py

Ctrl-C ends it at once and gives an unfinished job back to the job server; SIGTERM lets
it finish the job first.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time

from pygearman_cffi import GearmanError, Job, Worker


def main() -> int:
    """Run the program and return its exit status."""
    parser = argparse.ArgumentParser(description="Serve three questions about a user.")
    parser.add_argument("--host", default="localhost")
    parser.add_argument("-p", "--port", type=int, default=4730)
    parser.add_argument(
        "-c", "--count", type=int, default=0, metavar="N", help="jobs; 0: for ever"
    )
    parser.add_argument(
        "--pause", type=float, default=3.0, metavar="S", help="how long each one takes"
    )
    args = parser.parse_args()

    with Worker([(args.host, args.port)]) as worker:

        @worker.function("lookup_user")
        def lookup_user(job: Job) -> bytes:
            time.sleep(args.pause)  # where others ask a database
            return b"%b is tall and wonderful" % job.workload

        @worker.function("baconate")
        def baconate(job: Job) -> bytes:
            time.sleep(args.pause)
            return b"%b is one film away from Kevin Bacon" % job.workload

        @worker.function("get_latest_posts_by")
        def get_latest_posts_by(job: Job) -> bytes:
            time.sleep(args.pause)
            return b"%b has written nothing yet" % job.workload

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
