#!/usr/bin/env python3
"""Have workers reverse some texts, without ever being stuck in a call.

Shows a client for a program that has other things to do: with NON_BLOCKING, run_tasks()
does what can be done at once, and wait() waits until there is more, or for as long as
the program can spare. C and PHP do the same with GEARMAN_CLIENT_NON_BLOCKING.

    python reverse_client_nonblocking.py one two three
"""

from __future__ import annotations

import argparse
import os
import sys

from pygearman_cffi import Client, ClientOption, GearmanError


def main() -> int:
    """Run the program and return its exit status."""
    parser = argparse.ArgumentParser(description="Reverse texts, doing other things.")
    parser.add_argument("--host", default="localhost")
    parser.add_argument("-p", "--port", type=int, default=4730)
    parser.add_argument(
        "--interval", type=float, default=0.5, metavar="S", help="longest wait at once"
    )
    parser.add_argument("text", nargs="+")
    args = parser.parse_args()

    with Client([(args.host, args.port)], options=ClientOption.NON_BLOCKING) as client:
        tasks = [client.add_task("reverse", os.fsencode(text)) for text in args.text]
        while not client.run_tasks():
            if not client.wait(timeout=args.interval):
                # Nothing came: here the program could do something else.
                print("waiting ...", flush=True)

    failed = 0
    for text, task in zip(args.text, tasks, strict=True):
        try:
            print(f"{text}: {task.result.decode(errors='replace')}", flush=True)
        except GearmanError as error:
            print(f"{text}: {error}", file=sys.stderr)
            failed += 1
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GearmanError as error:  # no server, a port that is none, no libgearman, ...
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
