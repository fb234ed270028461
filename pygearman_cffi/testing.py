"""Help for tests of code that uses Gearman: a real server, a worker beside the test.

* `GearmanServer` runs a real gearmand on a free port of the loopback interface.
* `WorkerThread` runs a `Worker` in a thread while a ``with`` block lasts.
* `FakeJob` stands in for a `Job` where a worker function is tested alone.

The fixtures built on them are in `pygearman_cffi.pytest_plugin`.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Any

from . import _convert
from ._convert import BytesLike
from ._library import CData, ffi
from ._testserver import FunctionStatus, GearmanServer
from .job import GrabbedJob

if TYPE_CHECKING:
    from types import TracebackType

    from .worker import Worker

    Data = bytes | CData

__all__ = ["FakeJob", "FunctionStatus", "GearmanServer", "WorkerThread"]

_log = logging.getLogger("pygearman_cffi.testing")


class WorkerThread:
    """Run ``worker.run()`` in a thread of its own while a ``with`` block lasts.

    ::

        worker = Worker(server.address)
        worker.add_function("upper", lambda job: job.workload.upper())
        with WorkerThread(worker):
            assert client.do("upper", b"a") == b"A"

    At the end of the block the worker is stopped, the thread joined, and the worker
    closed (the thread was its user; ``close=False`` leaves it open to be run again).
    An exception that ended ``run()`` is raised again there. Where the block itself
    raised, that exception goes on and the worker's is logged.
    """

    def __init__(
        self, worker: Worker, *, close: bool = True, timeout: float = 10.0
    ) -> None:
        """Take the worker; nothing runs yet.

        Args:
            worker: the worker to run, with its functions added.
            close: close the worker once it has stopped.
            timeout: seconds to wait for its end before that is an error.
        """
        self.worker = worker
        self._close = close
        self._timeout = timeout
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._result: int | None = None

    @property
    def result(self) -> int | None:
        """What ``run()`` returned; None until it has."""
        return self._result

    @property
    def running(self) -> bool:
        """Tell whether the thread is alive."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Start the thread.

        Raises:
            RuntimeError: it is running already.
        """
        if self._thread is not None:
            raise RuntimeError("this WorkerThread is running; stop() it first")
        self._error = self._result = None
        # A daemon: a worker that will not stop must not keep a failed test run alive.
        self._thread = threading.Thread(
            target=self._run, name="gearman-worker", daemon=True
        )
        self._thread.start()

    def stop(self) -> int | None:
        """Stop the worker, wait for its end, close it; do nothing if not started.

        Returns:
            What ``run()`` returned.

        Raises:
            RuntimeError: the worker did not end in time; it stays open and the
                message shows where it is.
            BaseException: whatever ended ``run()``.
        """
        thread = self._thread
        if thread is None:
            return self._result
        if thread.is_alive():  # a worker that has ended by itself keeps no request
            self.worker.stop()
        thread.join(self._timeout)
        if thread.is_alive():
            raise RuntimeError(
                f"the worker did not stop within {self._timeout} seconds; "
                f"it is here:\n{_stack(thread)}"
            )
        self._thread = None
        if self._close:
            self.worker.close()
        if self._error is not None:
            raise self._error
        return self._result

    def __enter__(self) -> WorkerThread:
        """Start the thread."""
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Stop the worker, join the thread, raise what the worker raised."""
        try:
            self.stop()
        except BaseException as error:
            if exc is None:
                raise
            # The test's own failure is the one to see; the worker's explains it.
            _log.error("the worker beside the failing test:", exc_info=error)

    def _run(self) -> None:
        try:
            self._result = self.worker.run()
        except BaseException as error:
            self._error = error


