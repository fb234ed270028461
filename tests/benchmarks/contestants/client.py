"""Our client, measured: client.py HOST PORT MODE JOBS SIZE [SAMPLE].

MODE is do, do_stock (without a widened send buffer), background, tasks or map. With
SAMPLE, map prints the memory in use after every SAMPLE jobs.
"""

from __future__ import annotations

import inspect
import sys
from typing import Any

import meter

from pygearman_cffi import Client


def do(client: Client, jobs: int, payload: bytes) -> None:
    """Wait for each job."""
    size = len(payload)

    def one() -> None:
        if len(client.do("echo", payload)) != size:
            raise RuntimeError("wrong answer")

    meter.measure(jobs, one)


def background(client: Client, jobs: int, payload: bytes) -> None:
    """Submit jobs that nobody waits for."""
    meter.measure(jobs, lambda: client.do_background("echo", payload))


def tasks(client: Client, jobs: int, payload: bytes) -> None:
    """Add them all, run them all, and take the results."""
    begun = meter.stamp()
    added = [client.add_task("echo", payload) for _ in range(jobs)]
    client.run_tasks()
    if any(task.result != payload for task in added):
        raise RuntimeError("wrong answer")
    meter.report(jobs, begun, meter.stamp())


def map_jobs(client: Client, jobs: int, payload: bytes, sample: int) -> None:
    """Iterate over the results."""
    samples = []
    done = 0
    begun = meter.stamp()
    for result in client.map("echo", (payload for _ in range(jobs))):
        done += result == payload
        if sample and done % sample == 0:
            samples.append((done, meter.memory("VmRSS")))
    if done != jobs:
        raise RuntimeError("wrong answer")
    meter.report(jobs, begun, meter.stamp(), samples=samples)


def main() -> None:
    """Do what the arguments say."""
    host, port, mode = sys.argv[1:4]
    jobs, size, sample = map(int, [*sys.argv[4:], "0"][:3])
    payload = b"x" * size
    settings: dict[str, Any] = {}
    if (
        mode == "do_stock"
        and "send_buffer_size" in inspect.signature(Client).parameters
    ):
        settings["send_buffer_size"] = None
    with Client(f"{host}:{port}", **settings) as client:
        client.echo(b"warm")
        if mode in {"do", "do_stock"}:
            do(client, jobs, payload)
        elif mode == "background":
            background(client, jobs, payload)
        elif mode == "tasks":
            tasks(client, jobs, payload)
        else:
            map_jobs(client, jobs, payload, sample)


main()
