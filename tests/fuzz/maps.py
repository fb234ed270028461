"""Iterators over the results of `Client.map`."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import consumes, rule

from pygearman_cffi import GearmanError, WorkError
from tests.fuzz.base import TIMES, Base, Subject, iterators, record, subjects
from tests.fuzz.ledger import BAD, GOOD


class Maps(Base):
    """Many jobs, a result at a time."""

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
