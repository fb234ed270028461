"""What waits to run, and how it is given to sessions: in order, in windows.

Tasks with equal uniques are never in flight at once. An interrupt can strike between
any two lines, so nothing is taken out of a queue before it is in its next place: who
cleans up may find a task in two, never none.
"""

from __future__ import annotations

from collections import deque

from . import _library
from ._config import Config
from ._kind import Kind
from ._lanes import Lanes
from ._questions import Questions
from ._session import Session
from .enums import ClientOption, TaskState
from .errors import CouldNotConnectError
from .task import Task

__all__ = ["WINDOW", "Feeder"]

# In names of our own: before Python 3.12 each look into an enum takes its time.
_WAITING = TaskState.WAITING
_FOREGROUND, _STATUS, _EPOCH = Kind.FOREGROUND, Kind.STATUS, Kind.EPOCH
WINDOW = 256
"""How many tasks are in C at once: its list is searched for every packet."""


class Feeder:
    """The waiting tasks of one client."""

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
        self.window = WINDOW

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
