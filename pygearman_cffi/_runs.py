"""Running many jobs: the loop, the iterator, and the divided job."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal, overload

from . import _convert
from ._config import Timeout
from ._convert import BytesLike
from ._feeding import WINDOW
from ._frames import is_theirs
from ._kind import Kind
from ._map import Results
from ._partition import run_partition
from ._tasks import TaskCalls
from ._unique import fresh_unique
from .enums import ClientOption, Priority
from .errors import ArgumentTypeError, GearmanError, InvalidArgumentError
from .task import Task

__all__ = ["RunCalls"]


class RunCalls(TaskCalls):
    """The part of the client that runs tasks."""

    # -- running ----------------------------------------------------------------------

    @property
    def has_tasks(self) -> bool:
        """True while a task waits for `run_tasks` or is in flight.

        Wraps `gearman_client_has_tasks`.
        """
        return not self._engine.idle

    @property
    def has_active_tasks(self) -> bool:
        """True while a task is in flight, which is seen between calls of NON_BLOCKING.

        Wraps `gearman_client_has_active_tasks`.
        """
        return bool(self._engine.lanes.active)

    def run_tasks(self, timeout: Timeout = ...) -> bool:
        """Send the tasks that wait, in the order they were added, and await their ends.

        A task that fails does not stop the others and raises nothing here: look at
        `task.error` or `task.result`. After an exception of a callback no further task
        is sent; what is in flight finishes, the rest waits for the next `run_tasks`.

        Args:
            timeout: seconds for all of it, None for no limit, `...` for the client's.

        Returns:
            True when every task has ended. With `ClientOption.NON_BLOCKING` it does
            only what can be done without waiting, and returns False while tasks
            remain: call `wait` and then this again.

        Raises:
            GearmanTimeoutError: the time was up; tasks in flight are ABANDONED, the
                others still wait.
            CouldNotConnectError: no server was reached; all tasks still wait.
            ConnectionLostError: the connection broke; the tasks that may have been
                sent are ABANDONED, the others were run.

        Wraps `gearman_client_run_tasks`.
        """
        doing = "Client.run_tasks()"
        once = bool(self._config.options & ClientOption.NON_BLOCKING)
        self._begin(doing)
        try:
            return self._engine.run(self._deadline(timeout, doing), once=once)
        except GearmanError as error:
            raise error.during(doing) from error.__cause__
        finally:
            self._end()

    def wait(self, timeout: Timeout = ...) -> bool:
        """Wait for the job server's next word, for the loop of a NON_BLOCKING client.

        Args:
            timeout: seconds, None for no limit, `...` for the client's.

        Returns:
            True when there is something for `run_tasks` to do, at once when nothing is
            in flight but tasks wait; False when the time was up, and at once without
            any task.

        Wraps `gearman_client_wait`.
        """
        doing = "Client.wait()"
        self._begin(doing)
        try:
            deadline = self._deadline(timeout, doing)
            while sessions := self._engine.lanes.active:
                if self._engine.wait(sessions, deadline):
                    return True
                if deadline is not None and time.monotonic() >= deadline:
                    return False
            return not self._engine.idle
        finally:
            self._end()

    def execute(
        self,
        function: str | bytes,
        workload: BytesLike = b"",
        *,
        unique: str | bytes | None = None,
        priority: Priority = Priority.NORMAL,
        background: bool = False,
        at: datetime | float | None = None,
        context: Any = None,
        timeout: Timeout = ...,
    ) -> Task:
        """Run one job and return its task, whether it succeeded or failed.

        Args:
            function, workload, unique, priority, timeout: as for `do`.
            background: return once the job server has accepted the job.
            at: when a background job is due, see `do_background`; it implies
                `background`.
            context: kept as `task.context`.

        Raises:
            GearmanTimeoutError, CouldNotConnectError, ConnectionLostError: as for `do`.

        Wraps `gearman_execute` for `at`; else does what it does with the calls of `do`.
        """
        doing = f"Client.execute({function!r})"
        kind = Kind.BACKGROUND if background or at is not None else Kind.FOREGROUND
        task = self._task(doing, kind, function, workload, unique, priority)
        task._watched = True
        task.context = context
        if at is not None:
            self._schedule(task, at, doing)
        self._run_one(task, timeout, doing)
        return task

    def execute_by_partition(
        self,
        partition_function: str | bytes,
        function: str | bytes,
        workload: BytesLike,
        *,
        unique: str | bytes | None = None,
        priority: Priority = Priority.NORMAL,
        context: Any = None,
        timeout: Timeout = ...,
    ) -> Task:
        """Let one worker divide a job among others and join their results.

        Args:
            partition_function: the worker's function that divides and joins, see
                `Worker.define_partition`.
            function: the function that is given the parts. It needs a worker of its
                own: the one that divides is busy meanwhile.
            workload: at least one byte.
            unique, priority, timeout: as for `do`.
            context: kept as `task.context`.

        Returns:
            The task, whether it succeeded or failed.

        Raises:
            InvalidArgumentError: the workload is empty.
            GearmanTimeoutError, CouldNotConnectError, ConnectionLostError: as for `do`.

        Wraps `gearman_execute_by_partition`.
        """
        doing = f"Client.execute_by_partition({partition_function!r}, {function!r})"
        task = self._task(doing, Kind.FOREGROUND, function, workload, unique, priority)
        partition = _convert.function_name(
            partition_function, self._config.namespace, doing
        )
        if not len(task._workload):
            raise InvalidArgumentError(
                "the workload is empty: there is nothing to divide", doing=doing
            )
        task.context = context
        if self._config.options & ClientOption.NON_BLOCKING:
            raise self._cannot_wait(doing)
        self._begin(doing)
        try:
            deadline = self._deadline(timeout, doing)
            self._engine.check_idle()
            session = self._engine.lanes.open(self._config.servers, deadline)
            run_partition(session, partition, task, deadline)
        except GearmanError as error:
            if error._theirs or error.doing or is_theirs(error):
                raise
            raise (task._error or error.during(doing)) from error.__cause__
        finally:
            self._end()
        if task._error is not None and not task.is_finished:
            raise task._error
        return task

    @overload
    def map(
        self,
        function: str | bytes,
        workloads: Iterable[BytesLike],
        *,
        window: int = WINDOW,
        ordered: bool = True,
        return_exceptions: Literal[False] = False,
        timeout: Timeout = ...,
    ) -> Results[bytes]: ...

    @overload
    def map(
        self,
        function: str | bytes,
        workloads: Iterable[BytesLike],
        *,
        window: int = WINDOW,
        ordered: bool = True,
        return_exceptions: bool,
        timeout: Timeout = ...,
    ) -> Results[bytes | GearmanError]: ...

    def map(
        self,
        function: str | bytes,
        workloads: Iterable[BytesLike],
        *,
        window: int = WINDOW,
        ordered: bool = True,
        return_exceptions: bool = False,
        timeout: Timeout = ...,
    ) -> Results[Any]:
        """Run a job for each workload and yield the results.

        The iterator has connections of its own, so that the client can be used
        meanwhile; close it to stop early.

        Args:
            function: as for `do`.
            workloads: any iterable, also an endless generator: no more than twice the
                window is taken ahead of what was yielded. What it raises comes after
                the results of what it gave before.
            window: how many jobs are in flight at once.
            ordered: yield in the order of the workloads, else as they come.
            return_exceptions: yield the exception of a job that failed in the place of
                its result; otherwise it is raised there and ends the iteration.
            timeout: seconds that one step of the iterator may take, None for no limit,
                `...` for the client's own.

        Returns:
            An iterator of bytes with `close()`, which is a context manager too.

        Does what many calls of `gearman_client_do` do, at once.
        """
        doing = f"Client.map({function!r})"
        self._check_mine(doing)
        name = _convert.function_name(function, self._config.namespace, doing)
        if isinstance(window, bool) or not isinstance(window, int):
            raise ArgumentTypeError(
                f"window is int, not {type(window).__name__}", doing=doing
            )
        if not 1 <= window <= 100_000:
            raise InvalidArgumentError(
                f"window is {window}; it must be 1 to 100000", doing=doing
            )
        if isinstance(workloads, (str, bytes, bytearray, memoryview)):
            raise ArgumentTypeError(
                "workloads is an iterable of payloads, not one payload", doing=doing
            )
        limit = self._limit(timeout, doing)

        def make(workload: BytesLike) -> Task:
            payload = bytes(_convert.workload(workload, doing))
            return Task(self, doing, name, fresh_unique(), payload)

        return Results(
            self,
            make,
            workloads,
            doing=doing,
            window=window,
            ordered=ordered,
            return_exceptions=return_exceptions,
            timeout=limit,
        )
