"""The worker: functions that job servers have run here."""

from __future__ import annotations

import sys
from types import TracebackType

from . import _convert
from ._addresses import ServersLike
from ._config import SEND_BUFFER_SIZE
from ._inquiries import Inquiries, check_count
from ._registry import Registry
from ._service import Service
from ._wakeup import Wakeup
from .enums import ReturnCode, WorkerOption
from .errors import BusyError
from .job import Job

__all__ = ["Worker"]

_GRAB = WorkerOption.GRAB_UNIQ | WorkerOption.GRAB_ALL


class Worker(Inquiries):
    """Serves functions to the clients of one or more job servers.

    ::

        worker = Worker("localhost:4730")

        @worker.function("reverse")
        def reverse(job):
            return job.workload[::-1]

        worker.run()

    A worker function gets a `Job` and returns the result, bytes-like, or None for an
    empty one. It may raise `JobFail`, `JobException`, `RetryJob` and `StopWorker`. Any
    other exception is logged with its traceback, and fails the job after a warning
    that names it. KeyboardInterrupt and SystemExit give the job back to its server and
    come out of `run()`.

    One thread at a time may use a worker; `stop()` is for any thread and for signal
    handlers. Ctrl-C ends every wait at once, and the worker can be used again.
    """

    _kind = "worker"

    def __init__(
        self,
        servers: ServersLike | None = None,
        *,
        timeout: float | None = None,
        connect_timeout: float | None = 5.0,
        namespace: str | bytes = "",
        identifier: str | bytes | None = None,
        options: WorkerOption = _GRAB,
        send_exceptions: bool = False,
        send_buffer_size: int | None = SEND_BUFFER_SIZE,
    ) -> None:
        """Record the configuration; nothing connects before the first job is asked for.

        Args:
            servers: "host[:port],..." or an iterable of "host:port" and (host, port);
                None for $GEARMAN_SERVERS or localhost:4730. All are served, each as
                long as it has jobs before the next one is asked.
            timeout: seconds after which `work()` and `wait()` end, None for never.
            connect_timeout: seconds that a job server may take to answer; None for
                ever.
            namespace: a prefix of every function name.
            identifier: the name that the job servers list for this worker.
            options: set as well as the usual GRAB_UNIQ and GRAB_ALL.
            send_exceptions: send what a function raises as an exception, not as a
                warning and a failure; clients that did not ask for exceptions may hang.
            send_buffer_size: bytes the kernel may buffer, None for libgearman's 32 KiB.

        Raises:
            InvalidArgumentError: a value cannot be used.

        Wraps `gearman_worker_create`.
        """
        super().__init__(
            servers,
            timeout=timeout,
            connect_timeout=connect_timeout,
            namespace=namespace,
            identifier=identifier,
            options=self._check_options(options, "Worker()") | _GRAB,
            send_buffer_size=send_buffer_size,
        )
        self._closed = True  # until all of it is there
        self._functions = Registry()
        self._service: Service | None = None
        self._send_exceptions = bool(send_exceptions)
        self._wakeup = Wakeup()
        self._closed = False

    # -- life -----------------------------------------------------------------------

    def close(self) -> None:
        """Close the connections; harmless when repeated.

        A job of `grab_job` that is still open goes back to its server.

        Raises:
            BusyError: in a worker function, or while another thread uses the worker.

        Wraps `gearman_worker_free`.
        """
        if self._closed:
            return
        if not self._is_ours():  # the connections are the parent process's
            self._closed = True
            return
        doing = "Worker.close()"
        self._begin(doing)
        try:
            self._check_no_job(doing, own=True)
            self._close()
        finally:
            self._end()

    def _close(self) -> None:
        self._closed = True
        service, self._service = self._service, None
        if service is not None:
            service.close()
        self._wakeup.close()

    def __enter__(self) -> Worker:
        self._check_usable("with Worker")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # A constructor that failed half-way leaves it closed; at exit the operating
        # system is quicker and safer.
        if not self._closed and not sys.is_finalizing() and self._is_ours():
            self._close()

    def clone(self) -> Worker:
        """Return a new worker with the same configuration and functions, unconnected.

        `context` is not copied.

        Wraps `gearman_worker_clone`.
        """
        self._check_mine("Worker.clone()")
        twin = Worker((), send_exceptions=self._send_exceptions)
        twin._config = self._config.copy()
        twin._copy_functions(self)
        return twin

    def _changed(self) -> None:
        if self._service is not None:
            self._service.renew()

    def _functions_changed(self) -> None:
        if self._service is not None:
            self._service.outdate()

    # -- work -----------------------------------------------------------------------

    @property
    def return_code(self) -> ReturnCode:
        """What the last `work`, `wait`, `grab_job`, `run` or `echo` came to.

        After a job: SUCCESS, WORK_FAIL or WORK_EXCEPTION as its client was told, ERROR
        where it went back for another try, LOST_CONNECTION where its server was lost.
        """
        return self._return_code

    def work(self) -> bool:
        """Wait for a job and run its function.

        With the option NON_BLOCKING it does not wait: False with IO_WAIT or NO_JOBS
        means that `wait()` tells when to call it again.

        Returns:
            True when a function ran, also where its job failed. False when `timeout`
            passed (`return_code` TIMEOUT), `stop` was called (SHUTDOWN_GRACEFUL), or no
            job server can be reached (COULD_NOT_CONNECT, or LOST_CONNECTION when it
            went during the call). A call that follows waits for a moment before it
            tries the servers again, two seconds at most.

        Raises:
            NoServersError: no job server was added.
            InvalidArgumentError: no function was added, or one of them has only been
                registered, for `grab_job`.
            BusyError: in a worker function, in another thread, or while a job of
                `grab_job` is open.
            BaseException: KeyboardInterrupt or its like from the function; the job has
                gone back to its server.

        Wraps `gearman_worker_work`.
        """
        doing = "Worker.work()"
        self._begin(doing)
        try:
            service = self._ready(doing)
            jobs = service.jobs
            if self._config.options & WorkerOption.NON_BLOCKING:
                self._return_code = service.turn()
            else:
                until = _convert.deadline(self._config.timeout)
                self._return_code = service.serve(1, until, patient=False)
            return service.jobs > jobs
        finally:
            self._end()

    def wait(self) -> bool:
        """Wait until another `work()` is worth while; for the NON_BLOCKING loop.

        Without a `timeout` it returns True once a second at least, for jobs that
        become due at a time: nobody announces them.

        Returns:
            True when something has happened. False when `timeout` passed (`return_code`
            TIMEOUT), `stop` was called (SHUTDOWN_GRACEFUL), or no job server is
            connected (NO_ACTIVE_FDS, after waiting until one should be tried again).

        Raises:
            NoServersError, InvalidArgumentError, BusyError: as for `work`.

        Wraps `gearman_worker_wait`.
        """
        doing = "Worker.wait()"
        self._begin(doing)
        try:
            service = self._ready(doing)
            self._return_code = service.wait(_convert.deadline(self._config.timeout))
            return self._return_code is ReturnCode.SUCCESS
        finally:
            self._end()

    def run(
        self, *, max_jobs: int | None = None, max_seconds: float | None = None
    ) -> int:
        """Run jobs until told to end, whatever becomes of the job servers.

        `stop()`, `StopWorker` and the two limits end it, and so does an exception. The
        running job is always finished first. `timeout` and NON_BLOCKING mean nothing
        here. While no job server answers it tries again every two seconds or so.

        Args:
            max_jobs: end after so many, failed ones and those given back included.
            max_seconds: take no job after so long; the last one may last longer.

        Returns:
            How many jobs a function ran for.

        Raises:
            NoServersError, InvalidArgumentError, BusyError: as for `work`.
            BaseException: KeyboardInterrupt or its like, from the wait or from a
                function; that function's job has gone back to its server.

        Wraps `gearman_worker_work`, in a loop.
        """
        doing = "Worker.run()"
        if max_jobs is not None:
            check_count(max_jobs, "max_jobs", doing)
        until = _convert.deadline(_convert.seconds(max_seconds, "max_seconds", doing))
        self._begin(doing)
        try:
            service = self._ready(doing)
            jobs = service.jobs
            self._return_code = service.serve(max_jobs, until, patient=True)
            self._wakeup.take()  # a stop() during the last job was for this run
            return service.jobs - jobs
        finally:
            self._end()

    def stop(self) -> None:
        """End the `run`, `work`, `wait` or `grab_job` in progress, or the next one.

        A running job is finished first, and its result sent. Safe from any thread and
        from a signal handler, in a worker function too, and on a closed worker.
        """
        self._wakeup.stop()

    def grab_job(self) -> Job | None:
        """Ask the job servers once for a job, without running anything.

        It does not wait for a job: poll, with a pause between the calls, because each
        answer "none" costs a new connection. `work()` and `run()` are better at waiting.

        Returns:
            The job; close it, best with `with`, before the next call. None when there
            is none (`return_code` NO_JOBS), `timeout` passed (TIMEOUT), `stop` was called
            (SHUTDOWN_GRACEFUL), or no job server can be reached (COULD_NOT_CONNECT,
            LOST_CONNECTION). With NON_BLOCKING also while an answer is missing
            (IO_WAIT): `wait()`, then call again.

        Raises:
            NoServersError: no job server was added.
            InvalidArgumentError: no function was added or registered.
            BusyError: in a worker function, in another thread, or while the job before
                is open and has not been ended.

        Wraps `gearman_worker_grab_job`.
        """
        doing = "Worker.grab_job()"
        self._begin(doing)
        try:
            service = self._ready(doing, calls=False)
            block = not self._config.options & WorkerOption.NON_BLOCKING
            until = _convert.deadline(self._config.timeout)
            self._return_code, job = service.grab(until, self._close_job, block=block)
            return job
        finally:
            self._end()

    def _close_job(self, _job: Job) -> None:
        self._begin("Job.close()")
        try:
            if self._service is not None:
                self._service.end_job()
        finally:
            self._end()

    def _ready(self, doing: str, *, calls: bool = True) -> Service:
        """Return what does the work, where there is work to do."""
        self._check_no_job(doing)
        self._check_servers(doing)
        self._functions.check(doing, calls=calls)
        if self._service is None:
            self._service = Service(
                self._config,
                self._functions,
                self._wakeup,
                send_exceptions=self._send_exceptions,
            )
        return self._service

    def _check_no_job(self, doing: str, *, own: bool = False) -> None:
        """Refuse while a grabbed job is open; `own`: while it is another thread's."""
        job = None if self._service is None else self._service.open_job()
        if job is None or (own and job._is_mine):
            return
        raise BusyError(
            "a job of grab_job() is still open: complete it or close() it first",
            doing=doing,
        )
