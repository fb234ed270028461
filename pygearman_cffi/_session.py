"""The tasks of one C client: given in order, turned, refused, abandoned.

A session is thrown away after anything indefinite; what it had in flight is then told
apart into what certainly was not sent and what may have run.
"""

from __future__ import annotations

import time
from itertools import count
from typing import TYPE_CHECKING

from . import _library
from ._addresses import Address
from ._config import Config
from ._connection import Broken, Connection
from ._convert import text
from ._frames import call_parking, current
from ._handle import process
from ._kind import Kind
from ._library import ffi
from .enums import ClientOption, Priority, ReturnCode, TaskState
from .task import Task

if TYPE_CHECKING:
    from ._library import CData

__all__ = ["Broken", "Session", "make_argument"]

# In names of our own: before Python 3.12 each look into an enum takes its time.
_STATUS, _EPOCH, _FOREGROUND = Kind.STATUS, Kind.EPOCH, Kind.FOREGROUND
_NORMAL, _SENT = Priority.NORMAL, TaskState.SENT
_SUCCESS, _IO_WAIT = int(ReturnCode.SUCCESS), int(ReturnCode.IO_WAIT)
_GOING_ON = {_SUCCESS, _IO_WAIT}
_PATIENCE = 400.0
"""Milliseconds; no wait is longer, see `Connection.wait`."""
_REFUSALS = {ReturnCode.SERVER_ERROR, ReturnCode.QUEUE_ERROR, ReturnCode.JOB_QUEUE_FULL}
_ADD = {
    (Kind.FOREGROUND, Priority.HIGH): "gearman_client_add_task_high",
    (Kind.FOREGROUND, Priority.LOW): "gearman_client_add_task_low",
    (Kind.BACKGROUND, Priority.HIGH): "gearman_client_add_task_high_background",
    (Kind.BACKGROUND, Priority.LOW): "gearman_client_add_task_low_background",
}
_orders = count(1)


def make_argument(task: Task) -> tuple[CData, CData]:
    """Return a task's workload as C's execute functions take it, and what it points to.

    Both must live until C returns.
    """
    workload = bytes(task._workload)
    value = ffi.from_buffer(workload) if workload else ffi.NULL
    made = _library.load().gearman_argument_make(ffi.NULL, 0, value, len(workload))
    return ffi.new("gearman_argument_t *", made), value


