"""Use the system's libgearman, the C client and worker library of Gearman.

`Client` and `Worker` are the two faces. `ffi` and `lib` are the raw layer: every C
function under its own name. Importing opens no library; the first use does.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from . import _library
from ._library import Features, ffi
from ._raw import (
    gearman_continue,
    gearman_failed,
    gearman_literal_param,
    gearman_success,
    take_bytes,
)
from .client import Client
from .enums import (
    ClientOption,
    Priority,
    ReturnCode,
    TaskState,
    Verbose,
    WorkerOption,
)
from .errors import (
    ArgumentTypeError,
    BusyError,
    ClosedError,
    ConnectionLostError,
    CouldNotConnectError,
    ForkedError,
    GearmanError,
    GearmanTimeoutError,
    InvalidArgumentError,
    LibraryNotFoundError,
    NoServersError,
    NotFinishedError,
    NotGearmanError,
    OutOfMemoryError,
    ProtocolError,
    ServerError,
    UnsupportedError,
    WorkError,
    WorkExceptionError,
    WorkFailError,
)
from .job import Job, JobException, JobFail, RetryJob, StopWorker
from .status import JobHandle, JobStatus
from .task import Task
from .worker import Worker

if TYPE_CHECKING:
    from ._libgearman import Lib

    lib: Lib
    """Every function and constant of the opened libgearman, under its C name."""
    libgearman_version: tuple[int, ...]
    """The version of the opened libgearman, such as (1, 1, 20)."""
    features: Features
    """What the opened libgearman can do."""

__all__ = [
    "ArgumentTypeError",
    "BusyError",
    "Client",
    "ClientOption",
    "ClosedError",
    "ConnectionLostError",
    "CouldNotConnectError",
    "Features",
    "ForkedError",
    "GearmanError",
    "GearmanTimeoutError",
    "InvalidArgumentError",
    "Job",
    "JobException",
    "JobFail",
    "JobHandle",
    "JobStatus",
    "LibraryNotFoundError",
    "NoServersError",
    "NotFinishedError",
    "NotGearmanError",
    "OutOfMemoryError",
    "Priority",
    "ProtocolError",
    "RetryJob",
    "ReturnCode",
    "ServerError",
    "StopWorker",
    "Task",
    "TaskState",
    "UnsupportedError",
    "Verbose",
    "WorkError",
    "WorkExceptionError",
    "WorkFailError",
    "Worker",
    "WorkerOption",
    "__version__",
    "features",
    "ffi",
    "gearman_continue",
    "gearman_failed",
    "gearman_literal_param",
    "gearman_success",
    "lib",
    "libgearman_version",
    "take_bytes",
]

__version__ = "0.1.0"

logging.getLogger("pygearman_cffi").addHandler(logging.NullHandler())


if not TYPE_CHECKING:  # a checker would take any name for one of ours

    def __getattr__(name: str) -> object:
        """Open libgearman when something of it is first asked for."""
        if name == "lib":
            value = _library.load()
        elif name == "libgearman_version":
            value = _library.version()
        elif name == "features":
            value = _library.features()
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
