#!/usr/bin/env python3
r"""Send a text to "jfytest" and print what comes back, ten times: on the raw layer.

The first step of porting jfy_client.c: each line of C stands in a comment (`# |`) above
the Python that takes its place. What the Pythonic layer leaves of it is ../jfy_client.py.

    python jfy_client.py "this is a test"

`ffi` and `lib` are C, and protect from nothing that C does not protect from:

* A pointer is good until what it points to is freed. Using it later, or freeing it
  twice, ends the process.
* After GEARMAN_TIMEOUT the library still points into the workload, and its next call
  may send what is there then: keep the object alive until the client is freed. The
  client may be of no more use, for ever; the cure is a new one.
* While C waits, Python runs no signal handler: without the first line of main(), Ctrl-C
  would be heard when gearman_client_do() returns.
* A client that has not asked the server for it (gearman_client_set_server_option(client,
  "exceptions")) times out when the job ends in an exception.
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

from pygearman_cffi import ffi, lib, take_bytes


def text_of(pointer: Any) -> str:
    """Copy a C string; C may overwrite its own at the next call."""
    return cast("bytes", ffi.string(pointer)).decode(errors="replace")


def main() -> int:
    """Run the program and return its exit status."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends the process, as in C

    # | gearman_return_t ret;
    # | gearman_client_st client;
    # | char *result;
    # | size_t result_size;
    # | uint32_t numerator;
    # | uint32_t denominator;
    # What C fills through a pointer is an array of one: &ret is ret, ret is ret[0].
    ret = ffi.new("gearman_return_t *")
    result_size = ffi.new("size_t *")
    numerator = ffi.new("uint32_t *")
    denominator = ffi.new("uint32_t *")

    # | const char *host = "localhost", *port = "4730";
    # | int count = 10;
    # | double interval = 5;
    # | while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1)
    parser = argparse.ArgumentParser(description="Send a text to the function jfytest.")
    parser.add_argument("--host", default="localhost")
    parser.add_argument("--port", type=int, default=4730)
    parser.add_argument("--count", type=int, default=10, metavar="N")
    parser.add_argument("--interval", type=float, default=5.0, metavar="SECONDS")
    parser.add_argument("text")
    args = parser.parse_args()
    interval = args.interval

    # | const char *text = argv[optind];
    # | size_t text_size = strlen(text);
    # A const char * is bytes. This name keeps them alive for longer than the client.
    text = os.fsencode(args.text)
    text_size = len(text)

    # | if (gearman_client_create(&client) == NULL)
    # | {
    # |   fprintf(stderr, "Memory allocation failure on client creation\n");
    # |   exit(1);
    # | }
    # The struct is opaque to Python: given NULL, C allocates it; &client is client.
    client = lib.gearman_client_create(ffi.NULL)
    if client == ffi.NULL:
        print("Memory allocation failure on client creation", file=sys.stderr)
        return 1

    # | gearman_client_set_options(&client, GEARMAN_CLIENT_FREE_TASKS);
    # | gearman_client_set_timeout(&client, 15000);
    lib.gearman_client_set_options(client, lib.GEARMAN_CLIENT_FREE_TASKS)
    lib.gearman_client_set_timeout(client, 15000)

    # | ret = gearman_client_add_server(&client, host, (in_port_t)atoi(port));
    # | if (ret != GEARMAN_SUCCESS)
    # | {
    # |   fprintf(stderr, "%s\n", gearman_client_error(&client));
    # |   exit(1);
    # | }
    ret[0] = lib.gearman_client_add_server(client, os.fsencode(args.host), args.port)
    if ret[0] != lib.GEARMAN_SUCCESS:
        print(text_of(lib.gearman_client_error(client)), file=sys.stderr)
        return 1

    # | for (i = 0; i < count; i++)
    # | {
    # |   result = gearman_client_do(&client, "jfytest", NULL, text_size ? text : NULL,
    # |                              text_size, &result_size, &ret);
    for _ in range(args.count):
        workload = text if text_size else ffi.NULL
        result = lib.gearman_client_do(
            client, b"jfytest", ffi.NULL, workload, text_size, result_size, ret
        )

        # | if (ret == GEARMAN_WORK_DATA)
        # | {
        # |   printf("Data=%.*s\n", (int)result_size, result);
        # |   free(result);
        # | }
        # take_bytes() copies what C has allocated and calls C's free().
        if ret[0] == lib.GEARMAN_WORK_DATA:
            data = take_bytes(result, result_size[0]).decode(errors="replace")
            print(f"Data={data}", flush=True)

        # | else if (ret == GEARMAN_WORK_STATUS)
        # | {
        # |   gearman_client_do_status(&client, &numerator, &denominator);
        # |   printf("Status: %u/%u\n", numerator, denominator);
        # | }
        elif ret[0] == lib.GEARMAN_WORK_STATUS:
            lib.gearman_client_do_status(client, numerator, denominator)
            print(f"Status: {numerator[0]}/{denominator[0]}", flush=True)

        # | else if (ret == GEARMAN_SUCCESS)
        # | {
        # |   /* An empty result is NULL. */
        # |   printf("result_size=%d,result=%.*s=\n", (int)result_size, (int)result_size,
        # |          result ? result : "");
        # |   free(result);
        # | }
        # take_bytes() makes b"" of NULL.
        elif ret[0] == lib.GEARMAN_SUCCESS:
            data = take_bytes(result, result_size[0]).decode(errors="replace")
            print(f"result_size={result_size[0]},result={data}=", flush=True)

        # | else if (ret == GEARMAN_WORK_FAIL)
        # | {
        # |   fprintf(stderr, "Work failed\n");
        # | }
        elif ret[0] == lib.GEARMAN_WORK_FAIL:
            print("Work failed", file=sys.stderr)

        # | else if (ret == GEARMAN_TIMEOUT)
        # | {
        # |   fprintf(stderr, "Work timeout\n");
        # | }
        elif ret[0] == lib.GEARMAN_TIMEOUT:
            print("Work timeout", file=sys.stderr)

        # | else
        # | {
        # |   fprintf(stderr, "%d,%s\n", gearman_client_errno(&client),
        # |           gearman_client_error(&client));
        # | }
        else:
            error = text_of(lib.gearman_client_error(client))
            print(f"{lib.gearman_client_errno(client)},{error}", file=sys.stderr)

        # | printf("sleep %gs ...\n", interval);
        # | nanosleep(&pause, NULL);
        print(f"sleep {interval:g}s ...", flush=True)
        time.sleep(interval)

    # | gearman_client_free(&client);
    # | return 0;
    # Once, and nothing of the client may be used afterwards.
    lib.gearman_client_free(client)
    return 0


if __name__ == "__main__":
    sys.exit(main())
