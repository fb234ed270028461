"""PyPI's pygearman as a client: pygearman_client.py HOST PORT MODE JOBS SIZE."""

from __future__ import annotations

import sys

import gearman
import meter

# Without a limit pygearman 0.2.6 does not wait for the result at all.
LIMIT = 3600.0


def main() -> None:
    """Do what the arguments say."""
    host, port, mode = sys.argv[1:4]
    jobs, size = map(int, sys.argv[4:6])
    payload = b"x" * size
    client = gearman.GearmanClient([f"{host}:{port}"])

    def do() -> None:
        if client.submit_job("echo", payload, poll_timeout=LIMIT).result != payload:
            raise RuntimeError("wrong answer")

    def background() -> None:
        client.submit_job("echo", payload, background=True, wait_until_complete=False)

    if mode == "do":
        meter.measure(jobs, do)
    elif mode == "background":
        meter.measure(jobs, background)
    else:
        begun = meter.stamp()
        requests = client.submit_multiple_jobs(
            [{"task": "echo", "data": payload} for _ in range(jobs)], poll_timeout=LIMIT
        )
        if any(request.result != payload for request in requests):
            raise RuntimeError("wrong answer")
        meter.report(jobs, begun, meter.stamp())


main()
