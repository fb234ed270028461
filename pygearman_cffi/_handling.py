"""How a job begins and ends: what the worker's trampoline calls around a function."""

from __future__ import annotations

import logging
import select
from collections.abc import Callable
from typing import TYPE_CHECKING

from . import _convert, _dividing, _library
from ._convert import BytesLike
from ._cworker import CWorker
from ._frames import Frame
from ._handle import process
from ._library import CData
from ._probe import writable
from ._registry import Function
from ._words import described
from .enums import ReturnCode
from .errors import (
    ArgumentTypeError,
    ForkedError,
    GearmanError,
    InvalidArgumentError,
)
from .job import Job, JobException, JobFail, RetryJob, StopWorker

if TYPE_CHECKING:
    from ._libgearman import Lib
    from ._wakeup import Wakeup

__all__ = ["SLICE", "Handling"]

_log = logging.getLogger("pygearman_cffi.worker")

SLICE = 400
"""Milliseconds that a wait in Python lasts at most. A signal that strikes just before
`poll()` begins is not seen by it: its handler runs that much later."""
# Plain integers: an enum member would be converted at every callback.
_SUCCESS = int(ReturnCode.SUCCESS)
_FATAL = int(ReturnCode.FATAL)
_IO_WAIT = int(ReturnCode.IO_WAIT)
# And in names of our own: before Python 3.12 each look into an enum takes its time.
_DONE, _LOST = ReturnCode.SUCCESS, ReturnCode.LOST_CONNECTION
_NOT_ENDED = ReturnCode.ERROR
_RETRY = int(ReturnCode.ERROR)
"""Answered by a function it makes C drop its connections, and so the job."""


