"""The state machine: random sequences of calls, and what must hold after each."""

from __future__ import annotations

import faulthandler
import gc
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    multiple,
    precondition,
    rule,
)

from pygearman_cffi import (
    ArgumentTypeError,
    BusyError,
    Client,
    ClientOption,
    ClosedError,
    ConnectionLostError,
    CouldNotConnectError,
    GearmanError,
    GearmanTimeoutError,
    InvalidArgumentError,
    NoServersError,
    NotFinishedError,
    Priority,
    ReturnCode,
    ServerError,
    Task,
    TaskState,
    UnsupportedError,
    Verbose,
    Worker,
    WorkerOption,
    WorkError,
)
from pygearman_cffi.testing import WorkerThread
from tests.fuzz.world import AGAIN, BAD, GOOD, Ledger, Order, World, answer

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
    ["count", "count", "look", "raise", "interrupt", "exit", "add", "reenter", "other"]
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


class Machine(RuleBasedStateMachine):
    """Clients, workers and job servers, used in any order."""

    subjects: Bundle[Subject] = Bundle("subjects")
    iterators: Bundle[Any] = Bundle("iterators")
    hands: Bundle[Worker] = Bundle("hands")
    runners: Bundle[WorkerThread] = Bundle("runners")

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

    # -- one call -----------------------------------------------------------------

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
        elif action == "other":
            for one in self.all:
                if one is not subject and not one.closed and not one.polls:
                    try:
                        one.client.echo(b"other", timeout=0.05)
                    except GearmanError:
                        pass
                    break

    # -- clients -------------------------------------------------------------------

    @initialize(target=subjects)
    def begin(self) -> Any:
        """Start with workers and clients, so that most jobs are served."""
        self.start_worker(("a", "b"), plain=True)
        self.start_worker(("b", "a"), plain=False)
        return multiple(
            self.make_client(("a", "b"), 0.3, False),
            self.make_client(("b",), 0.3, True),
        )

    def adopt(self, client: Client, names: tuple[str, ...]) -> Subject:
        """Keep a client's record."""
        subject = Subject(client, names, since=self.world.generations())
        self.all.append(subject)
        return subject

    @rule(target=subjects, names=SERVERS, timeout=TIMES, prefix=st.booleans())
    def make_client(
        self, names: tuple[str, ...], timeout: float, prefix: bool
    ) -> Subject:
        """A new client."""
        client = self.call(
            "Client",
            lambda: Client(
                [self.world.addresses[name] for name in names],
                timeout=timeout,
                connect_timeout=0.3,
                namespace=self.world.function[:-1] if prefix else "",
            ),
            shown=names,
        )
        return self.adopt(client, names)

    def function(self, subject: Subject) -> str:
        """Return the function's name for a client."""
        return "f" if subject.client.namespace else self.world.function

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

    def background(self, kind: str, unique: str | None) -> Order:
        """Order a background job; its unique is never one of a foreground job.

        gearmand forgets a job that was joined to one whose client has gone.
        """
        return self.ledger.order(
            kind, unique=None if unique is None else f"b{unique}", background=True
        )

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

    def accepted(self, order: Order, server: tuple[str, int] | None) -> None:
        """Write down which server has promised to have a job run."""
        assert server is not None
        order.server = self.world.name_of(*server)

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

    @rule(
        subject=subjects,
        option=st.sampled_from(
            [ClientOption.NON_BLOCKING, ClientOption.FREE_TASKS, ClientOption(0)]
        ),
        way=st.sampled_from(["add_options", "remove_options"]),
    )
    def set_options(self, subject: Subject, option: ClientOption, way: str) -> None:
        """Options, which drop the connections."""
        self.call(
            way,
            lambda: getattr(subject.client, way)(option),
            subject=subject,
            shown=option,
        )

    @rule(subject=subjects, names=SERVERS, timeout=TIMES, remove=st.booleans())
    def configure(
        self, subject: Subject, names: tuple[str, ...], timeout: float, remove: bool
    ) -> None:
        """Servers and other settings."""
        client = subject.client

        def change() -> None:
            if remove:
                client.remove_servers()
                subject.names = ()
            client.add_servers([self.world.addresses[name] for name in names])
            subject.names += names
            client.timeout = timeout
            client.identifier = "fuzz"
            client.send_buffer_size = 50_000 if remove else None
            client.context = subject.client.options

        self.call("add_servers", change, subject=subject, shown=names)

    @rule(subject=subjects, action=ACTIONS, event=st.sampled_from(EVENTS))
    def set_fn(self, subject: Subject, action: str, event: str) -> None:
        """Callbacks of the client, or none."""
        client = subject.client
        make = self.watcher(action, Counter(), subject)
        setter = getattr(client, f"set_{event}_fn")
        self.call(
            "set_*_fn", lambda: setter(make(event)), subject=subject, shown=action
        )
        if action == "look":
            self.call("clear_fn", client.clear_fn, subject=subject)

    @rule(subject=subjects, throws=st.booleans(), verbose=st.sampled_from(Verbose))
    def set_log(self, subject: Subject, throws: bool, verbose: Verbose) -> None:
        """A function for the library's log."""

        def log(line: str, _level: Verbose) -> None:
            if throws:
                error = Boom(line)
                main = threading.current_thread() is threading.main_thread()
                (self.thrown if main else self.thrown_elsewhere).append(error)
                raise error

        self.call(
            "set_log_fn",
            lambda: subject.client.set_log_fn(log, verbose),
            subject=subject,
            shown=throws,
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
        self.call("join", lambda: thread.join(timeout + LATE), timeout)
        assert not thread.is_alive()
        (result,) = results
        if isinstance(result, bytes):
            self.ledger.check_result(order, result)
        elif not any(result is one for one in self.thrown_elsewhere):
            assert isinstance(result, BaseException)
            self.thrown.clear()
            may = (BusyError, *((GearmanError,) if kind in BAD else ()))
            self.check_error("do in a thread", result, subject, may)

    @rule(target=subjects, subject=subjects)
    def clone(self, subject: Subject) -> Subject:
        """A client like another one."""
        twin = self.call("clone", subject.client.clone, subject=subject)
        if isinstance(twin, BaseException):
            return subject
        twin.clear_fn()  # theirs speak of the other client
        return self.adopt(twin, subject.names)

    @rule(subject=subjects, really=RARELY)
    def close(self, subject: Subject, really: bool) -> None:
        """The end of a client, which may be used further, in vain."""
        if not really:
            return
        self.call("close", subject.client.close, subject=subject)
        subject.closed = True
        self.check_tasks(subject)

    @precondition(lambda self: len(self.all) > 2)
    @rule(subject=consumes(subjects))
    def drop(self, subject: Subject) -> None:
        """Forget a client, with whatever it has in flight."""
        self.all.remove(subject)
        tasks = [task for task, _, _ in subject.tasks]
        note("drop")
        record.steps["drop"] += 1
        del subject
        gc.collect()
        for task in tasks:
            repr((task.state, task.error, task.job_handle, task.warnings))

    # -- map -----------------------------------------------------------------------

    @rule(
        target=iterators,
        subject=subjects,
        kinds=st.lists(st.sampled_from(GOOD + BAD), max_size=40),
        window=st.sampled_from([1, 3, 256]),
        ordered=st.booleans(),
        timeout=TIMES,
    )
    def map(
        self,
        subject: Subject,
        kinds: list[str],
        window: int,
        ordered: bool,
        timeout: float,
    ) -> Any:
        """Begin to map."""
        orders = [self.ledger.order(kind) for kind in kinds]
        results = self.call(
            "map",
            lambda: subject.client.map(
                self.function(subject),
                (order.workload for order in tuple(orders)),
                window=window,
                ordered=ordered,
                return_exceptions=True,
                timeout=timeout,
            ),
            subject=subject,
        )
        since = self.world.generations()
        return subject, results, orders, ordered, timeout, since

    @rule(iterator=iterators, number=st.integers(1, 40))
    def map_next(self, iterator: Any, number: int) -> None:
        """Take some results."""
        subject, results, orders, ordered, timeout, since = iterator
        if isinstance(results, BaseException):
            return
        for _ in range(number):
            bad = any(order.kind in BAD for order in orders)
            result = self.call(
                "map.next",
                lambda: next(results, None),
                timeout,
                subject=Subject(
                    subject.client, subject.names, since=since, closed=subject.closed
                ),
                may=(WorkError,) if bad else (),
            )
            if result is None or isinstance(result, GearmanError):
                # Either was yielded in the place of a result, or has ended it.
                if result is None or results.closed:
                    return
                if ordered:
                    orders.pop(0)
                continue
            if isinstance(result, BaseException):
                return
            if ordered:
                order = orders.pop(0)
            else:
                token = result[1:].split(b"|")[0]
                order = next(o for o in orders if str(o.number).encode() == token)
                orders.remove(order)
            self.ledger.check_result(order, result)

    @rule(iterator=consumes(iterators), close=st.booleans())
    def map_end(self, iterator: Any, close: bool) -> None:
        """Stop early, or forget it."""
        results = iterator[1]
        if close and not isinstance(results, BaseException):
            self.call("map.close", results.close)
        record.steps["map drop"] += 1

    # -- workers ---------------------------------------------------------------------

    @rule(target=runners, names=SERVERS, plain=st.booleans())
    def start_worker(self, names: tuple[str, ...], plain: bool) -> Any:
        """A worker in a thread."""
        threads = self.world.workers
        if len(threads) >= 3:
            return threads[-1]
        worker = self.world.make_worker(names, self.ledger)
        if not plain:
            worker._send_exceptions = True
            worker.identifier = "fuzz"
        thread = WorkerThread(worker)
        self.call("WorkerThread", thread.start, shown=names)
        threads.append(thread)
        return thread

    @rule(runner=consumes(runners))
    def stop_worker(self, runner: WorkerThread) -> None:
        """Stop it; the job that it runs is finished."""
        if runner in self.world.workers:
            self.world.workers.remove(runner)
            self.call("Worker.stop", runner.stop, 0.3, may=(SystemExit,))

    @rule(target=hands, names=SERVERS, polls=st.booleans())
    def make_hand(self, names: tuple[str, ...], polls: bool) -> Worker:
        """A worker that is called by hand."""
        worker = self.world.make_worker(names, self.ledger)
        if polls:
            worker.add_options(WorkerOption.NON_BLOCKING)
        self.all_hands.append(worker)
        return worker

    @rule(
        worker=hands,
        way=st.sampled_from(["work", "wait", "run", "echo", "clone", "again", "stop"]),
    )
    def use_hand(self, worker: Worker, way: str) -> None:
        """One call of a worker."""
        may = ClosedError, NoServersError, CouldNotConnectError, ConnectionLostError
        calls: dict[str, Callable[[], object]] = {
            "work": worker.work,
            "wait": worker.wait,
            "run": lambda: worker.run(max_seconds=0.1, max_jobs=5),
            "echo": lambda: worker.echo(b"hand"),
            "clone": lambda: worker.clone().close(),
            "again": lambda: self.register_again(worker),
            "stop": worker.stop,
        }
        allowed = (*may, GearmanTimeoutError, SystemExit, InvalidArgumentError)
        self.call(f"Worker.{way}", calls[way], 0.1, may=allowed)

    def register_again(self, worker: Worker) -> None:
        """Unregister everything, and serve it again."""
        worker.unregister_all()
        worker.add_function(self.world.function, partial(self.ledger.serve, worker))

    @rule(
        worker=hands, end=st.sampled_from(["complete", "fail", "close", "drop", "keep"])
    )
    def grab(self, worker: Worker, end: str) -> None:
        """Take one job, and end it or not."""
        may = ClosedError, NoServersError, BusyError, InvalidArgumentError
        job = self.call("grab_job", worker.grab_job, 0.1, may=may, shown=end)
        if job is None or isinstance(job, BaseException):
            return
        order = self.ledger.orders[int(job.workload.split(b"|")[0])]

        def finish() -> None:
            if end == "complete" or (end == "fail" and not self.ledger.may_fail(order)):
                job.send_complete(answer(order.workload))
                order.ran += 1
            elif end == "fail":
                job.send_fail()
                order.ran += 1
            if end == "close":
                job.close()

        self.call("Job.end", finish, 0.1, may=(ConnectionLostError,))
        if end == "keep":
            worker.context = job

    @rule(worker=consumes(hands), close=st.booleans())
    def end_hand(self, worker: Worker, close: bool) -> None:
        """Close or forget a worker."""
        self.all_hands.remove(worker)
        if close:
            self.call("Worker.close", worker.close)
        record.steps["worker drop"] += 1
        del worker
        gc.collect()

    # -- servers ---------------------------------------------------------------------

    @rule(
        name=st.sampled_from(["a", "b"]),
        way=st.sampled_from(["kill", "later", "freeze", "restart"]),
        delay=st.sampled_from([0.001, 0.01, 0.05, 0.2]),
        really=RARELY,
    )
    def disturb(self, name: str, way: str, delay: float, really: bool) -> None:
        """A server dies, now or during the next calls, or stands still."""
        if not really:
            return
        place = self.world.places[name]
        note(f"{way} {name} {delay}")
        record.steps[f"server {way}"] += 1
        record.kills += way in {"kill", "later"}
        if way == "kill":
            place.kill()
        elif way == "later":
            place.kill_after(delay)
        elif way == "freeze":
            place.freeze(delay * 2)
        else:
            place.start()

    @precondition(lambda self: self.world.is_disturbed())
    @rule()
    def recover(self) -> None:
        """Every server returns."""
        note("recover")
        record.steps["server recover"] += 1
        self.world.recover()

    # -- the end ---------------------------------------------------------------------

    def teardown(self) -> None:
        """Let the jobs that were promised run, and see that they did."""
        global failed
        failed = failed or isinstance(sys.exc_info()[1], AssertionError)
        try:
            self.finish()
        except AssertionError:
            failed = True
            raise

    def finish(self) -> None:
        """End everything but the servers, and check what is left to be checked."""
        faulthandler.dump_traceback_later(2 * STUCK, exit=True)
        self.ledger.calm = True
        note("teardown")
        threads, self.world.workers = self.world.workers, []
        for thread in threads:
            self.call("Worker.stop", thread.stop, 0.3, may=(SystemExit,))
        for worker in self.all_hands:
            worker.context = None
            self.call("Worker.close", worker.close, may=(BusyError,))
        for subject in self.all:
            self.check_tasks(subject)
            self.call("close", subject.client.close)
        note("drain")
        self.world.recover()
        worker = self.world.make_worker(("a", "b"), self.ledger)
        until = time.monotonic() + 20
        with WorkerThread(worker):
            while (owed := self.owed()) and time.monotonic() < until:
                time.sleep(0.002)
        faulthandler.cancel_dump_traceback_later()
        record.jobs += len(self.ledger.orders)
        record.ran += sum(order.ran for order in self.ledger.orders.values())
        again = [order.ran - 1 for order in self.ledger.orders.values() if order.ran]
        record.again += sum(again)
        record.background += sum(
            order.background and order.server is not None
            for order in self.ledger.orders.values()
        )
        assert not owed, f"accepted, and never ran: {owed}"
        assert not self.ledger.wrong, self.ledger.wrong

    def owed(self) -> list[Order]:
        """Return the background jobs that were accepted and have not run."""
        return [
            order
            for order in self.ledger.orders.values()
            if order.background
            and order.server is not None
            and self.world.places[order.server].generation == order.since[order.server]
            and not any(self.ledger.orders[n].ran for n in self.ledger.peers(order))
        ]
