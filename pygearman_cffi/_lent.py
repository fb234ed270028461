"""A job that C has lent: whether it may be used, and how something is sent for it."""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident
from typing import TYPE_CHECKING, NoReturn, Protocol, SupportsIndex

from ._convert import BytesLike
from ._handle import process
from ._library import CData, ffi
from .enums import ReturnCode
from .errors import ArgumentTypeError, BusyError, ClosedError, ForkedError, error_for

if TYPE_CHECKING:
    from ._libgearman import Lib

__all__ = ["Host", "Lent"]

# A send that stopped half-way goes on when *the same* call is made again; any other
# call would only finish the old packet and be lost itself.
_HALF_SENT = frozenset(
    {
        int(ReturnCode.IO_WAIT),
        int(ReturnCode.TIMEOUT),
        int(ReturnCode.SHUTDOWN_GRACEFUL),
    }
)
_ROOM = 16384
"""Bytes that a socket takes in any case, so that sending them never waits."""
_DONE, _NULL = ReturnCode.SUCCESS, ffi.NULL
_PACKET = 128
"""Bytes of a packet beside its payload."""


class Host(Protocol):
    """Whoever has the connection over which a job came."""

    def hurry(self) -> None:
        """Have C's sends return where they would wait, until the job has ended."""

    def wait_writable(self) -> None:
        """Wait until a send that stopped half-way can go on."""

    def told(self) -> str:
        """Return what the library says of the last failure."""


class Lent:
    """A job of C in Python's hands: used by one thread, and only while it is there."""

    # On the class: a worker makes one of these for each job.
    _workload: bytes | None = None
    _taken = False
    _sent = 0
    _pending: tuple[Callable[..., int], tuple[object, ...]] | None = None
    _sending = False
    """In a send that may wait: a signal handler must not begin another one."""
    _ended: ReturnCode | None = None
    """How the job ended: SUCCESS, WORK_FAIL or WORK_EXCEPTION as sent, LOST_CONNECTION
    where nothing can be sent any more; None while it is open."""

    def __init__(self, host: Host, lib: Lib, pointer: CData, name: str) -> None:
        """Lend a job of C; only a worker does that."""
        self._host = host
        self._lib = lib
        self._pointer = pointer
        self._name = name
        self._thread = get_ident()
        self._born = process.generation

    def __repr__(self) -> str:
        state = "closed" if self._pointer is None else "open"
        return f"<{type(self).__name__} of {self._name!r}, {state}>"

    def __reduce_ex__(self, _protocol: SupportsIndex) -> NoReturn:
        """Refuse `copy` and `pickle`: a copy would outlive the job of C."""
        raise ArgumentTypeError(
            "a job can be neither copied nor pickled; take its workload and handle"
        )

    @property
    def _is_mine(self) -> bool:
        """True in the thread that may use the job."""
        return self._thread == get_ident()

    def _check(self, doing: str) -> CData:
        """Return the C job, where it may be used."""
        pointer = self._pointer
        if pointer is None:
            raise ClosedError(
                "the job is over: it can be used while the worker function runs, or "
                "until it is closed after grab_job()",
                doing=doing,
            )
        if self._thread != get_ident():
            raise BusyError(
                "a job belongs to the thread in which the worker function runs",
                doing=doing,
            )
        if self._born != process.generation:
            raise ForkedError(
                "the job belongs to the process that received it", doing=doing
            )
        return pointer

    def _end(self, code: ReturnCode) -> None:
        if self._ended is None:
            self._ended = code

    def _give(
        self, call: Callable[..., int], payload: BytesLike, doing: str = ""
    ) -> None:
        if doing:
            self._check(doing)
        if type(payload) is bytes:
            size = len(payload)
            self._sent += size
            self._send(call, payload or ffi.NULL, size)
        else:
            view = ffi.from_buffer(payload)
            size = len(view)
            self._sent += size
            self._send(call, view if size else ffi.NULL, size)

    def _send(self, call: Callable[..., int], *arguments: object) -> None:
        """Make a C call that sends, and repeat it until all of it is on its way."""
        if self._ended is not None:
            if self._ended is ReturnCode.LOST_CONNECTION:
                self._lost(ReturnCode.LOST_CONNECTION)
            return
        self._sent += _PACKET
        if self._sent > _ROOM:
            self._send_much(call, arguments)
            return
        code = call(self._pointer, *arguments)
        if code:
            self._sent_half(code, call, arguments)

    def _send_much(
        self, call: Callable[..., int], arguments: tuple[object, ...]
    ) -> None:
        """Send what a socket may not take at once."""
        if self._sending:
            raise BusyError(
                "the job is in the middle of another send; a signal handler may note "
                "what there is to say, and let the worker function send it"
            )
        self._sending = True
        try:
            self._host.hurry()
            if self._pending is not None:
                # An exception struck while an earlier packet was half sent.
                self._go_on(*self._pending)
            code = call(self._pointer, *arguments)
            if code:
                self._sent_half(code, call, arguments)
        finally:
            self._sending = False

    def _sent_half(
        self, code: int, call: Callable[..., int], arguments: tuple[object, ...]
    ) -> None:
        """Send the rest of what a C call has begun to send, if it can."""
        self._pending = call, arguments
        if code not in _HALF_SENT:
            self._lost(code)
        self._go_on(call, arguments)

    def _send_result(self, call: Callable[..., int], result: BytesLike) -> None:
        """Send the result, which ends the job."""
        size = len(result)
        if self._sent or size > _ROOM - _PACKET or type(result) is not bytes:
            self._give(call, result)
        else:  # the usual end: it leaves in one piece, and nothing was sent before
            code = call(self._pointer, result or _NULL, size)
            if code:
                self._sent_half(code, call, (result or _NULL, size))
        self._ended = _DONE

    def _go_on(self, call: Callable[..., int], arguments: tuple[object, ...]) -> None:
        code = int(ReturnCode.IO_WAIT)
        while code in _HALF_SENT:
            self._host.wait_writable()
            code = call(self._pointer, *arguments)
        if code:
            self._lost(code)
        self._pending = None

    def _lost(self, code: int) -> None:
        self._ended = ReturnCode.LOST_CONNECTION
        raise error_for(
            ReturnCode(code),
            doing="sending to the job server",
            detail=self._host.told(),
            hint="The job server gives the job to another worker.",
        )

    def _detach(self) -> None:
        """End the use of the C job, which is about to be freed."""
        self._pointer = None
        self._workload = None
