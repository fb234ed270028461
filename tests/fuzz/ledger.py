"""Every job that was ordered, what it does, and every time that it ran."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pygearman_cffi import (
    ConnectionLostError,
    Job,
    JobException,
    JobFail,
    RetryJob,
    Worker,
)
from tests.fuzz.forks import Inheritance, fork

if TYPE_CHECKING:
    from tests.fuzz.world import World

GOOD = (
    "echo",
    "chunks",
    "warn",
    "status",
    "sleep",
    "complete",
    "big",
    "nest",
    "meddle",
    "fork",
)
BAD = ("fail", "exception", "raise", "type")
AGAIN = ("retry", "quit")
"""Given back at the first try, by RetryJob and by SystemExit."""


def answer(workload: bytes) -> bytes:
    """Return the result of a job that succeeds: it shows whose result it is."""
    return b"=" + workload


def token_of(workload: bytes) -> int:
    """Return the number of the order that a workload belongs to."""
    return int(workload.split(b"|", 1)[0])


@dataclass(eq=False)
class Order:
    """A job that was asked for."""

    number: int
    kind: str
    unique: str | None
    since: dict[str, int]
    """The generation of each server when it was asked for."""
    background: bool = False
    server: str | None = None
    """The server that has accepted it, where that is known."""
    workload: bytes = b""
    handles: list[str] = field(default_factory=list)
    """The job's names, which the worker functions were told."""
    ran: int = 0
    """How often it ran to its end."""


class Ledger:
    """Every order, and every time that one ran."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._tried: set[int] = set()
        self._owners: dict[str, int] = {}
        self.orders: dict[int, Order] = {}
        self.by_unique: defaultdict[str, set[int]] = defaultdict(set)
        self.wrong: list[str] = []
        """What a worker function saw that cannot be."""
        self.calm = False
        """Nothing unusual any more: it is time to finish."""
        self.busy_seconds: Counter[int] = Counter()
        """Time that each thread spent in worker functions."""

    def order(
        self, kind: str, *, unique: str | None = None, background: bool = False
    ) -> Order:
        """Write down a new order."""
        number = next(self._numbers)
        order = Order(number, kind, unique, self._world.generations(), background)
        padding = bytes(300_000 if kind == "big" else number % 50)
        order.workload = f"{number}|{kind}|".encode() + padding
        self.orders[number] = order
        if unique is not None:
            self.by_unique[unique].add(number)
        return order

    def peers(self, order: Order) -> set[int]:
        """Return the orders whose result this one may get: those with its unique."""
        if order.unique is None:
            return {order.number}
        return self.by_unique[order.unique]

    def check_result(self, order: Order, result: bytes) -> None:
        """Check that a result belongs to the order."""
        assert result[:1] == b"=", (order.kind, order.number, result[:60])
        number = token_of(result[1:])
        peer = self.orders[number]
        assert number in self.peers(order), (
            f"{order.number} {order.handles} got the result of {number} {peer.handles}"
        )
        assert result == answer(peer.workload), (order.kind, len(result))
        ran = sum(self.orders[number].ran for number in self.peers(order))
        tried = peer.kind in {"complete", "meddle"} or peer.number in self._tried
        assert ran or tried, f"{order.number} has a result and did not run"

    def may_fail(self, order: Order) -> bool:
        """Tell whether a job's failure is what was ordered."""
        return any(self.orders[n].kind in BAD for n in self.peers(order))

    def serve(self, worker: Worker, job: Job) -> bytes | None:
        """Do a job: the function of every worker."""
        with self.serving(job) as order:
            self.give_back(order)
            return self.act(worker, job, order)

    @contextmanager
    def serving(self, job: Job) -> Iterator[Order]:
        """Write down that a job runs, and for how long; check that it is the order's."""
        began = time.monotonic()
        order = self.orders[token_of(job.workload)]
        ended = True
        try:
            if order.unique not in {None, job.unique}:
                self.wrong.append(f"{order.unique} came as {job.unique}")
            with self._lock:
                owner = self._owners.setdefault(job.unique, order.number)
            if order.unique is None and owner != order.number:
                self.wrong.append(f"{order.number} has the unique of {owner}")
            order.handles.append(job.handle)
            if job.workload != order.workload:
                self.wrong.append(f"the workload of {order.number} was changed")
            yield order
        except (RetryJob, SystemExit):
            ended = False
            raise
        finally:
            with self._lock:
                order.ran += ended
            self.busy_seconds[threading.get_ident()] += int(
                (time.monotonic() - began) * 1e6
            )

    def give_back(self, order: Order) -> None:
        """Raise what gives a job back, if that was ordered, at its first try."""
        if self._first(order) and order.kind in AGAIN and not self.calm:
            if order.kind == "quit":
                raise SystemExit(7)
            raise RetryJob

    def _first(self, order: Order) -> bool:
        with self._lock:
            first = order.number not in self._tried
            self._tried.add(order.number)
        return first

    def act(self, worker: Worker, job: Job, order: Order) -> bytes | None:
        """Do what was ordered, and return the result."""
        kind, result = order.kind, answer(order.workload)
        if kind == "chunks":
            job.send_data(result[:3])
            job.send_data(b"")
            job.send_data(result[3:7])
            return result[7:]
        if kind == "warn":
            job.send_warning(b"careful")
        elif kind == "status":
            for numerator in range(3):
                job.send_status(numerator, 3)
        elif kind == "sleep":
            self._world.pause(0.03)
        elif kind == "complete":
            job.send_complete(result)
            job.send_fail()
            return b"ignored"
        elif kind == "nest" and not self.calm:
            self._world.nested_call(self)
        elif kind == "meddle" and not self.calm:
            self._world.meddle(worker)
        elif kind == "fork" and not self.calm:
            self._fork(worker, job, order)
        elif kind == "fail":
            raise JobFail("as ordered")
        elif kind == "exception":
            raise JobException(b"as ordered")
        elif kind == "raise":
            raise ValueError("as ordered")
        elif kind == "type":
            return "text"  # type: ignore[return-value]
        return result

    def _fork(self, worker: Worker, job: Job, order: Order) -> None:
        """Have a child touch the job, which must go on as if nothing had been."""
        told = fork(Inheritance(worker=worker, job=job).use)
        if told:
            self.wrong.append(f"fork in a worker function: {told}")
        try:
            job.send_status(1, 2)
        except ConnectionLostError as error:
            if self._world.generations() == order.since:
                self.wrong.append(f"a child has ended its parent's connection: {error}")
