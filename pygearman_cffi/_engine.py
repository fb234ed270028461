"""Run tasks: over as many sessions as it takes, with fail-over.

The engine owns the sessions that serve what waits, and decides what a failure means:
what certainly was not sent goes to the next job server; what may have been sent is
never sent again.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from ._addresses import Address
from ._config import Config
from ._feeding import Feeder
from ._handle import process
from ._kind import Kind
from ._lanes import wait_for_any
from ._session import Broken, Session
from .enums import ClientOption, ReturnCode, TaskState
from .errors import (
    CODE_TO_ERROR,
    BusyError,
    ConnectionLostError,
    CouldNotConnectError,
    ForkedError,
    GearmanError,
    GearmanTimeoutError,
)
from .task import Task

__all__ = ["Engine"]

# In names of our own: before Python 3.12 each look into an enum takes its time.
_WAITING = TaskState.WAITING
_FOREGROUND, _BACKGROUND, _EPOCH = Kind.FOREGROUND, Kind.BACKGROUND, Kind.EPOCH
_INTERRUPTED = ReturnCode.LOST_CONNECTION, "the run was interrupted"
_SMALL = 1 << 14
"""Bytes. What is not larger leaves in one piece, so nobody waits for room."""


class Engine(Feeder):
    """The sessions of one client, and the runs that they make."""

    def __init__(self, config: Config[ClientOption]) -> None:
        super().__init__(config)
        self._born = process.generation
        self._lost: list[tuple[int, Address, str]] = []
        self._why = _INTERRUPTED
        self._clean = True
        self.tells_lost = True
        """Raise what was lost at the end of a run."""

    # -- state ------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """True when no task waits or is in flight."""
        return not (self._skip() or self._held or self.lanes.active)

    def check_idle(self) -> None:
        """Refuse a call of its own while tasks of a NON_BLOCKING run are in flight."""
        self._repair()
        if self.lanes.active:
            raise BusyError(
                "tasks of run_tasks() are in flight; call it until it returns True"
            )

    def renew(self) -> None:
        """Replace every connection: at once, or when what is in flight has ended."""
        for session in self.lanes.all:
            if session.live:
                session.tainted = True
            else:
                self.lanes.drop(session)

    def close(self) -> None:
        """Free every session; tasks in flight are abandoned first."""
        self._abandon_all(ReturnCode.LOST_CONNECTION, "the client was closed")
        self.lanes.close()

    # -- running ----------------------------------------------------------------------

    def run(
        self,
        deadline: float | None,
        *,
        once: bool = False,
        until: Callable[[], bool] | None = None,
    ) -> bool:
        """Run what waits; True when nothing is left.

        An ordinary exception of a callback stops the feeding: what is in flight
        finishes, then it is raised. Whatever else goes wrong abandons the run at once.

        Args:
            deadline: when to give up, by `time.monotonic()`.
            once: do what can be done without waiting, and return.
            until: return, with tasks in flight, as soon as it is true.

        Raises:
            GearmanTimeoutError: the deadline passed.
            ConnectionLostError: tasks were lost; they say so themselves.
        """
        self._begin()
        try:
            self._loop(deadline, once, until)
            self._clean = True
        finally:
            if not self._clean:
                self._clean_up()
        self._tell()
        return self.idle

    def run_one(self, task: Task, deadline: float | None) -> None:
        """Run one task now, whatever else waits."""
        self._waiting = deque()
        try:
            session = None
            if (
                (task._kind is _FOREGROUND or task._kind is _BACKGROUND)
                and len(task._workload) <= _SMALL
                and self._clean
            ):
                session = self.lanes.quiet()
            if session is None:
                self.check_idle()
                self._waiting.append(task)
                self.run(deadline)
                return
            # A small job on an idle session: the loop is for what this leaves.
            self._failure = None
            self._why = _INTERRUPTED
            self._clean = False
            try:
                self._hand.append(task)
                ended = session.run_alone(task, deadline)
                self._hand.clear()
                if not ended:
                    self._go_on(session, deadline)
                self._clean = True
            finally:
                if not self._clean:
                    self._clean_up()
            if not ended:
                self._tell()
        finally:
            self._waiting = self.queue

    def _go_on(self, session: Session, deadline: float | None) -> None:
        """Run on where a session has left a job that it ran alone."""
        self._lost.clear()
        self._turn(session, deadline)
        self._loop(deadline, turned=True)

    def _begin(self) -> None:
        self._repair()
        self._failure = None
        self._questions.begin()
        self._lost.clear()
        self._why = _INTERRUPTED
        self._clean = False

    def _repair(self) -> None:
        """Clean up where the last run was interrupted while it did."""
        if not self._clean:
            self._clean_up()

    def _loop(
        self,
        deadline: float | None,
        once: bool = False,
        until: Callable[[], bool] | None = None,
        *,
        turned: bool = False,
    ) -> None:
        while True:
            if self._born != process.generation:
                raise ForkedError(
                    "a child that was forked in the middle of this call has returned to "
                    "it; the jobs are its parent's. End the child with os._exit()"
                )
            # Once means two turns: what is given is sent, what has come is read.
            last = once and turned
            fed = not (last or self._failure) and self._feed_or_fail(deadline)
            active = self.lanes.active
            if not active:
                return
            if turned and not fed:
                self.wait(active, time.monotonic() if once else deadline)
            for session in active:
                if not session.broken:
                    self._turn(session, deadline)
            turned = True
            if last or (until is not None and until()):
                return
            if not once and deadline is not None and time.monotonic() >= deadline:
                self._check_time(deadline)

    def _clean_up(self) -> None:
        self._abandon_all(*self._why)
        self._clean = True

    def _tell(self) -> None:
        """Raise what the run has met with."""
        failure, self._failure = self._failure, None
        unsent = failure is None or isinstance(failure, CouldNotConnectError)
        if unsent and self._lost and self.tells_lost:
            raise self._lost_error() from failure
        if failure is not None:
            raise failure

    def _feed_or_fail(self, deadline: float | None) -> bool:
        try:
            return self._feed(deadline)
        except GearmanTimeoutError:
            self._why = (ReturnCode.TIMEOUT, "the time was up")
            raise
        except GearmanError as reason:
            # Nothing more can be sent, but what is in flight may still finish.
            self._failure = reason
            return False

    def wait(self, sessions: list[Session], deadline: float | None) -> bool:
        """Wait for any of them, for a moment at most; tell whether something happened."""
        try:
            if len(sessions) == 1:
                return sessions[0].wait(deadline)
            return wait_for_any(sessions, deadline)
        except Broken as reason:
            for session in sessions:
                if session.broken:
                    self._broken(session, reason)
            return True

    def _turn(self, session: Session, deadline: float | None) -> None:
        session.deadline = deadline
        try:
            session.turn()
        except Broken as reason:
            self._broken(session, reason)
        if session.error is not None:
            if session.fatal:
                session.raise_parked()
            error, session.error = session.error, None
            self._failure = self._failure or error
        if session.overdue:
            session.overdue = False
            self._check_time(deadline)
        if session.released or session.again:
            self._release(session)

    def _check_time(self, deadline: float | None) -> None:
        """Give up when the time is up and something is still in flight."""
        flying = sum(len(session.live) for session in self.lanes.active)
        if flying or self._skip():
            self._why = (ReturnCode.TIMEOUT, "the time was up")
            raise self._failure or GearmanTimeoutError(
                f"the time is up: {flying} in flight were abandoned, "
                f"{len(self._waiting)} wait unsent"
            )

    def _broken(self, session: Session, reason: Broken) -> None:
        """Go on after a lost connection: with what certainly was not sent."""
        code = reason.code
        if CODE_TO_ERROR.get(code) in (None, CouldNotConnectError):
            code = ReturnCode.LOST_CONNECTION
        before = len(session.live)
        unsent = session.abandon(code, reason.detail or "the connection was lost")
        if len(unsent) == before and before:
            # It answers, yet takes nothing: the others first, or none at all.
            self.lanes.penalise(session.server)
            if len(self._config.servers) == 1:
                self._failure = ConnectionLostError(
                    f"{reason.detail}. Nothing was sent", code=code
                )
        self._release(session)
        self._waiting.extendleft(reversed(unsent))
        if len(unsent) < before:
            self._lost.append((before - len(unsent), session.server, reason.detail))
        self.lanes.drop(session)

    def _lost_error(self) -> ConnectionLostError:
        number = sum(lost for lost, _, _ in self._lost)
        _, (host, port), detail = self._lost[0]
        return ConnectionLostError(
            f"the connection to {host}:{port} was lost with {number} in flight "
            f"({detail}); each says in its error what is known. The next call "
            "connects anew",
            detail=detail,
        )

    def _abandon_all(self, code: ReturnCode, what: str) -> None:
        """Give up what is in flight; when interrupted, do it again from the start."""
        sessions = self.lanes.all
        unsent = [
            task
            for session in sessions
            for task in session.abandon(code, what) + session.again
        ]
        for task in self._hand:
            if task._kind is _EPOCH and task.state is TaskState.SENT:
                task._abandon(code, what)  # C sends it before it gives a pointer
            elif not task._ended:
                task._unsent()
        hand, queued = set(self._hand), set(self._waiting)
        twins = [task for held in self._held.values() for task in held]
        back = [task for task in unsent if task not in hand] + self._hand + twins
        back = [
            task
            for task in dict.fromkeys(back)
            if task.state is _WAITING and task not in queued
        ]
        self._waiting.extendleft(reversed(back))
        for session in sessions:
            if session.live:
                self.lanes.drop(session)
        # An interrupt can have left more in C than was in flight.
        self.lanes.taint()
        self._hand = []
        self._keys.clear()
        self._held.clear()
