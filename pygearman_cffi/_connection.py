"""One C client with one connection to one job server.

The C client is always non-blocking and every wait happens in Python, so that signal
handlers run at once and deadlines hold whatever the server does.
"""

from __future__ import annotations

import math
import select
import sys
import time
from itertools import count
from typing import TYPE_CHECKING

from . import _callbacks, _convert, _library, _sockets
from ._addresses import Address
from ._config import Config
from ._descriptor import Descriptor, connecting, marked
from ._frames import current
from ._handle import process
from ._kind import Kind
from ._library import CData, ffi
from ._requests import Requests
from ._set_up import set_up
from .enums import ClientOption, ReturnCode
from .errors import (
    ConnectionLostError,
    CouldNotConnectError,
    GearmanTimeoutError,
    ProtocolError,
    ServerError,
)
from .task import Task

if TYPE_CHECKING:
    from ._libgearman import Lib

__all__ = ["Broken", "Connection"]

_OPTIONS = int(ClientOption.NON_BLOCKING | ClientOption.FREE_TASKS)
_WAIT = 0.4
"""Seconds; no wait is longer. A signal that strikes just before `poll` begins is not
seen by it, and a wrong guess of the descriptor may only cost time."""
_UNSURE = 0.05
"""Seconds to wait at a descriptor that has not shown to be C's."""
_ATTEMPTS = 5
"""To find C's socket among others; the last one does without."""
_ARM = 1
"""Milliseconds that C may wait where Python has already waited."""
_SLICE = 100
"""Milliseconds that C waits where Python sees no descriptor."""
_IDLE = 1.0
"""Seconds after which a connection that cannot be looked at is replaced."""
_SUCCESS, _IO_WAIT = int(ReturnCode.SUCCESS), int(ReturnCode.IO_WAIT)
_TIMEOUT = int(ReturnCode.TIMEOUT)
_NO_ACTIVE_FDS = int(ReturnCode.NO_ACTIVE_FDS)
_ALWAYS = ("data", "warning", "status", "complete", "exception", "fail")
_UNSENT_STATES = {
    b"GEARMAN_TASK_STATE_NEW",
    b"GEARMAN_TASK_STATE_SUBMIT",
    b"GEARMAN_TASK_STATE_WORKLOAD",
}
_numbers = count(1)


