"""What crosses the border to C: bytes, names, times, return codes."""

from __future__ import annotations

import math
import time
from datetime import datetime
from functools import lru_cache
from typing import TypeAlias

from . import _library
from ._library import CData, ffi
from .enums import ReturnCode
from .errors import ArgumentTypeError, InvalidArgumentError, error_for

__all__ = [
    "MAX_FUNCTION_NAME",
    "MAX_UNIQUE",
    "MAX_WORKLOAD",
    "BytesLike",
    "buffer",
    "buffer_size",
    "check",
    "deadline",
    "epoch",
    "function_name",
    "handle",
    "identifier",
    "milliseconds",
    "namespace",
    "option_name",
    "seconds",
    "text",
    "unique",
    "workload",
]

BytesLike: TypeAlias = "bytes | bytearray | memoryview"

MAX_FUNCTION_NAME = 512
MAX_UNIQUE = 63
MAX_WORKLOAD = 2**32 - 1025
"""A packet is shorter than 4 GiB, with its names."""
_MAX_HANDLE = 63

_CHARS = ffi.typeof("char *")
_cast, _string, _unpack = ffi.cast, ffi.string, ffi.unpack

# Names come from any language: what is not UTF-8 must survive the way there and back.
_ENCODING = "utf-8"
_ERRORS = "surrogateescape"


def text(pointer: CData) -> str:
    """Return a C string as `str`, an empty one for NULL."""
    if not pointer:
        return ""
    return _string(pointer).decode(_ENCODING, _ERRORS)  # type: ignore[union-attr]


def buffer(pointer: CData, size: int) -> bytes:
    """Return a copy of C memory as `bytes`."""
    if not (size and pointer):
        return b""
    # Quicker than a slice of ffi.buffer(), which raises and clears an exception.
    return _unpack(_cast(_CHARS, pointer), size)  # type: ignore[return-value]


def workload(value: object, doing: str) -> BytesLike:
    """Return a payload that C can read: the same memory where it is bytes-like."""
    # Not of a subclass: it may say another length than it has.
    if type(value) is bytes and len(value) <= MAX_WORKLOAD:
        return value
    if isinstance(value, str):
        raise ArgumentTypeError(
            "a payload is bytes, not str: encode it first, as in text.encode()",
            doing=doing,
        )
    try:
        view = memoryview(value)  # type: ignore[arg-type]
    except TypeError:
        raise ArgumentTypeError(
            f"a payload is bytes-like, not {type(value).__name__}", doing=doing
        ) from None
    if not view.nbytes:
        return b""
    if view.nbytes > MAX_WORKLOAD:  # C would copy it first
        raise InvalidArgumentError(
            f"the payload has {view.nbytes} bytes; Gearman takes up to {MAX_WORKLOAD}",
            doing=doing,
        )
    if not view.c_contiguous:
        return view.tobytes()
    return view if view.format == "B" and view.ndim == 1 else view.cast("B")


def _encode(value: object, what: str, doing: str) -> bytes:
    if isinstance(value, str):
        try:
            encoded = str.encode(value, _ENCODING, _ERRORS)
        except UnicodeEncodeError as reason:
            raise InvalidArgumentError(
                f"{what} cannot be encoded as UTF-8: {reason}", doing=doing
            ) from None
    elif isinstance(value, bytes):
        encoded = memoryview(value).tobytes()
    else:
        raise ArgumentTypeError(
            f"{what} is str or bytes, not {type(value).__name__}", doing=doing
        )
    if not encoded:
        raise InvalidArgumentError(f"{what} is empty", doing=doing)
    if b"\0" in encoded:
        raise InvalidArgumentError(f"{what} contains a NUL byte", doing=doing)
    return encoded


@lru_cache(maxsize=1024)
def _plain(value: str) -> bytes | None:
    # A client uses few names, and each of them for every job.
    return value.encode() if value.isascii() and "\0" not in value else None


def function_name(value: str | bytes, namespace: bytes, doing: str) -> bytes:
    """Check a function's name and return it as C wants it."""
    encoded = _plain(value) if type(value) is str else None
    if not encoded:
        encoded = _encode(value, "the function name", doing)
    if len(encoded) + len(namespace) > MAX_FUNCTION_NAME:
        raise InvalidArgumentError(
            f"the function name is {len(encoded)} bytes long"
            + (f" and its namespace {len(namespace)}" if namespace else "")
            + f"; Gearman takes 1 to {MAX_FUNCTION_NAME} together",
            doing=doing,
        )
    return encoded


