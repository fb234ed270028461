"""The results of many jobs of one function, as an iterator of constant memory."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, TypeVar, cast

from . import _convert
from ._convert import BytesLike
from ._engine import Engine
from ._handle import Handle
from .enums import ReturnCode
from .errors import CouldNotConnectError, GearmanError, GearmanTimeoutError
from .task import Task

if TYPE_CHECKING:
    from ._submit import Submitter

__all__ = ["Results"]

_R = TypeVar("_R", bound="bytes | GearmanError")

_PATIENCE = 0.005
"""Seconds that the source may take before what it has given is sent."""


class Results(Handle, Iterator[_R]):
    """Runs a job for each workload and yields what comes back.

    It has connections of its own and takes workloads only as far ahead as its window
    reaches. They are freed by exhaustion, `close()`, an error, or when it is dropped.
    """

    _kind: ClassVar[str] = "iterator"

    def __init__(
        self,
        client: Submitter,
        make: Callable[[BytesLike], Task],
        workloads: Iterable[BytesLike],
        *,
        doing: str,
        window: int,
        ordered: bool,
        return_exceptions: bool,
        timeout: float | None,
    ) -> None:
        self._source: Iterator[BytesLike] | None = iter(workloads)
        self._client = client
        self._make = make
        self._doing = doing
        self._ordered = ordered
        self._return_exceptions = return_exceptions
        self._timeout = timeout
        self._engine = Engine(client._config.copy())
        self._engine.window = window
        self._engine.tells_lost = False  # each task says it when its turn comes
        # A slow job at the head of the line must not stop those behind it too soon.
        self._ahead = 2 * window
        self._flying: deque[Task] = deque()
        self._done: deque[Task] = deque()
        self._number = 0
        self._failure: Exception | None = None
        """What the source has raised."""
        super().__init__()

    def __iter__(self) -> Results[_R]:
        return self

    def __next__(self) -> _R:
        """Return the next result, waiting for it at most `timeout` seconds."""
        if self._closed:
            raise StopIteration
        self._begin(self._doing)
        more = False
        try:
            self._client._check_usable(self._doing)
            task = self._next_task()
            if task is None:
                raise StopIteration
            self._number -= 1
            if task.return_code is ReturnCode.SUCCESS:
                result: bytes | GearmanError = task.result
            elif task.error is not None and self._return_exceptions:
                result = task.error
            else:
                task._check()
                raise StopIteration
            more = True
            return cast("_R", result)
        except GearmanError as error:
            raise error.during(self._doing) from error.__cause__
        finally:
            if not more:
                self._finish()
            self._end()

    def _ready(self) -> bool:
        """Tell whether the next task to be yielded has ended."""
        if self._ordered:
            return bool(self._flying) and self._flying[0]._ended
        return bool(self._done)

    def _next_task(self) -> Task | None:
        """Return the next task that has ended, None when there is no more."""
        deadline = _convert.deadline(self._timeout)
        while not self._ready():
            if deadline is not None and time.monotonic() >= deadline:
                raise GearmanTimeoutError("the time is up")
            full = self._refill()
            if not self._number:
                if self._failure is not None:
                    raise self._failure
                return None
            try:
                if full:
                    self._engine.run(deadline, until=self._ready)
                else:  # a slow source: what it has given so far goes out meanwhile
                    self._engine.run(deadline, once=True)
            except CouldNotConnectError:
                if not self._ready():  # else the task in turn says what it lost
                    raise
        return (self._flying if self._ordered else self._done).popleft()

    def _refill(self) -> bool:
        """Take workloads ahead; False when time came to send what was taken."""
        until = time.monotonic() + _PATIENCE
        queue = self._engine.queue
        while self._source is not None and self._number < self._ahead:
            try:
                task = self._make(next(self._source))
            except StopIteration:
                self._source = None
                break
            except Exception as error:  # noqa: BLE001
                # The results of what was given before come first.
                self._source, self._failure = None, error
                break
            self._number += 1
            if self._ordered:
                self._flying.append(task)
            else:
                task._on_end = self._done.append
            queue.append(task)
            if time.monotonic() > until:
                return False
        return True

    def _finish(self) -> None:
        self._closed = True
        self._source = None
        self._engine.close()

    def close(self) -> None:
        """Stop here: jobs in flight are given up, the client stays usable."""
        if self._closed:
            return
        if not self._is_ours():  # the connections are the parent process's
            self._closed = True
            return
        self._begin(f"{self._doing}.close()")
        try:
            self._finish()
        finally:
            self._end()

    def __enter__(self) -> Results[_R]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if not self._closed and not sys.is_finalizing() and self._is_ours():
            self._engine.close()
