#!/usr/bin/env python3
r"""Reverse a text ten times at once, and hear of each step: on the raw layer.

The first step of porting reverse_client_cb.c: each line of C stands in a comment (`# |`)
above the Python that takes its place. What the Pythonic layer leaves of it is
../reverse_client_cb.py.

    python reverse_client_cb.py "Hello!"

`ffi` and `lib` are C, and protect from nothing that C does not protect from:

* A callback is Python's memory: as long as a task of the client may call it, a name must
  hold it. Freed too early, it takes the process with it.
* No exception passes through C. cffi prints it and returns `error=`. Whatever is not 0,
  GEARMAN_SUCCESS, stops the run, and the next one begins with the same callback again.
* Of the client, a callback may add tasks, and no more: running them, freeing the client
  or its tasks from there ends the process.
* What gearman_task_data() points to is gone when the callback has returned.
* libgearman 1.1 sends the tasks newest first, and 2.0 oldest first.
* A client that has not asked the server for it (gearman_client_set_server_option(client,
  "exceptions")) waits for ever when a job ends in an exception.
* While C waits, Python runs no signal handler: without the first line of main(), Ctrl-C
  would be heard when gearman_client_run_tasks() returns.
* gearman_client_create() adds the servers in $GEARMAN_SERVERS; a bad value makes it fail.
* A client is for one thread at a time, and for the process that made it.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from typing import Any, cast

from pygearman_cffi import ffi, gearman_failed, lib


def text_of(pointer: Any) -> str:
    """Copy a C string; C may overwrite its own at the next call."""
    return cast("bytes", ffi.string(pointer)).decode(errors="replace")


def data_of(task: Any) -> str:
    """Copy what the packet has brought, which is NULL where that was nothing."""
    size = lib.gearman_task_data_size(task)
    if not size:
        return ""
    payload = bytes(ffi.buffer(lib.gearman_task_data(task), size))
    return payload.decode(errors="replace")


# | static gearman_return_t created(gearman_task_st *task)
# | {
# |   printf("Created: %s\n", gearman_task_job_handle(task));
# |   return GEARMAN_SUCCESS;
# | }
def created(task: Any) -> int:
    """The job server has accepted the job."""
    print(f"Created: {text_of(lib.gearman_task_job_handle(task))}", flush=True)
    return lib.GEARMAN_SUCCESS


# | static gearman_return_t data(gearman_task_st *task)
# | {
# |   printf("Data: %s %.*s\n", gearman_task_job_handle(task),
# |          (int)gearman_task_data_size(task), (const char *)gearman_task_data(task));
# |   return GEARMAN_SUCCESS;
# | }
def data(task: Any) -> int:
    """The worker has sent a piece of the result."""
    handle = text_of(lib.gearman_task_job_handle(task))
    print(f"Data: {handle} {data_of(task)}", flush=True)
    return lib.GEARMAN_SUCCESS


# | static gearman_return_t status(gearman_task_st *task)
# | {
# |   printf("Status: %s (%u/%u)\n", gearman_task_job_handle(task),
# |          gearman_task_numerator(task), gearman_task_denominator(task));
# |   return GEARMAN_SUCCESS;
# | }
def status(task: Any) -> int:
    """The worker says how far it is."""
    handle = text_of(lib.gearman_task_job_handle(task))
    numerator = lib.gearman_task_numerator(task)
    denominator = lib.gearman_task_denominator(task)
    print(f"Status: {handle} ({numerator}/{denominator})", flush=True)
    return lib.GEARMAN_SUCCESS


# | static gearman_return_t complete(gearman_task_st *task)
# | {
# |   /* An empty result is NULL. */
# |   printf("Completed: %s %.*s\n", gearman_task_job_handle(task),
# |          (int)gearman_task_data_size(task),
# |          gearman_task_data_size(task) ? (const char *)gearman_task_data(task) : "");
# |   return GEARMAN_SUCCESS;
# | }
def complete(task: Any) -> int:
    """The job is done; this is the last piece of its result."""
    handle = text_of(lib.gearman_task_job_handle(task))
    print(f"Completed: {handle} {data_of(task)}", flush=True)
    return lib.GEARMAN_SUCCESS


# | static gearman_return_t fail(gearman_task_st *task)
# | {
# |   printf("Failed: %s\n", gearman_task_job_handle(task));
# |   return GEARMAN_SUCCESS;
# | }
def fail(task: Any) -> int:
    """The job has failed."""
    print(f"Failed: {text_of(lib.gearman_task_job_handle(task))}", flush=True)
    return lib.GEARMAN_SUCCESS


# The pointers for C. These names hold them until the program ends.
CREATED: Any = ffi.callback("gearman_created_fn *", created, error=0)
DATA: Any = ffi.callback("gearman_data_fn *", data, error=0)
STATUS: Any = ffi.callback("gearman_universal_status_fn *", status, error=0)
COMPLETE: Any = ffi.callback("gearman_complete_fn *", complete, error=0)
FAIL: Any = ffi.callback("gearman_fail_fn *", fail, error=0)


def main() -> int:
    """Run the program and return its exit status."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends the process, as in C

    # | gearman_return_t ret;
    # What C fills through a pointer is an array of one: &ret is ret, ret is ret[0].
    ret = ffi.new("gearman_return_t *")

    # | const char *host = "localhost", *port = "4730";
    # | int count = 10;
    # | double timeout = -1;
    # | while ((option = getopt_long(argc, argv, "hp:c:u:", options, NULL)) != -1)
    parser = argparse.ArgumentParser(description="Reverse a text many times at once.")
    parser.add_argument("--host", default="localhost")
    parser.add_argument("-p", "--port", type=int, default=4730)
    parser.add_argument("-c", "--count", type=int, default=10, metavar="N")
    parser.add_argument("-u", "--timeout", type=float, default=-1.0, metavar="SECONDS")
    parser.add_argument("text", nargs="?", default="")
    args = parser.parse_args()

    # | const char *text = optind < argc ? argv[optind] : "";
    # | size_t text_size = strlen(text);
    text = os.fsencode(args.text)
    text_size = len(text)

    # | client = gearman_client_create(NULL);
    # | if (client == NULL)
    # | {
    # |   fprintf(stderr, "Memory allocation failure on client creation\n");
    # |   exit(1);
    # | }
    client = lib.gearman_client_create(ffi.NULL)
    if client == ffi.NULL:
        print("Memory allocation failure on client creation", file=sys.stderr)
        return 1

    # | if (timeout >= 0)
    # | {
    # |   gearman_client_set_timeout(client, (int)(timeout * 1000));
    # | }
    if args.timeout >= 0:
        lib.gearman_client_set_timeout(client, int(args.timeout * 1000))

    # | ret = gearman_client_add_server(client, host, (in_port_t)atoi(port));
    # | if (gearman_failed(ret))
    # | {
    # |   fprintf(stderr, "%s\n", gearman_client_error(client));
    # |   exit(1);
    # | }
    ret[0] = lib.gearman_client_add_server(client, os.fsencode(args.host), args.port)
    if gearman_failed(ret[0]):
        print(text_of(lib.gearman_client_error(client)), file=sys.stderr)
        return 1

    # | /* Before the tasks: each copies what is set when it is added. */
    # | gearman_client_set_created_fn(client, created);
    # | gearman_client_set_data_fn(client, data);
    # | gearman_client_set_status_fn(client, status);
    # | gearman_client_set_complete_fn(client, complete);
    # | gearman_client_set_fail_fn(client, fail);
    lib.gearman_client_set_created_fn(client, CREATED)
    lib.gearman_client_set_data_fn(client, DATA)
    lib.gearman_client_set_status_fn(client, STATUS)
    lib.gearman_client_set_complete_fn(client, COMPLETE)
    lib.gearman_client_set_fail_fn(client, FAIL)

    # | for (int x = 0; x < count; x++)
    # | {
    # |   gearman_client_add_task(client, NULL, NULL, "reverse", NULL,
    # |                           text_size ? text : NULL, text_size, &ret);
    # |   if (gearman_failed(ret))
    # |   {
    # |     fprintf(stderr, "%s\n", gearman_client_error(client));
    # |     exit(1);
    # |   }
    # | }
    # The task that it returns is the client's, and so need not be kept.
    for _ in range(args.count):
        workload = text if text_size else ffi.NULL
        lib.gearman_client_add_task(
            client, ffi.NULL, ffi.NULL, b"reverse", ffi.NULL, workload, text_size, ret
        )
        if gearman_failed(ret[0]):
            print(text_of(lib.gearman_client_error(client)), file=sys.stderr)
            return 1

    # | ret = gearman_client_run_tasks(client);
    # | if (gearman_failed(ret))
    # | {
    # |   fprintf(stderr, "%s\n", gearman_client_error(client));
    # |   gearman_client_free(client);
    # |   return 1;
    # | }
    ret[0] = lib.gearman_client_run_tasks(client)
    if gearman_failed(ret[0]):
        print(text_of(lib.gearman_client_error(client)), file=sys.stderr)
        lib.gearman_client_free(client)
        return 1

    # | gearman_client_free(client);
    # | return 0;
    # Once, and nothing of the client may be used afterwards, nor its tasks.
    lib.gearman_client_free(client)
    return 0


if __name__ == "__main__":
    sys.exit(main())
