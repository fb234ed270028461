"""Calls of a client that wait for one answer each."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from pygearman_cffi import (
    ArgumentTypeError,
    BusyError,
    ClientOption,
    GearmanError,
    InvalidArgumentError,
    Priority,
    ServerError,
    UnsupportedError,
)
from tests.fuzz.base import (
    ACTIONS,
    KIND,
    PRIORITY,
    TIMES,
    UNIQUE,
    Subject,
    note,
    subjects,
)
from tests.fuzz.ledger import AGAIN, BAD, GOOD, Order
from tests.fuzz.tasks import Tasks


class Calls(Tasks):
    """Single calls, right and wrong ones."""

    @rule(
        subject=subjects,
        kinds=st.lists(KIND, min_size=1, max_size=6),
        unique=UNIQUE,
        priority=PRIORITY,
        timeout=TIMES,
        action=ACTIONS,
        way=st.sampled_from(["do", "execute"]),
    )
    def do(
        self,
        subject: Subject,
        kinds: list[str],
        unique: str | None,
        priority: Priority,
        timeout: float,
        action: str,
        way: str,
    ) -> None:
        """One job after the other, each with its result."""
        for kind in kinds:
            self.do_one(subject, kind, unique, priority, timeout, action, way)

    def do_one(
        self,
        subject: Subject,
        kind: str,
        unique: str | None,
        priority: Priority,
        timeout: float,
        action: str,
        way: str,
    ) -> None:
        """One job, and its result."""
        order = self.ledger.order(kind, unique=unique)
        client, name = subject.client, self.function(subject)
        may = (GearmanError,) if self.ledger.may_fail(order) else ()
        make = self.watcher(action, Counter(), subject)

        def do() -> bytes:
            if way == "execute":
                task = client.execute(
                    name,
                    order.workload,
                    unique=order.unique,
                    priority=priority,
                    timeout=timeout,
                )
                self.check_done(task, order)
                return b""
            return client.do(
                name,
                order.workload,
                unique=order.unique,
                priority=priority,
                timeout=timeout,
                on_created=make("created"),
                on_data=make("data"),
                on_warning=make("warning"),
                on_status=make("status"),
            )

        result = self.call(
            way, do, timeout, subject=subject, may=may, shown=(kind, unique, action)
        )
        if result and isinstance(result, bytes):
            self.ledger.check_result(order, result)

    @rule(
        subject=subjects,
        kinds=st.lists(
            st.sampled_from(GOOD[:3] * 2 + BAD + AGAIN), min_size=1, max_size=6
        ),
        unique=UNIQUE,
        timeout=TIMES,
        at=st.sampled_from([None, None, None, None, -1.0, 0.5]),
    )
    def do_background(
        self,
        subject: Subject,
        kinds: list[str],
        unique: str | None,
        timeout: float,
        at: float | None,
    ) -> None:
        """Jobs that nobody waits for; the first one has the unique."""
        for index, kind in enumerate(kinds):
            one = None if index else unique
            self.do_one_background(subject, kind, one, timeout, at)

    def do_one_background(
        self,
        subject: Subject,
        kind: str,
        unique: str | None,
        timeout: float,
        at: float | None,
    ) -> None:
        """One job that nobody waits for."""
        order = self.background(kind, unique)
        handle = self.call(
            "do_background",
            lambda: subject.client.do_background(
                self.function(subject),
                order.workload,
                unique=order.unique,
                at=None if at is None else time.time() + at,
                timeout=timeout,
            ),
            timeout,
            subject=subject,
            shown=(kind, unique, at),
        )
        if isinstance(handle, str):
            self.accepted(order, getattr(handle, "server", None))
            status = self.call(
                "job_status",
                lambda: subject.client.job_status(handle, timeout=timeout),
                timeout,
                subject=subject,
            )
            if not isinstance(status, BaseException):
                assert status.known or self.gone(order), "an accepted job is not known"

    def gone(self, order: Order) -> bool:
        """Tell whether a server may have forgotten a job."""
        assert order.server is not None
        place = self.world.places[order.server]
        return (
            place.generation != order.since[order.server]
            or any(self.ledger.orders[n].ran for n in self.ledger.peers(order))
            or order.kind in AGAIN
        )

    @rule(subject=subjects, unique=UNIQUE, timeout=TIMES, queued=st.booleans())
    def ask(
        self, subject: Subject, unique: str | None, timeout: float, queued: bool
    ) -> None:
        """Questions about jobs, at once or as tasks."""
        client = subject.client
        key, handle = unique or "never", "H:nowhere:1"
        if queued:

            def add() -> None:
                client.add_task_status(handle)
                client.add_task_status_by_unique(key)

            self.call("add_task_status", add, subject=subject)
            return
        self.call(
            "unique_status",
            lambda: client.unique_status(key, timeout=timeout),
            timeout,
            subject=subject,
        )
        status = self.call(
            "job_status",
            lambda: client.job_status(handle, timeout=timeout),
            timeout,
            subject=subject,
        )
        assert isinstance(status, BaseException) or not status.known

    @rule(subject=subjects, size=st.sampled_from([1, 100, 200_000]), timeout=TIMES)
    def echo(self, subject: Subject, size: int, timeout: float) -> None:
        """The connection's own calls."""
        client = subject.client
        self.call(
            "echo",
            lambda: client.echo(bytes(size), timeout=timeout),
            timeout,
            subject=subject,
        )
        self.call(
            "set_server_option",
            lambda: client.set_server_option("exceptions", timeout=timeout),
            timeout,
            subject=subject,
        )
        self.call(
            "set_server_option",
            lambda: client.set_server_option("nonsense", timeout=timeout),
            timeout,
            subject=subject,
            may=(ServerError,),
        )
        self.call(
            "cancel_job",
            lambda: client.cancel_job("H:nowhere:1", timeout=timeout),
            timeout,
            subject=subject,
            may=(ServerError,),
        )

    @rule(subject=subjects, which=st.integers(0, 14))
    def wrong_arguments(self, subject: Subject, which: int) -> None:
        """What is refused before anything is sent."""
        client: Any = subject.client
        calls: list[Callable[[], object]] = [
            lambda: client.do("f", "text"),
            lambda: client.do("", b""),
            lambda: client.do("f" * 600, b""),
            lambda: client.do("f", b"", unique="u" * 64),
            lambda: client.do("f", b"", timeout=-1),
            lambda: client.add_task(None),
            lambda: client.add_task("f", priority=7),
            lambda: client.echo(b""),
            lambda: client.map("f", b"abc"),
            lambda: client.map("f", [b"abc"], window=0),
            lambda: client.run_tasks(float("nan")),
            lambda: client.job_status("a\0b"),
            lambda: client.add_server("host", 0),
            client.set_ssl,
            lambda: client.add_options(ClientOption.UNBUFFERED_RESULT),
        ]
        may = InvalidArgumentError, ArgumentTypeError, UnsupportedError
        error = self.call(
            "wrong arguments",
            calls[which % len(calls)],
            0.3,
            subject=subject,
            may=may,
            shown=which,
        )
        assert isinstance(error, GearmanError)

    @rule(subject=subjects, kind=KIND, timeout=TIMES)
    def two_threads(self, subject: Subject, kind: str, timeout: float) -> None:
        """A second thread in the same client."""
        order = self.ledger.order(kind)
        name = self.function(subject)
        results: list[object] = []

        def other() -> None:
            try:
                results.append(subject.client.do(name, order.workload, timeout=timeout))
            except BaseException as error:  # noqa: BLE001
                results.append(error)

        thread = threading.Thread(target=other)
        note("second thread")
        thread.start()
        self.call(
            "echo",
            lambda: subject.client.echo(b"first", timeout=timeout),
            timeout,
            subject=subject,
            may=(BusyError,),
        )
        self.join_thread(thread, timeout)
        (result,) = results
        if isinstance(result, bytes):
            self.ledger.check_result(order, result)
        elif not any(result is one for one in self.thrown_elsewhere):
            assert isinstance(result, BaseException)
            self.thrown.clear()
            may = (BusyError, *((GearmanError,) if kind in BAD else ()))
            self.check_error("do in a thread", result, subject, may)
