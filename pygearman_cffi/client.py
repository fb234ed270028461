"""The client: sends jobs to a job server and receives their results."""

from __future__ import annotations

import sys
from datetime import datetime
from types import TracebackType

from . import _convert
from ._addresses import ServersLike
from ._config import SEND_BUFFER_SIZE, Timeout
from ._convert import BytesLike
from ._engine import Engine
from ._kind import Kind
from ._runs import RunCalls
from .enums import ClientOption, Priority, ReturnCode
from .errors import InvalidArgumentError
from .status import JobHandle, JobStatus
from .task import TaskFunction

__all__ = ["Client"]

_NO_OPTIONS = ClientOption(0)
# In names of our own: before Python 3.12 each look into an enum takes its time.
_FOREGROUND, _BACKGROUND = Kind.FOREGROUND, Kind.BACKGROUND
_SUCCESS = ReturnCode.SUCCESS


class Client(RunCalls):
    """Sends jobs to a job server; use one per thread.

    It connects at its first call and stays connected. After any failure, also a
    timeout, the next call works.

    Args:
        servers: "host[:port],..." or an iterable of "host:port" and (host, port).
            None stands for $GEARMAN_SERVERS, else localhost:4730, until the first
            `add_server`. The first that answers is used.
        timeout: seconds that a whole call may take; None for no limit.
        connect_timeout: seconds that one server may take to answer; None for ever.
        namespace: a prefix to every function name.
        identifier: the name that the job server lists for the connection.
        exceptions: ask the job server to pass on the exceptions of workers.
        options: see `ClientOption`.
        send_buffer_size: bytes that the kernel is asked to buffer, None for libgearman's
            32 KiB, with which large payloads crawl.

    Raises:
        InvalidArgumentError: a server, a name or a time that cannot be used.

    Wraps `gearman_client_create`.
    """

    def __init__(
        self,
        servers: ServersLike | None = None,
        *,
        timeout: float | None = None,
        connect_timeout: float | None = 5.0,
        namespace: str | bytes = "",
        identifier: str | bytes | None = None,
        exceptions: bool = True,
        options: ClientOption = _NO_OPTIONS,
        send_buffer_size: int | None = SEND_BUFFER_SIZE,
    ) -> None:
        super().__init__(
            servers,
            timeout=timeout,
            connect_timeout=connect_timeout,
            namespace=namespace,
            identifier=identifier,
            options=options,
            exceptions=exceptions,
            send_buffer_size=send_buffer_size,
        )
        self._engine = Engine(self._config)
        self._task_fns = {}

    # -- life -----------------------------------------------------------------------

    def close(self) -> None:
        """Close the connection; harmless when repeated. Tasks stay readable.

        Raises:
            BusyError: in a callback of this client, or while another thread uses it.

        Wraps `gearman_client_free`.
        """
        if self._closed:
            return
        if not self._is_ours():  # the connection is the parent process's
            self._closed = True
            return
        doing = "Client.close()"
        self._begin(doing)
        try:
            self._engine.close()
            self._closed = True
        finally:
            self._end()

    def __enter__(self) -> Client:
        self._check_usable("with Client")
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
            self._engine.close()

    def clone(self) -> Client:
        """Return a new client with the same configuration, unconnected.

        The callbacks of `set_*_fn` are copied, tasks and `context` are not.

        Wraps `gearman_client_clone`.
        """
        self._check_mine("Client.clone()")
        twin = Client(())
        twin._config = self._config.copy()
        twin._engine = Engine(twin._config)
        twin._task_fns = dict(self._task_fns)
        return twin

    # -- one job ----------------------------------------------------------------------

    def do(
        self,
        function: str | bytes,
        workload: BytesLike = b"",
        *,
        unique: str | bytes | None = None,
        priority: Priority = Priority.NORMAL,
        timeout: Timeout = ...,
        on_created: TaskFunction | None = None,
        on_data: TaskFunction | None = None,
        on_warning: TaskFunction | None = None,
        on_status: TaskFunction | None = None,
    ) -> bytes:
        """Run a job and return its result.

        Args:
            function: the function's name, 1 to 512 bytes with the namespace.
            workload: any bytes-like object.
            unique: 1 to 63 bytes; jobs of one function with equal uniques run once,
                for all who wait. `"-"` lets the server compare workloads, `"#"` stands
                for a hash of the workload. None makes one that is never met again.
            priority: HIGH is handed out before NORMAL, NORMAL before LOW.
            timeout: seconds for the whole call, None for no limit, `...` for the
                client's own.
            on_created, on_data, on_warning, on_status: called with the `Task` as each
                packet arrives; `task.data` is its payload. What they raise comes out
                of this call.

        Returns:
            The chunks that the worker sent and the final payload, joined.

        Raises:
            WorkFailError: the worker reported failure.
            WorkExceptionError: the worker sent an exception.
            GearmanTimeoutError: the time was up; the job may still run.
            CouldNotConnectError: no server was reached; nothing was sent.
            ConnectionLostError: the connection broke; the job may have run.
            ServerError: the job server refused the job.

        Does what `gearman_client_do`, `gearman_client_do_high` and
        `gearman_client_do_low` do. Wraps `gearman_client_add_task` and
        `gearman_client_run_tasks`.
        """
        doing = f"Client.do({function!r})"
        task = self._task(doing, _FOREGROUND, function, workload, unique, priority)
        if on_created is not None:
            task._on_created = self._function(on_created, "on_created", doing)
            task._watched = True
        if on_data is not None:
            task._on_data = self._function(on_data, "on_data", doing)
            task._watched = True
        if on_warning is not None:
            task._on_warning = self._function(on_warning, "on_warning", doing)
            task._watched = True
        if on_status is not None:
            task._on_status = self._function(on_status, "on_status", doing)
            task._watched = True
        self._run_one(task, timeout, doing)
        if task.return_code is _SUCCESS and task._chunks is None:
            return task._final
        return task.result

    def do_background(
        self,
        function: str | bytes,
        workload: BytesLike = b"",
        *,
        unique: str | bytes | None = None,
        priority: Priority = Priority.NORMAL,
        at: datetime | float | None = None,
        timeout: Timeout = ...,
    ) -> JobHandle:
        """Submit a job that nobody waits for.

        Args:
            function, workload, unique, priority, timeout: as for `do`.
            at: when the job is due: a datetime with a time zone, or seconds since 1970,
                rounded up to a second. Only with normal priority. gearmand wakes no
                worker for it: one that looks by itself, as ours do, finds it within a
                second.

        Returns:
            The handle; the job server has accepted the job.

        Raises:
            GearmanTimeoutError: the time was up; the job may have been accepted.
            CouldNotConnectError: no server was reached; nothing was sent.
            ConnectionLostError: the connection broke; it may have been accepted.
            ServerError: the job server refused the job.

        Does what `gearman_client_do_background`, `gearman_client_do_high_background`
        and `gearman_client_do_low_background` do. Wraps
        `gearman_client_add_task_background` and `gearman_client_run_tasks`; with `at`
        `gearman_execute` and `gearman_task_attr_init_epoch`.
        """
        doing = f"Client.do_background({function!r})"
        task = self._task(doing, _BACKGROUND, function, workload, unique, priority)
        task._watched = True
        if at is not None:
            self._schedule(task, at, doing)
        self._run_one(task, timeout, doing)
        task._check()
        return task._handle or JobHandle("")

    def job_status(self, handle: str | bytes, *, timeout: Timeout = ...) -> JobStatus:
        """Ask how a job stands.

        Args:
            handle: what `do_background` returned. A plain `str` is asked of every
                server in order until one knows it.
            timeout: as for `do`.

        Returns:
            Its status; `known` is False when it has finished or never existed.

        Raises:
            GearmanTimeoutError, CouldNotConnectError, ConnectionLostError: as for `do`.

        Wraps `gearman_client_add_task_status`, as `gearman_client_job_status` does.
        """
        doing = f"Client.job_status({handle!r})"
        task = self._question(doing, handle)
        self._run_one(task, timeout, doing)
        task._check()
        return task._status()

    def unique_status(
        self, unique: str | bytes, *, timeout: Timeout = ...
    ) -> JobStatus:
        """Ask how a job stands by the unique it was submitted with.

        Every server is asked in order until one knows it. The question goes over a
        connection of its own: the C call breaks the one it is made on.

        Args:
            unique: what was given as `unique=`.
            timeout: as for `do`.

        Returns:
            Its status, with the number of clients that wait for it.

        Raises:
            GearmanTimeoutError, CouldNotConnectError, ConnectionLostError: as for `do`.

        Does what `gearman_client_unique_status` does.
        """
        doing = f"Client.unique_status({unique!r})"
        task = self._unique_question(doing, unique)
        self._run_one(task, timeout, doing)
        task._check()
        return task._status()

    def cancel_job(self, handle: str | bytes, *, timeout: Timeout = ...) -> None:
        """Ask the job server to drop a job that nobody has begun.

        gearmand up to 1.1.20 answers JOB_NOT_FOUND whatever it is asked, and keeps the
        job. Its text protocol can drop a queued job: `gearadmin --cancel-job=HANDLE`.
        Nobody can stop a job that runs.

        Args:
            handle: what `do_background` returned.
            timeout: as for `do`.

        Raises:
            ServerError: the job server refused, with code JOB_NOT_FOUND.

        Does what `gearman_client_cancel_job` does.
        """
        doing = f"Client.cancel_job({handle!r})"
        self._exchange(doing, timeout, "cancel_job", _convert.handle(handle, doing))

    # -- the connection ---------------------------------------------------------------

    def echo(self, workload: BytesLike, *, timeout: Timeout = ...) -> None:
        """Send bytes to the job server and check that it sends them back.

        Args:
            workload: at least one byte.
            timeout: as for `do`.

        Raises:
            InvalidArgumentError: the workload is empty.
            GearmanTimeoutError, CouldNotConnectError, ConnectionLostError: as for `do`.
            ProtocolError: something else came back.

        Does what `gearman_client_echo` does, on the connection that jobs use.
        """
        doing = "Client.echo()"
        payload = bytes(_convert.workload(workload, doing))
        if not payload:
            raise InvalidArgumentError("the workload is empty", doing=doing)
        self._exchange(doing, timeout, "echo", payload)

    def set_server_option(self, name: str | bytes, *, timeout: Timeout = ...) -> None:
        """Ask the job server for an option of the connection, such as "exceptions".

        It is asked again of every later connection.

        Raises:
            ServerError: the job server does not know the option.

        Does what `gearman_client_set_server_option` does.
        """
        doing = f"Client.set_server_option({name!r})"
        option = _convert.option_name(name, doing)
        self._exchange(doing, timeout, "request_option", option)
        if option not in self._config.server_options:
            self._config.server_options.append(option)