def unique(value: str | bytes, doing: str) -> bytes:
    """Check a unique and return it as C wants it; C would cut 64 bytes silently."""
    encoded = _encode(value, "the unique", doing)
    if len(encoded) > MAX_UNIQUE:
        raise InvalidArgumentError(
            f"the unique is {len(encoded)} bytes long; Gearman takes 1 to {MAX_UNIQUE}",
            doing=doing,
        )
    return encoded


def handle(value: str | bytes, doing: str) -> bytes:
    """Check a job handle and return it as C wants it."""
    encoded = _encode(value, "the job handle", doing)
    if len(encoded) > _MAX_HANDLE:
        raise InvalidArgumentError(
            f"the job handle is {len(encoded)} bytes long; the longest is {_MAX_HANDLE}",
            doing=doing,
        )
    return encoded


def namespace(value: str | bytes, doing: str) -> bytes:
    """Check a namespace: a prefix of every function name, empty for none."""
    if isinstance(value, (str, bytes)) and not value:
        return b""
    encoded = _encode(value, "the namespace", doing)
    if len(encoded) >= MAX_FUNCTION_NAME:
        raise InvalidArgumentError(
            f"the namespace is {len(encoded)} bytes long; with the function name "
            f"it may have {MAX_FUNCTION_NAME}",
            doing=doing,
        )
    return encoded


def identifier(value: str | bytes, doing: str) -> bytes:
    """Check the identifier that a server lists: 1 to 254 visible ASCII letters."""
    encoded = _encode(value, "the identifier", doing)
    if len(encoded) > 254 or not all(0x21 <= byte <= 0x7E for byte in encoded):
        raise InvalidArgumentError(
            "the identifier takes 1 to 254 visible ASCII characters without a space",
            doing=doing,
        )
    return encoded


def option_name(value: str | bytes, doing: str) -> bytes:
    """Check the name of an option of the job server."""
    encoded = _encode(value, "the option", doing)
    if len(encoded) > 255:
        raise InvalidArgumentError("the option is longer than 255 bytes", doing=doing)
    return encoded


def seconds(value: float | None, what: str, doing: str) -> float | None:
    """Check a time in seconds; None, and infinity, mean no limit."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ArgumentTypeError(
            f"{what} is a number of seconds or None, not {type(value).__name__}",
            doing=doing,
        )
    if not value > 0:  # also where it is NaN
        raise InvalidArgumentError(
            f"{what} is {value!r}; it must be greater than 0, or None for no limit",
            doing=doing,
        )
    # float() cannot take every int.
    return None if value > 1e300 else float(value)


def buffer_size(value: int | None, doing: str) -> int | None:
    """Check the size of a kernel buffer."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise ArgumentTypeError(
            f"send_buffer_size is int or None, not {type(value).__name__}", doing=doing
        )
    if not 1 <= value < 2**31:
        raise InvalidArgumentError(
            f"send_buffer_size is {value}; it must be 1 to 2**31-1, or None",
            doing=doing,
        )
    return value


def epoch(value: datetime | float, doing: str) -> int:
    """Return a point in time as whole seconds since 1970, never before it."""
    if isinstance(value, datetime):
        if value.tzinfo is None or value.utcoffset() is None:
            raise InvalidArgumentError(
                "at= has no time zone: use datetime.now(timezone.utc) + timedelta(...)",
                doing=doing,
            )
        value = value.timestamp()
    elif isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ArgumentTypeError(
            "at= is a datetime with a time zone or seconds since 1970, not "
            f"{type(value).__name__}",
            doing=doing,
        )
    if not 0 <= value < 2**31:
        raise InvalidArgumentError(
            f"at= is {value!r}; it must be seconds from 1970 to 2038", doing=doing
        )
    return math.ceil(value)


def deadline(seconds: float | None) -> float | None:
    """Return the time of `time.monotonic()` after so many seconds; None for never."""
    return None if seconds is None else time.monotonic() + seconds


def milliseconds(value: float | None) -> int:
    """Return a time in C's unit: -1 for no limit, never 0, which C misreads."""
    if value is None:
        return -1
    return math.ceil(min(max(1.0, value * 1000), 2**31 - 1))


def check(code: int, *, doing: str, detail: str = "", hint: str | None = None) -> None:
    """Raise the exception that belongs to a return code; SUCCESS passes.

    `detail` is the library's own text; where there is none its name for the code
    stands in.
    """
    if code == ReturnCode.SUCCESS:
        return
    if not detail:
        detail = text(_library.load().gearman_strerror(code))
    raise error_for(ReturnCode(code), doing=doing, detail=detail, hint=hint)
