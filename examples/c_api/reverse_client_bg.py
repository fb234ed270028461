#!/usr/bin/env python3
r"""Reverse a text in the background, and ask how the job stands: on the raw layer.

The first step of porting reverse_client_bg.c: each line of C stands in a comment (`# |`)
above the Python that takes its place. What the Pythonic layer leaves of it is
../reverse_client_bg.py. Shows structs that C passes and returns by value.

    python reverse_client_bg.py --wait "this is a test"

`ffi` and `lib` are C, and protect from nothing that C does not protect from:

* gearman_argument_make() keeps a pointer to the text: a name must hold the text until
  gearman_execute() has returned.
* The task is the client's: it is gone with gearman_client_free().
* gearman_client_job_status() stores through all four pointers: none may be NULL.
* After GEARMAN_TIMEOUT the client may be of no more use, for ever; the cure is a new one.
* While C waits, Python runs no signal handler: without the first line of main(), Ctrl-C
  would be heard when C returns.
* gearman_client_create() adds the servers in $GEARMAN_SERVERS; a bad value makes it fail.
* A client is for one thread at a time, and for the process that made it.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from typing import Any, cast

from pygearman_cffi import ffi, gearman_failed, lib


def text_of(pointer: Any) -> str:
    """Copy a C string; C may overwrite its own at the next call."""
    return cast("bytes", ffi.string(pointer)).decode(errors="replace")


def main() -> int:
    """Run the program and return its exit status."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends the process, as in C

    # | bool is_known, is_running;
    # | uint32_t numerator, denominator;
    # What C fills through a pointer is an array of one: &is_known is is_known, and
    # is_known is is_known[0].
    is_known = ffi.new("bool *")
    is_running = ffi.new("bool *")
    numerator = ffi.new("uint32_t *")
    denominator = ffi.new("uint32_t *")

    # | const char *host = "localhost", *port = "4730";
    # | double timeout = -1, interval = 1;
    # | bool wait_for_it = false;
    # | while ((option = getopt_long(argc, argv, "hp:u:", options, NULL)) != -1)
    parser = argparse.ArgumentParser(description="Reverse a text in the background.")
    parser.add_argument("--host", default="localhost")
    parser.add_argument("-p", "--port", type=int, default=4730)
    parser.add_argument("-u", "--timeout", type=float, default=-1.0, metavar="SECONDS")
    parser.add_argument("--wait", action="store_true")
    parser.add_argument("--interval", type=float, default=1.0, metavar="SECONDS")
    parser.add_argument("text")
    args = parser.parse_args()

    # | const char *text = argv[optind];
    # | size_t text_size = strlen(text);
    # This name keeps the bytes alive for longer than gearman_execute() needs them.
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

    # | ret = gearman_client_add_server(client, host, (in_port_t)atoi(port));
    # | if (gearman_failed(ret))
    # | {
    # |   fprintf(stderr, "%s\n", gearman_client_error(client));
    # |   exit(1);
    # | }
    # gearman_failed() is inline in C's headers, and Python in pygearman_cffi.
    ret = lib.gearman_client_add_server(client, os.fsencode(args.host), args.port)
    if gearman_failed(ret):
        print(text_of(lib.gearman_client_error(client)), file=sys.stderr)
        return 1

    # | if (timeout >= 0)
    # | {
    # |   gearman_client_set_timeout(client, (int)(timeout * 1000));
    # | }
    if args.timeout >= 0:
        lib.gearman_client_set_timeout(client, int(args.timeout * 1000))

    # | gearman_task_attr_t attributes =
    # |     gearman_task_attr_init_background(GEARMAN_JOB_PRIORITY_NORMAL);
    # | gearman_argument_t argument =
    # |     gearman_argument_make(NULL, 0, text_size ? text : NULL, text_size);
    # Structs come by value; &attributes takes a copy at an address, made by ffi.new().
    # A pointer that C keeps is from_buffer(), which holds on to its bytes.
    attributes = ffi.new(
        "gearman_task_attr_t *",
        lib.gearman_task_attr_init_background(lib.GEARMAN_JOB_PRIORITY_NORMAL),
    )
    value = ffi.from_buffer(text) if text_size else ffi.NULL
    argument = ffi.new(
        "gearman_argument_t *",
        lib.gearman_argument_make(ffi.NULL, 0, value, text_size),
    )

    # | task = gearman_execute(client, "reverse", strlen("reverse"), NULL, 0, &attributes,
    # |                        &argument, NULL);
    task = lib.gearman_execute(
        client,
        b"reverse",
        len(b"reverse"),
        ffi.NULL,
        0,
        attributes,
        argument,
        ffi.NULL,
    )

    # | if (task == NULL || gearman_failed(gearman_task_return(task)))
    # | {
    # |   fprintf(stderr, "Failed to process job: %s\n", gearman_client_error(client));
    # |   gearman_client_free(client);
    # |   return 1;
    # | }
    if task == ffi.NULL or gearman_failed(lib.gearman_task_return(task)):
        error = text_of(lib.gearman_client_error(client))
        print(f"Failed to process job: {error}", file=sys.stderr)
        lib.gearman_client_free(client)
        return 1

    # | printf("Background Job Handle=%s\n", gearman_task_job_handle(task));
    handle = text_of(lib.gearman_task_job_handle(task))
    print(f"Background Job Handle={handle}", flush=True)

    # | while (wait_for_it)
    # | {
    # |   ret = gearman_client_job_status(client, gearman_task_job_handle(task), &is_known,
    # |                                   &is_running, &numerator, &denominator);
    while args.wait:
        ret = lib.gearman_client_job_status(
            client,
            lib.gearman_task_job_handle(task),
            is_known,
            is_running,
            numerator,
            denominator,
        )

        # | if (gearman_failed(ret))
        # | {
        # |   fprintf(stderr, "%s\n", gearman_client_error(client));
        # |   gearman_client_free(client);
        # |   return 1;
        # | }
        if gearman_failed(ret):
            print(text_of(lib.gearman_client_error(client)), file=sys.stderr)
            lib.gearman_client_free(client)
            return 1

        # | printf("Known=%s, Running=%s, Percent Complete=%u/%u\n", is_known ? "true" : "false",
        # |        is_running ? "true" : "false", numerator, denominator);
        known = "true" if is_known[0] else "false"
        running = "true" if is_running[0] else "false"
        done = f"{numerator[0]}/{denominator[0]}"
        print(f"Known={known}, Running={running}, Percent Complete={done}", flush=True)

        # | if (!is_known)
        # | {
        # |   break;
        # | }
        if not is_known[0]:
            break

        # | nanosleep(&pause, NULL);
        time.sleep(args.interval)

    # | gearman_client_free(client);
    # | return 0;
    # Once, and nothing of the client may be used afterwards, nor its task.
    lib.gearman_client_free(client)
    return 0


if __name__ == "__main__":
    sys.exit(main())
