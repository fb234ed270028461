#!/usr/bin/env python3
"""Run one job by execute() and print its result.

Shows the call that returns the task itself: its code, handle, warnings and result, and
no exception because a job failed, where do() returns the result or raises. The twin of
the gearman_execute() example in libgearman's documentation.

    python gearman_execute_example.py "my string to reverse"
"""

from __future__ import annotations

import argparse
import os
import sys

from pygearman_cffi import Client, GearmanError, ReturnCode


def main() -> int:
    """Run the program and return its exit status."""
    parser = argparse.ArgumentParser(description="Have a worker reverse a text.")
    parser.add_argument("--host", default="localhost")
    parser.add_argument("-p", "--port", type=int, default=4730)
    parser.add_argument(
        "-u", "--timeout", type=float, metavar="S", help="seconds for the job"
    )
    parser.add_argument("text", nargs="?", default="my string to reverse")
    args = parser.parse_args()

    with Client([(args.host, args.port)], timeout=args.timeout) as client:
        task = client.execute("reverse", os.fsencode(args.text))

    if task.return_code != ReturnCode.SUCCESS:
        print(f"Error: {task.error}", file=sys.stderr)
        return 1
    print(task.result.decode(errors="replace"), flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GearmanError as error:  # no server, a port that is none, no libgearman, ...
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
