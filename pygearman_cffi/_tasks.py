"""Queueing many jobs: tasks, and the callbacks they are given."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeVar

from ._convert import BytesLike
from ._kind import Kind
from ._submit import Submitter
from .enums import Priority
from .task import EVENTS, Task, TaskFunction

__all__ = ["TaskCalls"]

_F = TypeVar("_F", bound=TaskFunction)


class TaskCalls(Submitter):
    """The part of the client that queues tasks."""

    # -- callbacks for every task -----------------------------------------------------

    def _set_task_fn(self, event: str, fn: _F) -> _F:
        doing = f"Client.set_{event}_fn()"
        self._check_mine(doing)
        self._task_fns[event] = self._function(fn, "fn", doing)
        return fn

    def set_created_fn(self, fn: _F) -> _F:
        """Call fn(task) when the job server accepts a task that is added from now on.

        What these functions raise comes out of `run_tasks`. A task's own `on_*` goes
        first. They do not serve `do`, `do_background` and `map`, as in C.

        Returns:
            fn, so that this is a decorator too.

        Wraps `gearman_client_set_created_fn`.
        """
        return self._set_task_fn("created", fn)

    def set_data_fn(self, fn: _F) -> _F:
        """Call fn(task) for each chunk of a result, see `set_created_fn`.

        Wraps `gearman_client_set_data_fn`.
        """
        return self._set_task_fn("data", fn)

    def set_warning_fn(self, fn: _F) -> _F:
        """Call fn(task) for each warning, see `set_created_fn`.

        Wraps `gearman_client_set_warning_fn`.
        """
        return self._set_task_fn("warning", fn)

    def set_status_fn(self, fn: _F) -> _F:
        """Call fn(task) for each status, see `set_created_fn`.

        Wraps `gearman_client_set_status_fn`.
        """
        return self._set_task_fn("status", fn)

    def set_complete_fn(self, fn: _F) -> _F:
        """Call fn(task) when a task has its result, see `set_created_fn`.

        Wraps `gearman_client_set_complete_fn`.
        """
        return self._set_task_fn("complete", fn)

    def set_exception_fn(self, fn: _F) -> _F:
        """Call fn(task) when a worker sent an exception, see `set_created_fn`.

        Wraps `gearman_client_set_exception_fn`.
        """
        return self._set_task_fn("exception", fn)

    def set_fail_fn(self, fn: _F) -> _F:
        """Call fn(task) when a job failed or was refused, see `set_created_fn`.

        Wraps `gearman_client_set_fail_fn`.
        """
        return self._set_task_fn("fail", fn)

    def clear_fn(self) -> None:
        """Forget what the `set_*_fn` have set; tasks added before keep theirs.

        Wraps `gearman_client_clear_fn`.
        """
        self._check_mine("Client.clear_fn()")
        self._task_fns.clear()

    # -- adding -----------------------------------------------------------------------

    def _enqueue(
        self, task: Task, context: Any, own: dict[str, TaskFunction | None], doing: str
    ) -> Task:
        task._watched = True
        task.context = context
        for event in EVENTS:
            fn = own.get(event)
            if fn is not None:
                fn = self._function(fn, f"on_{event}", doing)
            else:
                fn = self._task_fns.get(event)
            if fn is not None:
                setattr(task, f"_on_{event}", fn)
        self._engine.queue.append(task)
        return task

    def add_task(
        self,
        function: str | bytes,
        workload: BytesLike = b"",
        *,
        unique: str | bytes | None = None,
        priority: Priority = Priority.NORMAL,
        context: Any = None,
        on_created: TaskFunction | None = None,
        on_data: TaskFunction | None = None,
        on_warning: TaskFunction | None = None,
        on_status: TaskFunction | None = None,
        on_complete: TaskFunction | None = None,
        on_exception: TaskFunction | None = None,
        on_fail: TaskFunction | None = None,
    ) -> Task:
        """Queue a job for the next `run_tasks`; nothing is sent yet.

        May be called from a callback: the task then runs in the same `run_tasks`.

        Args:
            function, workload, unique, priority: as for `do`. Of a payload that can
                change a copy is taken. Tasks with equal uniques run one after another.
            context: kept as `task.context`.
            on_created, on_data, on_warning, on_status, on_complete, on_exception,
                on_fail: called with the task; each goes before the client's `set_*_fn`.

        Returns:
            The task, which fills while `run_tasks` runs.

        Wraps `gearman_client_add_task`, `gearman_client_add_task_high` and
        `gearman_client_add_task_low`.
        """
        doing = f"Client.add_task({function!r})"
        self._check_mine(doing)
        task = self._queued(
            doing, Kind.FOREGROUND, function, workload, unique, priority
        )
        if unique is not None:
            task._key = (task._function, task._unique)
        own = {
            "created": on_created,
            "data": on_data,
            "warning": on_warning,
            "status": on_status,
            "complete": on_complete,
            "exception": on_exception,
            "fail": on_fail,
        }
        return self._enqueue(task, context, own, doing)

    def add_task_background(
        self,
        function: str | bytes,
        workload: BytesLike = b"",
        *,
        unique: str | bytes | None = None,
        priority: Priority = Priority.NORMAL,
        at: datetime | float | None = None,
        context: Any = None,
        on_created: TaskFunction | None = None,
        on_fail: TaskFunction | None = None,
    ) -> Task:
        """Queue a job that nobody waits for; it is DONE once the server accepts it.

        Args:
            function, workload, unique, priority, context: as for `add_task`.
            at: when the job is due, see `do_background`.
            on_created: called with the task once it is accepted.
            on_fail: called with the task when the job server refuses it.

        Wraps `gearman_client_add_task_background`,
        `gearman_client_add_task_high_background` and
        `gearman_client_add_task_low_background`.
        """
        doing = f"Client.add_task_background({function!r})"
        self._check_mine(doing)
        task = self._queued(
            doing, Kind.BACKGROUND, function, workload, unique, priority
        )
        if at is not None:
            self._schedule(task, at, doing)
        return self._enqueue(
            task, context, {"created": on_created, "fail": on_fail}, doing
        )

    def _queued(
        self,
        doing: str,
        kind: Kind,
        function: str | bytes,
        workload: BytesLike,
        unique: str | bytes | None,
        priority: Priority,
    ) -> Task:
        task = self._task(doing, kind, function, workload, unique, priority)
        # It may wait long: the caller is free to change what it gave.
        task._workload = bytes(task._workload)
        return task

    def add_task_status(
        self,
        handle: str | bytes,
        *,
        context: Any = None,
        on_status: TaskFunction | None = None,
    ) -> Task:
        """Queue a question about a job for the next `run_tasks`.

        Args:
            handle: as for `job_status`.
            context: kept as `task.context`.
            on_status: called with the task when the answer is there.

        Returns:
            The task; `is_known`, `is_running`, `numerator`, `denominator` answer.

        Wraps `gearman_client_add_task_status`.
        """
        doing = f"Client.add_task_status({handle!r})"
        self._check_mine(doing)
        task = self._question(doing, handle)
        return self._enqueue(task, context, {"status": on_status}, doing)

    def add_task_status_by_unique(
        self,
        unique: str | bytes,
        *,
        context: Any = None,
        on_status: TaskFunction | None = None,
    ) -> Task:
        """Queue a question about the job that has a unique, for the next `run_tasks`.

        Args:
            unique: as for `unique_status`.
            context: kept as `task.context`.
            on_status: called with the task when the answer is there.

        Does what `gearman_client_add_task_status_by_unique` does, see `unique_status`.
        """
        doing = f"Client.add_task_status_by_unique({unique!r})"
        self._check_mine(doing)
        task = self._unique_question(doing, unique)
        return self._enqueue(task, context, {"status": on_status}, doing)