class Broken(Exception):
    """The connection cannot go on: the return code, and the library's own words."""

    def __init__(self, code: ReturnCode, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class Connection(Requests):
    """A C client of our own; also the frame of its callbacks."""

    def __init__(self, config: Config[ClientOption], server: Address) -> None:
        self.server = server
        self.live: dict[CData, Task] = {}
        self.deadline: float | None = None
        self.overdue = False
        self.released: list[tuple[bytes, bytes]] = []
        self.again: list[Task] = []
        self.broken = False
        self.tainted = False
        self._config = config
        self._log = config.log  # C has its number: it must outlive the C client
        self._lib: Lib = _library.load()
        self._born = process.generation
        self._code = ffi.new("gearman_return_t *")
        self._poll = select.poll()
        self._writing = False
        self._used = 0.0

    # -- life -----------------------------------------------------------------------

    def open(self, deadline: float | None) -> None:
        """Connect to the job server; a failure here was certainly not sent.

        Raises:
            CouldNotConnectError: the server cannot be reached, or is none.
            GearmanTimeoutError: the caller's deadline passed first.
        """
        limit = self._config.connect_timeout
        until = _convert.deadline(limit)
        reached = _sockets.preflight(self.server, limit, deadline)
        own = deadline is not None and (until is None or deadline <= until)
        opened = False
        try:
            for attempt in range(_ATTEMPTS):
                self._create(reached)
                if self._connect(reached, deadline if own else until, attempt):
                    break
                # It was the socket of another thread's C: nothing of it is ours.
                if self._descriptor is not None:
                    self._descriptor.give_back()
                self._descriptor = None
                self._free(reset=False)
            opened = True
        except GearmanTimeoutError:
            if own:
                raise
            raise CouldNotConnectError(
                f"no answer within connect_timeout, {limit} s"
            ) from None
        except Broken as reason:
            self.raise_parked()  # it may have been an interrupt that broke it
            raise CouldNotConnectError(
                f"{reason.detail} ({reason.code.name})", detail=reason.detail
            ) from None
        except (ConnectionLostError, ProtocolError) as reason:
            raise CouldNotConnectError(str(reason)) from None
        finally:
            if not opened:
                self.live = {}
                self._free(reset=True)

    def _create(self, reached: _sockets.Reached) -> None:
        lib = self._lib
        self._pointer = pointer = _library.new_client()
        lib.gearman_client_set_options(pointer, _OPTIONS)
        lib.gearman_client_set_timeout(pointer, _ARM)
        for name in _ALWAYS:
            self._set_fn(name)
        set_up("client", pointer, self._config)
        code = lib.gearman_client_add_server(
            pointer, reached.host.encode("ascii"), reached.port
        )
        if code != _SUCCESS:
            raise Broken(ReturnCode(code), self._told())

    def _set_fn(self, name: str, wanted: bool = True) -> None:
        function = ffi.NULL
        if wanted:
            kind = "universal_status" if name == "status" else name
            function = ffi.cast(
                f"gearman_{kind}_fn *", _callbacks.task_trampoline(name)
            )
        getattr(self._lib, f"gearman_client_set_{name}_fn")(self._pointer, function)

    def _connect(
        self, reached: _sockets.Reached, deadline: float | None, attempt: int
    ) -> bool:
        """Make C connect; False when the socket that was found is not C's."""
        # A question about no job makes C connect while nothing is at stake.
        nudge = self._ask_nothing()
        with connecting:
            # Looking at them all takes time, and the first guess is nearly always right.
            known = marked() if attempt else ()
            code = self._run()
            if attempt < _ATTEMPTS - 1:
                self._descriptor = Descriptor.find(reached, known)
        self._poll = select.poll()
        self._writing = False
        sure = self._descriptor is None
        if self._descriptor is None:
            self._lib.gearman_client_set_timeout(self._pointer, _SLICE)
        else:
            self._poll.register(self._descriptor.number, select.POLLIN)
        while not nudge._ended:
            if code not in (_SUCCESS, _IO_WAIT):
                raise Broken(ReturnCode(code), self._told())
            if deadline is not None and time.monotonic() >= deadline:
                raise GearmanTimeoutError("the time is up")
            self._watch(self._sending(nudge))
            if sure or self._descriptor is None:
                self.wait(deadline)
            else:  # another's socket may be silent while the answer is here
                self.wait(time.monotonic() + _UNSURE)
                sure = self._descriptor.shows(nudge._asked)
            code = self._run()
        if not sure:
            return False
        self._watch(False)
        if self._descriptor is not None:
            self._descriptor.widen(self._config.send_buffer_size)
        names = [b"exceptions"] if self._config.exceptions else []
        for name in (*names, *self._config.server_options):
            try:
                self.request_option(name, deadline)
            except ServerError:  # an older server: jobs work all the same
                pass
        self._used = time.monotonic()
        return True

    def close(self) -> None:
        """Free the C client; quietly when nothing is in flight, else with a reset."""
        self.tainted = True
        self._free(reset=bool(self.live))
        self.live = {}

    def __del__(self) -> None:
        # Nobody took it: an interrupt came between opening and keeping it.
        if self._pointer is not None and not sys.is_finalizing():
            self.close()

    def _free(self, *, reset: bool) -> None:
        pointer, self._pointer = self._pointer, None
        if pointer is None or self._born != process.generation:
            return  # a forked child would close its parent's connection
        if reset and self._descriptor is not None:
            self._descriptor.linger(reset=True)
        frame, current.frame = current.frame, self
        try:
            self._lib.gearman_client_free(pointer)
        finally:
            current.frame = frame

    @property
    def quiet(self) -> bool:
        """True when Python sees the connection, and nothing comes over it."""
        return not (self.tainted or self._descriptor is None or self._poll.poll(0))

    @property
    def fresh(self) -> bool:
        """False when the connection has ended, or brings what nobody asked for."""
        if self.tainted:
            return False
        if self._descriptor is None:
            return time.monotonic() - self._used < _IDLE
        return not self._poll.poll(0)

    def wait(self, deadline: float | None) -> bool:
        """Wait for the connection, for a moment at most; tell whether anything happened.

        Signals are served meanwhile. The next turn does what there is to do.
        """
        if self._descriptor is None:
            limit = None if deadline is None else deadline - time.monotonic()
            slice_ = _SLICE if limit is None else _convert.milliseconds(limit)
            self._lib.gearman_client_set_timeout(self._pointer, min(slice_, _SLICE))
            return self.arm()
        left = _WAIT
        if deadline is not None:
            left = max(0.0, min(left, deadline - time.monotonic()))
        ready = self._poll.poll(math.ceil(left * 1000))
        return self.arm() and bool(ready)

    def register(self, poll: select.poll) -> int | None:
        """Enter the connection in a wait for several; None where it has no number."""
        if self._descriptor is None:
            return None
        events = select.POLLIN | (select.POLLOUT if self._writing else 0)
        poll.register(self._descriptor.number, events)
        return self._descriptor.number

    def arm(self) -> bool:
        """Let C look at its connection; without it, C would not read from it."""
        frame, current.frame = current.frame, self
        try:
            code = self._lib.gearman_client_wait(self._pointer)
        finally:
            current.frame = frame
        if code == _NO_ACTIVE_FDS and self.live:
            self.broken = True
            raise Broken(
                ReturnCode.LOST_CONNECTION, "the library has lost its connection"
            )
        return code == _SUCCESS

    def _watch(self, writing: bool) -> None:
        """Say whether the wait ends also when there is room for sending."""
        if writing is not self._writing:
            self._writing = writing
            if self._descriptor is not None:
                events = select.POLLIN | (select.POLLOUT if writing else 0)
                self._poll.modify(self._descriptor.number, events)

    def _run(self) -> int:
        """Let C send and receive what it can without waiting."""
        frame, current.frame = current.frame, self
        try:
            return self._lib.gearman_client_run_tasks(self._pointer)
        finally:
            current.frame = frame

    def _state(self, task: Task) -> bytes:
        return _library.c_string(self._lib.gearman_task_strstate(task._pointer))

    def _sending(self, task: Task) -> bool:
        """Tell whether C has yet to send a task, or a part of it."""
        return not task._ended and self._state(task) in _UNSENT_STATES

    def _ask_nothing(self) -> Task:
        """Ask about a job that cannot exist: the server's answer marks a moment."""
        nudge = Task(None, "asking for nothing", b"", b"")
        nudge._kind = Kind.NUDGE
        nudge._asked = f"pygearman_cffi:nudge:{next(_numbers)}".encode("ascii")
        pointer = self._lib.gearman_client_add_task_status(
            self._pointer, ffi.NULL, ffi.NULL, nudge._asked, self._code
        )
        if not pointer:
            raise Broken(ReturnCode(self._code[0]), self._told())
        self._enlist(nudge, pointer)
        return nudge

    def _enlist(self, task: Task, pointer: CData) -> None:
        task._sent(pointer, self.server)
        self.live[pointer] = task
