"""Our echo worker, measured: worker.py HOST PORT JOBS [SAMPLE].

It ends after JOBS (0: never) and prints what the time from the first job's function to
the last one's took. With SAMPLE, it notes the memory in use after every SAMPLE jobs.
"""

from __future__ import annotations

import sys

import meter

from pygearman_cffi import Job, Worker


def main() -> None:
    """Serve."""
    host, port = sys.argv[1:3]
    jobs, sample = map(int, [*sys.argv[3:], "0"][:2])
    begun = ended = meter.stamp()
    samples = []
    done = 0

    def echo(job: Job) -> bytes:
        nonlocal begun, ended, done
        done += 1
        if done == 1:
            begun = meter.stamp()
        elif done == jobs:
            ended = meter.stamp()
        if sample and done % sample == 0:
            samples.append((done, meter.memory("VmRSS")))
        return job.workload

    with Worker(f"{host}:{port}") as worker:
        worker.add_function("echo", echo)
        worker.run(max_jobs=jobs or None)
    meter.report(jobs - 1, begun, ended, samples=samples)


main()
