#!/usr/bin/env python3
r"""Serve "jfytest": the result is the workload with "->result" after it. The raw layer.

The first step of porting jfy_worker.c: each line of C stands in a comment (`# |`) above
the Python that takes its place. What the Pythonic layer leaves of it is ../jfy_worker.py.

    python jfy_worker.py

`ffi` and `lib` are C, and protect from nothing that C does not protect from:

* A callback is Python's memory: as long as C may call it, a name must hold it. Freed too
  early, it takes the process with it. A hardened system may refuse to make one.
* No exception passes through C. cffi prints it and returns `error=`; what C makes of
  that depends on what the function has stored by then, so it stores failure first.
* What a v1 function returns, C gives to free(): it must come from C's malloc(). Memory
  of ffi.new() is Python's, and would be freed twice.
* The job and its workload are gone when the function has returned.
* While C waits, Python runs no signal handler: without the first line of main(), Ctrl-C
  would do nothing.
* gearman_worker_create() adds the servers in $GEARMAN_SERVERS; a bad value makes it fail.
* A worker is for one thread at a time, and for the process that made it.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from typing import Any, cast

from pygearman_cffi import ffi, lib


def text_of(pointer: Any) -> str:
    """Copy a C string; C may overwrite its own at the next call."""
    return cast("bytes", ffi.string(pointer)).decode(errors="replace")


def main() -> int:
    """Run the program and return its exit status."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends the process, as in C

    # | const char *host = "localhost", *port = "4730";
    # | int count = 0; /* jobs to do; 0: for ever */
    # | while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1)
    parser = argparse.ArgumentParser(description="Serve the function jfytest.")
    parser.add_argument("--host", default="localhost")
    parser.add_argument("--port", type=int, default=4730)
    parser.add_argument(
        "--count", type=int, default=0, metavar="N", help="jobs to do; 0: for ever"
    )
    args = parser.parse_args()
    count = args.count

    # | if (gearman_worker_create(&worker) == NULL)
    # | {
    # |   printf("Memory allocation failure on worker creation\n");
    # |   exit(1);
    # | }
    # The struct is opaque to Python: given NULL, C allocates it; &worker is worker.
    worker = lib.gearman_worker_create(ffi.NULL)
    if worker == ffi.NULL:
        print("Memory allocation failure on worker creation")
        return 1

    # | ret = gearman_worker_add_server(&worker, host, (in_port_t)atoi(port));
    # | if (ret != GEARMAN_SUCCESS)
    # | {
    # |   printf("%s\n", gearman_worker_error(&worker));
    # |   exit(1);
    # | }
    ret = lib.gearman_worker_add_server(worker, os.fsencode(args.host), args.port)
    if ret != lib.GEARMAN_SUCCESS:
        print(text_of(lib.gearman_worker_error(worker)))
        return 1

    # | ret = gearman_worker_add_function(&worker, "jfytest", 0, jfytest, NULL);
    # | if (ret != GEARMAN_SUCCESS)
    # | {
    # |   printf("%s\n", gearman_worker_error(&worker));
    # |   exit(1);
    # | }
    # C gets a pointer to the function, made below.
    ret = lib.gearman_worker_add_function(worker, b"jfytest", 0, JFYTEST, ffi.NULL)
    if ret != lib.GEARMAN_SUCCESS:
        print(text_of(lib.gearman_worker_error(worker)))
        return 1

    # | printf("wait job ...\n");
    # | while (1)
    # | {
    # |   ret = gearman_worker_work(&worker);
    # |   if (ret != GEARMAN_SUCCESS)
    # |   {
    # |     printf("%s\n", gearman_worker_error(&worker));
    # |     break;
    # |   }
    # |   if (count > 0 && --count == 0)
    # |   {
    # |     break;
    # |   }
    # | }
    print("wait job ...", flush=True)
    while True:
        ret = lib.gearman_worker_work(worker)
        if ret != lib.GEARMAN_SUCCESS:
            print(text_of(lib.gearman_worker_error(worker)), flush=True)
            break
        count -= 1
        if count == 0:
            break

    # | gearman_worker_free(&worker);
    # | return 0;
    # Once, and never from inside a worker function.
    lib.gearman_worker_free(worker)
    return 0


# | static void *jfytest(gearman_job_st *job, void *context, size_t *result_size,
# |                      gearman_return_t *ret_ptr)
def jfytest(job: Any, context: Any, result_size: Any, ret_ptr: Any) -> Any:
    """Take a job, return its result."""
    # Stored first: it is what C reads if an exception ends the function half-way.
    ret_ptr[0] = lib.GEARMAN_WORK_FAIL

    # | workload = gearman_job_workload(job);
    # | workload_size = gearman_job_workload_size(job);
    # | *result_size = 0;
    workload = lib.gearman_job_workload(job)
    workload_size = lib.gearman_job_workload_size(job)
    result_size[0] = 0

    # | request = malloc(workload_size + 1);
    # | if (request == NULL)
    # | {
    # |   printf("malloc request:%d\n", errno);
    # |   *ret_ptr = GEARMAN_WORK_FAIL;
    # |   return NULL;
    # | }
    # | /* The workload does not end in a NUL. An empty one is NULL. */
    # | if (workload_size)
    # | {
    # |   memcpy(request, workload, workload_size);
    # | }
    # | request[workload_size] = 0;
    # bytes() copies. Without memory it raises MemoryError, and the job has failed.
    request = bytes(ffi.buffer(workload, workload_size)) if workload_size else b""

    # | printf("job=%s,result_size=%d,request=%s\n", gearman_job_handle(job),
    # |        (int)workload_size, request);
    handle = text_of(lib.gearman_job_handle(job))
    shown = request.decode(errors="replace")
    print(f"job={handle},result_size={workload_size},request={shown}", flush=True)

    # | /* libgearman frees it. */
    # | result = malloc(workload_size + sizeof("->result"));
    # | if (result == NULL)
    # | {
    # |   printf("malloc result:%d\n", errno);
    # |   free(request);
    # |   *ret_ptr = GEARMAN_WORK_FAIL;
    # |   return NULL;
    # | }
    result = lib.malloc(workload_size + len(b"->result"))
    if result == ffi.NULL:
        print(f"malloc result:{ffi.errno}", flush=True)
        return ffi.NULL

    # | *ret_ptr = GEARMAN_SUCCESS;
    # | memcpy(result, request, workload_size);
    # | memcpy(result + workload_size, "->result", sizeof("->result"));
    # | *result_size = workload_size + strlen("->result");
    # | free(request);
    # Size and success are stored last: NULL with a size, too, ends the process.
    answer = request + b"->result"
    ffi.memmove(result, answer, len(answer))

    # | printf("job=%s,result_size=%d,result=%s\n", gearman_job_handle(job),
    # |        (int)*result_size, result);
    shown = answer.decode(errors="replace")
    print(f"job={handle},result_size={len(answer)},result={shown}", flush=True)

    # | return result;
    result_size[0] = len(answer)
    ret_ptr[0] = lib.GEARMAN_SUCCESS
    return result


# The pointer for C. This name holds it until the program ends.
JFYTEST: Any = ffi.callback("gearman_worker_fn *", jfytest, error=ffi.NULL)


if __name__ == "__main__":
    sys.exit(main())
