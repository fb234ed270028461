"""What the processes of `test_concurrency.py` run: importable, for spawned ones."""

from __future__ import annotations

import os

from pygearman_cffi import Client, ForkedError, Worker

inherited: Client | None = None
"""The parent's client: None in a spawned child."""


def strangers(address: str, who: str, jobs: int) -> int:
    """Run jobs with a client of this process, by every call; count wrong answers."""
    wrong = 0
    with Client(address, timeout=60) as client:
        for index in range(0, jobs, 4):
            payloads = [f"{who} {index + n} {os.getpid()}".encode() for n in range(4)]
            results = [client.do("echo", payloads[0])]
            tasks = [client.add_task("echo", payload) for payload in payloads[1:3]]
            client.run_tasks()
            results += [task.result for task in tasks]
            results += client.map("echo", payloads[3:])
            wrong += sum(a != b for a, b in zip(payloads, results, strict=True))
    return wrong


def touch(_: int = 0) -> str:
    """Use the parent's client and say what happens."""
    assert inherited is not None
    told = ""
    for call in (
        lambda: inherited.do("echo", b"x"),
        lambda: inherited.add_task("echo", b"x"),
        inherited.run_tasks,
        inherited.clone,
    ):
        try:
            call()
        except ForkedError:
            told += "F"
    return told


def serve(address: str, name: str, jobs: int) -> int:
    """Be a worker for so many jobs."""
    with Worker(address) as worker:
        worker.add_function(name, lambda job: str(os.getpid()).encode())
        return worker.run(max_jobs=jobs)
