"""Divided jobs: parts of every kind, and mappers and aggregators that misbehave."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from pygearman_cffi import (
    BusyError,
    CouldNotConnectError,
    GearmanError,
    Job,
    NoServersError,
    Priority,
    ReturnCode,
    Task,
    Worker,
)
from pygearman_cffi.testing import WorkerThread
from tests.fuzz.base import (
    KIND,
    PRIORITY,
    SERVERS,
    TIMES,
    UNIQUE,
    Subject,
    note,
    record,
    subjects,
)
from tests.fuzz.ledger import AGAIN, BAD, Order, answer, token_of
from tests.fuzz.tasks import Tasks

REDUCE = 0.3
"""Seconds that a dividing worker waits for its parts, anew after each of them."""
MOST = 4
"""Parts of one job."""
LONG = REDUCE * (MOST + 1)
"""Seconds that C may spend with one divided job."""

PARTS = st.lists(KIND, min_size=1, max_size=MOST)
WHOLE = st.sampled_from(
    [
        *["echo"] * 4,
        *["warn", "status", "sleep", "nest", "meddle", "fork"],
        *["fail", "exception", "raise", "type", "retry", "quit"],
    ]
)
"""What the mapper does, or for some orders the aggregator."""


class Partition(Tasks):
    """Workers that divide jobs, and clients that have them divided."""

    def __init__(self) -> None:
        super().__init__()
        self.dividers: list[WorkerThread] = []
        self.wholes: dict[int, Order] = {}
        """The divided job that each part belongs to."""

    # -- the worker's side ---------------------------------------------------------

    def divided(self, subject: Subject | None = None) -> str:
        """Return the name of the divided function, for a client or for workers."""
        if subject is not None and subject.client.namespace:
            return "p"
        return self.world.function[:-1] + "p"

    def make_divider(self, names: tuple[str, ...], name: str) -> Worker:
        """Return a worker that divides jobs, and does no other."""
        worker = Worker(
            [self.world.addresses[name] for name in names],
            connect_timeout=0.3,
            timeout=0.1,
        )
        self.define(worker, name)
        return worker

    def define(self, worker: Worker, name: str) -> None:
        """Have a worker divide the jobs of a name."""
        worker.define_partition(
            name, partial(self.split, worker), self.join, reduce_timeout=REDUCE
        )

    def split(self, worker: Worker, job: Job) -> None:
        """Give the parts away: the mapper."""
        first, *others = job.workload.split(b"/")[1:]
        job.send_data(first)
        with self.ledger.serving(job) as order:
            if order.number % 2 or order.kind not in {"raise", "type", "quit"}:
                self.ledger.give_back(order)
                self.ledger.act(worker, job, order)
            if order.kind == "meddle":
                self.expect_busy(worker)
            for part in others:
                job.send_data(part)

    def expect_busy(self, worker: Worker) -> None:
        """Call what a worker's own function may not."""
        for call in (worker.work, worker.grab_job, worker.close):
            try:
                call()
            except BusyError:
                pass
            else:
                self.ledger.wrong.append(f"{call} was let in by a mapper")

    def join(self, parts: list[bytes]) -> Any:
        """Put the results together: the aggregator, which checks that all are there."""
        try:
            whole = self.wholes[token_of(parts[0][1:])]
            wanted = [answer(part) for part in whole.workload.split(b"/")[1:]]
            assert parts == wanted, f"parts of {whole.number}"
        except Exception as error:
            shown = [part[:20] for part in parts]
            self.ledger.wrong.append(f"an aggregator was given {shown}: {error!r}")
            raise
        if whole.kind == "raise":
            raise ValueError("as ordered")
        if whole.kind == "type":
            return "text"
        self.ledger.give_back(whole)
        head = whole.workload.split(b"/")[0]
        return b"=" + b"/".join([head, *(part[1:] for part in parts)])

    @rule(names=SERVERS)
    def start_divider(self, names: tuple[str, ...]) -> None:
        """A dividing worker in a thread; its parts are done by the others."""
        if len(self.dividers) < 2:
            thread = WorkerThread(self.make_divider(names, self.divided()))
            self.call("WorkerThread", thread.start, shown=("divides", *names))
            self.dividers.append(thread)

    @precondition(lambda self: self.dividers)
    @rule()
    def stop_divider(self) -> None:
        """Stop one; it may be waiting for parts, or for those that are lost."""
        thread = self.dividers.pop(0)
        self.call("Worker.stop divider", thread.stop, 0.3 + LONG, may=(SystemExit,))

    # -- the client's side ---------------------------------------------------------

    def order_whole(
        self, kind: str, kinds: list[str], unique: str | None, background: bool = False
    ) -> Order:
        """Order a job of so many parts; its unique is never that of another kind."""
        unique = None if unique is None else f"d{background:d}{unique}"
        order = self.ledger.order(kind, unique=unique, background=background)
        parts = [self.ledger.order(part) for part in kinds]
        order.workload = b"/".join([order.workload, *(part.workload for part in parts)])
        self.wholes.update((part.number, order) for part in parts)
        return order

    @rule(
        subject=subjects,
        kind=WHOLE,
        kinds=PARTS,
        unique=UNIQUE,
        priority=PRIORITY,
        timeout=st.one_of(TIMES, st.just(1.0)),
        number=st.integers(1, 3),
    )
    def divide(
        self,
        subject: Subject,
        kind: str,
        kinds: list[str],
        unique: str | None,
        priority: Priority,
        timeout: float,
        number: int,
    ) -> None:
        """Divided jobs, each with the joined results of its own parts."""
        for _ in range(number):
            order = self.order_whole(kind, kinds, unique)
            began = time.monotonic()
            task = self.call(
                "execute_by_partition",
                partial(
                    subject.client.execute_by_partition,
                    self.divided(subject),
                    self.function(subject),
                    order.workload,
                    unique=order.unique,
                    priority=priority,
                    timeout=timeout,
                ),
                timeout,
                subject=subject,
                shown=(kind, kinds, unique),
            )
            if not isinstance(task, BaseException):
                self.check_divided(task, order, kinds, time.monotonic() - began)

    def check_divided(
        self, task: Task, order: Order, kinds: list[str], took: float
    ) -> None:
        """Check how a divided job ended: it fails only for a reason."""
        if task.return_code is ReturnCode.SUCCESS:
            self.ledger.check_result(order, task.result)
            record.steps["divided job joined"] += 1
            return
        codes = {ReturnCode.WORK_FAIL, ReturnCode.WORK_EXCEPTION}
        assert task.return_code in codes, (task, task.return_code, task.error)
        assert (
            self.ledger.may_fail(order)
            or any(kind in BAD for kind in kinds)
            or took >= REDUCE
            # It has joined an older one, whose parts and whose time are not known.
            or len(self.ledger.peers(order)) > 1
            or self.world.generations() != order.since
        ), (task, order.kind, kinds, took, task.error)

    @rule(
        subject=subjects,
        kind=WHOLE,
        kinds=PARTS,
        unique=UNIQUE,
        timeout=TIMES,
        background=st.booleans(),
    )
    def divide_for_nobody(
        self,
        subject: Subject,
        kind: str,
        kinds: list[str],
        unique: str | None,
        timeout: float,
        background: bool,
    ) -> None:
        """A job that names nobody for its parts: what the mapper sends is its result."""
        client, name = subject.client, self.divided(subject)
        order = self.order_whole(
            kind, kinds, unique if background else None, background
        )
        way: Callable[..., Any] = client.do_background if background else client.do
        result = self.call(
            f"{way.__name__} divided",
            lambda: way(name, order.workload, unique=order.unique, timeout=timeout),
            timeout,
            subject=subject,
            may=(GearmanError,) if self.ledger.may_fail(order) else (),
            shown=(kind, kinds),
        )
        if isinstance(result, BaseException):
            return
        if background:
            self.accepted(order, getattr(result, "server", None))
        else:
            first, *others = order.workload.split(b"/")[1:]
            sent = first + b"".join(others)
            # What went out before the job was given back is not taken back.
            possible = {sent, first + sent} if order.kind in AGAIN else {sent}
            assert result in possible, (order.kind, result[:60], sent[:60])

    @rule(subject=subjects, kind=WHOLE, kinds=PARTS, timeout=TIMES)
    def divide_here(
        self, subject: Subject, kind: str, kinds: list[str], timeout: float
    ) -> None:
        """This thread divides what another one has asked for."""
        order = self.order_whole(kind, kinds, None)
        name = f"h{order.number}"
        full = self.world.function[:-1] + name
        worker = self.make_divider(("a", "b"), full)
        results: list[Any] = []

        def ask() -> None:
            began = time.monotonic()
            try:
                task = subject.client.execute_by_partition(
                    name if subject.client.namespace else full,
                    self.function(subject),
                    order.workload,
                    timeout=timeout,
                )
                results.append((task, time.monotonic() - began))
            except BaseException as error:  # noqa: BLE001
                results.append((error, 0.0))

        thread = threading.Thread(target=ask)
        note("second thread")
        thread.start()
        may = SystemExit, NoServersError, CouldNotConnectError
        shown = kind, kinds
        self.call("Worker.work divided", worker.work, 0.1 + LONG, may=may, shown=shown)
        self.call("Worker.close", worker.close)
        self.join_thread(thread, timeout)
        ((outcome, took),) = results
        if not isinstance(outcome, BaseException):
            self.check_divided(outcome, order, kinds, took)
        elif not any(outcome is one for one in self.thrown_elsewhere):
            self.thrown.clear()
            self.check_error("execute_by_partition in a thread", outcome, subject, ())
