"""The life of a client, and its settings."""

from __future__ import annotations

import gc
import threading
from collections import Counter

from hypothesis import strategies as st
from hypothesis.stateful import consumes, precondition, rule

from pygearman_cffi import Client, ClientOption, Verbose
from tests.fuzz.base import (
    ACTIONS,
    EVENTS,
    RARELY,
    SERVERS,
    TIMES,
    Boom,
    Subject,
    note,
    record,
    subjects,
)
from tests.fuzz.tasks import Tasks


class Clients(Tasks):
    """Clients that come, change and go."""

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
