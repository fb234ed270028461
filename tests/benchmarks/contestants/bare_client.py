"""cffi alone as a client: bare_client.py HOST PORT MODE JOBS SIZE.

MODE is do or background. The C functions as they are: nothing is checked, a signal
waits until C returns, and a call has no deadline. What Python and cffi cost by
themselves.
"""

from __future__ import annotations

import sys

import meter

from pygearman_cffi import ffi, lib


def main() -> None:
    """Do what the arguments say."""
    host, port, mode = sys.argv[1:4]
    jobs, size = map(int, sys.argv[4:6])
    payload = b"x" * size
    client = lib.gearman_client_create(ffi.NULL)
    lib.gearman_client_add_server(client, host.encode(), int(port))
    length = ffi.new("size_t *")
    code = ffi.new("gearman_return_t *")
    handle = ffi.new("char[64]")

    def do() -> None:
        result = lib.gearman_client_do(
            client, b"echo", ffi.NULL, payload, size, length, code
        )
        if code[0] or ffi.buffer(result, length[0])[:] != payload:
            raise RuntimeError("wrong answer")
        lib.free(result)

    def background() -> bytes:
        if lib.gearman_client_do_background(
            client, b"echo", ffi.NULL, payload, size, handle
        ):
            raise RuntimeError("refused")
        return ffi.string(handle)  # type: ignore[return-value]

    meter.measure(jobs, do if mode == "do" else background)


main()
