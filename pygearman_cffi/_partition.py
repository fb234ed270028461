"""Split and aggregate: the one call that C offers only blocking.

It runs in a helper thread on a C client of its own. The caller waits for it in Python,
so that deadline and signals hold, and gives up by shutting the socket down, which wakes
C at once; the helper then frees the C client.
"""

from __future__ import annotations

import _thread
import sys
import threading
import time

from ._convert import buffer, milliseconds, text
from ._frames import current
from ._library import CData, ffi
from ._session import Session, make_argument
from .enums import ClientOption, ReturnCode
from .errors import GearmanError, GearmanTimeoutError, OutOfMemoryError
from .task import Task

__all__ = ["run_partition"]

_WAIT = 0.4
_RESERVE = 1 << 20
"""Bytes that C may want beside the workload."""
_ATTEMPT = 1.0
"""Seconds that a helper gets to notice that it was given up."""


class _Helper:
    """One blocking call, made in a thread of its own."""

    def __init__(
        self, session: Session, partition: bytes, task: Task, deadline: float | None
    ) -> None:
        self._session = session
        self._partition = partition
        self._task = task
        self._deadline = deadline
        self._lock = threading.Lock()
        self._given_up = False
        self.error: GearmanError | None = None
        """Why the call was not made."""
        self.ended = False
        self._gate = threading.Lock()  # of an Event an interrupt leaves a broken lock
        self._gate.acquire()

    def _run(self) -> None:
        session = self._session
        current.frame = session
        try:
            if not self._given_up:
                outcome = self._call()
                with self._lock:
                    if not self._given_up:
                        self._fill(*outcome)
        except OutOfMemoryError as error:
            self.error = error
        finally:
            # Nobody else frees it: the caller may be gone.
            session.close()
            current.frame = None
            self.ended = True
            self._gate.release()

    def start(self) -> None:
        """Start the thread, which from then on is the only one to free the session.

        In one step: out of `threading.Thread.start` a signal handler's exception can
        come while the thread runs already.
        """
        try:
            _thread.start_new_thread(self._run, ())
        except RuntimeError as reason:
            self.ended = True
            raise OutOfMemoryError(f"no thread can be started: {reason}") from None

    def wait(self, seconds: float) -> None:
        """Wait for the end of the call, so long at most; signals are served."""
        if not self.ended and self._gate.acquire(timeout=max(0.0, seconds)):
            self._gate.release()

    def _call(self) -> tuple[ReturnCode, bytes, str, str]:
        """Make the call; return its code, result, job handle and error text."""
        session, task, lib = self._session, self._task, self._session._lib
        # C copies the workload twice here, and does not look whether it could.
        reserve = lib.malloc(2 * len(task._workload) + _RESERVE)
        if not reserve:
            raise OutOfMemoryError("there is no memory for the workload")
        lib.free(reserve)
        client = session._pointer
        # C collects the result by itself, and must not call back.
        lib.gearman_client_clear_fn(client)
        lib.gearman_client_remove_options(client, int(ClientOption.NON_BLOCKING))
        # A socket that Python does not see cannot be shut down: there C ends by itself.
        limit = self._deadline if session._descriptor is None else None
        left = -1 if limit is None else milliseconds(limit - time.monotonic())
        lib.gearman_client_set_timeout(client, left)
        argument, _kept = make_argument(task)
        attributes = ffi.new(
            "gearman_task_attr_t *", lib.gearman_task_attr_init(int(task._priority))
        )
        pointer = lib.gearman_execute_by_partition(
            client,
            self._partition,
            len(self._partition),
            task._function,
            len(task._function),
            task._unique,
            len(task._unique),
            attributes,
            argument,
            ffi.NULL,
        )
        told = session._told()
        if not pointer:
            return ReturnCode(lib.gearman_client_error_code(client)), b"", "", told
        code = ReturnCode(lib.gearman_task_return(pointer))
        handle = text(lib.gearman_task_job_handle(pointer))
        return code, self._result(pointer, code), handle, told

    def _result(self, task: CData, code: ReturnCode) -> bytes:
        lib = self._session._lib
        if code is ReturnCode.WORK_EXCEPTION:
            said: CData = lib.gearman_task_exception(task)
            return buffer(said.c_str, said.size) if said.c_str else b""
        result = lib.gearman_task_result(task)
        if not result:
            return b""
        return buffer(lib.gearman_result_value(result), lib.gearman_result_size(result))

    def _fill(self, code: ReturnCode, data: bytes, handle: str, told: str) -> None:
        task = self._task
        if handle:
            task._set_handle(handle)
        if code in _ENDS:
            task._finish(code, data)
        elif code in _LOST:
            task._abandon(ReturnCode.LOST_CONNECTION, told or "the connection was lost")
        else:
            task._refused(code, told)

    def give_up(self, code: ReturnCode, what: str) -> None:
        """Leave the call to itself; whatever comes of it is not looked at."""
        try:
            self.shut_down(code, what)
        except BaseException:  # interrupted: what it has done it may do again
            self.shut_down(code, what)
            raise
        self.wait(_ATTEMPT)

    def shut_down(self, code: ReturnCode, what: str) -> None:
        """Wake C, which finds its connection gone; harmless when repeated."""
        with self._lock:
            self._given_up = True
            if not self._task._ended:
                self._task._abandon(code, what)
        descriptor = self._session._descriptor
        if descriptor is not None:
            descriptor.shut_down()


class _Guard:
    """Gives a call up when nobody waits for it: `finally` can be interrupted too."""

    def __init__(self, helper: _Helper) -> None:
        self._helper = helper

    def __del__(self) -> None:
        if not (self._helper.ended or sys.is_finalizing()):
            self._helper.shut_down(*_INTERRUPTED)


_INTERRUPTED = ReturnCode.LOST_CONNECTION, "the call was interrupted"
_ENDS = {ReturnCode.SUCCESS, ReturnCode.WORK_FAIL, ReturnCode.WORK_EXCEPTION}
_LOST = {
    ReturnCode.LOST_CONNECTION,
    ReturnCode.ERRNO,
    ReturnCode.NO_ACTIVE_FDS,
    ReturnCode.NOT_CONNECTED,
    ReturnCode.COULD_NOT_CONNECT,
    ReturnCode.UNKNOWN_STATE,
    ReturnCode.TIMEOUT,
    ReturnCode.SHUTDOWN_GRACEFUL,
}


def run_partition(
    session: Session, partition: bytes, task: Task, deadline: float | None
) -> None:
    """Run a task through a partition function; the session is used up.

    Raises:
        GearmanTimeoutError: the deadline passed; the task is ABANDONED.
    """
    task._sent(None, session.server)
    helper = _Helper(session, partition, task, deadline)
    _guard = _Guard(helper)
    why = _INTERRUPTED
    try:
        helper.start()
        while not helper.ended:
            left = _WAIT if deadline is None else deadline - time.monotonic()
            if left <= 0:
                why = ReturnCode.TIMEOUT, "the time was up"
                raise GearmanTimeoutError("the time is up")
            helper.wait(min(left, _WAIT))
    finally:
        if not helper.ended:
            helper.give_up(*why)
    if helper.error is not None:
        task._refused(ReturnCode.MEMORY_ALLOCATION_FAILURE, str(helper.error))
        raise helper.error
    session.raise_parked()
