#!/usr/bin/env python3
"""Serve one of the two functions that gearman_execute_partition.py needs.

Shows define_partition(): a mapper, which sends each part of the job by send_data(), and
an aggregator, which makes one result of the parts' results. The worker waits in between
for somebody else to do the parts: start one for each function.

    python gearman_execute_partition_worker.py word_split &
    python gearman_execute_partition_worker.py count

Ctrl-C ends it at once and gives an unfinished job back to the job server; SIGTERM lets
it finish the job first.
"""

from __future__ import annotations

import argparse
import signal
import sys

from pygearman_cffi import GearmanError, Job, Worker


def split_words(job: Job) -> None:
    """Make a job of each word: the client says for which function."""
    for word in job.workload.split():
        job.send_data(word)


def add_up(results: list[bytes]) -> bytes:
    """Make one result of the words' results, which come in the order of the words."""
    return str(sum(map(int, results))).encode()


def count(job: Job) -> bytes:
    """Count the letters of one word."""
    print(f"Job={job.handle} Workload={job.workload.decode()}", flush=True)
    return str(job.workload_size).encode()


def main() -> int:
    """Run the program and return its exit status."""
    parser = argparse.ArgumentParser(description="Split words, or count letters.")
    parser.add_argument("--host", default="localhost")
    parser.add_argument("-p", "--port", type=int, default=4730)
    parser.add_argument(
        "-c", "--count", type=int, default=0, metavar="N", help="jobs; 0: for ever"
    )
    parser.add_argument("function", choices=["word_split", "count"])
    args = parser.parse_args()

    with Worker([(args.host, args.port)]) as worker:
        if args.function == "word_split":
            worker.define_partition("word_split", split_words, add_up)
        else:
            worker.add_function("count", count)
        signal.signal(signal.SIGTERM, lambda *_: worker.stop())
        worker.run(max_jobs=args.count or None)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GearmanError as error:  # a port that is none, no libgearman, ...
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
