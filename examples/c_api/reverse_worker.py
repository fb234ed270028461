#!/usr/bin/env python3
r"""Serve "reverse", sending the result ahead of its end: on the raw layer.

The first step of porting reverse_worker.c: each line of C stands in a comment (`# |`)
above the Python that takes its place. What the Pythonic layer leaves of it is
../reverse_worker.py. Shows a v2 function, whose result C does not own, and a context.

    python reverse_worker.py --chunk --status

`ffi` and `lib` are C, and protect from nothing that C does not protect from:

* A callback is Python's memory: as long as C may call it, a name must hold it. So it is
  with the context: C keeps only a number, and asks for the object when that may be gone.
* No exception passes through C. cffi prints it and returns `error=`, which must not be
  0, or the job would be a success, nor GEARMAN_ERROR, or it would run for ever.
* The job and its workload are gone when the function has returned.
* A function may not free its worker, and may not call gearman_worker_work().
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

from pygearman_cffi import ffi, gearman_failed, gearman_success, lib

FATAL = 24  # GEARMAN_FATAL, also where it is needed before libgearman is opened


def text_of(pointer: Any) -> str:
    """Copy a C string; C may overwrite its own at the next call."""
    return cast("bytes", ffi.string(pointer)).decode(errors="replace")


def main() -> int:
    """Run the program and return its exit status."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends the process, as in C

    # | const char *host = "localhost", *port = "4730", *identifier = NULL;
    # | int count = 0; /* jobs to do; 0: for ever */
    # | double timeout = -1;
    # | struct how how = {0, 0, 0};
    # | while ((option = getopt_long(argc, argv, "hp:c:t:dsu", options, NULL)) != -1)
    parser = argparse.ArgumentParser(description="Serve the function reverse.")
    parser.add_argument("--host", default="localhost")
    parser.add_argument("-p", "--port", type=int, default=4730)
    parser.add_argument("-c", "--count", type=int, default=0, metavar="N")
    parser.add_argument("-t", "--timeout", type=float, default=-1.0, metavar="SECONDS")
    parser.add_argument("--identifier", metavar="NAME")
    parser.add_argument("-d", "--chunk", action="store_true")
    parser.add_argument("-s", "--status", action="store_true")
    parser.add_argument("-u", "--unique", action="store_true")
    how = parser.parse_args()
    count = how.count

    # | worker = gearman_worker_create(NULL);
    # | if (worker == NULL)
    # | {
    # |   fprintf(stderr, "Memory allocation failure on worker creation\n");
    # |   exit(1);
    # | }
    worker = lib.gearman_worker_create(ffi.NULL)
    if worker == ffi.NULL:
        print("Memory allocation failure on worker creation", file=sys.stderr)
        return 1

    # | if (timeout >= 0)
    # | {
    # |   gearman_worker_set_timeout(worker, (int)(timeout * 1000));
    # | }
    if how.timeout >= 0:
        lib.gearman_worker_set_timeout(worker, int(how.timeout * 1000))

    # | ret = gearman_worker_add_server(worker, host, (in_port_t)atoi(port));
    # | if (gearman_failed(ret))
    # | {
    # |   fprintf(stderr, "%s\n", gearman_worker_error(worker));
    # |   exit(1);
    # | }
    # gearman_failed() is inline in C's headers, and Python in pygearman_cffi.
    ret = lib.gearman_worker_add_server(worker, os.fsencode(how.host), how.port)
    if gearman_failed(ret):
        print(text_of(lib.gearman_worker_error(worker)), file=sys.stderr)
        return 1

    # | if (identifier != NULL)
    # | {
    # |   ret = gearman_worker_set_identifier(worker, identifier, strlen(identifier));
    # |   if (gearman_failed(ret))
    # |   {
    # |     fprintf(stderr, "%s\n", gearman_worker_error(worker));
    # |     exit(1);
    # |   }
    # | }
    if how.identifier is not None:
        name = os.fsencode(how.identifier)
        ret = lib.gearman_worker_set_identifier(worker, name, len(name))
        if gearman_failed(ret):
            print(text_of(lib.gearman_worker_error(worker)), file=sys.stderr)
            return 1

    # | ret = gearman_worker_define_function(worker, "reverse", strlen("reverse"),
    # |                                      gearman_function_create(reverse), 0, &how);
    # | if (gearman_failed(ret))
    # | {
    # |   fprintf(stderr, "%s\n", gearman_worker_error(worker));
    # |   exit(1);
    # | }
    # gearman_function_create() returns a struct by value, which is passed on. The handle
    # stands for `how` in C; this name holds it for longer than the worker lives.
    context = ffi.new_handle(how)
    ret = lib.gearman_worker_define_function(
        worker,
        b"reverse",
        len(b"reverse"),
        lib.gearman_function_create(REVERSE),
        0,
        context,
    )
    if gearman_failed(ret):
        print(text_of(lib.gearman_worker_error(worker)), file=sys.stderr)
        return 1

    # | printf("Waiting for job...\n");
    # | while (1)
    # | {
    # |   ret = gearman_worker_work(worker);
    # |   if (gearman_failed(ret))
    # |   {
    # |     fprintf(stderr, "%s\n", gearman_worker_error(worker));
    # |     break;
    # |   }
    # |   if (count > 0 && --count == 0)
    # |   {
    # |     break;
    # |   }
    # | }
    print("Waiting for job...", flush=True)
    while True:
        ret = lib.gearman_worker_work(worker)
        if gearman_failed(ret):
            print(text_of(lib.gearman_worker_error(worker)), file=sys.stderr)
            break
        count -= 1
        if count == 0:
            break

    # | gearman_worker_free(worker);
    # | return 0;
    # Once, and never from inside a worker function.
    lib.gearman_worker_free(worker)
    return 0


