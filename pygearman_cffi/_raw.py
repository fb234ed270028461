"""What the C headers define inline or as macros, in Python, for the raw layer."""

from __future__ import annotations

from . import _library
from ._library import CData, ffi
from .enums import ReturnCode

__all__ = [
    "gearman_continue",
    "gearman_failed",
    "gearman_literal_param",
    "gearman_success",
    "take_bytes",
]

_CONTINUE = frozenset(
    {
        ReturnCode.IO_WAIT,
        ReturnCode.IN_PROGRESS,
        ReturnCode.PAUSE,
        ReturnCode.JOB_EXISTS,
    }
)


def gearman_success(code: int) -> bool:
    """Tell whether a return code means success; inline in `return.h`."""
    return code == ReturnCode.SUCCESS


def gearman_failed(code: int) -> bool:
    """Tell whether a return code means failure; inline in `return.h`."""
    return code != ReturnCode.SUCCESS


def gearman_continue(code: int) -> bool:
    """Tell whether a call should simply be repeated; inline in `return.h`."""
    return code in _CONTINUE


def gearman_literal_param(literal: bytes) -> tuple[bytes, int]:
    """Return a literal and its size, for calls that take both; a macro in C.

    Use it as `lib.gearman_client_set_identifier(c, *gearman_literal_param(b"me"))`.
    """
    return literal, len(literal)


def take_bytes(pointer: CData, size: int) -> bytes:
    """Copy a buffer that C gave away, and free it with C's own `free`.

    For results of `lib.gearman_client_do` and of the other calls whose result the
    caller must free. NULL gives `b""`, an empty result.
    """
    if not pointer:
        return b""
    try:
        return bytes(ffi.buffer(pointer, size))
    finally:
        _library.load().free(pointer)
