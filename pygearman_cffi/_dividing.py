"""A divided job: what the mapper gave away comes back to the aggregator.

C waits for the parts in a client of its own, inside `gearman_worker_work`, where no
Python can wait for it. What can be done about that is done here: Ctrl-C is noticed by a
thread that ends C's connections, and a failure of the aggregator, of which C takes no
notice, is told to the job server over C's own socket.
"""

from __future__ import annotations

import _thread
import logging
import os
import signal
import threading
from collections.abc import Collection
from typing import TYPE_CHECKING

from . import _convert, _library
from ._addresses import Address
from ._convert import BytesLike, buffer
from ._library import CData, ffi
from ._probe import take_all
from .errors import OutOfMemoryError

if TYPE_CHECKING:
    from ._cworker import CWorker

__all__ = ["Interrupter", "collect", "store", "tell_failure"]

_log = logging.getLogger("pygearman_cffi.worker")


def collect(task: CData) -> list[bytes]:
    """Return the results of the parts, in the order in which the mapper sent them."""
    lib = _library.load()
    results = []
    while task:
        result = lib.gearman_task_result(task)
        data = b""
        if result:
            size = lib.gearman_result_size(result)
            data = buffer(lib.gearman_result_value(result), size)
        results.append(data)
        task = lib.gearman_next(task)
    if not _library.features().fifo_tasks:
        results.reverse()
    return results


def store(result: CData, value: BytesLike) -> None:
    """Give C what the aggregator returned; it copies it."""
    if len(value):
        data = value if isinstance(value, bytes) else ffi.from_buffer(value)
        code = _library.load().gearman_result_store_value(result, data, len(value))
        _convert.check(code, doing="storing the joined result")


def tell_failure(cworker: CWorker, handle: bytes, warning: bytes) -> None:
    """Fail a divided job; C would complete it with nothing.

    Only the server that gave the job to this connection listens to it.
    """
    for descriptor in cworker.descriptors:
        if not descriptor.fail_job(handle, warning):
            descriptor.shut_down()  # then it gives the job to another worker


class Interrupter:
    """Ends C's connections when Ctrl-C strikes while C waits for the parts.

    Python runs no signal handler then. But it writes each signal's number into a pipe,
    and a thread reads that.
    """

    def __init__(self, cworker: CWorker, peers: Collection[Address]) -> None:
        self._cworker = cworker
        self._peers = peers
        try:
            self._read, self._write = os.pipe()
        except OSError as reason:
            raise OutOfMemoryError(
                f"no pipe can be made: {reason.strerror}; see `ulimit -n`",
                doing="dividing a job",
            ) from None
        os.set_blocking(self._write, False)
        self._former = -1
        self._armed = False
        try:
            # In one step, see `_Helper.start` of a client.
            _thread.start_new_thread(self._watch, ())
        except RuntimeError as reason:
            os.close(self._read)
            os.close(self._write)
            raise OutOfMemoryError(
                f"no thread can be started: {reason}", doing="dividing a job"
            ) from None

    def arm(self) -> None:
        """Before C may wait; only the main thread receives signals."""
        if threading.current_thread() is threading.main_thread():
            self._former = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
            self._armed = True

    def disarm(self) -> None:
        """Before Python code runs, which is interrupted in the usual way."""
        if self._armed:
            self._armed = False
            signal.set_wakeup_fd(self._former, warn_on_full_buffer=False)

    def close(self) -> None:
        """Let the thread end."""
        self.disarm()
        write, self._write = self._write, -1
        if write >= 0:
            os.close(write)

    def _watch(self) -> None:
        while numbers := os.read(self._read, 512):
            if signal.SIGINT in numbers:
                # C's connections for the parts still have its mark; ours do not.
                for descriptor in [
                    *take_all(self._peers, None),
                    *self._cworker.descriptors,
                ]:
                    descriptor.shut_down()
        os.close(self._read)
