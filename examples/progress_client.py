#!/usr/bin/env python3
"""Have many jobs done, and watch them: a bar for all, and one for each that runs.

Shows progress made visible: what a worker sends by send_status() moves a bar. The bars
are drawn with rich, which is not needed for anything else:

    pip install rich
    python progress_client.py --jobs 20 --steps 50

Start progress_worker.py first, best several times: each worker does a job at a time.
"""

from __future__ import annotations

import argparse
import sys

from pygearman_cffi import Client, GearmanError, Task

try:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
    )
except ImportError:
    sys.exit("This example draws its bars with rich: pip install rich")


class Bars:
    """The bars: each task carries the number of its own as its context."""

    def __init__(self, progress: Progress, jobs: int) -> None:
        self.progress = progress
        self.all = progress.add_task("all jobs", total=jobs)

    def on_status(self, task: Task) -> None:
        """Move the bar of a job, which comes to light when its worker begins."""
        self.progress.update(
            task.context,
            completed=task.numerator,
            total=task.denominator,
            visible=True,
        )

    def on_end(self, task: Task) -> None:
        """Take the bar of a job away, and move that of all; say so if it failed."""
        self.progress.remove_task(task.context)
        self.progress.advance(self.all)
        if task.error is not None:
            self.progress.console.print(str(task.error), markup=False, highlight=False)


def main() -> int:
    """Run the program and return its exit status."""
    parser = argparse.ArgumentParser(description="Watch many jobs being done.")
    parser.add_argument("--host", default="localhost")
    parser.add_argument("-p", "--port", type=int, default=4730)
    parser.add_argument("--jobs", type=int, default=20, metavar="N")
    parser.add_argument("--steps", type=int, default=50, metavar="N", help="per job")
    args = parser.parse_args()

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with (
        Client([(args.host, args.port)]) as client,
        Progress(*columns, TimeElapsedColumn()) as progress,
    ):
        bars = Bars(progress, args.jobs)
        tasks = [
            client.add_task(
                "progress",
                str(args.steps).encode(),
                context=progress.add_task(f"job {number}", visible=False),
                on_status=bars.on_status,
                on_complete=bars.on_end,
                on_exception=bars.on_end,
                on_fail=bars.on_end,
            )
            for number in range(1, args.jobs + 1)
        ]
        client.run_tasks()

    failed = sum(task.error is not None for task in tasks)
    print(f"{args.jobs - failed} done, {failed} failed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GearmanError as error:  # no server, a port that is none, no libgearman, ...
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
