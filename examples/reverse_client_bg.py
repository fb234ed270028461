#!/usr/bin/env python3
"""Have a worker reverse a text in the background.

Shows a job that nobody waits for, and asking how it stands. Gearman keeps no results: a
worker whose results matter stores them itself. The twin of libgearman's example
reverse_client_bg and, with `--wait`, of the doBackground() page of the PHP manual.

    python reverse_client_bg.py --wait "this is a test"
    echo "this is a test" | python reverse_client_bg.py
"""

from __future__ import annotations

import argparse
import os
import sys
import time

from pygearman_cffi import Client, GearmanError, JobStatus


def show(status: JobStatus) -> None:
    """Print how the job stands, in C's words."""
    known, running = str(status.known).lower(), str(status.running).lower()
    percent = f"{status.numerator}/{status.denominator}"
    print(f"Known={known}, Running={running}, Percent Complete={percent}", flush=True)


def main() -> int:
    """Run the program and return its exit status."""
    parser = argparse.ArgumentParser(description="Reverse a text in the background.")
    parser.add_argument("--host", default="localhost")
    parser.add_argument("-p", "--port", type=int, default=4730)
    parser.add_argument(
        "-u", "--timeout", type=float, metavar="S", help="seconds for each call"
    )
    parser.add_argument(
        "--wait", action="store_true", help="ask how the job stands until it is done"
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
        handle = client.do_background("reverse", text)
        print(f"Background Job Handle={handle}", flush=True)
        while args.wait:
            status = client.job_status(handle)
            show(status)
            if not status.known:  # it has finished
                break
            time.sleep(args.interval)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GearmanError as error:  # no server, a port that is none, no libgearman, ...
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
