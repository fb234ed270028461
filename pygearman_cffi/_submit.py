"""What every call of a client has in common: making tasks, and running one."""

from __future__ import annotations

import time
from datetime import datetime
from types import EllipsisType
from typing import ClassVar

from . import _convert
from ._config import Configured, Timeout
from ._convert import BytesLike
from ._engine import Engine
from ._frames import is_theirs
from ._kind import Kind
from ._unique import fresh_unique
from .enums import ClientOption, Priority
from .errors import (
    ArgumentTypeError,
    ForkedError,
    GearmanError,
    InvalidArgumentError,
    ServerError,
    UnsupportedError,
)
from .status import JobHandle
from .task import Task, TaskFunction

__all__ = ["Submitter"]


# In names of our own: before Python 3.12 each look into an enum takes its time, and
# an operation on flags much more.
_FOREGROUND, _NORMAL = Kind.FOREGROUND, Priority.NORMAL
_NON_BLOCKING = int(ClientOption.NON_BLOCKING)
_LARGE = 1 << 20
"""Bytes; what is not larger needs no look at the limit."""


class Submitter(Configured[ClientOption]):
    """The base of the client: checks arguments, makes tasks, runs them."""

    _kind: ClassVar[str] = "client"
    _option_type = ClientOption
    _settable = (
        ClientOption.NON_BLOCKING
        | ClientOption.FREE_TASKS
        | ClientOption.GENERATE_UNIQUE
        | ClientOption.EXCEPTION
        | ClientOption.UNBUFFERED_RESULT
        | ClientOption.STOP_WAIT_ON_SIGNAL
    )
    _engine: Engine
    _task_fns: dict[str, TaskFunction]

    def _changed(self) -> None:
        self._engine.renew()

    def _check_options(self, value: ClientOption, doing: str) -> ClientOption:
        options = super()._check_options(value, doing)
        if options & ClientOption.UNBUFFERED_RESULT:
            raise UnsupportedError(
                "UNBUFFERED_RESULT crashes the C library as soon as a callback leaves "
                "data unread; read Task.data in on_data, which gets every chunk",
                doing=doing,
            )
        return options

    def _limit(self, timeout: Timeout, doing: str) -> float | None:
        if isinstance(timeout, EllipsisType):
            return self._config.timeout
        return _convert.seconds(timeout, "timeout", doing)

    def _deadline(self, timeout: Timeout, doing: str) -> float | None:
        limit = self._config.timeout if timeout is ... else self._limit(timeout, doing)
        return None if limit is None else time.monotonic() + limit

    def _cannot_wait(self, doing: str) -> UnsupportedError:
        """Say why NON_BLOCKING rules out the calls that wait for their own answer."""
        return UnsupportedError(
            "a NON_BLOCKING client cannot wait for an answer; use add_task(), "
            "run_tasks() and wait(), or another client",
            doing=doing,
        )

    # -- making tasks -----------------------------------------------------------------

    def _task(
        self,
        doing: str,
        kind: Kind,
        function: str | bytes,
        workload: BytesLike,
        unique: str | bytes | None,
        priority: Priority,
    ) -> Task:
        """Make a task; wrong arguments raise here, before C is touched."""
        config = self._config
        name = _convert.function_name(function, config.namespace, doing)
        payload = workload
        if type(workload) is not bytes or len(workload) > _LARGE:
            payload = _convert.workload(workload, doing)
        given = fresh_unique() if unique is None else _convert.unique(unique, doing)
        task = Task(self, doing, name, given, payload)
        if kind is not _FOREGROUND:
            task._kind = kind
        if priority is not _NORMAL:
            task._priority = self._priority(priority, doing)
        return task

    def _priority(self, value: Priority, doing: str) -> Priority:
        try:
            return Priority(value)
        except ValueError as reason:
            raise InvalidArgumentError(str(reason), doing=doing) from None

    def _function(self, value: TaskFunction, what: str, doing: str) -> TaskFunction:
        if not callable(value):
            raise ArgumentTypeError(
                f"{what} is a function of the task, not {type(value).__name__}",
                doing=doing,
            )
        return value

    def _question(self, doing: str, handle: str | bytes) -> Task:
        task = Task(self, doing, b"", b"")
        task._kind = Kind.STATUS
        task._asked = _convert.handle(handle, doing)
        server = getattr(handle, "server", None)
        task._ask = self.servers if server is None else (server,)
        task._key = (b"", task._asked)
        if isinstance(handle, str):
            task._handle = JobHandle(handle, server)
        return task

    def _unique_question(self, doing: str, unique: str | bytes) -> Task:
        task = Task(self, doing, b"", _convert.unique(unique, doing))
        task._kind = Kind.STATUS_BY_UNIQUE
        task._asked = task._unique
        task._ask = self.servers
        return task

    def _schedule(self, task: Task, at: datetime | float, doing: str) -> None:
        """Make a background job one that is due at a time."""
        if task._priority is not Priority.NORMAL:
            raise InvalidArgumentError(
                "a job with at= has normal priority: the job server keeps no other",
                doing=doing,
            )
        task._kind = Kind.EPOCH
        task._at = _convert.epoch(at, doing)

    def _run_one(self, task: Task, timeout: Timeout, doing: str) -> None:
        """Run one task to its end; a failure says what is known of it."""
        if self._config.options._value_ & _NON_BLOCKING:
            raise self._cannot_wait(doing)
        self._begin(doing)
        try:
            self._engine.run_one(task, self._deadline(timeout, doing))
        except GearmanError as error:
            # One that names a call is not the engine's, either: a handler made it.
            if error._theirs or error.doing or is_theirs(error):
                raise
            forked = isinstance(error, ForkedError)
            if task._error and not (task.is_finished or forked):
                raise task._error from None
            raise error.during(doing) from error.__cause__
        finally:
            self._end()

    def _exchange(
        self, doing: str, timeout: Timeout, call: str, argument: bytes
    ) -> None:
        """Make a call of the connection itself; a half-done one costs it its life."""
        if self._config.options._value_ & _NON_BLOCKING:
            raise self._cannot_wait(doing)
        self._begin(doing)
        try:
            deadline = self._deadline(timeout, doing)
            self._engine.check_idle()
            session = self._engine.lanes.first(deadline)
            done = False
            try:
                getattr(session, call)(argument, deadline)
                done = True
            except ServerError:
                done = True
                raise
            finally:
                if not done:
                    session.tainted = True
            session.raise_parked()
        except GearmanError as error:
            raise error.during(doing) from error.__cause__
        finally:
            self._end()
