"""Tasks that are run together, their callbacks, and how they end."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from pygearman_cffi import (
    BusyError,
    GearmanError,
    NotFinishedError,
    Priority,
    ReturnCode,
    Task,
    TaskState,
    UnsupportedError,
)
from tests.fuzz.base import (
    ACTIONS,
    EVENTS,
    KIND,
    PRIORITY,
    TIMES,
    UNIQUE,
    Base,
    Boom,
    Subject,
    subjects,
)
from tests.fuzz.forks import Inheritance, fork
from tests.fuzz.ledger import Order


class Tasks(Base):
    """Tasks of clients, and callbacks that do anything."""

    def watcher(self, action: str, counts: Counter[str], subject: Subject) -> Any:
        """Return a function that makes a callback of each event."""

        def make(event: str) -> Callable[[Task], object]:
            def callback(task: Task) -> None:
                began = time.monotonic()
                counts[event] += 1
                try:
                    self.react(action, event, task, subject)
                finally:
                    self.theirs += time.monotonic() - began

            return callback

        return make

    def react(self, action: str, event: str, task: Task, subject: Subject) -> None:
        """Be a callback."""
        client = subject.client
        if action == "look":
            str(task.unique + task.function_name + repr(task.job_handle) + repr(task))
        elif action in {"raise", "interrupt", "exit"} and event != "created":
            error: BaseException = Boom(event)
            if action == "interrupt":
                error = KeyboardInterrupt(event)
            elif action == "exit":
                error = SystemExit(event)
            self.thrown.append(error)
            raise error
        elif action == "add" and event == "created":
            self.add(subject, "echo", None, Priority.NORMAL, "count")
        elif action == "reenter":
            for call in (
                client.close,
                client.run_tasks,
                client.wait,
                client.remove_servers,
                lambda: client.do("f", b"x"),
                lambda: client.echo(b"x"),
                lambda: client.job_status("H:x:1"),
            ):
                try:
                    call()
                except (BusyError, UnsupportedError):
                    pass
                else:
                    raise AssertionError(f"{call} was let in")
            client.clone().close()
        elif action == "fork" and event in {"created", "data"}:
            told = fork(Inheritance(client=client, tasks=[task]).use)
            assert not told, told
        elif action == "other":
            for one in self.all:
                if one is not subject and not one.closed and not one.polls:
                    try:
                        one.client.echo(b"other", timeout=0.05)
                    except GearmanError:
                        pass
                    break

    def add(
        self,
        subject: Subject,
        kind: str,
        unique: str | None,
        priority: Priority,
        action: str,
    ) -> None:
        """Add a foreground task."""
        order = self.ledger.order(kind, unique=unique)
        counts: Counter[str] = Counter()
        make = self.watcher(action, counts, subject)
        task = subject.client.add_task(
            self.function(subject),
            order.workload,
            unique=order.unique,
            priority=priority,
            context=order,
            **{f"on_{event}": make(event) for event in EVENTS},
        )
        subject.tasks.append((task, order, counts))

    @rule(
        subject=subjects,
        kinds=st.lists(KIND, min_size=1, max_size=12),
        unique=UNIQUE,
        priority=PRIORITY,
        action=ACTIONS,
        run=st.booleans(),
    )
    def add_tasks(
        self,
        subject: Subject,
        kinds: list[str],
        unique: str | None,
        priority: Priority,
        action: str,
        run: bool,
    ) -> None:
        """Foreground tasks, to be run now or later; the first one has the unique."""
        for number, kind in enumerate(kinds):
            one = None if number else unique
            self.call(
                "add_task",
                partial(self.add, subject, kind, one, priority, action),
                subject=subject,
                shown=(kind, unique, priority, action),
            )
        if run:
            self.run_tasks(subject, 0.3)

    @rule(
        subject=subjects,
        number=st.integers(1, 12),
        unique=UNIQUE,
        at=st.sampled_from([None, None, None, -5.0, 0.5]),
    )
    def add_background(
        self, subject: Subject, number: int, unique: str | None, at: float | None
    ) -> None:
        """Background tasks for a later run."""
        for index in range(number):
            order = self.background("echo", None if index else unique)

            def add(order: Order = order) -> None:
                task = subject.client.add_task_background(
                    self.function(subject),
                    order.workload,
                    unique=order.unique,
                    at=None if at is None else time.time() + at,
                )
                subject.tasks.append((task, order, Counter()))

            self.call("add_task_background", add, subject=subject, shown=(unique, at))

    @rule(subject=subjects, timeout=TIMES)
    def run_tasks(self, subject: Subject, timeout: float) -> None:
        """Run what waits."""
        polls = subject.polls
        done = self.call(
            "run_tasks",
            lambda: subject.client.run_tasks(timeout),
            timeout,
            subject=subject,
        )
        if done is True:
            assert all(
                task.state in {TaskState.DONE, TaskState.ABANDONED}
                for task, _, _ in subject.tasks
            ), subject.tasks
        assert done is not False or polls
        self.check_tasks(subject)

    @rule(subject=subjects, timeout=TIMES)
    def pump(self, subject: Subject, timeout: float) -> None:
        """The loop of a NON_BLOCKING client, for a while."""
        if not subject.polls:
            return
        for _ in range(5):
            done = self.call(
                "run_tasks",
                lambda: subject.client.run_tasks(timeout),
                timeout,
                subject=subject,
            )
            if done is not False:
                break
            self.call(
                "wait", lambda: subject.client.wait(timeout), timeout, subject=subject
            )
        self.check_tasks(subject)

    def check_tasks(self, subject: Subject) -> None:
        """Check every task of a client, and forget those that have ended."""
        left = []
        for task, order, counts in subject.tasks:
            ends = counts["complete"] + counts["exception"] + counts["fail"]
            assert counts["created"] <= 1, (task, counts)
            assert ends <= 1, (task, counts)
            if task.state is TaskState.DONE:
                self.check_done(task, order)
            elif task.state is TaskState.ABANDONED:
                assert isinstance(task.error, GearmanError)
                assert not ends, (task, counts)
            else:
                assert not ends, (task, counts)
                try:
                    _ = task.result
                except NotFinishedError:
                    left.append((task, order, counts))
                else:
                    raise AssertionError(f"{task} has a result")
        subject.tasks = left

    def check_done(self, task: Task, order: Order) -> None:
        """Check how a task ended."""
        if task.return_code is ReturnCode.SUCCESS:
            if order.background:
                self.accepted(order, getattr(task.job_handle, "server", None))
            else:
                self.ledger.check_result(order, task.result)
        else:
            codes = {ReturnCode.WORK_FAIL, ReturnCode.WORK_EXCEPTION}
            assert task.return_code in codes, (task, task.return_code, task.error)
            assert self.ledger.may_fail(order), (task, order.kind, task.error)