class Handling(Frame):
    """The frame of a worker's callbacks: lends jobs, and sends how they end."""

    _cworker: CWorker | None = None

    def __init__(self, wakeup: Wakeup, *, send_exceptions: bool) -> None:
        self._lib: Lib = _library.load()
        self._born = process.generation
        self._wakeup = wakeup
        self._send_exceptions = send_exceptions
        self._functions: dict[int, Function] = {}
        self._job: Job | None = None
        self._held = False
        self._told_failure = False
        self.jobs = 0
        """How many times a function was called."""
        self.ended = ReturnCode.SUCCESS
        """How the last job ended; ERROR where it was given back for another try."""
        self.given_back = False
        """C has dropped its connections, to be replaced before anything else."""
        self.dividing: Function | None = None
        """The function whose parts C is waiting for."""
        self._divided_handle = b""
        self.congested = False
        """So much was sent that a socket may take no more for a while."""

    # -- what the trampoline calls --------------------------------------------------

    def begin(self, pointer: CData, number: int) -> tuple[Job, Callable[[Job], object]]:
        """Lend a job of C, and find the function with this number."""
        cworker = self._cworker
        if cworker is not None and not cworker.settled:
            self._held = cworker.let_go()
        function = self._functions[number]
        job = self._job = Job(self, self._lib, pointer, function.text)
        self.jobs += 1
        self.ended = _NOT_ENDED
        call = function.call
        assert call is not None
        if function.aggregate is not None:
            self.dividing = function
            self._divided_handle = job.handle.encode("utf-8", "surrogateescape")
            if cworker is not None:
                cworker.run_python()
        return job, call

    def complete(self, job: Job, result: object) -> int:
        """Send what the function returned, unless it has ended the job itself."""
        if self._born != process.generation:
            raise self._forked()
        if self.dividing is not None:
            return self._wait_for_parts(job)
        if job._ended is None:
            if type(result) is bytes:
                payload: BytesLike = result
            elif result is None:
                payload = b""
            else:
                try:
                    payload = _convert.workload(result, "")
                except ArgumentTypeError as reason:
                    wrong = TypeError(f"the worker function returned: {reason}")
                    return self.fail(job, wrong)
            try:
                job._send_result(self._lib.gearman_job_send_complete, payload)
            except GearmanError as reason:
                self._tell_lost(job, reason)
        return self._leave(job)

    def fail(self, job: Job, error: Exception) -> int:
        """Do what belongs to the exception that the function raised."""
        if self.forked:
            raise self._forked()
        lib = self._lib
        if isinstance(error, StopWorker):
            self._wakeup.stopping = True
            if self.dividing is not None:
                return self._wait_for_parts(job)
            self._finish(job, lib.gearman_job_send_complete, error.result)
            return self._leave(job)
        if isinstance(error, RetryJob):
            if job._ended is None:
                _log.info("job %s of %r goes back", job.handle, job.function_name)
                return self._leave(job, back=True)
        elif isinstance(error, JobFail):
            _log.info("job %s of %r failed: %s", job.handle, job.function_name, error)
            if self.dividing is not None:
                return self._leave_divided(job, error.warning)
            self._finish(job, lib.gearman_job_send_fail, None, error.warning)
        elif isinstance(error, JobException):
            self._finish(job, lib.gearman_job_send_exception, error.payload)
        elif job._ended is ReturnCode.LOST_CONNECTION:
            self._tell_lost(job, error)
        else:
            _log.error(
                "job %s: the worker function %r raised an exception",
                job.handle,
                job.function_name,
                exc_info=error,
            )
            text = described(error)
            if self.dividing is not None:
                return self._leave_divided(job, text)
            if self._send_exceptions:
                self._finish(job, lib.gearman_job_send_exception, text)
            else:
                self._finish(job, lib.gearman_job_send_fail, None, text)
        return self._leave(job)

    def give_back(self) -> int:
        """Let C drop its connections: the job server gives the job to another."""
        job, self._job = self._job, None
        if job is not None:
            job._detach()
        return self._answer(_RETRY)

    # -- a divided job --------------------------------------------------------------

    def _wait_for_parts(self, job: Job) -> int:
        """Let C wait for what the mapper has given away, and call the aggregator."""
        self._job = None
        job._detach()
        self._held = False  # C holds no lock of ours while it waits
        self.ended = ReturnCode.SUCCESS
        if self._cworker is not None:
            self._cworker.wait_for_parts()
        return _SUCCESS

    def _leave_divided(self, job: Job, warning: BytesLike) -> int:
        """Have C fail the job: of a divided one it takes no such word from us."""
        try:
            if len(warning):
                job._give(self._lib.gearman_job_send_warning, warning)
        except GearmanError as reason:
            self._tell_lost(job, reason)
        self._job = None
        job._detach()
        self.ended = ReturnCode.WORK_FAIL
        self._answer(_SUCCESS)
        return _FATAL

    def join(self, task: CData, result: CData) -> None:
        """Give the aggregator the parts, and C what it returned."""
        cworker, function = self._cworker, self.dividing
        assert cworker is not None
        assert function is not None
        assert function.aggregate is not None
        cworker.run_python()
        try:
            value = function.aggregate(_dividing.collect(task))
            if self.forked:
                raise self._forked()
            if value is not None:
                _dividing.store(result, _convert.workload(value, "the aggregator"))
        except Exception as error:  # noqa: BLE001
            if self.forked:
                self.park(error, fatal=True)
                return
            self.ended = ReturnCode.WORK_FAIL
            self.given_back = True
            _log.error("the aggregator of %r failed", function.text, exc_info=error)
            _dividing.tell_failure(cworker, self._divided_handle, described(error))

    def drop_connections(self) -> None:
        """End the connections from outside: the server gives the job to another."""
        self.given_back = True
        if self._cworker is not None:
            for descriptor in self._cworker.descriptors:
                descriptor.shut_down()

    def _divided(
        self, code: int, call: Callable[[CWorker], int], cworker: CWorker
    ) -> int:
        """Say what came of a divided job; C says it in a way of its own."""
        self.dividing = None
        if code != _SUCCESS:
            # It tells the client of a failure only at its next call, which then
            # reports a success of nothing.
            if code != ReturnCode.LOST_CONNECTION and call(cworker) == _IO_WAIT:
                self.wait_writable()
                call(cworker)
            self.given_back = True
            lost = code == ReturnCode.LOST_CONNECTION
            self.ended = ReturnCode.LOST_CONNECTION if lost else ReturnCode.WORK_FAIL
        return _SUCCESS

    # -- the end of a job -----------------------------------------------------------

    def _finish(
        self,
        job: Job,
        call: Callable[..., int],
        payload: BytesLike | None,
        warning: BytesLike = b"",
    ) -> None:
        """Send how the job ends; a lost connection is noted in the job."""
        lib = self._lib
        try:
            if len(warning):
                job._give(lib.gearman_job_send_warning, warning)
            if payload is None:
                job._send(call)
                job._end(ReturnCode.WORK_FAIL)
            else:
                job._give(call, payload)
                job._end(
                    ReturnCode.WORK_EXCEPTION
                    if call is lib.gearman_job_send_exception
                    else ReturnCode.SUCCESS
                )
        except GearmanError as reason:
            self._tell_lost(job, reason)

    def _tell_lost(self, job: Job, error: Exception) -> None:
        if isinstance(error, InvalidArgumentError) and self._cworker is not None:
            # C lets only a function that divides answer a job to be divided. Given
            # back, it would come again at once, for ever.
            told = "a job to be divided; serve its function with define_partition()"
            _log.error("job %s of %r is %s", job.handle, job.function_name, told)
            handle = job.handle.encode("utf-8", "surrogateescape")
            _dividing.tell_failure(self._cworker, handle, told.encode())
            self._told_failure = True
            return
        _log.warning(
            "job %s of %r is lost to this worker, the job server gives it to another: "
            "%s",
            job.handle,
            job.function_name,
            described(error).decode("utf-8", "replace"),
        )

    def _leave(self, job: Job, *, back: bool = False) -> int:
        ended = job._ended
        self._job = None
        job._detach()
        if back or ended is _LOST:
            self.ended = _NOT_ENDED if back else _LOST
            if self._told_failure:
                self._told_failure = False
                self.ended = ReturnCode.WORK_FAIL
            return self._answer(_RETRY)
        self.ended = _DONE if ended is None else ended
        if self.congested or self._held:
            return self._answer(_SUCCESS)
        return _SUCCESS

    def _answer(self, code: int) -> int:
        if code != _SUCCESS:
            self.given_back = True
        if self.congested and self._cworker is not None:
            self._cworker.calm()
        if self._held:
            self._held = False
            cworker = self._cworker
            if cworker is not None:
                cworker.hold()
        return code

    def _forked(self) -> ForkedError:
        """Say what a child has done in which a function returned."""
        return ForkedError(
            "a forked child has returned from a worker function, or from a signal "
            "handler; the job is the parent's. End the child there, with os._exit()",
            doing="Worker",
        )

    # -- what a job needs of its connection -----------------------------------------

    @property
    def forked(self) -> bool:
        """True in another process than the one with the connection."""
        return self._born != process.generation

    def told(self) -> str:
        """Return the library's own words for the last failure."""
        return "" if self._cworker is None else self._cworker.told()

    def hurry(self) -> None:
        """Have C's sends return where they would wait, until the job has ended.

        In a send for a job C waits even where it was told never to.
        """
        self.congested = True
        if self._cworker is not None:
            self._cworker.hurry()

    def wait_writable(self) -> None:
        """Wait a while for the sockets that take no more; signals are served."""
        cworker = self._cworker
        if cworker is None:
            return
        if not cworker.descriptors:
            cworker.arm()
            return
        poll = select.poll()
        full = [d.number for d in cworker.descriptors if not writable(d.number)]
        for number in full:
            poll.register(number, select.POLLOUT)
        if full:
            poll.poll(SLICE)
