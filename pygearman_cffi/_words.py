"""The words with which a worker function may end its job: exceptions to raise."""

from __future__ import annotations

import traceback

from . import _convert
from ._convert import BytesLike
from .errors import InvalidArgumentError

__all__ = [
    "JobException",
    "JobFail",
    "RetryJob",
    "StopWorker",
    "described",
    "exception",
]

_LONGEST_TEXT = 8192


class JobFail(Exception):
    """Raised by a worker function: the job failed, and that is no bug.

    Args:
        message: sent to the client as a warning first, if given.
    """

    def __init__(self, message: str | BytesLike | None = None) -> None:
        super().__init__(*([] if message is None else [message]))
        self.warning: BytesLike = b""
        if isinstance(message, str):
            self.warning = message.encode("utf-8", "backslashreplace")
        elif message is not None:
            self.warning = _convert.workload(message, "JobFail()")


class JobException(Exception):
    """Raised by a worker function: end the job with an exception for the client.

    A client of libgearman 1.1.x that did not ask for exceptions hangs on it; `Client`
    asks by default.

    Args:
        payload: what the client gets, bytes-like and not empty.
    """

    def __init__(self, payload: BytesLike) -> None:
        super().__init__(payload)
        self.payload = exception(payload, "JobException()")


class RetryJob(Exception):
    """Raised by a worker function: give the job back to the server, for another try.

    The worker drops its connections, which is the only way Gearman has, and takes no
    job for a second, then two, up to 30 while every job is given back. gearmand hands
    a job out for ever unless it was started with `--job-retries=N`.
    A client keeps the chunks that the job has sent before, and gets those of the next
    try after them.
    """


class StopWorker(Exception):
    """Raised by a worker function: complete the job, then end `run()` or the loop.

    Args:
        result: what the client gets, bytes-like.
    """

    def __init__(self, result: BytesLike = b"") -> None:
        super().__init__(result)
        self.result = _convert.workload(result, "StopWorker()")


def exception(value: object, doing: str) -> BytesLike:
    """Check the payload of an exception: bytes-like and, as C wants it, not empty."""
    payload = _convert.workload(value, doing)
    if not len(payload):
        raise InvalidArgumentError(
            "an exception may not be empty; say in a few bytes what happened",
            doing=doing,
        )
    return payload


def described(error: Exception) -> bytes:
    """Say in a line what was raised; also where `str(error)` fails."""
    message = str(traceback.TracebackException(type(error), error, None))
    name = type(error).__name__
    line = f"{name}: {message}" if message else name
    return line.encode("utf-8", "backslashreplace")[:_LONGEST_TEXT]
