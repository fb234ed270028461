#!/usr/bin/env python3
"""Send a text to the job server, as a worker, and print it when it comes back.

Shows a worker's health check: no job is served, every job server of the worker must
answer. The twin of libgearman's example echo_worker.

    python echo_worker.py "Hello!"
    echo "Hello!" | python echo_worker.py
"""

from __future__ import annotations

import argparse
import os
import sys

from pygearman_cffi import GearmanError, Worker


def main() -> int:
    """Run the program and return its exit status."""
    parser = argparse.ArgumentParser(description="Have the job server echo a text.")
    parser.add_argument("--host", default="localhost")
    parser.add_argument("-p", "--port", type=int, default=4730)
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
    if not text:
        parser.error("no text, neither as an argument nor on the standard input")

    with Worker([(args.host, args.port)]) as worker:
        worker.echo(text)  # raises unless the same bytes came back
    sys.stdout.buffer.write(text)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GearmanError as error:  # no server, a port that is none, no libgearman, ...
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
