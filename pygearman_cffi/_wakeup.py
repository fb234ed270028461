"""The worker's pipe: what ends its waits from other threads and signal handlers.

Every wait of a worker happens in Python, in `poll()` on the sockets and this pipe, so
Python's own signal handlers run at once and nothing has to be installed for them.
"""

from __future__ import annotations

import os
import threading

from ._handle import process
from .errors import OutOfMemoryError

__all__ = ["Wakeup"]


class Wakeup:
    """A request to stop that nobody can miss, and the pipe that carries the news."""

    stopping = False
    """The truth: the pipe only wakes who sleeps, and may be drained at any time."""
    _read = _write = -1

    def __init__(self) -> None:
        self._born = process.generation
        # Reentrant: a signal handler may call stop() while its own thread is in here.
        self._lock = threading.RLock()
        try:
            self._read, self._write = os.pipe()
        except OSError as reason:
            raise OutOfMemoryError(
                f"no pipe can be made: {reason.strerror}; see `ulimit -n`",
                doing="making a worker",
            ) from None
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    def __del__(self) -> None:
        self.close()

    def fileno(self) -> int:
        """Return the descriptor that becomes readable, -1 after `close`."""
        return self._read

    def stop(self) -> None:
        """Ask for the end of the wait in progress, or of the next one.

        Safe from any thread and from a signal handler, also one that interrupts
        `close`.
        """
        self.stopping = True
        if self._born != process.generation:
            return  # a forked child shares the pipe with its parent
        with self._lock:
            # Under the lock the number cannot have become somebody else's file.
            if self._write >= 0:
                try:
                    os.write(self._write, b"\0")
                except BlockingIOError:  # full: it is readable all the same
                    pass

    def drain(self) -> None:
        """Make the pipe quiet again; `stopping` stays."""
        try:
            while len(os.read(self._read, 512)) == 512:
                pass
        except BlockingIOError:
            pass

    def take(self) -> bool:
        """Tell whether somebody has asked to stop, and forget it."""
        if not self.stopping:
            return False
        self.stopping = False
        self.drain()
        return True

    def close(self) -> None:
        """Close the pipe, once."""
        if self._read < 0:
            return
        with self._lock:
            numbers = self._read, self._write
            self._read = self._write = -1
            for number in numbers:
                try:
                    os.close(number)
                except OSError:  # closed by somebody else, as daemons do
                    pass
