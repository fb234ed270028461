"""Run tasks: in order, over as many sessions as it takes, with fail-over.

The engine owns what waits and the sessions that serve it. It hands tasks to C in
windows, and decides what a failure means: what certainly was not sent goes to the
next job server; what may have been sent is never sent again.
"""

from __future__ import annotations

import time
from collections import deque

from . import _library, _sockets
from ._config import Config
from ._convert import Address
from ._lanes import Lanes, wait_for_any
from ._session import Broken, Session
from .enums import ClientOption, ReturnCode, TaskState
from .errors import (
    CODE_TO_ERROR,
    ConnectionLostError,
    CouldNotConnectError,
    GearmanError,
    GearmanTimeoutError,
)
from .task import Kind, Task

__all__ = ["Engine"]

WINDOW = 256
"""How many tasks are in C at once: its list is searched for every packet."""


class Engine:
    """The waiting tasks of one client, and the sessions that run them."""

    def __init__(self, config: Config[ClientOption]) -> None:
        self._config = config
        self.waiting: deque[Task] = deque()
        self._held: dict[tuple[bytes, bytes], deque[Task]] = {}
        self._keys: set[tuple[bytes, bytes]] = set()
        self.lanes = Lanes(config)
        self._failure: BaseException | None = None
        self._lost: list[tuple[int, Address, str]] = []
        self._why = (ReturnCode.LOST_CONNECTION, "")
        self.window = WINDOW

    # -- state ------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """True when no task waits or is in flight."""
        return not (self.waiting or self._held or self.lanes.active)

    def close(self) -> None:
        """Free every session; tasks in flight are abandoned first."""
        self._abandon_all(ReturnCode.LOST_CONNECTION, "the client was closed")
        self.lanes.close()

    # -- feeding ----------------------------------------------------------------------
    #
    # An interrupt can strike between any two lines. So nothing is taken out of a queue
    # before it is in its next place, and a task met twice is told by its state.

    def _feed(self, deadline: float | None) -> bool:
        """Give waiting tasks to sessions that have room; tell whether any was given."""
        given = False
        while self._skip():
            task = self.waiting[0]
            if task._kind is Kind.STATUS_BY_UNIQUE:
                self._ask_unique(task, deadline)
                continue
            session = self._place(task, deadline)
            if session is None:
                break
            block = self._block(session, task)
            session.give(block)
            self._release(session)
            given = True
        return given

    def _skip(self) -> bool:
        """Bring a task to the head that may be sent; False when there is none."""
        while self.waiting:
            task = self.waiting[0]
            if task.state is TaskState.WAITING:
                if task._key not in self._keys:
                    return True
                # Its twin is in flight: C would give both the same answer, twice.
                self._held.setdefault(task._key, deque()).append(task)
            self.waiting.popleft()
        return False

    def _block(self, session: Session, first: Task) -> list[Task]:
        """Take as many tasks as the session has room for, in order."""
        block: list[Task] = []
        room = self._room(session, first)
        while len(block) < room and self._skip():
            task = self.waiting[0]
            if task._kind is not first._kind or task._ask[:1] != first._ask[:1]:
                break
            block.append(task)
            if task._key is not None:
                self._keys.add(task._key)
            self.waiting.popleft()
        return block

    def _room(self, session: Session, task: Task) -> int:
        if session.tainted or session.sending:
            return 0
        if _library.features().loose_replies:
            # Any reply may go to a task without a handle: a foreground job is alone.
            if any(other._kind is Kind.FOREGROUND for other in session.live.values()):
                return 0
            if task._kind is Kind.FOREGROUND:
                return 0 if session.live else 1
        return self.window - len(session.live)

    def _place(self, task: Task, deadline: float | None) -> Session | None:
        """Return a session that has room for a task, or None to wait for one."""
        if task._kind is Kind.STATUS:
            session = self.lanes.asker(task._ask[0], deadline)
            return session if self._room(session, task) > 0 else None
        session = self.lanes.first(deadline)
        if self._room(session, task) > 0:
            return session
        if not _library.features().loose_replies:
            return None
        return self.lanes.spare(deadline)

    def _ask_unique(self, task: Task, deadline: float | None) -> None:
        server = task._ask[0]
        known, running, numerator, denominator, clients = _sockets.unique_status(
            server, task._asked, self._config.connect_timeout, deadline
        )
        task._set_status(numerator, denominator)
        if task._answer(known, running, clients) and task._on_status is not None:
            task._on_status(task)

    def _release(self, session: Session) -> None:
        """Let the twins of tasks that have ended take their place in front."""
        for key in session.released:
            self._keys.discard(key)
            twins = self._held.get(key)
            if twins:
                self.waiting.appendleft(twins[0])
                twins.popleft()
                if not twins:
                    del self._held[key]
        session.released.clear()
        self.waiting.extendleft(reversed(session.again))
        session.again.clear()

    # -- running ----------------------------------------------------------------------

    def run(self, deadline: float | None, *, once: bool = False) -> bool:
        """Run what waits; True when nothing is left.

        An ordinary exception of a callback stops the feeding: what is in flight
        finishes, then it is raised. Whatever else goes wrong abandons the run at once.

        Args:
            deadline: when to give up, by `time.monotonic()`.
            once: do what can be done without waiting, and return.

        Raises:
            GearmanTimeoutError: the deadline passed.
            ConnectionLostError: tasks were lost; they say so themselves.
        """
        self._failure = None
        self._lost.clear()
        clean = False
        self._why = (ReturnCode.LOST_CONNECTION, "the run was interrupted")
        try:
            turned = once
            while True:
                fed = self._failure is None and self._feed_or_fail(deadline)
                active = self.lanes.active
                if not active:
                    break
                if turned and not fed and not once:
                    self._wait(active, deadline)
                for session in active:
                    self._turn(session, deadline)
                turned = True
                if once:
                    break
                if deadline is not None and time.monotonic() >= deadline:
                    self._check_time(deadline)
            clean = True
        finally:
            if not clean:
                self._abandon_all(*self._why)
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        if self._lost:
            raise self._lost_error()
        return self.idle

    def run_one(self, task: Task, deadline: float | None) -> None:
        """Run one task now, whatever else waits."""
        waiting, self.waiting = self.waiting, deque((task,))
        try:
            self.run(deadline)
        finally:
            self.waiting = waiting

    def _feed_or_fail(self, deadline: float | None) -> bool:
        try:
            return self._feed(deadline)
        except GearmanTimeoutError:
            raise
        except GearmanError as reason:
            # Nothing more can be sent, but what is in flight may still finish.
            self._failure = reason
            return False

    def _wait(self, sessions: list[Session], deadline: float | None) -> None:
        if len(sessions) == 1:
            sessions[0].wait(deadline)
        else:
            wait_for_any(sessions, deadline)

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
            raise GearmanTimeoutError(
                f"the time is up: {flying} in flight were abandoned, "
                f"{len(self.waiting)} wait unsent"
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
        self.waiting.extendleft(reversed(unsent))
        if len(unsent) < before:
            self._lost.append((before - len(unsent), session.server, reason.detail))
        self._release(session)
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
        for session in self.lanes.active:
            unsent = session.abandon(code, what)
            self.waiting.extendleft(reversed(unsent))
            self._release(session)
            self.lanes.drop(session)
