"""cffi alone as an echo worker: bare_worker.py HOST PORT JOBS, see bare_client.py."""

from __future__ import annotations

import sys
from typing import Any, cast

import meter

from pygearman_cffi import ffi, lib


def main() -> None:
    """Serve."""
    host, port = sys.argv[1:3]
    jobs = int(sys.argv[3])
    begun = ended = meter.stamp()
    done = 0

    @ffi.callback("gearman_return_t(gearman_job_st *, void *)")
    def echo(job: Any, _context: Any) -> int:
        nonlocal begun, ended, done
        done += 1
        if done == 1:
            begun = meter.stamp()
        elif done == jobs:
            ended = meter.stamp()
        size = lib.gearman_job_workload_size(job)
        workload = ffi.buffer(lib.gearman_job_workload(job), size)[:]
        return lib.gearman_job_send_complete(job, workload, len(workload))

    worker = lib.gearman_worker_create(ffi.NULL)
    lib.gearman_worker_add_server(worker, host.encode(), int(port))
    function = lib.gearman_function_create(cast("Any", echo))
    lib.gearman_worker_define_function(worker, b"echo", 4, function, 0, ffi.NULL)
    while not jobs or done < jobs:
        if lib.gearman_worker_work(worker):
            raise RuntimeError("gearman_worker_work failed")
    meter.report(jobs - 1, begun, ended)


main()
