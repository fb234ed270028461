"""Exceptions, and the one table from return code to exception class.

GearmanError
├── LibraryNotFoundError (ImportError)      no libgearman on this machine
├── UnsupportedError (NotImplementedError)  refused here, with the reason
├── ClosedError (ValueError)                the object was closed
│   └── ForkedError (RuntimeError)          the object belongs to another process
├── BusyError (RuntimeError)                in use: another thread, or a callback
├── NotFinishedError (RuntimeError)         the task has no result yet
├── InvalidArgumentError (ValueError)       a wrong value
├── ArgumentTypeError (TypeError)           a wrong type
├── OutOfMemoryError (MemoryError)          memory, or executable memory, is refused
├── GearmanTimeoutError (TimeoutError)      the deadline passed
├── CouldNotConnectError (ConnectionError)  certainly nothing was sent
├── ConnectionLostError (ConnectionError)   something may have been sent
├── NoServersError                          no job server was added
├── ServerError                             the job server refused
├── ProtocolError                           what came is not the Gearman protocol
│   └── NotGearmanError (CouldNotConnectError)  the address is another service's
└── WorkError                               the job ended badly
    ├── WorkFailError                       the worker reported failure
    └── WorkExceptionError                  the worker sent an exception
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from .enums import ReturnCode

__all__ = [
    "ArgumentTypeError",
    "BusyError",
    "ClosedError",
    "ConnectionLostError",
    "CouldNotConnectError",
    "ForkedError",
    "GearmanError",
    "GearmanTimeoutError",
    "InvalidArgumentError",
    "LibraryNotFoundError",
    "NoServersError",
    "NotFinishedError",
    "NotGearmanError",
    "OutOfMemoryError",
    "ProtocolError",
    "ServerError",
    "UnsupportedError",
    "WorkError",
    "WorkExceptionError",
    "WorkFailError",
]


class GearmanError(Exception):
    """Base of every exception that this package raises on purpose."""

    code: ReturnCode | None
    """The return code behind it, None where no C call was made."""
    detail: str
    """What the C library or the operating system said, may be empty."""
    doing: str
    """The operation that was attempted, such as `Client.do('reverse')`."""

    default_code: ReturnCode | None = None
    _theirs: bool = False
    """A callback of the caller raised it: it comes out as it is."""

    def __init__(
        self,
        message: str = "",
        *,
        code: ReturnCode | None = None,
        detail: str = "",
        doing: str = "",
    ) -> None:
        # One positional argument only: an OSError would fill errno from two.
        super().__init__(f"{doing}: {message}" if doing else message)
        self.code = self.default_code if code is None else code
        self.detail = detail
        self.doing = doing

    def during(self, doing: str) -> GearmanError:
        """Add what was attempted, where a deeper room could not know it."""
        if not self.doing and not self._theirs:
            self.doing = doing
            self.args = (f"{doing}: {self.args[0]}", *self.args[1:])
        return self


class LibraryNotFoundError(GearmanError, ImportError):
    """libgearman could not be opened; the message lists what was tried."""


class UnsupportedError(GearmanError, NotImplementedError):
    """Refused: not possible, not safe, or not in this libgearman."""


class ClosedError(GearmanError, ValueError):
    """The client, worker or job was closed."""


class ForkedError(ClosedError, RuntimeError):
    """The object was made in another process; make one in this process."""


class BusyError(GearmanError, RuntimeError):
    """The object is in use: by another thread, or by the call that called us."""


class NotFinishedError(GearmanError, RuntimeError):
    """The task has no result yet: call `Client.run_tasks` first."""

    default_code = ReturnCode.UNKNOWN_STATE


class InvalidArgumentError(GearmanError, ValueError):
    """An argument has a value that cannot be used."""

    default_code = ReturnCode.INVALID_ARGUMENT


class ArgumentTypeError(GearmanError, TypeError):
    """An argument is of a type that cannot be used."""

    default_code = ReturnCode.INVALID_ARGUMENT


class OutOfMemoryError(GearmanError, MemoryError):
    """Memory, or executable memory for callbacks, could not be had."""

    default_code = ReturnCode.MEMORY_ALLOCATION_FAILURE


class GearmanTimeoutError(GearmanError, TimeoutError):
    """The deadline of the call passed."""

    default_code = ReturnCode.TIMEOUT


class CouldNotConnectError(GearmanError, ConnectionError):
    """No job server could be reached; certainly nothing was sent."""

    default_code = ReturnCode.COULD_NOT_CONNECT


class ConnectionLostError(GearmanError, ConnectionError):
    """The connection broke; the job may or may not have run."""

    default_code = ReturnCode.LOST_CONNECTION


class NoServersError(GearmanError):
    """No job server was added to the client or worker."""

    default_code = ReturnCode.NO_SERVERS


class ServerError(GearmanError):
    """The job server answered with an error, such as a full queue."""

    default_code = ReturnCode.SERVER_ERROR


class ProtocolError(GearmanError):
    """The peer sent something that is not the Gearman protocol."""

    default_code = ReturnCode.INVALID_PACKET


class NotGearmanError(CouldNotConnectError, ProtocolError):
    """Something else than a job server answers at the address."""

    default_code = ReturnCode.COULD_NOT_CONNECT


class WorkError(GearmanError):
    """A job ended without a result."""

    default_code = ReturnCode.WORK_ERROR

    def __init__(
        self,
        message: str = "",
        *,
        code: ReturnCode | None = None,
        detail: str = "",
        doing: str = "",
        function_name: str = "",
        unique: str = "",
        job_handle: str | None = None,
        warnings: tuple[bytes, ...] = (),
    ) -> None:
        super().__init__(message, code=code, detail=detail, doing=doing)
        self.function_name = function_name
        self.unique = unique
        self.job_handle = job_handle
        self.warnings = warnings


class WorkFailError(WorkError):
    """The worker reported that the job failed; `warnings` may say why."""

    default_code = ReturnCode.WORK_FAIL


class WorkExceptionError(WorkError):
    """The worker sent an exception; `payload` is what it sent."""

    default_code = ReturnCode.WORK_EXCEPTION
    payload: bytes = b""


_C = ReturnCode

CODE_TO_ERROR: Mapping[ReturnCode, type[GearmanError]] = MappingProxyType(
    {
        _C.IO_WAIT: GearmanTimeoutError,
        _C.SHUTDOWN: BusyError,
        _C.SHUTDOWN_GRACEFUL: BusyError,
        _C.ERRNO: ConnectionLostError,
        _C.EVENT: GearmanError,
        _C.TOO_MANY_ARGS: ProtocolError,
        _C.NO_ACTIVE_FDS: CouldNotConnectError,
        _C.INVALID_MAGIC: ProtocolError,
        _C.INVALID_COMMAND: ProtocolError,
        _C.INVALID_PACKET: ProtocolError,
        _C.UNEXPECTED_PACKET: ProtocolError,
        _C.GETADDRINFO: CouldNotConnectError,
        _C.NO_SERVERS: NoServersError,
        _C.LOST_CONNECTION: ConnectionLostError,
        _C.MEMORY_ALLOCATION_FAILURE: OutOfMemoryError,
        _C.JOB_EXISTS: ServerError,
        _C.JOB_QUEUE_FULL: ServerError,
        _C.SERVER_ERROR: ServerError,
        _C.WORK_ERROR: WorkError,
        _C.WORK_DATA: GearmanError,
        _C.WORK_WARNING: GearmanError,
        _C.WORK_STATUS: GearmanError,
        _C.WORK_EXCEPTION: WorkExceptionError,
        _C.WORK_FAIL: WorkFailError,
        _C.NOT_CONNECTED: ConnectionLostError,
        _C.COULD_NOT_CONNECT: CouldNotConnectError,
        _C.SEND_IN_PROGRESS: BusyError,
        _C.RECV_IN_PROGRESS: BusyError,
        _C.NOT_FLUSHING: GearmanError,
        _C.DATA_TOO_LARGE: InvalidArgumentError,
        _C.INVALID_FUNCTION_NAME: InvalidArgumentError,
        _C.INVALID_WORKER_FUNCTION: InvalidArgumentError,
        _C.NO_REGISTERED_FUNCTION: InvalidArgumentError,
        _C.NO_REGISTERED_FUNCTIONS: InvalidArgumentError,
        _C.NO_JOBS: GearmanError,
        _C.ECHO_DATA_CORRUPTION: ProtocolError,
        _C.NEED_WORKLOAD_FN: InvalidArgumentError,
        _C.PAUSE: GearmanError,
        _C.UNKNOWN_STATE: NotFinishedError,
        _C.PTHREAD: GearmanError,
        _C.PIPE_EOF: ConnectionLostError,
        _C.QUEUE_ERROR: ServerError,
        _C.FLUSH_DATA: GearmanError,
        _C.SEND_BUFFER_TOO_SMALL: GearmanError,
        _C.IGNORE_PACKET: ProtocolError,
        _C.UNKNOWN_OPTION: ServerError,
        _C.TIMEOUT: GearmanTimeoutError,
        _C.ARGUMENT_TOO_LARGE: InvalidArgumentError,
        _C.INVALID_ARGUMENT: InvalidArgumentError,
        _C.IN_PROGRESS: GearmanError,
        _C.INVALID_SERVER_OPTION: ServerError,
        _C.JOB_NOT_FOUND: ServerError,
        _C.MAX_RETURN: GearmanError,
    }
)
"""The class for each return code except SUCCESS; a test keeps it exhaustive."""

_HINTS: Mapping[type[GearmanError], str] = MappingProxyType(
    {
        CouldNotConnectError: (
            "Nothing was sent; check that a job server listens at this address."
        ),
        ConnectionLostError: (
            "The job may or may not have run; the next call connects anew."
        ),
        GearmanTimeoutError: (
            "The job may still run; the next call starts afresh. "
            "Raise timeout=, or check that a worker serves the function."
        ),
        NoServersError: "Add one with add_server(host, port).",
        ServerError: "The job server refused; its own log may say why.",
        ProtocolError: "Check that the address is a Gearman job server's.",
        OutOfMemoryError: "Free memory, or send less; a server that sends broken packets "
        "looks the same.",
        WorkFailError: "See the worker's log; warnings= holds what it sent.",
    }
)


def error_for(
    code: ReturnCode, *, doing: str, detail: str = "", hint: str | None = None
) -> GearmanError:
    """Make the exception that belongs to a failing return code.

    The message tells what was attempted, what happened and what to do.
    """
    cls = CODE_TO_ERROR.get(code, GearmanError)
    told = detail or "the library gave no text"
    advice = _HINTS.get(cls, "") if hint is None else hint
    message = f"{told} ({code.name})" + (f". {advice}" if advice else "")
    return cls(message, code=code, detail=detail, doing=doing)
