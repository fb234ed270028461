"""Every callback that C can make into Python, and what becomes of exceptions there.

The journey of a call: a face pushes a `Frame` for its thread -> C -> one of the
trampolines below -> the user's function, which returns or raises -> the exception is
parked in the frame and C gets a code -> C returns -> the face raises what was parked.

Trampolines are made at first use, once per process and kind: hardened systems refuse
the executable memory they need, and an import must not fail there. They are never
freed, because at exit a daemon thread may still be on its way back to them.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from . import _library
from ._convert import buffer, text
from ._frames import TaskFrame, call_parking, current
from ._library import CData, ffi
from .enums import ReturnCode, Verbose
from .errors import OutOfMemoryError

if TYPE_CHECKING:
    from ._service import Service
    from .task import Task

__all__ = [
    "LogTarget",
    "aggregator_trampoline",
    "function_trampoline",
    "log_trampoline",
    "park_escaped",
    "task_trampoline",
    "trampoline",
]

# Plain integers: an enum member would be converted at every callback.
_SUCCESS = int(ReturnCode.SUCCESS)
_PAUSE = int(ReturnCode.PAUSE)
_FATAL = int(ReturnCode.FATAL)
_COMPLETED, _FAILED = ReturnCode.SUCCESS, ReturnCode.WORK_FAIL
_THREW = ReturnCode.WORK_EXCEPTION

_HARDENED = (
    "this system refuses the executable memory that cffi needs for callbacks: "
    "SELinux (deny_execmem), systemd (MemoryDenyWriteExecute=yes) or a cffi built "
    "without libffi's static trampolines. Allow it for this process, or install "
    "cffi's own wheel with pip"
)

_lock = _library.fork_safe()
_made: dict[str, CData] = {}


def _immortal(thing: CData) -> None:
    """Take a reference that is never given back, not even when modules die."""
    try:
        import ctypes

        ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))
    except (ImportError, AttributeError):  # not CPython: nothing is torn down there
        pass


def trampoline(
    name: str, signature: str, make: Callable[[], Callable[..., Any]], **failing: Any
) -> CData:
    """Return the process's one trampoline of a kind; made at the first call.

    Args:
        name: the kind.
        signature: its C type.
        make: returns the Python function behind it.
        failing: `error=` and `onerror=` of `ffi.callback`.
    """
    found = _made.get(name)
    if found is None:
        with _lock:
            found = _made.get(name)
            if found is None:
                try:
                    found = ffi.callback(signature, make(), **failing)
                except MemoryError as reason:
                    raise OutOfMemoryError(
                        f"{_HARDENED} ({reason})", doing=f"making the {name} callback"
                    ) from None
                _immortal(found)
                _made[name] = found
    return found


def park_escaped(
    kind: type[BaseException], error: BaseException, _trace: TracebackType | None
) -> int:
    """Park what struck outside a trampoline's own `try`, such as KeyboardInterrupt."""
    frame = current.frame
    if frame is not None:
        frame.park(error if isinstance(error, BaseException) else kind(), fatal=True)
    return _PAUSE


# -- log lines --------------------------------------------------------------------

_LEVELS = {
    Verbose.FATAL: logging.CRITICAL,
    Verbose.ERROR: logging.ERROR,
    Verbose.INFO: logging.INFO,
}
_targets: WeakValueDictionary[int, LogTarget] = WeakValueDictionary()
_numbers = itertools.count(1)


class LogTarget:
    """Where the lines of one client or worker go; C knows it by a number.

    Whoever gives the number to C keeps the target alive as long as the C object.
    """

    def __init__(self, fn: Callable[[str, Verbose], object] | logging.Logger) -> None:
        self.fn = fn
        self.number = next(_numbers)
        _targets[self.number] = self

    def __call__(self, line: str, verbose: Verbose) -> None:
        if isinstance(self.fn, logging.Logger):
            self.fn.log(_LEVELS.get(verbose, logging.DEBUG), "%s", line)
        else:
            self.fn(line, verbose)


def _make_log() -> Callable[[CData, int, int], None]:
    # void gearman_log_fn(const char *line, gearman_verbose_t verbose, void *context)
    def log(line: CData, verbose: int, number: int) -> None:
        try:
            target = _targets.get(number)
            if target is not None:
                target(text(line), Verbose(verbose))
        except BaseException as error:
            frame = current.frame
            if frame is not None:
                frame.park(error, fatal=not isinstance(error, Exception))

    return log


def log_trampoline() -> CData:
    """Return the `gearman_log_fn` whose context is the number of a `LogTarget`."""
    return trampoline(
        "log", "void(char *, int, uintptr_t)", _make_log, onerror=park_escaped
    )


# -- what happens to a task -------------------------------------------------------

# gearman_return_t (gearman_data_fn)(gearman_task_st *task), and six more like it. The
# pointer is only looked up among the session's own: one that C has freed meanwhile is
# never followed.

