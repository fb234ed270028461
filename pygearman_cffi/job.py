"""What a worker function receives, and the words with which it may end a job."""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident
from types import TracebackType
from typing import TYPE_CHECKING

from . import _convert, _words
from ._convert import BytesLike
from ._handle import process
from ._lent import Host, Lent
from ._library import CData, ffi
from ._words import JobException, JobFail, RetryJob, StopWorker
from .enums import ReturnCode
from .errors import ArgumentTypeError, ClosedError, InvalidArgumentError

if TYPE_CHECKING:
    from ._libgearman import Lib

__all__ = [
    "GrabbedJob",
    "Job",
    "JobException",
    "JobFail",
    "RetryJob",
    "StopWorker",
]

_MOST = 2**32 - 1


class Job(Lent):
    """A job to be done: valid while the worker function runs, in its thread.

    A worker makes it. Afterwards, and after `close()` of one that `Worker.grab_job`
    gave, everything but `repr()` raises ClosedError.

    What is sent after the job was completed, failed or ended by an exception is
    ignored, as the C library does.
    """

    # -- what the client asks -------------------------------------------------------

    @property
    def handle(self) -> str:
        """The job server's name for the job, such as `H:host:1`.

        Wraps `gearman_job_handle`.
        """
        pointer = self._check("Job.handle")
        return _convert.text(self._lib.gearman_job_handle(pointer))

    @property
    def unique(self) -> str:
        """The client's key of the job; "" where the worker grabs without GRAB_UNIQ.

        Wraps `gearman_job_unique`.
        """
        pointer = self._check("Job.unique")
        return _convert.text(self._lib.gearman_job_unique(pointer))

    @property
    def function_name(self) -> str:
        """The name under which the function was added, without the namespace.

        Wraps `gearman_job_function_name`.
        """
        self._check("Job.function_name")
        return self._name

    @property
    def workload(self) -> bytes:
        """What the client sent: a copy, made at the first use.

        Raises:
            ClosedError: the job is over, or `take_workload` has it.

        Wraps `gearman_job_workload`.
        """
        pointer = self._pointer
        if (
            pointer is None
            or self._thread != get_ident()
            or self._born != process.generation
        ):
            pointer = self._check("Job.workload")
        workload = self._workload
        if workload is None:
            if self._taken:
                self._check_untaken("Job.workload")
            lib = self._lib
            size = lib.gearman_job_workload_size(pointer)
            workload = (
                _convert.buffer(lib.gearman_job_workload(pointer), size)
                if size
                else b""
            )
            self._workload = workload
        return workload

    def _check_untaken(self, doing: str) -> None:
        if self._taken:
            raise ClosedError(
                "take_workload() has given the workload away; use what it returned",
                doing=doing,
            )

    @property
    def workload_size(self) -> int:
        """The number of bytes of the workload, 0 once it was taken.

        Wraps `gearman_job_workload_size`.
        """
        pointer = self._check("Job.workload_size")
        return self._lib.gearman_job_workload_size(pointer)

    def take_workload(self) -> memoryview:
        """Take the workload over from the library, without a copy.

        Returns:
            A view of the bytes that owns them: it stays valid after the job, and
            frees them when it goes. `workload` raises from now on.

        Raises:
            ClosedError: the job is over, or the workload was taken before.

        Wraps `gearman_job_take_workload`.
        """
        doing = "Job.take_workload()"
        pointer = self._check(doing)
        self._check_untaken(doing)
        size = ffi.new("size_t *")
        data = self._lib.gearman_job_take_workload(pointer, size)
        self._taken = True
        self._workload = None
        if not data:
            return memoryview(b"")
        owned = ffi.gc(data, self._lib.free, size[0])
        return memoryview(ffi.buffer(owned, size[0]))

    # -- what the client gets -------------------------------------------------------

    def send_data(self, data: BytesLike) -> None:
        """Send a piece of the result; `Client.do` joins the pieces.

        Args:
            data: bytes-like; the library copies it.

        Raises:
            ArgumentTypeError: not bytes-like.
            ConnectionLostError: the server has gone; it gives the job to another.

        Wraps `gearman_job_send_data`.
        """
        doing = "Job.send_data()"
        payload = _convert.workload(data, doing)
        self._give(self._lib.gearman_job_send_data, payload, doing)

    def send_warning(self, warning: BytesLike) -> None:
        """Send a warning, which does not end the job.

        Args:
            warning: bytes-like; the library copies it.

        Raises:
            ArgumentTypeError: not bytes-like.
            ConnectionLostError: the server has gone; it gives the job to another.

        Wraps `gearman_job_send_warning`.
        """
        doing = "Job.send_warning()"
        payload = _convert.workload(warning, doing)
        self._give(self._lib.gearman_job_send_warning, payload, doing)

    def send_status(self, numerator: int, denominator: int) -> None:
        """Tell how much is done; the server keeps it for who asks for the status.

        Args:
            numerator: 0 to 2**32-1.
            denominator: 0 to 2**32-1.

        Raises:
            ArgumentTypeError: not an int.
            InvalidArgumentError: out of range.
            ConnectionLostError: the server has gone; it gives the job to another.

        Wraps `gearman_job_send_status`.
        """
        doing = "Job.send_status()"
        for value in (numerator, denominator):
            if not isinstance(value, int):
                raise ArgumentTypeError(
                    f"a status is two ints, not {type(value).__name__}", doing=doing
                )
            if not 0 <= value <= _MOST:
                raise InvalidArgumentError(
                    f"{value} is out of range: a status is two ints of 0 to {_MOST}",
                    doing=doing,
                )
        self._check(doing)
        self._send(self._lib.gearman_job_send_status, numerator, denominator)

    def send_complete(self, result: BytesLike = b"") -> None:
        """Send the result, or its last piece, and so end the job.

        What the worker function returns after it is ignored.

        Args:
            result: bytes-like; the library copies it.

        Raises:
            ArgumentTypeError: not bytes-like.
            ConnectionLostError: the server has gone; it gives the job to another.

        Wraps `gearman_job_send_complete`.
        """
        doing = "Job.send_complete()"
        payload = _convert.workload(result, doing)
        self._give(self._lib.gearman_job_send_complete, payload, doing)
        self._end(ReturnCode.SUCCESS)

    def send_exception(self, exception: BytesLike) -> None:
        """Send an exception, and so end the job; see `JobException`.

        Args:
            exception: bytes-like and not empty; the library copies it.

        Raises:
            ArgumentTypeError: not bytes-like.
            InvalidArgumentError: empty.
            ConnectionLostError: the server has gone; it gives the job to another.

        Wraps `gearman_job_send_exception`.
        """
        doing = "Job.send_exception()"
        payload = _words.exception(exception, doing)
        self._give(self._lib.gearman_job_send_exception, payload, doing)
        self._end(ReturnCode.WORK_EXCEPTION)

    def send_fail(self) -> None:
        """Tell that the job failed, and so end it.

        Raises:
            ConnectionLostError: the server has gone; it gives the job to another.

        Wraps `gearman_job_send_fail`.
        """
        self._check("Job.send_fail()")
        self._send(self._lib.gearman_job_send_fail)
        self._end(ReturnCode.WORK_FAIL)

    # -- the end --------------------------------------------------------------------

    def close(self) -> None:
        """End the use of a job that `Worker.grab_job` gave; here it does nothing.

        In a worker function the job is over when the function returns.

        Wraps `gearman_job_free`.
        """

    def __enter__(self) -> Job:
        """Return the job; the end of the block closes it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the job."""
        self.close()


class GrabbedJob(Job):
    """A job that `Worker.grab_job` gave: open until `close()` or the end of `with`."""

    def __init__(
        self,
        host: Host,
        lib: Lib,
        pointer: CData,
        name: str,
        *,
        closer: Callable[[GrabbedJob], None],
    ) -> None:
        """Lend a job of C; only a worker does that."""
        super().__init__(host, lib, pointer, name)
        self._closer = closer  # a method of the worker, which so stays alive

    def close(self) -> None:
        """End the use of the job; safe to call again.

        A job that was not completed, failed or ended by an exception goes back to its
        server, which gives it to another worker.

        Wraps `gearman_job_free`.
        """
        if self._pointer is None:
            return
        if self._born != process.generation:
            self._detach()  # it is the parent's
            return
        self._check("Job.close()")
        self._closer(self)
