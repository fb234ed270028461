"""Run tasks: in order, over as many sessions as it takes, with fail-over.

The engine owns what waits and the sessions that serve it. It hands tasks to C in
windows, and decides what a failure means: what certainly was not sent goes to the
next job server; what may have been sent is never sent again.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from . import _library
from ._config import Config
from ._convert import Address
from ._lanes import Lanes, wait_for_any
from ._questions import Questions
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

# In names of our own: before Python 3.12 each look into an enum takes its time.
_WAITING = TaskState.WAITING
_FOREGROUND, _STATUS, _EPOCH = Kind.FOREGROUND, Kind.STATUS, Kind.EPOCH
_INTERRUPTED = ReturnCode.LOST_CONNECTION, "the run was interrupted"
WINDOW = 256
"""How many tasks are in C at once: its list is searched for every packet."""


class Engine:
    """The waiting tasks of one client, and the sessions that run them."""

    def __init__(self, config: Config[ClientOption]) -> None:
        self._config = config
        self.queue: deque[Task] = deque()
        """The tasks of `add_task`, until a run takes them."""
        self._waiting = self.queue
        self._hand: list[Task] = []
        """Taken out of the queue, and not yet given to a session."""
        self._held: dict[tuple[bytes, bytes], deque[Task]] = {}
        self._keys: set[tuple[bytes, bytes]] = set()
        self.lanes = Lanes(config)
        self._questions = Questions(config, self.lanes)
        self._failure: BaseException | None = None
        self._lost: list[tuple[int, Address, str]] = []
        self._why = (ReturnCode.LOST_CONNECTION, "")
        self._clean = True
        self.window = WINDOW
        self.tells_lost = True
        """Raise what was lost at the end of a run."""

    # -- state ------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """True when no task waits or is in flight."""
        return not (self._skip() or self._held or self.lanes.active)

    def close(self) -> None:
        """Free every session; tasks in flight are abandoned first."""
        self._abandon_all(ReturnCode.LOST_CONNECTION, "the client was closed")
        self.lanes.close()

    # -- feeding ----------------------------------------------------------------------
    #
    # An interrupt can strike between any two lines. So nothing is taken out of a queue
    # before it is in its next place: `_abandon_all` may find a task in two, never none.

    def _feed(self, deadline: float | None) -> bool:
        """Give waiting tasks to sessions that have room; tell whether any was given."""
        given = False
        while self._failure is None and self._skip():
            task = self._waiting[0]
            if task._kind.asks and not self._questions.prepare(task, deadline):
                self._failure = self._questions.take_error()
                continue
            try:
                session = self._place(task, deadline)
            except CouldNotConnectError as reason:
                if not task._kind.asks:
                    raise
                self._questions.unanswered(task, reason)
                continue
            if session is None:
                break
            self._take(session, task)
            session.give(self._hand)
            self._hand = []
            self._release(session)
            given = True
        return given

    def _skip(self) -> bool:
        """Bring a task to the head that may be sent; False when there is none."""
        while self._waiting:
            task = self._waiting[0]
            if task.state is _WAITING:
                if task._key not in self._keys:
                    return True
                # Its twin is in flight: C would give both the same answer, twice.
                self._held.setdefault(task._key, deque()).append(task)
            self._waiting.popleft()
        return False

    def _take(self, session: Session, first: Task) -> None:
        """Take as many tasks as the session has room for, in order."""
        room = self._room(session, first)
        while len(self._hand) < room and self._skip():
            task = self._waiting[0]
            if task._kind is not first._kind or task._ask[:1] != first._ask[:1]:
                break
            if task._key is not None:
                self._keys.add(task._key)
            self._hand.append(task)
            self._waiting.popleft()

    def _room(self, session: Session, task: Task) -> int:
        if session.tainted or session.sending:
            return 0
        if task._kind is _EPOCH:
            return 0 if session.live else 1
        if _library.features().loose_replies:
            # Any reply may go to a task without a handle: a foreground job is alone.
            if any(other._kind is _FOREGROUND for other in session.live.values()):
                return 0
            if task._kind is _FOREGROUND:
                return 0 if session.live else 1
        # C's list is gone through for every new block: few large ones are cheaper.
        room = self.window - len(session.live)
        return room if room >= self.window // 4 else 0

    def _place(self, task: Task, deadline: float | None) -> Session | None:
        """Return a session that has room for a task, or None to wait for one."""
        if task._kind is _STATUS or task._kind is _EPOCH:
            server = task._ask[0] if task._ask else None
            session = self.lanes.aside(server, deadline)
            return session if self._room(session, task) > 0 else None
        session = self.lanes.first(deadline)
        if self._room(session, task) > 0:
            return session
        if not _library.features().loose_replies:
            return None
        return self.lanes.spare(deadline)

    def _release(self, session: Session) -> None:
        """Let the twins of tasks that have ended take their place in front."""
        for key in session.released:
            self._keys.discard(key)
            twins = self._held.get(key)
            if twins:
                self._waiting.appendleft(twins[0])
                twins.popleft()
                if not twins:
                    del self._held[key]
        session.released.clear()
        self._waiting.extendleft(reversed(session.again))
        session.again.clear()

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
        if not self._clean:  # the last run was interrupted while it cleaned up
            self._abandon_all(*self._why)
        self._failure = None
        self._questions.begin()
        self._lost.clear()
        self._why = _INTERRUPTED
        self._clean = False
        try:
            turned = False
            while True:
                # Once means two turns: what is given is sent, what has come is read.
                last = once and turned
                fed = not (last or self._failure) and self._feed_or_fail(deadline)
                active = self.lanes.active
                if not active:
                    break
                if turned and not fed:
                    self.wait(active, time.monotonic() if once else deadline)
                for session in active:
                    if not session.broken:
                        self._turn(session, None if once else deadline)
                turned = True
                if last or (until is not None and until()):
                    break
                if not once and deadline is not None and time.monotonic() >= deadline:
                    self._check_time(deadline)
            self._clean = True
        finally:
            if not self._clean:
                self._abandon_all(*self._why)
                self._clean = True
        failure, self._failure = self._failure, None
        unsent = failure is None or isinstance(failure, CouldNotConnectError)
        if unsent and self._lost and self.tells_lost:
            raise self._lost_error() from failure
        if failure is not None:
            raise failure
        return self.idle

    def run_one(self, task: Task, deadline: float | None) -> None:
        """Run one task now, whatever else waits."""
        self._waiting = deque((task,))
        try:
            self.run(deadline)
        finally:
            self._waiting = self.queue

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