class Session(Connection):
    """A connection that runs tasks."""

    def __init__(self, config: Config[ClientOption], server: Address) -> None:
        super().__init__(config, server)
        self._last: Task | None = None
        self._created_set = False
        self._epochs = False
        self._refusals: list[tuple[ReturnCode, str]] = []
        self._nudges: dict[Task, list[Task]] = {}
        self._armed = False
        self._left: int | None = None
        """What a visit to C has returned that is not seen to yet."""

    # C waits once for what it then reads: asked again before, it says that the
    # connection is gone.

    def arm(self) -> bool:
        """Let C look at its connection, unless it has seen something there already."""
        self._armed = self._armed or super().arm()
        return self._armed

    def _run(self) -> int:
        self._armed = False
        return super()._run()

    @property
    def sending(self) -> bool:
        """True while tasks that were given are not sent yet."""
        return self._last is not None

    def give(self, tasks: list[Task]) -> None:
        """Hand tasks to C, which sends them in this order at the next turn.

        Only while nothing is `sending`: C before 2.0.0 sends the newest first.
        """
        fifo = _library.features().fifo_tasks
        for task in tasks:
            task._order = next(_orders)
        for task in tasks if fifo else reversed(tasks):
            pointer = self._add(task)
            if pointer:
                self._enlist(task, pointer)
            else:
                task._refused(ReturnCode(self._code[0]), self._told())
                self._ended(task)
        self._last = next((task for task in reversed(tasks) if not task._ended), None)

    def _add(self, task: Task) -> CData:
        lib, kind, null = self._lib, task._kind, ffi.NULL
        if kind is _STATUS:
            return lib.gearman_client_add_task_status(
                self._pointer, null, null, task._asked, self._code
            )
        if kind is _EPOCH:
            self._epochs = True
            return self._add_epoch(task)
        if task._watched is not self._created_set:
            self._created_set = task._watched
            self._set_fn("created", task._watched)
        workload = task._workload
        size = len(workload)
        data: CData = workload
        if not size:
            data = null  # C refuses an empty workload that has an address
        elif not isinstance(workload, bytes):
            data = ffi.from_buffer(workload)
        if task._priority is not _NORMAL:
            add = getattr(lib, _ADD[kind, task._priority])
        elif kind is _FOREGROUND:
            add = lib.gearman_client_add_task
        else:
            add = lib.gearman_client_add_task_background
        # C copies it all before it returns.
        return add(
            self._pointer,
            null,
            null,
            task._function,
            task._unique,
            data,
            size,
            self._code,
        )

    def _add_epoch(self, task: Task) -> CData:
        """Submit a job for later; C has no other call for it, and no callback."""
        lib = self._lib
        task._sent(None, self.server)
        when = lib.gearman_task_attr_init_epoch(task._at, int(Priority.NORMAL))
        attributes = ffi.new("gearman_task_attr_t *", when)
        argument, _kept = make_argument(task)
        frame, current.frame = current.frame, self
        try:
            pointer = lib.gearman_execute(
                self._pointer,
                task._function,
                len(task._function),
                task._unique,
                len(task._unique),
                attributes,
                argument,
                ffi.NULL,
            )
            self._code[0] = lib.gearman_client_error_code(self._pointer)
            return pointer
        finally:
            current.frame = frame

    def _check_epochs(self) -> None:
        """Look whether the server has accepted the epoch job in flight."""
        lib = self._lib
        for pointer, task in list(self.live.items()):
            if task._kind is not Kind.EPOCH:
                continue
            code = lib.gearman_task_return(pointer)
            if code == ReturnCode.UNKNOWN_STATE:
                continue
            del self.live[pointer]
            if code == ReturnCode.SUCCESS:
                task._accepted(text(lib.gearman_task_job_handle(pointer)))
                if task._on_created is not None:
                    call_parking(self, task._on_created, task)
            else:
                task._refused(ReturnCode(code), self._told())
                self._ended(task)
            lib.gearman_task_free(pointer)

    def _ended(self, task: Task) -> None:
        """Do for a task that was refused what its final callback would do."""
        if task._key is not None:
            self.released.append(task._key)
        if task._on_fail is not None:
            call_parking(self, task._on_fail, task)

    def run_alone(self, task: Task, deadline: float | None) -> bool:
        """Run one small job while nothing else is in flight.

        Returns:
            True when it has ended well; else a `turn` sees to what is left.
        """
        self.deadline = deadline
        pointer = self._add(task)
        if not pointer:
            task._refused(ReturnCode(self._code[0]), self._told())
            self._ended(task)
            return False
        self._last = task
        task._pointer, task._server, task.state = pointer, self.server, _SENT
        self.live[pointer] = task
        client, poll = self._pointer, self._poll.poll
        run = self._lib.gearman_client_run_tasks
        listen = self._lib.gearman_client_wait
        patience = _PATIENCE
        self._armed = False
        frame, current.frame = current.frame, self
        try:
            code = run(client)
            while code == _IO_WAIT:
                if deadline is not None:
                    patience = min(patience, (deadline - time.monotonic()) * 1000)
                    if patience <= 0:
                        break
                if not poll(patience) or listen(client) != _SUCCESS:
                    break
                code = run(client)
        finally:
            current.frame = frame
        if (
            task._ended
            and code == _SUCCESS
            and self.error is None
            and not self.overdue
            and self._born == process.generation
        ):
            self._last = None
            return True
        self._left = code
        return False

    def turn(self) -> None:
        """Let C send and receive what it can without waiting.

        What callbacks raised is parked in `error`; `fatal` and `overdue` mean that
        the session must be abandoned.

        Raises:
            Broken: the connection is lost, or what came over it makes no sense.
        """
        code, self._left = self._left, None
        if code is None:
            code = self._run()
        while code not in _GOING_ON and not (self.fatal or self.overdue):
            self._refusal(ReturnCode(code), self._told())
            code = self._run()  # sends the question, so that C listens again
        if self._nudges:
            self._resolve()
        if self._epochs:
            self._check_epochs()
        last = self._last
        if last is not None:
            writing = self._sending(last)
            if not writing:
                self._last = None
            self._watch(writing)

    # -- refused jobs -------------------------------------------------------------------

    def _in_order(self) -> list[Task]:
        tasks = [task for task in self.live.values() if task._kind is not Kind.NUDGE]
        tasks.sort(key=lambda task: task._order)
        return tasks

    def _refusal(self, code: ReturnCode, detail: str) -> None:
        """Go on after an ERROR packet, which names no task and would stall C."""
        alive = code in _REFUSALS if self._descriptor is None else self._descriptor.open
        if not alive or len(self._refusals) >= len(self.live):
            raise Broken(code, detail)
        self.tainted = True
        self._refusals.append((code, detail))
        # The server answers in order: once it has answered one more question, the
        # tasks that were sent before it and have no handle are the refused ones.
        suspects = [task for task in self._in_order() if not self._sending(task)]
        nudge = self._ask_nothing()
        self._nudges[nudge] = suspects
        self._last = self._last or nudge

    def _resolve(self) -> None:
        for nudge in [nudge for nudge in self._nudges if nudge._ended]:
            for task in self._nudges.pop(nudge):
                if task._ended or task._kind is Kind.STATUS or not self._refusals:
                    continue
                task._take_handle()
                if task._handle is None:
                    del self.live[task._pointer]
                    task._refused(*self._refusals.pop(0))
                    self._ended(task)

    # -- giving up ----------------------------------------------------------------------

    def abandon(self, code: ReturnCode, what: str) -> list[Task]:
        """Say of each task in flight what is known; the session must be closed then.

        Returns:
            The tasks of which certainly no byte was sent, in order.
        """
        unsent = []
        for task in self._in_order():
            if task._ended:
                continue
            if task._key is not None:
                self.released.append(task._key)
            if task._pointer is not None:
                if self._state(task) != b"GEARMAN_TASK_STATE_NEW":
                    task._abandon(code, what)
                    continue
                task._unsent()
            unsent.append(task)  # without a pointer: this was interrupted before
        return unsent
