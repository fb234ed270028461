"""A worker at its work: what `Worker` asks for, as loops of steps and waits."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any
from weakref import ref

from . import _convert
from ._cworker import CWorker
from ._frames import current
from ._handling import SLICE
from ._library import CData
from ._steps import HANG_UP, Steps
from .enums import ReturnCode
from .job import GrabbedJob

__all__ = ["Service"]

_SUCCESS = int(ReturnCode.SUCCESS)
_IO_WAIT = int(ReturnCode.IO_WAIT)
_NO_JOBS = int(ReturnCode.NO_JOBS)
_COULD_NOT_CONNECT = int(ReturnCode.COULD_NOT_CONNECT)


class Service(Steps):
    """Runs jobs, waits for them, or grabs one; the frame of its C worker's callbacks."""

    _outer: Any = None
    _failures = 0
    _goal: int | None = None
    _until: float | None = None
    _pointer: CData = None
    _grabbed: ref[GrabbedJob] | None = None

    def __enter__(self) -> None:
        """Be the frame of what C calls back."""
        self._outer, current.frame = current.frame, self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self.interrupt()
        current.frame, self._outer = self._outer, None

    def serve(
        self, limit: int | None, until: float | None, *, patient: bool
    ) -> ReturnCode:
        """Run jobs, and wait for them.

        Args:
            limit: end after so many.
            until: end at this time of `time.monotonic()`.
            patient: go on trying while no job server answers.

        Returns:
            How the last of `limit` jobs ended; otherwise why there was none:
            TIMEOUT, SHUTDOWN_GRACEFUL, COULD_NOT_CONNECT or LOST_CONNECTION.
        """
        self._goal = goal = None if limit is None else self.jobs + limit
        self._until = until
        self._begin_watch(calls=True)
        wakeup = self._wakeup
        with self:
            while not wakeup.stopping:
                code = self._step(self._work)
                if code == _SUCCESS:
                    if goal is not None and self.jobs >= goal:
                        return self.ended
                    if until is not None and time.monotonic() >= until:
                        return ReturnCode.TIMEOUT
                    continue
                if code == _COULD_NOT_CONNECT and not patient and self._missed():
                    return self._why()
                while not self._sleep(until, tick=True) and not wakeup.stopping:
                    if until is not None and time.monotonic() >= until:
                        if patient:
                            self.interrupt()
                        return ReturnCode.TIMEOUT
            return self._stopped()

    def _work(self, cworker: CWorker) -> int:
        """Let C work, and wait here while there is nothing to be looked after.

        What `serve` does, without its detours: one server, connected, and no news but
        jobs. Whatever else turns up is left to the caller, who finds it unchanged.
        """
        if (
            self._attention
            or not cworker.settled
            or len(cworker.descriptors) != 1
            or cworker.divides
        ):
            return cworker.work()
        descriptor = cworker.descriptors[0]
        work = self._lib.gearman_worker_work
        pointer = cworker.pointer
        poll = (self._poll or self._poller()).poll
        news = [(descriptor.number, select.POLLIN)]
        wakeup, goal, until = self._wakeup, self._goal, self._until
        limit: float = SLICE
        if until is not None:
            limit = max(0.0, min(limit, (until - time.monotonic()) * 1000))
        while True:
            self._asking = True
            code = work(pointer)
            if code == _IO_WAIT:
                if self.congested or poll(limit) != news:
                    return code
            elif code == _NO_JOBS:
                if not HANG_UP and not descriptor.open:
                    return code  # C must not connect again by itself
                self._asking = False
                if poll(limit) != news:
                    return code
            elif (
                code != _SUCCESS
                or wakeup.stopping
                or self._attention
                or self.given_back
                or self.error is not None
                or self._paused_until
                or self.jobs == goal
                or until is not None
            ):
                return code

    def turn(self) -> ReturnCode:
        """Do what can be done without waiting.

        Returns:
            How a job ended, if there was one; else IO_WAIT or NO_JOBS, for `wait`.
        """
        self._begin_watch(calls=True)
        with self:
            if self._wakeup.stopping:
                return self._stopped()
            jobs = self.jobs
            self._due = 0.0  # who asks now wants to know now
            code = self._step(CWorker.work)
            if self.jobs > jobs:
                return self.ended
            return ReturnCode.IO_WAIT if code == _IO_WAIT else ReturnCode.NO_JOBS

    def wait(self, until: float | None) -> ReturnCode:
        """Wait until another turn is worth while.

        Returns:
            SUCCESS, TIMEOUT, SHUTDOWN_GRACEFUL, or NO_ACTIVE_FDS after waiting for
            the time at which a job server should be tried again.
        """
        with self:
            while not self._wakeup.stopping:
                if self._cworker is not None and not (self._asking or self._asleep):
                    return ReturnCode.SUCCESS
                over = until is not None and time.monotonic() >= until
                # With a limit the caller comes back, and finds epoch jobs then.
                if over or self._sleep(until, tick=until is None):
                    if self._cworker is None and not self._roster.probes:
                        return ReturnCode.NO_ACTIVE_FDS
                    return ReturnCode.TIMEOUT if over else ReturnCode.SUCCESS
            return self._stopped()

    def grab(
        self, until: float | None, closer: Callable[[GrabbedJob], None], *, block: bool
    ) -> tuple[ReturnCode, GrabbedJob | None]:
        """Ask every server for a job once.

        Args:
            until: no longer than to this time.
            closer: what the job calls to be closed.
            block: wait for the servers' answers.

        Returns:
            SUCCESS and the job, or why there is none.
        """
        self._begin_watch(calls=False)
        with self:
            while not self._wakeup.stopping:
                self._due = 0.0
                code = self._step(self._grab)
                if code == _SUCCESS:
                    return ReturnCode.SUCCESS, self._lend(closer)
                if code == _NO_JOBS:
                    # The C function would follow a null pointer at its next call.
                    self.renew()
                    return ReturnCode.NO_JOBS, None
                if code == _COULD_NOT_CONNECT and self._missed():
                    return self._why(), None
                if not block:
                    return ReturnCode(code), None
                while not self._sleep(until, tick=True) and not self._wakeup.stopping:
                    if until is not None and time.monotonic() >= until:
                        self.interrupt()
                        return ReturnCode.TIMEOUT, None
            return self._stopped(), None

    def _grab(self, cworker: CWorker) -> int:
        code, self._pointer = cworker.grab()
        return code

    def _lend(self, closer: Callable[[GrabbedJob], None]) -> GrabbedJob:
        pointer = self._pointer
        name = _convert.text(self._lib.gearman_job_function_name(pointer))
        space = self._config.namespace.decode("utf-8", "surrogateescape")
        job = GrabbedJob(
            self, self._lib, pointer, name.removeprefix(space), closer=closer
        )
        self._grabbed = ref(job)
        return job

    def open_job(self) -> GrabbedJob | None:
        """Return the job that `grab` gave, if it is still open.

        One that has ended is freed; one that was forgotten goes back to its server.
        """
        if self._grabbed is None:
            return None
        job = self._grabbed()
        if job is not None and (job._ended is None or not job._is_mine):
            return job
        self.end_job()
        return None

    def end_job(self) -> None:
        """Free the job that `grab` gave; one that has not ended goes back."""
        with self:
            self._end_job()

    def _end_job(self) -> None:
        grabbed, self._grabbed = self._grabbed, None
        if grabbed is None:
            return
        job = grabbed()
        if job is None:
            self.renew()
            return
        pointer, ended = job._pointer, job._ended
        job._detach()
        if self._cworker is not None:
            self._cworker.calm()
        if ended is None or ended is ReturnCode.LOST_CONNECTION:
            self.renew()
        else:
            self._lib.gearman_job_free(pointer)

    def close(self) -> None:
        """Free the C worker and close every connection."""
        with self:
            self._end_job()
            self._drop()
        self._roster.close()

    def _stopped(self) -> ReturnCode:
        self._wakeup.take()
        self.interrupt()
        return ReturnCode.SHUTDOWN_GRACEFUL

    def _begin_watch(self, *, calls: bool) -> None:
        self._calls = calls
        self._failures = self._roster.failures
        self._lost = False

    def _missed(self) -> bool:
        """Tell whether a server was tried in vain since `_begin_watch`."""
        return self._roster.failures > self._failures

    def _why(self) -> ReturnCode:
        return (
            ReturnCode.LOST_CONNECTION if self._lost else ReturnCode.COULD_NOT_CONNECT
        )
