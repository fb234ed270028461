#!/usr/bin/env python3
"""Have a worker reverse a text, but not before a given time.

Shows a scheduled job: `at=` takes a datetime with a time zone, or seconds since 1970.
Only normal priority, whole seconds, and no result, as for every background job. gearmand
wakes no worker for it: one of this package finds it within a second, one written in C
when it next asks. The twin of libgearman's example reverse_client_epoch.

    python reverse_client_epoch.py --epoch 10 "this is a test"
    echo "this is a test" | python reverse_client_epoch.py
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from datetime import datetime, timedelta, timezone

from pygearman_cffi import Client, GearmanError, JobStatus


def show(status: JobStatus) -> None:
    """Print how the job stands, in C's words."""
    known, running = str(status.known).lower(), str(status.running).lower()
    percent = f"{status.numerator}/{status.denominator}"
    print(f"Known={known}, Running={running}, Percent Complete={percent}", flush=True)


def main() -> int:
    """Run the program and return its exit status."""
    parser = argparse.ArgumentParser(description="Reverse a text at a given time.")
    parser.add_argument("--host", default="localhost")
    parser.add_argument("-p", "--port", type=int, default=4730)
    parser.add_argument(
        "-u", "--timeout", type=float, metavar="S", help="seconds for each call"
    )
    parser.add_argument(
        "--epoch", type=float, default=10.0, metavar="S", help="how long from now"
    )
    parser.add_argument(
        "--interval", type=float, default=1.0, metavar="S", help="between the questions"
    )
    parser.add_argument("--text", help="the same as TEXT without --text")
    parser.add_argument(
        "text",
        nargs="?",
        metavar="TEXT",
        default=argparse.SUPPRESS,
        help="without one: the standard input",
    )
    args = parser.parse_args()

    text = sys.stdin.buffer.read() if args.text is None else os.fsencode(args.text)

    with Client([(args.host, args.port)], timeout=args.timeout) as client:
        due = datetime.now(timezone.utc) + timedelta(seconds=args.epoch)
        handle = client.do_background("reverse", text, at=due)
        print(f"Background Job Handle={handle}", flush=True)
        while True:
            status = client.job_status(handle)
            show(status)
            if not status.known:  # it has finished
                return 0
            time.sleep(args.interval)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GearmanError as error:  # no server, a port that is none, no libgearman, ...
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