_Event = Callable[["Task"], "Callable[[Task], object] | None"]


def _events() -> dict[str, _Event]:
    """Return what each kind of event does to its task, and whom it is told to."""
    # Bound once: these run for every packet.
    lib = _library.load()
    data_size, data_of = lib.gearman_task_data_size, lib.gearman_task_data
    numerator, denominator = (
        lib.gearman_task_numerator,
        lib.gearman_task_denominator,
    )
    handle_of = lib.gearman_task_job_handle

    def packet(task: Task) -> bytes:
        # A copy of the payload that C is delivering, made while it is there.
        size = data_size(task._pointer)
        return buffer(data_of(task._pointer), size) if size else b""

    def created(task: Task) -> Callable[[Task], object] | None:
        task._accepted(text(handle_of(task._pointer)))
        return task._on_created

    def data(task: Task) -> Callable[[Task], object] | None:
        task._add_data(packet(task))
        return task._on_data

    def warning(task: Task) -> Callable[[Task], object] | None:
        task._add_warning(packet(task))
        return task._on_warning

    def status(task: Task) -> Callable[[Task], object] | None:
        pointer = task._pointer
        task._set_status(numerator(pointer), denominator(pointer))
        if task._kind.asks and not task._answer(
            lib.gearman_task_is_known(pointer),
            lib.gearman_task_is_running(pointer),
            numerator(pointer),
        ):
            return None
        return task._on_status

    def complete(task: Task) -> Callable[[Task], object] | None:
        task._finish(_COMPLETED, packet(task))
        return task._on_complete

    def exception(task: Task) -> Callable[[Task], object] | None:
        task._take_handle()
        task._finish(_THREW, packet(task))
        return task._on_exception

    def fail(task: Task) -> Callable[[Task], object] | None:
        task._take_handle()
        task._finish(_FAILED, b"")
        return task._on_fail

    return {
        "created": created,
        "data": data,
        "warning": warning,
        "status": status,
        "complete": complete,
        "exception": exception,
        "fail": fail,
    }


def _make_event(record: _Event) -> Callable[[CData], int]:
    def event(pointer: CData) -> int:
        frame: TaskFrame = current.frame
        try:
            task = frame.live[pointer]
            fn = record(task)
            if task._pointer is None:  # C is about to free it
                del frame.live[pointer]
                if task._key is not None:
                    frame.released.append(task._key)
                if not task._ended:
                    frame.again.append(task)
            if fn is not None:
                call_parking(frame, fn, task)
            # Replies that stream in keep C busy: the deadline is looked at here too.
            if frame.deadline is not None and time.monotonic() > frame.deadline:
                frame.overdue = True
                return _PAUSE if frame.live else _SUCCESS
        except BaseException as error:
            frame.park(error, fatal=True)
            return _PAUSE
        return _SUCCESS

    return event


def task_trampoline(name: str) -> CData:
    """Return the trampoline of one kind of task event, such as `complete`."""
    return trampoline(
        name,
        "int(gearman_task_st *)",
        lambda: _make_event(_events()[name]),
        error=_PAUSE,
        onerror=park_escaped,
    )


# -- what happens to a job --------------------------------------------------------


def _make_function() -> Callable[[CData, int], int]:
    # A `gearman_function_fn`, called with the job and the context of the function.
    def function(pointer: CData, number: int) -> int:
        frame: Service = current.frame
        try:
            job, fn = frame.begin(pointer, number)
            try:
                result = fn(job)
            except Exception as error:
                return frame.fail(job, error)
            return frame.complete(job, result)
        except BaseException as error:
            # KeyboardInterrupt and its like: somebody else must do the job.
            frame.park(error, fatal=True)
            return frame.give_back()

    return function


def function_trampoline() -> CData:
    """Return the `gearman_function_fn` whose context is the number of a function."""
    return trampoline(
        "function",
        "int(gearman_job_st *, uintptr_t)",
        _make_function,
        error=_FATAL,
        onerror=park_escaped,
    )


def _make_aggregator() -> Callable[[CData, CData, CData], int]:
    # A `gearman_aggregator_fn`: of what it answers C takes no notice.
    def aggregate(_aggregator: CData, task: CData, result: CData) -> int:
        frame: Service = current.frame
        try:
            frame.join(task, result)
        except BaseException as error:
            frame.park(error, fatal=True)
            frame.drop_connections()
            return _FATAL
        return _SUCCESS

    return aggregate


def aggregator_trampoline() -> CData:
    """Return the `gearman_aggregator_fn` of every divided function."""
    return trampoline(
        "aggregator",
        "int(gearman_aggregator_st *, gearman_task_st *, gearman_result_st *)",
        _make_aggregator,
        error=_FATAL,
        onerror=park_escaped,
    )
