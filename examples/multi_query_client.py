#!/usr/bin/env python3
"""Ask three questions at once, and print the answers.

Shows jobs of different functions in parallel, in the time of the slowest where there are
workers enough. The twin of gearman.org's "multi-query" example; where that needs a
callback and a context to tell the answers apart, each task here has its own.

    python multi_query_client.py joe@example.com
"""

from __future__ import annotations

import argparse
import os
import sys
import time

from pygearman_cffi import Client, GearmanError

QUERIES = ("lookup_user", "baconate", "get_latest_posts_by")


def main() -> int:
    """Run the program and return its exit status."""
    parser = argparse.ArgumentParser(description="Ask three questions at once.")
    parser.add_argument("--host", default="localhost")
    parser.add_argument("-p", "--port", type=int, default=4730)
    parser.add_argument("user", nargs="?", default="joe@example.com")
    args = parser.parse_args()

    print("Fetching...", flush=True)
    start = time.monotonic()
    with Client([(args.host, args.port)]) as client:
        tasks = [client.add_task(query, os.fsencode(args.user)) for query in QUERIES]
        client.run_tasks()
    print(f"Got everything in {time.monotonic() - start:.2f} seconds:", flush=True)

    failed = 0
    for task in tasks:
        try:
            answer = task.result.decode(errors="replace")
        except GearmanError as error:  # the others have their answers all the same
            answer = f"({error})"
            failed += 1
        print(f"{task.function_name}: {answer}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GearmanError as error:  # no server, a port that is none, no libgearman, ...
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
