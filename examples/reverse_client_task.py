#!/usr/bin/env python3
"""Have workers reverse two texts at once, and collect the results in a dictionary.

Shows what PHP calls a task's context: any object, which a callback finds again as
`task.context`. The twin of reverse_client_task.php from the PHP manual, and of its pages
on addTask() (contexts, uniques), addTaskLow() and, with `--background`,
addTaskBackground().

    python reverse_client_task.py foo bar
"""

from __future__ import annotations

import argparse
import os
import sys

from pygearman_cffi import Client, GearmanError, Priority, Task


def reverse_created(task: Task) -> None:
    """Print the name that the job server gave the job."""
    print(f"CREATED: {task.job_handle}", flush=True)


def reverse_status(task: Task) -> None:
    """Print how far the worker is."""
    done = f"{task.numerator}/{task.denominator}"
    print(f"STATUS: {task.job_handle} - {done}", flush=True)


def reverse_data(task: Task) -> None:
    """Print a piece of the result that the worker sent ahead."""
    print(f"DATA: {task.data.decode(errors='replace')}", flush=True)


def reverse_complete(task: Task) -> None:
    """Keep the result in the dictionary that the task was given."""
    text = task.data.decode(errors="replace")
    print(f"COMPLETE: {task.job_handle}, {text}", flush=True)
    task.context[task.unique] = task.result


def reverse_fail(task: Task) -> None:
    """Print that the job has failed; `task.error` says more."""
    print(f"FAILED: {task.job_handle}", flush=True)


def main() -> int:
    """Run the program and return its exit status."""
    parser = argparse.ArgumentParser(description="Reverse two texts at once.")
    parser.add_argument("--host", default="localhost")
    parser.add_argument("-p", "--port", type=int, default=4730)
    parser.add_argument(
        "--background", action="store_true", help="wait for the first only"
    )
    parser.add_argument("first", nargs="?", default="foo")
    parser.add_argument("second", nargs="?", default="bar")
    args = parser.parse_args()
    first, second = os.fsencode(args.first), os.fsencode(args.second)

    results: dict[str, bytes] = {}
    with Client([(args.host, args.port)]) as client:
        client.set_created_fn(reverse_created)
        client.set_status_fn(reverse_status)
        client.set_data_fn(reverse_data)
        client.set_complete_fn(reverse_complete)
        client.set_fail_fn(reverse_fail)

        client.add_task("reverse", first, unique="t1", context=results)
        if args.background:  # of which only its creation is heard
            client.add_task_background("reverse", second, unique="t2")
        else:
            client.add_task(
                "reverse",
                second,
                unique="t2",
                context=results,
                priority=Priority.LOW,
            )
        client.run_tasks()

    for unique, result in sorted(results.items()):
        print(f"{unique}: {result.decode(errors='replace')}", flush=True)
    print("DONE", flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GearmanError as error:  # no server, a port that is none, no libgearman, ...
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
