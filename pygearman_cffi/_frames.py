"""Visits to C: what a call's callbacks raised, until the call has returned.

No exception may cross C. It is parked in the frame of the call that was made, and
raised once C has returned.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .errors import GearmanError

if TYPE_CHECKING:
    from ._library import CData
    from .task import Task

__all__ = ["Frame", "TaskFrame", "call_parking", "current", "is_theirs"]


class Frame:
    """One visit to C on one thread, and what its callbacks raised."""

    error: BaseException | None = None
    """The first exception that a callback raised."""
    fatal: bool = False
    """C was told to stop; what it was doing must be abandoned."""

    def park(self, error: BaseException, *, fatal: bool) -> None:
        """Keep an exception until C has returned; a fatal one replaces the first."""
        if isinstance(error, GearmanError):
            error._theirs = True
        if self.error is None or (fatal and not self.fatal):
            self.error = error
        self.fatal = self.fatal or fatal

    def raise_parked(self) -> None:
        """Raise what was parked, once."""
        error, self.error, self.fatal = self.error, None, False
        if error is not None:
            raise error


def call_parking(frame: Frame, fn: Callable[[Any], object], argument: object) -> None:
    """Call a user's function; an ordinary exception lets the others finish first."""
    try:
        fn(argument)
    except Exception as error:  # noqa: BLE001
        frame.park(error, fatal=False)


def is_theirs(error: BaseException) -> bool:
    """Tell whether an exception was raised outside this package: by a signal handler."""
    trace = error.__traceback__
    name = ""
    while trace is not None:
        name = trace.tb_frame.f_globals.get("__name__") or ""
        trace = trace.tb_next
    return name.partition(".")[0] != __name__.partition(".")[0]


class _Current(threading.local):
    """The innermost frame of each thread."""

    frame: Any = None


current = _Current()


class TaskFrame(Frame):
    """A visit to C that runs tasks: which ones, and until when."""

    live: dict[CData, Task]
    """Tasks in flight, by the pointers to C's own."""
    deadline: float | None
    overdue: bool
    released: list[tuple[bytes, bytes]]
    """The keys of tasks that are no longer in flight."""
    again: list[Task]
    """Questions that must be asked of another server."""
