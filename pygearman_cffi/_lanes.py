"""The sessions of one client: opened on the first server that answers, and reused."""

from __future__ import annotations

import select
import time
from collections.abc import Iterable

from ._addresses import Address
from ._config import Config
from ._session import Session
from .enums import ClientOption
from .errors import (
    CouldNotConnectError,
    GearmanError,
    GearmanTimeoutError,
    NoServersError,
    NotGearmanError,
)

__all__ = ["Lanes", "unreached", "wait_for_any"]

_PENALTY = 10.0
"""Seconds for which a server that could not be reached is tried last."""
_WAIT = 0.4
"""Seconds; no wait is longer, see `Connection.wait`."""
_LANES = 16
"""How many connections a run may open where each takes one job at a time."""


class Lanes:
    """The connected sessions of one client: some for jobs, some for the rest."""

    def __init__(self, config: Config[ClientOption]) -> None:
        self._config = config
        self._jobs: list[Session] = []
        self._asides: dict[Address | None, Session] = {}
        self._down: dict[Address, float] = {}

    @property
    def active(self) -> list[Session]:
        """The sessions that have tasks in flight."""
        if not self._asides and len(self._jobs) == 1:
            return self._jobs[:] if self._jobs[0].live else []
        return [session for session in self.all if session.live]

    @property
    def all(self) -> list[Session]:
        """Every session."""
        return [*self._jobs, *self._asides.values()]

    def close(self) -> None:
        """Free every session."""
        for session in self.all:
            session.close()
        self._jobs.clear()
        self._asides.clear()
        self._down.clear()

    def drop(self, session: Session) -> None:
        """Free one session."""
        session.close()
        if session in self._jobs:
            self._jobs.remove(session)
        else:
            for key in [key for key, other in self._asides.items() if other is session]:
                del self._asides[key]

    def taint(self) -> None:
        """Have every session replaced before its next use."""
        for session in self.all:
            session.tainted = True

    def penalise(self, server: Address) -> None:
        """Try a server last for a while."""
        self._down[server] = time.monotonic() + _PENALTY

    def open(self, servers: Iterable[Address], deadline: float | None) -> Session:
        """Return a session on the first server that answers.

        Raises:
            CouldNotConnectError: none did; every reason is told.
        """
        now = time.monotonic()
        order = sorted(servers, key=lambda server: self._down.get(server, 0.0) > now)
        if not order:
            raise NoServersError("no job server was added; use add_server(host, port)")
        reasons: list[tuple[Address, GearmanError]] = []
        for server in order:
            session = Session(self._config, server)
            try:
                session.open(deadline)
            except GearmanTimeoutError as reason:
                self.penalise(server)
                reasons.append((server, reason))
                raise GearmanTimeoutError(
                    f"the time is up while connecting ({_listed(reasons)}). Nothing "
                    "was sent"
                ) from None
            except CouldNotConnectError as reason:
                self.penalise(server)
                reasons.append((server, reason))
                continue
            self._down.pop(server, None)
            session.raise_parked()
            return session
        raise unreached(reasons)

    def quiet(self) -> Session | None:
        """Return the session that jobs go to if it can take one at once, else None."""
        if len(self._jobs) == 1:
            session = self._jobs[0]
            alone = not (session.live or (self._asides and self.active))
            if alone and session.quiet:
                return session
        return None

    def first(self, deadline: float | None) -> Session:
        """Return the session that jobs go to, connected and fit for use.

        One that was refused a job takes no more; another goes on while it finishes.
        """
        for session in self._jobs[:]:
            if session.live:
                if not session.tainted or session.sending:
                    return session
            elif session.fresh:
                return session
            else:
                self.drop(session)
        if len(self._jobs) >= _LANES:
            return self._jobs[0]
        session = self.open(self._config.servers, deadline)
        self._jobs.append(session)
        return session

    def aside(self, server: Address | None, deadline: float | None) -> Session:
        """Return a session for what may not mix with jobs in flight.

        For questions about the jobs of a server, since C would take a job's answer for
        theirs; with None for epoch jobs, which C submits in a way of its own.
        """
        session = self._asides.get(server)
        if session is not None and not session.live and not session.fresh:
            self.drop(session)
            session = None
        if session is None:
            servers = self._config.servers if server is None else [server]
            session = self._asides[server] = self.open(servers, deadline)
        return session

    def spare(self, deadline: float | None) -> Session | None:
        """Return a further idle session for jobs, or None where there are enough."""
        for session in [session for session in self._jobs[1:] if not session.live]:
            if session.fresh:
                return session
            self.drop(session)
        if len(self._jobs) >= _LANES:
            return None
        session = self.open(self._config.servers, deadline)
        self._jobs.append(session)
        return session


def wait_for_any(sessions: list[Session], deadline: float | None) -> bool:
    """Wait until one of several sessions has something to do, for a moment at most."""
    left = _WAIT
    if deadline is not None:
        left = min(left, deadline - time.monotonic())
    poll = select.poll()
    by_number = {}
    for session in sessions:
        number = session.register(poll)
        if number is None:  # nothing to see: C waits a moment for each of them
            return sum(session.arm() for session in sessions) > 0
        by_number[number] = session
    ready = poll.poll(max(0.0, left) * 1000)
    for number, _ in ready:
        by_number[number].arm()
    return bool(ready)


def _listed(reasons: list[tuple[Address, GearmanError]]) -> str:
    return "; ".join(_told(f"{host}:{port}: ", why) for (host, port), why in reasons)


def _told(where: str, reason: GearmanError) -> str:
    # An error that `unreached` made of this server has told it already.
    told = reason.detail
    return told if told.startswith(where) else f"{where}{reason}"


def unreached(reasons: list[tuple[Address, GearmanError]]) -> CouldNotConnectError:
    """Make the error that says of each server why it was not reached."""
    foreign = all(isinstance(reason, NotGearmanError) for _, reason in reasons)
    cls = NotGearmanError if foreign else CouldNotConnectError
    told = _listed(reasons)
    return cls(
        f"no job server could be reached: {told}. Nothing was sent; check the address, "
        "and that a job server runs there",
        code=reasons[-1][1].code,
        detail=told,
    )
