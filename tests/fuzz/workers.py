"""Workers in threads, and workers that are called by hand."""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import partial
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import consumes, rule

from pygearman_cffi import (
    BusyError,
    ClosedError,
    ConnectionLostError,
    CouldNotConnectError,
    GearmanTimeoutError,
    InvalidArgumentError,
    NoServersError,
    Worker,
    WorkerOption,
)
from pygearman_cffi.testing import WorkerThread
from tests.fuzz.base import SERVERS, Base, hands, record, runners
from tests.fuzz.ledger import answer


class Workers(Base):
    """Workers that come, work and go."""

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
        worker=hands,
        end=st.sampled_from(["complete", "fail", "close", "drop", "keep"]),
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
