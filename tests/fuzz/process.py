"""Forks: a child touches what it inherits, while results are on their way."""

from __future__ import annotations

from functools import partial
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from pygearman_cffi import (
    Client,
    ConnectionLostError,
    GearmanError,
    Job,
    Priority,
    Worker,
)
from tests.fuzz.base import Subject, hands, iterators, subjects
from tests.fuzz.forks import CHILD, Inheritance, fork
from tests.fuzz.ledger import Order, answer
from tests.fuzz.maps import Maps
from tests.fuzz.tasks import Tasks

WAYS = st.sampled_from(["use", "use", "close", "drop"])


class Process(Maps, Tasks):
    """Children that use, close or drop what is their parent's."""

    @rule(subject=subjects, way=WAYS)
    def fork_client(self, subject: Subject, way: str) -> None:
        """What is in flight arrives as if there had been no child."""
        flying = self.map(subject, ["echo"] * 4, 256, True, 0.3)
        self.map_next(flying, 1)
        if subject.polls:
            self.add_tasks(subject, ["echo"] * 3, None, Priority.NORMAL, "count", True)
        things = Inheritance(
            client=subject.client,
            tasks=[task for task, _, _ in subject.tasks],
            results=self.unended(flying),
        )
        self.fork(things, way)
        self.map_next(flying, 4)
        self.pump(subject, 0.3)

    @rule(worker=hands, way=WAYS)
    def fork_worker(self, worker: Worker, way: str) -> None:
        """A worker that is called by hand, and the job it may hold."""
        held = worker.context if isinstance(worker.context, Job) else None
        self.fork(Inheritance(worker=worker, job=held), way)

    @rule(name=st.sampled_from(["a", "b"]), way=WAYS)
    def fork_job(self, name: str, way: str) -> None:
        """A job that is held across a fork is ended by the parent, over its connection."""
        since = self.world.generations()
        address = self.world.addresses[name]
        function = f"{self.world.function}-held"
        with (
            Client(address, timeout=0.3, connect_timeout=0.3) as client,
            Worker(address, timeout=0.3, connect_timeout=0.3) as worker,
        ):
            worker.register(function)
            try:
                client.do_background(function, b"held")
                job = worker.grab_job()
            except GearmanError:  # the server is down
                job = None
            if job is None:
                return
            self.fork(Inheritance(client=client, worker=worker, job=job), way)
            calm = self.world.generations() == since and not since[name] % 2
            may = () if calm else (ConnectionLostError,)
            self.call("Job.send_complete", job.send_complete, 0.3, may=may)

    @rule(iterator=iterators, way=WAYS)
    def fork_map(self, iterator: Any, way: str) -> None:
        """An iterator whose jobs were given away a while ago."""
        self.fork(Inheritance(results=self.unended(iterator)), way)
        self.map_next(iterator, 3)

    def unended(self, iterator: Any) -> Any:
        """Return the results of a `map` that may have more of them, or None."""
        results = iterator[1]
        return None if isinstance(results, BaseException) or results.closed else results

    def fork(self, things: Inheritance, way: str) -> None:
        """Have a child do what it should not, and then what it may."""
        order = self.ledger.order("echo")

        def touch() -> str:
            return getattr(things, way)() or self.begin_anew(order)

        told = self.call("fork", partial(fork, touch), CHILD, shown=way)
        assert not told, told

    def begin_anew(self, order: Order) -> str:
        """Use a client and a worker of the child's own."""
        address = self.world.addresses["a"]
        name = f"{self.world.function}-{order.number}"
        try:
            with (
                Client(address, timeout=0.1, connect_timeout=0.3) as client,
                Worker(address, timeout=0.1, connect_timeout=0.3) as worker,
            ):
                worker.add_function(name, lambda job: job.workload)
                client.do_background(name, b"x")
                worker.work()
                result = client.do(self.world.function, order.workload)
        except GearmanError:  # the server may be down, and the workers busy
            return ""
        if result != answer(order.workload):
            return f"the child's own job came to {result[:60]!r}"
        return ""
