"""Use the system's libgearman, the C client and worker library of Gearman.

`Client` and `Worker` are the two faces. `ffi` and `lib` are the raw layer: every C
function under its own name. Importing the package alone loads next to nothing: each
name brings its module when it is first asked for, and the first use opens the library.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # checkers take it for true; importing `typing` takes its time
if TYPE_CHECKING:
    from ._libgearman import Lib
    from ._library import (
        Features,
        ffi,
    )
    from ._raw import (
        gearman_continue,
        gearman_failed,
        gearman_literal_param,
        gearman_success,
        take_bytes,
    )
    from .client import (
        Client,
    )
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
    from .job import (
        Job,
        JobException,
        JobFail,
        RetryJob,
        StopWorker,
    )
    from .status import (
        JobHandle,
        JobStatus,
    )
    from .task import (
        Task,
    )
    from .worker import (
        Worker,
    )

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

_ROOMS = {
    "ArgumentTypeError": "errors",
    "BusyError": "errors",
    "Client": "client",
    "ClientOption": "enums",
    "ClosedError": "errors",
    "ConnectionLostError": "errors",
    "CouldNotConnectError": "errors",
    "Features": "_library",
    "ForkedError": "errors",
    "GearmanError": "errors",
    "GearmanTimeoutError": "errors",
    "InvalidArgumentError": "errors",
    "Job": "job",
    "JobException": "job",
    "JobFail": "job",
    "JobHandle": "status",
    "JobStatus": "status",
    "LibraryNotFoundError": "errors",
    "NoServersError": "errors",
    "NotFinishedError": "errors",
    "NotGearmanError": "errors",
    "OutOfMemoryError": "errors",
    "Priority": "enums",
    "ProtocolError": "errors",
    "RetryJob": "job",
    "ReturnCode": "enums",
    "ServerError": "errors",
    "StopWorker": "job",
    "Task": "task",
    "TaskState": "enums",
    "UnsupportedError": "errors",
    "Verbose": "enums",
    "WorkError": "errors",
    "WorkExceptionError": "errors",
    "WorkFailError": "errors",
    "Worker": "worker",
    "WorkerOption": "enums",
    "ffi": "_library",
    "gearman_continue": "_raw",
    "gearman_failed": "_raw",
    "gearman_literal_param": "_raw",
    "gearman_success": "_raw",
    "take_bytes": "_raw",
}
"""The module that each public name comes from."""
_OPENING = {"features": "features", "lib": "load", "libgearman_version": "version"}
"""What opens the library, and the function of `_library` that tells it."""
_MODULES = {"client", "enums", "errors", "job", "status", "task", "testing", "worker"}

if not TYPE_CHECKING:  # a checker would take any name for one of ours

    def __getattr__(name: str) -> object:
        """Load the module of a name, when the name is first asked for."""
        if name in _ROOMS:
            value = getattr(import_module(f".{_ROOMS[name]}", __name__), name)
        elif name in _OPENING:
            value = getattr(import_module("._library", __name__), _OPENING[name])()
        elif name in _MODULES:
            value = import_module(f".{name}", __name__)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
