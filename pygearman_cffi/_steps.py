"""One step of a worker, which never waits, and the wait for the next one."""

from __future__ import annotations

import logging
import select
import time
from collections.abc import Callable

from ._config import Config
from ._cworker import ARM, BLIND, CWorker
from ._handle import process
from ._handling import SLICE, Handling
from ._probe import unread, writable
from ._registry import Registry
from ._roster import Backoff, Roster
from ._wakeup import Wakeup
from .enums import ReturnCode, WorkerOption

__all__ = ["HANG_UP", "Steps"]

_log = logging.getLogger("pygearman_cffi.worker")

HANG_UP: int = getattr(select, "POLLRDHUP", 0)
"""Tells a connection that ends from one that brings something; Linux only."""
_TICK = 1.0
"""Seconds after which a sleeping worker asks again: an epoch job wakes nobody."""
_SHORT_LIFE = 1.0
"""Seconds: connections that last no longer are not made anew at once."""
_NOOP = 12
"""The size of the packet that wakes a sleeping worker."""
_MUTE = 5
"""Milliseconds for which a socket is not watched."""
_SUCCESS = int(ReturnCode.SUCCESS)
_IO_WAIT = int(ReturnCode.IO_WAIT)
_NO_JOBS = int(ReturnCode.NO_JOBS)
_COULD_NOT_CONNECT = int(ReturnCode.COULD_NOT_CONNECT)
_TIMEOUT = int(ReturnCode.TIMEOUT)
_LOSSES = (
    ReturnCode.LOST_CONNECTION,
    ReturnCode.COULD_NOT_CONNECT,
    ReturnCode.NO_ACTIVE_FDS,
)


