"""What the fuzzer plays with: job servers, jobs that are recorded, and what runs them."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import partial

from pygearman_cffi import (
    Client,
    GearmanError,
    Job,
    JobException,
    JobFail,
    RetryJob,
    Worker,
)
from pygearman_cffi.testing import GearmanServer, WorkerThread

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
)
BAD = ("fail", "exception", "raise", "type")
AGAIN = ("retry", "quit")
"""Given back at the first try, by RetryJob and by SystemExit."""
KINDS = GOOD + BAD + AGAIN


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
        began = time.monotonic()
        order = self.orders[token_of(job.workload)]
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
            if order.kind in AGAIN and not self.calm and self._first(order):
                if order.kind == "quit":
                    raise SystemExit(7)
                raise RetryJob
            self._first(order)
            try:
                return self._end(worker, job, order)
            finally:
                with self._lock:
                    order.ran += 1
        finally:
            self.busy_seconds[threading.get_ident()] += int(
                (time.monotonic() - began) * 1e6
            )

    def _first(self, order: Order) -> bool:
        with self._lock:
            first = order.number not in self._tried
            self._tried.add(order.number)
        return first

    def _end(self, worker: Worker, job: Job, order: Order) -> bytes | None:
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
        elif kind == "fail":
            raise JobFail("as ordered")
        elif kind == "exception":
            raise JobException(b"as ordered")
        elif kind == "raise":
            raise ValueError("as ordered")
        elif kind == "type":
            return "text"  # type: ignore[return-value]
        return result


@dataclass(eq=False)
class Place:
    """A job server that dies and returns."""

    name: str
    server: GearmanServer = field(default_factory=GearmanServer)
    generation: int = 0
    """Counts its deaths, twice each: it is odd while one is under way."""
    timer: threading.Timer | None = None
    frozen: bool = False

    @property
    def address(self) -> str:
        """Its address, which it keeps."""
        return self.server.address

    @property
    def is_dead(self) -> bool:
        """Tell whether it is down, or going down."""
        return self.generation % 2 == 1 or not self.server.running

    def settle(self) -> None:
        """Wait until what was to happen to it has happened."""
        if self.timer is not None:
            self.timer.join()
            self.timer = None

    def kill(self) -> None:
        """End it at once, and what it knows with it."""
        self.settle()
        self._kill()

    def kill_after(self, seconds: float) -> None:
        """End it in the middle of whatever is going on then."""
        self.settle()
        self.timer = threading.Timer(seconds, self._kill)
        self.timer.start()

    def freeze(self, seconds: float) -> None:
        """Let it stand still for a while."""
        self.settle()
        if self.server.running:
            pid = self.server.pid
            os.kill(pid, signal.SIGSTOP)
            self.timer = threading.Timer(seconds, os.kill, (pid, signal.SIGCONT))
            self.timer.start()

    def start(self) -> None:
        """Bring it back."""
        self.settle()
        self.server.start()

    def _kill(self) -> None:
        self.generation += 1
        self.server.kill()
        # What was ordered meanwhile may have been accepted just before the end.
        self.generation += 1


class World:
    """Two job servers, an address where nobody listens, and one that never answers."""

    def __init__(self) -> None:
        self.places = {name: Place(name) for name in ("a", "b")}
        self._hole = socket.create_server(("127.0.0.1", 0))
        self._nobody = socket.socket()
        self._nobody.bind(("127.0.0.1", 0))
        self.addresses = {
            **{name: place.address for name, place in self.places.items()},
            "hole": f"127.0.0.1:{self._hole.getsockname()[1]}",
            "nobody": f"127.0.0.1:{self._nobody.getsockname()[1]}",
        }
        self._names = {
            self.addresses[name]: name for name in ("a", "b", "hole", "nobody")
        }
        self._over = threading.Event()
        self.function = ""
        self.workers: list[WorkerThread] = []

    def generations(self) -> dict[str, int]:
        """Return how often each server has died."""
        return {name: place.generation for name, place in self.places.items()}

    def name_of(self, host: str, port: int) -> str:
        """Return the name of the server with an address."""
        return self._names[f"{host}:{port}"]

    def pause(self, seconds: float) -> None:
        """Be a slow function."""
        self._over.wait(seconds)

    def make_worker(self, names: tuple[str, ...], ledger: Ledger) -> Worker:
        """Return a worker that does the jobs of this example."""
        worker = Worker(
            [self.addresses[name] for name in names], connect_timeout=0.3, timeout=0.1
        )
        worker.add_function(self.function, partial(ledger.serve, worker))
        return worker

    def nested_call(self, ledger: Ledger) -> None:
        """Be a client inside a worker function."""
        order = ledger.order("echo")
        with Client(self.addresses["a"], timeout=0.1) as client:
            try:
                result = client.do(self.function, order.workload)
            except GearmanError:
                return
            ledger.check_result(order, result)

    def meddle(self, worker: Worker) -> None:
        """Call into the worker that runs this function."""
        for call in (
            worker.close,
            worker.work,
            worker.wait,
            worker.grab_job,
            lambda: worker.run(max_seconds=0.01),
            worker.remove_servers,
            lambda: worker.add_function("other", print),
            lambda: worker.function_exist("other"),
            lambda: worker.echo(b"?", timeout=0.05),
        ):
            try:
                call()
            except GearmanError:
                pass

    def is_disturbed(self) -> bool:
        """Tell whether a server is down, or about to be."""
        return any(
            place.timer is not None or not place.server.running
            for place in self.places.values()
        )

    def recover(self) -> None:
        """Bring every server back."""
        for place in self.places.values():
            place.start()

    def close(self) -> None:
        """End everything."""
        for place in self.places.values():
            place.settle()
            place.server.kill()
        self._hole.close()
        self._nobody.close()
