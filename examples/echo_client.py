#!/usr/bin/env python3
"""Send a text to the job server and print it when it comes back.

Shows the smallest call there is. No worker takes part: it tells whether a job server
answers. The twin of libgearman's example echo_client.

    python echo_client.py "Hello!"
    echo "Hello!" | python echo_client.py
"""

from __future__ import annotations

import argparse
import os
import sys

from pygearman_cffi import Client, GearmanError


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

    with Client([(args.host, args.port)]) as client:
        client.echo(text)  # raises unless the same bytes came back
    sys.stdout.buffer.write(text)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GearmanError as error:  # no server, a port that is none, no libgearman, ...
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
