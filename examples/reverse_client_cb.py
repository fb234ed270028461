#!/usr/bin/env python3
"""Have workers reverse a text ten times at once, and hear of each step.

Shows many jobs in flight, and callbacks for all of them. Nothing is lost without
callbacks: each task that add_task() returns has its result, or the reason why there is
none, when run_tasks() returns. The twin of libgearman's example reverse_client_cb,
repaired: that one sets its callbacks after it has added the tasks, and so hears nothing.

    python reverse_client_cb.py "Hello!"
"""

from __future__ import annotations

import argparse
import os
import sys

from pygearman_cffi import Client, GearmanError, Task


def created(task: Task) -> None:
    """The job server has accepted the job."""
    print(f"Created: {task.job_handle}", flush=True)


def data(task: Task) -> None:
    """The worker has sent a piece of the result."""
    print(f"Data: {task.job_handle} {task.data.decode(errors='replace')}", flush=True)


def status(task: Task) -> None:
    """The worker says how far it is."""
    done = f"{task.numerator}/{task.denominator}"
    print(f"Status: {task.job_handle} ({done})", flush=True)


def complete(task: Task) -> None:
    """The job is done: `data` is the last piece, `result` all of them."""
    text = task.data.decode(errors="replace")
    print(f"Completed: {task.job_handle} {text}", flush=True)


def fail(task: Task) -> None:
    """The job has failed."""
    print(f"Failed: {task.job_handle}", flush=True)


def main() -> int:
    """Run the program and return its exit status."""
    parser = argparse.ArgumentParser(description="Reverse a text many times at once.")
    parser.add_argument("--host", default="localhost")
    parser.add_argument("-p", "--port", type=int, default=4730)
    parser.add_argument(
        "-c", "--count", type=int, default=10, metavar="N", help="jobs at once"
    )
    parser.add_argument(
        "-u", "--timeout", type=float, metavar="S", help="seconds for all of them"
    )
    parser.add_argument("--text", default="", help="the same as TEXT without --text")
    parser.add_argument("text", nargs="?", metavar="TEXT", default=argparse.SUPPRESS)
    args = parser.parse_args()

    with Client([(args.host, args.port)], timeout=args.timeout) as client:
        client.set_created_fn(created)
        client.set_data_fn(data)
        client.set_status_fn(status)
        client.set_complete_fn(complete)
        client.set_fail_fn(fail)
        for _ in range(args.count):
            client.add_task("reverse", os.fsencode(args.text))
        client.run_tasks()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GearmanError as error:  # no server, a port that is none, no libgearman, ...
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
