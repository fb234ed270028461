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
from typing import TYPE_CHECKING

from . import _convert
from ._convert import BytesLike
from ._testserver import FunctionStatus, GearmanServer
from .errors import ClosedError, InvalidArgumentError

if TYPE_CHECKING:
    from types import TracebackType

    from .worker import Worker

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


class FakeJob:
    """Stand in for a `Job`, without a server, and record what is sent.

    Refuses what a real job refuses (a ``str`` payload), and like it ignores whatever
    is sent after the job was completed, failed or ended with an exception.

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
    ) -> None:
        """Make a job with this workload, refusing a ``str`` as a client does."""
        self.handle = handle
        self.unique = unique
        self.function_name = function_name
        self.data: list[bytes] = []
        self.warnings: list[bytes] = []
        self.statuses: list[tuple[int, int]] = []
        self.completed: bytes | None = None
        self.exception: bytes | None = None
        self.failed = False
        self.sent: list[tuple[str | bytes | int, ...]] = []
        self._workload: bytes | None = _copy(workload, "FakeJob()")

    @property
    def workload(self) -> bytes:
        """The workload.

        Raises:
            ClosedError: `take_workload` has taken it.
        """
        if self._workload is None:
            raise ClosedError(
                "the workload was taken by take_workload(); use what that returned",
                doing="FakeJob.workload",
            )
        return self._workload

    @property
    def workload_size(self) -> int:
        """The number of bytes of the workload, 0 once it was taken."""
        return 0 if self._workload is None else len(self._workload)

    def close(self) -> None:
        """Do nothing, as for a job in a worker function."""

    def __enter__(self) -> FakeJob:
        """Return the job."""
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing, see `close`."""

    def take_workload(self) -> memoryview:
        """Hand the workload over; `workload` raises afterwards.

        Raises:
            ClosedError: it was taken before.
        """
        workload = self.workload
        self._workload = None
        return memoryview(workload)

    def send_data(self, data: BytesLike) -> None:
        """Record a piece of the result."""
        payload = _copy(data, "FakeJob.send_data()")
        if self._record("data", payload):
            self.data.append(payload)

    def send_warning(self, warning: BytesLike) -> None:
        """Record a warning."""
        payload = _copy(warning, "FakeJob.send_warning()")
        if self._record("warning", payload):
            self.warnings.append(payload)

    def send_status(self, numerator: int, denominator: int) -> None:
        """Record how far the job is."""
        if self._record("status", numerator, denominator):
            self.statuses.append((numerator, denominator))

    def send_complete(self, result: BytesLike = b"") -> None:
        """Record the result and end the job."""
        payload = _copy(result, "FakeJob.send_complete()")
        if self._record("complete", payload):
            self.completed = payload

    def send_exception(self, exception: BytesLike) -> None:
        """Record an exception and end the job."""
        payload = _copy(exception, "FakeJob.send_exception()")
        if not payload:
            raise InvalidArgumentError(
                "an exception cannot be empty", doing="FakeJob.send_exception()"
            )
        if self._record("exception", payload):
            self.exception = payload

    def send_fail(self) -> None:
        """Record a failure and end the job."""
        if self._record("fail"):
            self.failed = True

    @property
    def finished(self) -> bool:
        """Tell whether the job was completed, failed or ended with an exception."""
        return self.completed is not None or self.exception is not None or self.failed

    def _record(self, *packet: str | bytes | int) -> bool:
        if self.finished:
            return False
        self.sent.append(packet)
        return True


def _copy(data: BytesLike, doing: str) -> bytes:
    return bytes(_convert.workload(data, doing))


def _stack(thread: threading.Thread) -> str:
    frame = sys._current_frames().get(thread.ident or 0)
    return "".join(traceback.format_stack(frame)) if frame else "(ended meanwhile)"