class Steps(Handling):
    """Keeps one C worker connected to the job servers that answer, and asks them."""

    def __init__(
        self,
        config: Config[WorkerOption],
        functions: Registry,
        wakeup: Wakeup,
        *,
        send_exceptions: bool,
    ) -> None:
        """Begin with nothing connected; both records are read at each connect."""
        super().__init__(wakeup, send_exceptions=send_exceptions)
        self._config = config
        self._registered = functions
        self._roster = Roster()
        self._roster.update(config.servers, config.connect_timeout)
        self._calls = True
        """Jobs are run, not grabbed."""
        self._outdated = False
        self._attention = True
        """A server is to be tried, or everything to be connected, before C goes on."""
        self._asking = False
        """A server owes an answer, which may be a job."""
        self._asked_at: float | None = None
        self._asleep = False
        """Every server has been told to wake us."""
        self._due = 0.0
        """When the next step is due though nothing happens."""
        self._poll: select.poll | None = None
        self._sockets: set[int] = set()
        self._woken: dict[int, int] = {}
        self._muted: set[int] = set()
        self._paused_until = 0.0
        self._pauses = Backoff(1.0, 30.0, jitter=0.0)
        self._troubles = Backoff(0.1, 2.0)
        self._trouble: ReturnCode | None = None
        self._lost = False

    # -- one step -------------------------------------------------------------------

    def _step(self, call: Callable[[CWorker], int]) -> int:
        """Do what can be done without waiting: connect, ask, run a job.

        Returns:
            SUCCESS after a job, IO_WAIT, NO_JOBS, or COULD_NOT_CONNECT while no
            server can be reached.
        """
        if self._born != process.generation:
            raise self._forked()
        cworker = self._cworker
        if cworker is None or self._attention:
            code = self._attend()
            if code is not None:
                return code
            cworker = self._cworker
            assert cworker is not None
            if self._asleep and time.monotonic() < self._due:
                return _NO_JOBS
        self._asleep = False
        # Until the answer is dealt with: an exception before that finds it set, and
        # the C worker, which could crash at its next call, is thrown away.
        self._asking = True
        code = call(cworker)
        if self.dividing is not None and code != _IO_WAIT:
            code = self._divided(code, call, cworker)
        if code == _SUCCESS:
            self._answered()
            if self.given_back:
                self._give_up_job()
            elif self._paused_until:
                self._paused_until = 0.0
                self._pauses.reset()
        elif code != _IO_WAIT:
            code = self._rest(cworker) if code == _NO_JOBS else self._fail(code)
        if self.error is not None:
            self.raise_parked()
        return code

    def _answered(self) -> None:
        self._asking = False
        self._asked_at = None
        if self._woken:
            self._woken.clear()
        if self._muted:
            self._muted.clear()
            self._poll = None

    def _attend(self) -> int | None:
        """Try servers, connect to those that answer.

        Returns:
            None where C can go on; otherwise what there is to wait for.
        """
        if self._outdated:
            self.renew()
        if self._paused_until > time.monotonic():
            self._due = self._paused_until
            return _NO_JOBS
        roster = self._roster
        found = roster.proceed()
        if found or roster.probes:
            self._poll = None
        if self._cworker is None:
            if not roster.reached:
                self._due = roster.next_time
                return _IO_WAIT if roster.probes else _COULD_NOT_CONNECT
            self._connect()
        elif found:
            for reached in found:
                self._cworker.add_server(reached)
            self._asleep = False
        self._attention = not roster.complete
        return None

    def _connect(self) -> None:
        # A worker function may have changed them meanwhile.
        self._registered.check("connecting the worker", calls=self._calls)
        functions = self._registered.values()
        self._functions = {function.number: function for function in functions}
        cworker = CWorker(self._config, functions, self._wakeup.fileno())
        self._cworker = cworker
        for reached in self._roster.reached:
            cworker.add_server(reached)
        if not cworker.request_options():
            _log.warning("the server options could not be set: %s", cworker.told())

    def _drop(self) -> None:
        cworker, self._cworker = self._cworker, None
        self._answered()
        self._asleep = self.given_back = self.congested = False
        self._attention = True
        self._poll = None
        if cworker is not None:
            cworker.free()

    def renew(self) -> None:
        """Let the next step begin with a new C worker, of the present records."""
        self._outdated = False
        self._drop()
        self._roster.update(self._config.servers, self._config.connect_timeout)
        self._roster.recheck()

    def outdate(self) -> None:
        """Renew before the next step; safe in a worker function."""
        self._outdated = self._attention = True

    def interrupt(self) -> None:
        """Owe the servers nothing: a job on its way to us goes to another worker."""
        if self._asking or self.given_back:
            self.renew()

    def _rest(self, cworker: CWorker) -> int:
        """No server has a job, and each has been told to wake us."""
        if not cworker.connected:
            return self._fail(ReturnCode.LOST_CONNECTION)
        self._answered()
        now = time.monotonic()
        self._asleep = True
        self._due = now + _TICK
        self._attention = not self._roster.complete
        if now - cworker.born_at > _SHORT_LIFE:
            self._troubles.reset()
            self._trouble = None
        return _NO_JOBS

    def _fail(self, code: int, told: str = "") -> int:
        """The C worker is of no use any more: begin anew with those that answer."""
        cworker = self._cworker
        assert cworker is not None
        told = told or cworker.told()
        short = time.monotonic() - cworker.born_at < _SHORT_LIFE
        self._drop()
        self._roster.recheck(self._troubles.take() if short else 0.0)
        reason = ReturnCode(code)
        if reason not in _LOSSES and reason is not self._trouble:
            _log.warning("connecting anew: %s (%s)", told, reason.name)
        self._trouble = reason
        self._lost = True
        answer = self._attend()
        return _IO_WAIT if answer is None else answer

    def _give_up_job(self) -> None:
        """A job has gone back to its server with the connection."""
        again = self.error is None and self.ended is ReturnCode.ERROR
        self.renew()
        if again:
            self._paused_until = time.monotonic() + self._pauses.take()

    # -- waiting --------------------------------------------------------------------

    def _sleep(self, until: float | None, *, tick: bool) -> bool:
        """Wait a while; signals are served meanwhile, and `stop` ends it.

        Args:
            until: no longer than to this time.
            tick: sleep a second at most before every server is asked again.

        Returns:
            True when another step is worth while.
        """
        cworker = self._cworker
        asking = self._asking
        if self.congested and cworker is not None and cworker.settled:
            self.congested = False
            if not all(writable(d.number) for d in cworker.descriptors):
                self.wait_writable()
                return True
        limit: float = SLICE
        due = float("inf")
        if not asking or self._attention or until is not None:
            if not asking and (tick or cworker is None):
                due = self._due
            if self._attention and self._paused_until <= 0.0:
                due = min(due, self._roster.next_time)
            end = due if until is None else min(due, until)
            limit = max(0.0, min(limit, (end - time.monotonic()) * 1000))
        if self._muted:
            limit = min(limit, _MUTE)
        if cworker is not None and (cworker.blind or (asking and not cworker.settled)):
            limit = BLIND if cworker.blind else ARM
            code = cworker.arm()
            active = code == _SUCCESS
            if code not in (_SUCCESS, _TIMEOUT):
                self._fail(code)
                return True
        else:
            active = self._wait(limit, asking)
        if active:
            self._asked_at = None
            return True
        if self._muted:
            self._muted.clear()
            self._poll = None
        if asking and self._stalled(limit):
            return True
        return due < float("inf") and time.monotonic() >= due

    def _wait(self, limit: float, asking: bool) -> bool:
        """Wait for the sockets and the pipe; tell whether there is something to do."""
        events = (self._poll or self._poller()).poll(limit)
        active = False
        pipe = self._wakeup.fileno()
        for number, _ in events:
            if number == pipe:
                self._wakeup.drain()
                continue
            active = True
            if number in self._sockets:
                self._due = 0.0
                if asking and len(self._sockets) > 1:
                    self._mute(number)
        return active

    def _poller(self) -> select.poll:
        """Return what watches the pipe, C's sockets and the probes."""
        poll = select.poll()
        poll.register(self._wakeup.fileno(), select.POLLIN)
        cworker = self._cworker
        self._sockets = set()
        if cworker is not None:
            self._sockets.update(d.number for d in cworker.descriptors)
        for number in self._sockets - self._muted:
            poll.register(number, select.POLLIN | HANG_UP)
        probes = [probe for probe in self._roster.probes if probe.fileno() >= 0]
        for probe in probes:
            poll.register(probe.fileno(), probe.events)
        if not probes:
            self._poll = poll  # it lasts until something changes
        return poll

    def _mute(self, number: int) -> None:
        """Do not watch a socket that C does not read, for it asks another server.

        All that can be on it is the packet that wakes us, or the end. The server that
        is asked sends such a packet twice at most: the same, and "no job".
        """
        times = self._woken[number] = self._woken.get(number, 0) + 1
        if times > 2 and unread(number) in (0, _NOOP):
            self._muted.add(number)
            self._poll = None

    def _stalled(self, waited: float) -> bool:
        """Give up a server that owes an answer and says nothing at all."""
        now = time.monotonic()
        if self._asked_at is None:
            self._asked_at = now - waited / 1000
        longest = self._config.connect_timeout
        if longest is None or now - self._asked_at < longest:
            return False
        self._fail(ReturnCode.TIMEOUT, f"no answer within connect_timeout, {longest} s")
        return True