class _Recorder:
    """What a `FakeJob` has in place of C and of a worker: it keeps what is sent."""

    def __init__(self, workload: bytes, handle: str, unique: str) -> None:
        self.data: list[bytes] = []
        self.warnings: list[bytes] = []
        self.statuses: list[tuple[int, int]] = []
        self.completed: bytes | None = None
        self.exception: bytes | None = None
        self.failed = False
        self.sent: list[tuple[str | bytes | int, ...]] = []
        self._workload = ffi.new("char[]", workload)
        self._size = len(workload)
        self._handle = ffi.new("char[]", handle.encode("utf-8", "surrogateescape"))
        self._unique = ffi.new("char[]", unique.encode("utf-8", "surrogateescape"))

    def hurry(self) -> None:
        """Do nothing: nothing waits here."""

    def free(self, memory: CData) -> None:
        """Do nothing: the memory goes with this object, which the caller holds."""

    def gearman_job_handle(self, _: CData) -> CData:
        return self._handle

    def gearman_job_unique(self, _: CData) -> CData:
        return self._unique

    def gearman_job_workload(self, _: CData) -> CData:
        return self._workload

    def gearman_job_workload_size(self, _: CData) -> int:
        return self._size

    def gearman_job_take_workload(self, _: CData, size: CData) -> CData:
        size[0], self._size = self._size, 0
        return ffi.cast("void *", self._workload)

    def gearman_job_send_data(self, _: CData, data: Data, size: int) -> int:
        self.data.append(self._record("data", data, size))
        return 0

    def gearman_job_send_warning(self, _: CData, data: Data, size: int) -> int:
        self.warnings.append(self._record("warning", data, size))
        return 0

    def gearman_job_send_status(self, _: CData, numerator: int, of: int) -> int:
        self.statuses.append((numerator, of))
        self.sent.append(("status", numerator, of))
        return 0

    def gearman_job_send_complete(self, _: CData, data: Data, size: int) -> int:
        self.completed = self._record("complete", data, size)
        return 0

    def gearman_job_send_exception(self, _: CData, data: Data, size: int) -> int:
        self.exception = self._record("exception", data, size)
        return 0

    def gearman_job_send_fail(self, _: CData) -> int:
        self.failed = True
        self.sent.append(("fail",))
        return 0

    def _record(self, kind: str, data: Data, size: int) -> bytes:
        copy = data if isinstance(data, bytes) else _convert.buffer(data, size)
        self.sent.append((kind, copy))
        return copy


class FakeJob(GrabbedJob):
    """Stand in for a `Job`, without a server, and record what is sent.

    It is a `Job` with a recorder in place of C, so it refuses what a real one refuses:
    wrong payloads and numbers, and another thread than the one that made it. Like a
    real one it ignores whatever is sent after the job was completed, failed or ended
    with an exception.

    Attributes:
        handle, unique, function_name: as given.
        data, warnings: payloads sent by `send_data` and `send_warning`.
        statuses: (numerator, denominator) pairs.
        completed: what `send_complete` sent, None if it was not called.
        exception: what `send_exception` sent, None if it was not called.
        failed: whether `send_fail` was called.
        sent: all of it in order: ``("data", b"..")``, ``("status", 1, 2)``,
            ``("complete", b"..")``, ``("fail",)``.
    """

    def __init__(
        self,
        workload: BytesLike = b"",
        *,
        handle: str = "H:fake:1",
        unique: str = "",
        function_name: str = "fake",
        grabbed: bool = False,
    ) -> None:
        """Make a job with this workload, refusing a ``str`` as a client does.

        Args:
            workload, handle, unique, function_name: what the job tells of itself.
            grabbed: be like a job of `Worker.grab_job`, which `close` ends; what was
                recorded stays readable.
        """
        payload = bytes(_convert.workload(workload, "FakeJob()"))
        record: Any = _Recorder(payload, handle, unique)
        super().__init__(record, record, ffi.NULL, function_name, closer=_detach)
        self._record: _Recorder = record
        self._grabbed = grabbed
        self.data = self._record.data
        self.warnings = self._record.warnings
        self.statuses = self._record.statuses
        self.sent = self._record.sent

    @property
    def completed(self) -> bytes | None:
        """What `send_complete` sent, None if it was not called."""
        return self._record.completed

    @property
    def exception(self) -> bytes | None:
        """What `send_exception` sent, None if it was not called."""
        return self._record.exception

    @property
    def failed(self) -> bool:
        """Tell whether `send_fail` was called."""
        return self._record.failed

    @property
    def finished(self) -> bool:
        """Tell whether the job was completed, failed or ended with an exception."""
        return self._ended is not None

    def __enter__(self) -> FakeJob:
        """Return the job; the end of the block closes it."""
        return self

    def close(self) -> None:
        """Do nothing, as in a worker function; end the use of a grabbed job."""
        if self._grabbed:
            super().close()


def _detach(job: GrabbedJob) -> None:
    job._detach()


def _stack(thread: threading.Thread) -> str:
    frame = sys._current_frames().get(thread.ident or 0)
    return "".join(traceback.format_stack(frame)) if frame else "(ended meanwhile)"