# | static gearman_return_t reverse(gearman_job_st *job, void *context)
def reverse(job: Any, context: Any) -> int:
    """Take a job; its result is what is sent, and the return code."""
    # | const struct how *how = context;
    # | const char *workload = gearman_job_workload(job);
    # | size_t size = gearman_job_workload_size(job);
    # An empty workload is NULL.
    how = cast("argparse.Namespace", ffi.from_handle(context))
    size = lib.gearman_job_workload_size(job)
    workload = bytes(ffi.buffer(lib.gearman_job_workload(job), size)) if size else b""

    # | printf("Received job: %s\n", gearman_job_handle(job));
    # | if (how->unique)
    # | {
    # |   printf("Unique: %s\n", gearman_job_unique(job));
    # | }
    # | printf("Workload: %.*s (%zu)\n", (int)size, size ? workload : "", size);
    print(f"Received job: {text_of(lib.gearman_job_handle(job))}", flush=True)
    if how.unique:
        print(f"Unique: {text_of(lib.gearman_job_unique(job))}", flush=True)
    print(f"Workload: {workload.decode(errors='replace')} ({size})", flush=True)

    # | char *result = malloc(size + 1);
    # | if (result == NULL)
    # | {
    # |   return GEARMAN_FATAL;
    # | }
    # | for (size_t x = 0; x < size; x++)
    # | {
    # |   result[x] = workload[size - 1 - x];
    # | }
    # libgearman copies what is sent, so that it may be Python's memory.
    result = workload[::-1]

    # | gearman_return_t ret = GEARMAN_SUCCESS;
    # | if (how->chunk)
    # | {
    # |   for (size_t x = 0; x < size && gearman_success(ret); x++)
    # |   {
    # |     ret = gearman_job_send_data(job, result + x, 1);
    # |     if (how->status && gearman_success(ret))
    # |     {
    # |       ret = gearman_job_send_status(job, (uint32_t)x, (uint32_t)size);
    # |     }
    # |   }
    # | }
    ret: int = lib.GEARMAN_SUCCESS
    if how.chunk:
        for x in range(size):
            ret = lib.gearman_job_send_data(job, result[x : x + 1], 1)
            if how.status and gearman_success(ret):
                ret = lib.gearman_job_send_status(job, x, size)
            if gearman_failed(ret):
                break

    # | else
    # | {
    # |   if (how->status)
    # |   {
    # |     ret = gearman_job_send_status(job, 0, (uint32_t)size);
    # |   }
    # |   if (gearman_success(ret))
    # |   {
    # |     ret = gearman_job_send_data(job, result, size);
    # |   }
    # |   if (how->status && gearman_success(ret))
    # |   {
    # |     ret = gearman_job_send_status(job, (uint32_t)size, (uint32_t)size);
    # |   }
    # | }
    else:
        if how.status:
            ret = lib.gearman_job_send_status(job, 0, size)
        if gearman_success(ret):
            ret = lib.gearman_job_send_data(job, result, size)
        if how.status and gearman_success(ret):
            ret = lib.gearman_job_send_status(job, size, size)

    # | printf("Result: %.*s\n", (int)size, result);
    print(f"Result: {result.decode(errors='replace')}", flush=True)

    # | /* GEARMAN_ERROR: give the job back to the server, for another try. */
    # | return gearman_success(ret) ? GEARMAN_SUCCESS : GEARMAN_ERROR;
    return lib.GEARMAN_SUCCESS if gearman_success(ret) else lib.GEARMAN_ERROR


# The pointer for C. This name holds it until the program ends.
REVERSE: Any = ffi.callback("gearman_function_fn *", reverse, error=FATAL)


if __name__ == "__main__":
    sys.exit(main())
