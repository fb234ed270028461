"""What all rules share: one call and what must hold for it, the record, the journal."""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine

from pygearman_cffi import (
    Client,
    ClientOption,
    ClosedError,
    ConnectionLostError,
    CouldNotConnectError,
    GearmanTimeoutError,
    NoServersError,
    Priority,
    Task,
    UnsupportedError,
    Worker,
)
from pygearman_cffi.testing import WorkerThread
from tests.fuzz.ledger import AGAIN, BAD, GOOD, Ledger, Order
from tests.fuzz.world import World

LATE = 1.0
"""Seconds by which a call may outlast its deadline."""
STUCK = 60
"""Seconds after which a step is taken for hung, and the process ends with a trace."""

TIMES = st.sampled_from([0.001, 0.02, 0.1, 0.3])
SERVERS = st.sampled_from(
    [("a",), ("b",), ("a", "b"), ("b", "a"), ("nobody", "a"), ("hole", "b"), ("hole",)]
)
KIND = st.sampled_from(GOOD * 3 + BAD * 2 + AGAIN)
RARELY = st.sampled_from([False, False, False, True])
UNIQUE = st.one_of(st.none(), st.none(), st.sampled_from(["u1", "u2", "u" * 60]))
PRIORITY = st.sampled_from(list(Priority))
ACTIONS = st.sampled_from(
    [
        "count",
        "count",
        "look",
        "raise",
        "interrupt",
        "exit",
        "add",
        "reenter",
        "other",
        "fork",
    ]
)
EVENTS = ("created", "data", "warning", "status", "complete", "exception", "fail")


class Boom(Exception):
    """Raised by callbacks."""


@dataclass
class Record:
    """What was done, over all examples of this process."""

    steps: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    late: float = 0.0
    latest: str = ""
    examples: int = 0
    jobs: int = 0
    ran: int = 0
    background: int = 0
    again: int = 0
    kills: int = 0


@dataclass(eq=False)
class Subject:
    """A client, and what is known of it."""

    client: Client
    names: tuple[str, ...]
    tasks: list[tuple[Task, Order, Counter[str]]] = field(default_factory=list)
    since: dict[str, int] = field(default_factory=dict)
    closed: bool = False

    @property
    def polls(self) -> bool:
        """Tell whether it is NON_BLOCKING."""
        return self.client.has_option(ClientOption.NON_BLOCKING)


record = Record()
world: World | None = None
failed = False
"""A sequence has failed: the journal keeps it while hypothesis takes it again."""
journal = -1
"""A file that holds the steps of the example in progress, whatever kills us."""


def note(text: str) -> None:
    """Write a step into the journal, before it is taken."""
    if journal >= 0 and not failed:
        os.write(journal, f"{text}\n".encode())


subjects: Bundle[Subject] = Bundle("subjects")
iterators: Bundle[Any] = Bundle("iterators")
hands: Bundle[Worker] = Bundle("hands")
runners: Bundle[WorkerThread] = Bundle("runners")


class Base(RuleBasedStateMachine):
    """What the rules of every subject are made of."""

    def __init__(self) -> None:
        super().__init__()
        global world
        if journal >= 0 and not failed:
            os.ftruncate(journal, 0)
            os.lseek(journal, 0, os.SEEK_SET)
        record.examples += 1
        if world is None:
            world = World()
        self.world = world
        note(f"# example {record.examples}")
        world.recover()
        world.function = f"x{record.examples}.f"
        self.ledger = Ledger(world)
        self.thrown: list[BaseException] = []
        """By callbacks in this thread, during the call in progress."""
        self.thrown_elsewhere: list[BaseException] = []
        self.theirs = 0.0
        """Seconds spent in callbacks."""
        self.all: list[Subject] = []
        self.all_hands: list[Worker] = []

    def call(
        self,
        name: str,
        fn: Callable[[], Any],
        limit: float = 0.0,
        *,
        subject: Subject | None = None,
        may: tuple[type[BaseException], ...] = (),
        shown: object = "",
    ) -> Any:
        """Make a call and check how long it took and what it raised.

        Returns:
            What it returned, or the exception.
        """
        note(f"{name} {subject.names if subject else ''} {limit} {shown}")
        record.steps[name] += 1
        self.thrown.clear()
        self.theirs = 0.0
        busy = self.ledger.busy_seconds[threading.get_ident()]
        outcome: Any
        faulthandler.dump_traceback_later(STUCK, exit=True)
        began = time.monotonic()
        try:
            outcome = fn()
        except (Exception, KeyboardInterrupt, SystemExit) as error:  # noqa: BLE001
            outcome = error
        took = time.monotonic() - began
        faulthandler.cancel_dump_traceback_later()
        busy = self.ledger.busy_seconds[threading.get_ident()] - busy
        over = took - limit - self.theirs - busy / 1e6
        if over > record.late:
            record.late, record.latest = over, name
        assert over <= LATE, f"{name} took {took:.3f} s, and was given {limit}"
        if isinstance(outcome, BaseException):
            record.errors[type(outcome).__name__] += 1
            note(f"    -> {outcome!r}")
            self.check_error(name, outcome, subject, may)
        elif self.thrown:
            raise AssertionError(f"{name} swallowed {self.thrown!r}")
        return outcome

    def check_error(
        self,
        name: str,
        error: BaseException,
        subject: Subject | None,
        may: tuple[type[BaseException], ...],
    ) -> None:
        """Check that a call had a reason to fail like this."""
        if self.thrown:
            assert any(error is one for one in self.thrown), (name, error, self.thrown)
            return
        if isinstance(error, may):
            return
        if subject is not None:
            if isinstance(error, ClosedError) and subject.closed:
                return
            if isinstance(error, UnsupportedError) and subject.polls:
                return
            if isinstance(error, NoServersError) and not subject.names:
                return
            if isinstance(error, (CouldNotConnectError, ConnectionLostError)):
                ill = set(subject.names) & {"hole", "nobody"}
                dead = any(
                    place.is_dead or place.generation != subject.since[name]
                    for name, place in self.world.places.items()
                )
                if ill or dead:
                    return
            if isinstance(error, GearmanTimeoutError):
                return
        raise AssertionError(f"{name} had no reason for {error!r}") from error

    def join_thread(self, thread: threading.Thread, limit: float) -> None:
        """Wait for the end of a thread whose call has so many seconds."""
        self.call("join", lambda: thread.join(limit + LATE * 0.9), limit)
        if thread.is_alive():
            frames = sys._current_frames()
            where = [
                f"{other.name}:\n" + "".join(traceback.format_stack(frame))
                for other in threading.enumerate()
                if (frame := frames.get(other.ident or 0))
            ]
            raise AssertionError("\n".join(["a thread does not end", *where]))

    def adopt(self, client: Client, names: tuple[str, ...]) -> Subject:
        """Keep a client's record."""
        subject = Subject(client, names, since=self.world.generations())
        self.all.append(subject)
        return subject

    def function(self, subject: Subject) -> str:
        """Return the function's name for a client."""
        return "f" if subject.client.namespace else self.world.function

    def background(self, kind: str, unique: str | None) -> Order:
        """Order a background job; its unique is never one of a foreground job.

        gearmand forgets a job that was joined to one whose client has gone.
        """
        return self.ledger.order(
            kind, unique=None if unique is None else f"b{unique}", background=True
        )

    def accepted(self, order: Order, server: tuple[str, int] | None) -> None:
        """Write down which server has promised to have a job run."""
        assert server is not None
        order.server = self.world.name_of(*server)
