#!/usr/bin/env python3
"""Have a text split into words by one worker, counted by others, and summed up.

Shows execute_by_partition(): the worker of "word_split" divides the job, has the parts
done by the workers of "count", and makes one result of theirs. The twin of the
gearman_execute_by_partition() example in libgearman's documentation, which comes without
a worker; ours is gearman_execute_partition_worker.py.

    python gearman_execute_partition.py "this dog does not hunt"
"""

from __future__ import annotations

import argparse
import os
import sys

from pygearman_cffi import Client, GearmanError, ReturnCode


def main() -> int:
    """Run the program and return its exit status."""
    parser = argparse.ArgumentParser(description="Count letters, word by word.")
    parser.add_argument("--host", default="localhost")
    parser.add_argument("-p", "--port", type=int, default=4730)
    parser.add_argument(
        "-u", "--timeout", type=float, metavar="S", help="seconds for all of it"
    )
    parser.add_argument("text", nargs="?", default="this dog does not hunt")
    args = parser.parse_args()

    with Client([(args.host, args.port)], timeout=args.timeout) as client:
        text = os.fsencode(args.text)
        task = client.execute_by_partition("word_split", "count", text)

    if task.return_code != ReturnCode.SUCCESS:
        print(f"Error: {task.error}", file=sys.stderr)
        return 1
    print(task.result.decode(errors="replace"), flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GearmanError as error:  # no server, a port that is none, no libgearman, ...
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
