"""Which job servers of a worker answer, and when the others are tried again."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterable

from ._addresses import Address
from ._probe import Probe
from ._sockets import Reached
from .errors import CouldNotConnectError

__all__ = ["Backoff", "Roster"]

_log = logging.getLogger("pygearman_cffi.worker")


class Backoff:
    """Times to wait, each about twice the one before, up to a longest."""

    def __init__(self, first: float, longest: float, *, jitter: float = 0.25) -> None:
        self._first = first
        self._longest = longest
        self._jitter = jitter
        self._next = first

    def reset(self) -> None:
        """Begin anew."""
        self._next = self._first

    def take(self) -> float:
        """Return the next time to wait, in seconds."""
        seconds = self._next
        self._next = min(2 * seconds, self._longest)
        # Workers that lost their server together must not all come back together.
        return seconds * random.uniform(1 - self._jitter, 1 + self._jitter)


class _Entry:
    """One job server: reached, being tried, or waiting to be tried."""

    def __init__(self, server: Address) -> None:
        self.server = server
        self.reached: Reached | None = None
        self.probe: Probe | None = None
        self.due = 0.0
        self.backoff = Backoff(0.1, 2.0)
        self.up: bool | None = None
        """What was last said of it in the log."""

    def __str__(self) -> str:
        host, port = self.server
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def close(self) -> None:
        """Give up an attempt."""
        probe, self.probe = self.probe, None
        if probe is not None:
            probe.close()

    def found(self, reached: Reached) -> None:
        """Note that it answers."""
        self.probe = None
        self.reached = reached
        self.backoff.reset()
        if not self.up:
            again = "" if self.up is None else " again"
            _log.info("job server %s answers%s", self, again)
        self.up = True

    def missed(self, reason: CouldNotConnectError, blocked: float) -> None:
        """Note that it does not; the attempt has blocked for some seconds."""
        self.probe = None
        # A name server that does not answer may not keep us from the other servers.
        self.due = time.monotonic() + max(self.backoff.take(), 10 * blocked)
        if self.up is not False:
            what = "is lost" if self.up else "cannot be reached"
            _log.warning("job server %s %s (%s); trying again", self, what, reason)
        self.up = False


class Roster:
    """The job servers of one worker, each with what is known of it."""

    def __init__(self) -> None:
        self._entries: list[_Entry] = []
        self._timeout: float | None = None
        self.failures = 0
        """How many attempts have failed; it only grows."""

    def update(self, servers: Iterable[Address], connect_timeout: float | None) -> None:
        """Take another list of servers; what is known of those that stay is kept."""
        former = {entry.server: entry for entry in self._entries}
        self._entries = [
            former.pop(server) if server in former else _Entry(server)
            for server in dict.fromkeys(servers)
        ]
        self._timeout = connect_timeout
        for entry in former.values():
            entry.close()

    def close(self) -> None:
        """Give up what is being tried."""
        for entry in self._entries:
            entry.close()

    def proceed(self) -> list[Reached]:
        """Try what is due and move on what is being tried; never waits.

        Returns:
            The addresses that have answered since the last call.
        """
        found = []
        now = time.monotonic()
        for entry in self._entries:
            if entry.reached is not None or (entry.probe is None and entry.due > now):
                continue
            began = time.monotonic()
            try:
                if entry.probe is None:
                    entry.probe = Probe(entry.server, self._timeout)
                reached = entry.probe.advance()
            except CouldNotConnectError as reason:
                self.failures += 1
                entry.missed(reason, time.monotonic() - began)
            else:
                if reached is not None:
                    entry.found(reached)
                    found.append(reached)
        return found

    def recheck(self, delay: float = 0.0) -> None:
        """Trust nobody any longer: try every job server again, after a delay.

        Those that are down keep the time that was set for them.
        """
        due = time.monotonic() + delay
        for entry in self._entries:
            if entry.reached is not None:
                entry.reached = None
                entry.due = due

    @property
    def complete(self) -> bool:
        """True when every job server has answered."""
        return all(entry.reached is not None for entry in self._entries)

    @property
    def reached(self) -> list[Reached]:
        """The addresses of the job servers that have answered."""
        return [entry.reached for entry in self._entries if entry.reached is not None]

    @property
    def probes(self) -> list[Probe]:
        """The attempts that go on."""
        return [entry.probe for entry in self._entries if entry.probe is not None]

    @property
    def next_time(self) -> float:
        """When something has to be done next, whatever happens before."""
        return min(
            (
                entry.due if entry.probe is None else entry.probe.deadline
                for entry in self._entries
                if entry.reached is None
            ),
            default=float("inf"),
        )
