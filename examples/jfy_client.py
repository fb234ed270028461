#!/usr/bin/env python3
"""Send a text to the function "jfytest" and print what comes back, ten times.

Shows a client: one job after the other, a limit of time, what can go wrong. The twin of
c_api/jfy_client.c, whose answers to a failed job it keeps: a line on the standard error,
and on to the next job.

    python jfy_client.py "this is a test"
"""

from __future__ import annotations

import argparse
import os
import sys
import time

from pygearman_cffi import (
    Client,
    GearmanError,
    GearmanTimeoutError,
    Task,
    WorkFailError,
)


def show_data(task: Task) -> None:
    """Print a piece of the result that the worker sent ahead."""
    print(f"Data={task.data.decode(errors='replace')}", flush=True)


def show_status(task: Task) -> None:
    """Print how far the worker is."""
    print(f"Status: {task.numerator}/{task.denominator}", flush=True)


def main() -> int:
    """Run the program and return its exit status."""
    parser = argparse.ArgumentParser(description="Send a text to the function jfytest.")
    parser.add_argument("--host", default="localhost")
    parser.add_argument("--port", type=int, default=4730)
    parser.add_argument("--count", type=int, default=10, metavar="N", help="jobs")
    parser.add_argument(
        "--interval", type=float, default=5.0, metavar="S", help="seconds between them"
    )
    parser.add_argument(
        "--timeout", type=float, default=15.0, metavar="S", help="seconds for each"
    )
    parser.add_argument("text")
    args = parser.parse_args()

    with Client([(args.host, args.port)], timeout=args.timeout) as client:
        for _ in range(args.count):
            try:
                result = client.do(
                    "jfytest",
                    os.fsencode(args.text),
                    on_data=show_data,
                    on_status=show_status,
                )
            except WorkFailError:
                print("Work failed", file=sys.stderr)
            except GearmanTimeoutError:
                print("Work timeout", file=sys.stderr)
            except GearmanError as error:  # no server, connection lost, ...
                print(error, file=sys.stderr)
            else:
                text = result.decode(errors="replace")
                print(f"result_size={len(result)},result={text}=", flush=True)
            print(f"sleep {args.interval:g}s ...", flush=True)
            time.sleep(args.interval)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GearmanError as error:  # a port that is none, no libgearman, ...
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
