"""Guards of an object that owns C memory: closed, busy, other thread, other process."""

from __future__ import annotations

import os
import sys
from threading import get_ident
from types import FrameType
from typing import ClassVar, NoReturn, SupportsIndex

from .errors import ArgumentTypeError, BusyError, ClosedError, ForkedError

__all__ = ["Handle", "process"]


class _Process:
    """What differs between a process and each of its forks."""

    generation = 0
    """How many forks away it is from the one that imported this package."""


process = _Process()


def _forked() -> None:
    process.generation += 1


os.register_at_fork(after_in_child=_forked)


class Handle:
    """An object that one thread at a time may use, in the process that made it."""

    # Safe values for an object whose constructor failed half-way.
    _closed: bool = True
    _kind: ClassVar[str] = "object"

    def __init__(self) -> None:
        self._born = process.generation
        self._holder: dict[int, tuple[int, FrameType]] = {}
        self._closed = False

    def __reduce_ex__(self, _protocol: SupportsIndex) -> NoReturn:
        """Refuse `copy` and `pickle`: two owners would free the same C memory."""
        raise ArgumentTypeError(
            f"a {self._kind} can be neither copied nor pickled: it owns connections; "
            "make another one"
        )

    @property
    def closed(self) -> bool:
        """True after `close()`."""
        return self._closed

    def _is_ours(self) -> bool:
        """True in the process that made the object."""
        return self._born == process.generation

    def _check_usable(self, doing: str) -> None:
        """Refuse a closed object, and one of another process."""
        if self._closed:
            raise ClosedError(
                f"the {self._kind} is closed; make a new one", doing=doing
            )
        if self._born != process.generation:
            raise ForkedError(
                f"the {self._kind} belongs to another process: its connection cannot "
                f"be shared; make a new {self._kind} after the fork",
                doing=doing,
            )

    def _check_mine(self, doing: str) -> None:
        """Refuse what is unusable, and another thread while one is inside.

        Passes inside a callback: for calls that touch nothing of C.
        """
        self._check_usable(doing)
        holder = self._holder.get(0)
        if holder is not None and holder[0] != get_ident():
            raise self._busy(doing, holder)

    def _begin(self, doing: str) -> None:
        """Enter the object for one operation; its caller must call `_end`.

        Args:
            doing: the operation, for the message.
        """
        if self._closed or self._born != process.generation:
            self._check_usable(doing)
        # One step, as by a lock, but an interrupt never finds it held by nobody.
        mine = (get_ident(), sys._getframe(1))
        holder = self._holder.setdefault(0, mine)
        if holder is not mine:
            if not _forsaken(holder):
                raise self._busy(doing, holder)
            self._holder[0] = mine
        if self._closed:  # another thread closed it meanwhile
            self._end()
            self._check_usable(doing)

    def _end(self) -> None:
        self._holder.clear()

    def _busy(self, doing: str, holder: tuple[int, FrameType]) -> BusyError:
        if holder[0] == get_ident():
            return BusyError(
                f"the {self._kind} is in the middle of another call of this thread; "
                "inside a callback use another one",
                doing=doing,
            )
        return BusyError(
            f"another thread is using this {self._kind}; make one {self._kind} "
            "per thread",
            doing=doing,
        )


def _forsaken(holder: tuple[int, FrameType]) -> bool:
    """Tell whether a call of this thread has ended without `_end`.

    Ctrl-C can strike between any two lines: also before a `try`, and in a `finally`.
    """
    ident, frame = holder
    if ident != get_ident():
        return False
    try:
        frame.clear()
    except RuntimeError:  # it still runs: it has called us, or waits in a greenlet
        return False
    return True
