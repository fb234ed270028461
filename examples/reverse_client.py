#!/usr/bin/env python3
"""Have a worker reverse a text.

Shows the shortest client, and how to follow a job while it runs. The twin of
reverse_client.php from the PHP manual, with the options of libgearman's example
reverse_client. Their loops over GEARMAN_WORK_DATA and GEARMAN_WORK_STATUS never run more
than once, as the library's do() runs to the end; callbacks do what those were meant to.

    python reverse_client.py "Hello!"
    echo "Hello!" | python reverse_client.py -
"""

from __future__ import annotations

import argparse
import os
import sys

from pygearman_cffi import Client, GearmanError, Task


def show_data(task: Task) -> None:
    """Print a piece of the result that the worker sent ahead."""
    print(f"Data: {task.data.decode(errors='replace')}", flush=True)


def show_status(task: Task) -> None:
    """Print how far the worker is."""
    print(f"Status: {task.numerator}/{task.denominator} complete", flush=True)


def main() -> int:
    """Run the program and return its exit status."""
    parser = argparse.ArgumentParser(description="Have a worker reverse a text.")
    parser.add_argument("--host", default="localhost")
    parser.add_argument("-p", "--port", type=int, default=4730)
    parser.add_argument(
        "-c", "--count", type=int, default=1, metavar="N", help="jobs, one by one"
    )
    parser.add_argument(
        "-u", "--timeout", type=float, metavar="S", help="seconds for each"
    )
    parser.add_argument(
        "--identifier", metavar="NAME", help="what the job server calls this client"
    )
    parser.add_argument(
        "--status",
        "--verbose",
        action="store_true",
        help="print the worker's progress, too",
    )
    parser.add_argument("--text", default="Hello!", help="the same without --text")
    parser.add_argument(
        "text",
        nargs="?",
        metavar="TEXT",
        default=argparse.SUPPRESS,
        help='"-" for the standard input',
    )
    args = parser.parse_args()

    text = sys.stdin.buffer.read() if args.text == "-" else os.fsencode(args.text)

    print("Starting", flush=True)
    with Client(
        [(args.host, args.port)], timeout=args.timeout, identifier=args.identifier
    ) as client:
        for _ in range(args.count):
            print("Sending job", flush=True)
            try:
                result = client.do(
                    "reverse",
                    text,
                    on_data=show_data if args.status else None,
                    on_status=show_status if args.status else None,
                )
            except GearmanError as error:
                print(f"RET: {error}", flush=True)
                return 1
            print(f"Success: {result.decode(errors='replace')}", flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GearmanError as error:  # a port that is none, no libgearman, ...
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
