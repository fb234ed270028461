"""PyPI's pygearman as an echo worker: pygearman_worker.py HOST PORT JOBS."""

from __future__ import annotations

import sys
from typing import Any

import gearman
import meter

HOST, PORT = sys.argv[1:3]
JOBS = int(sys.argv[3])


class Worker(gearman.GearmanWorker):  # type: ignore[misc]
    """A worker that ends after so many jobs."""

    done = 0
    begun = ended = meter.stamp()

    def echo(self, job: Any) -> bytes:
        """Return the workload, as bytes."""
        self.done += 1
        if self.done == 1:
            self.begun = meter.stamp()
        elif self.done == JOBS:
            self.ended = meter.stamp()
        data: bytes = job.data
        return data

    def after_job(self) -> bool:
        """Tell whether to go on."""
        return self.done != JOBS


def main() -> None:
    """Serve."""
    worker = Worker([f"{HOST}:{PORT}"])
    worker.register_task(b"echo", Worker.echo)  # not found as str (0.2.6)
    worker.work()
    meter.report(JOBS - 1, worker.begun, worker.ended)


main()
