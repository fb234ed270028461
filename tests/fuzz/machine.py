"""The state machine: random sequences of calls, and what must hold after each."""

from __future__ import annotations

import faulthandler
import sys
import time
import traceback
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, multiple, precondition, rule

from pygearman_cffi import BusyError
from pygearman_cffi.testing import WorkerThread
from tests.fuzz import base
from tests.fuzz.base import RARELY, STUCK, note, record, subjects
from tests.fuzz.calls import Calls
from tests.fuzz.clients import Clients
from tests.fuzz.ledger import Order
from tests.fuzz.partition import Partition
from tests.fuzz.process import Process
from tests.fuzz.workers import Workers


class Machine(Calls, Clients, Partition, Process, Workers):
    """Clients, workers and job servers, used in any order."""

    @initialize(target=subjects)
    def begin(self) -> Any:
        """Start with workers and clients, so that most jobs are served."""
        self.start_worker(("a", "b"), plain=True)
        self.start_worker(("b", "a"), plain=False)
        self.start_divider(("a", "b"))
        return multiple(
            self.make_client(("a", "b"), 0.3, False),
            self.make_client(("b",), 0.3, True),
        )

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
        error = sys.exc_info()[1]
        if isinstance(error, AssertionError) and not base.failed:
            note("".join(traceback.format_exception(error)))
            base.failed = True
        try:
            self.finish()
        except AssertionError:
            note(traceback.format_exc())
            base.failed = True
            raise

    def finish(self) -> None:
        """End everything but the servers, and check what is left to be checked."""
        faulthandler.dump_traceback_later(2 * STUCK, exit=True)
        self.ledger.calm = True
        note("teardown")
        threads, self.world.workers = self.world.workers, []
        for thread in threads:
            self.call("Worker.stop", thread.stop, 0.3, may=(SystemExit,))
        while self.dividers:
            self.stop_divider()
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
        divider = self.make_divider(("a", "b"), self.divided())
        with WorkerThread(worker), WorkerThread(divider):
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
