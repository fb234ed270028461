"""One C worker: built, connected, asked for jobs, thrown away when in doubt.

The C worker is always non-blocking and every wait happens in Python. A blocking one
that is woken (or times out) while it waits for an answer stays one answer behind: it
then finds its socket readable for ever, and `gearman_worker_work` never returns.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from . import _callbacks, _convert, _library
from ._config import Config
from ._descriptor import Descriptor, connecting
from ._dividing import Interrupter
from ._handle import process
from ._library import CData, ffi
from ._probe import next_number, take_all, take_new
from ._registry import Function
from ._set_up import set_up
from ._sockets import Reached
from .enums import ReturnCode, WorkerOption

if TYPE_CHECKING:
    from ._libgearman import Lib

__all__ = ["CWorker"]

_SUCCESS = int(ReturnCode.SUCCESS)
_IO_WAIT = int(ReturnCode.IO_WAIT)
_NO_JOBS = int(ReturnCode.NO_JOBS)
_NO_ACTIVE_FDS = int(ReturnCode.NO_ACTIVE_FDS)

ARM = 2
"""Milliseconds that C waits while it connects: a signal waits as long."""
BLIND = 100
"""Milliseconds that C waits where Python sees no descriptor."""
_OPTION_WAIT = 1000


class CWorker:
    """A C worker of our own and the sockets it has made."""

    def __init__(
        self,
        config: Config[WorkerOption],
        functions: Collection[Function],
        spare: int,
    ) -> None:
        """Make it, without servers.

        Args:
            config: read now.
            functions: defined in C now.
            spare: a descriptor that stays open, see `next_number`.
        """
        self._log = config.log  # C has its number: it must outlive the C worker
        self._lib: Lib = _library.load()
        self._born = process.generation
        self._spare = spare
        self._holding = False
        self._number = -1
        self._options = tuple(config.server_options)
        self._buffer = config.send_buffer_size
        self._peers: set[tuple[str, int]] = set()
        self.descriptors: list[Descriptor] = []
        self.settled = False
        """True when it has asked every server for a job over a socket we know."""
        self.blind = False
        """True where its sockets cannot be found: then C does the waiting."""
        self.born_at = time.monotonic()
        self._code = ffi.new("gearman_return_t *")
        self._hurried = False
        self.divides = False
        """It serves a divided function, for whose parts C waits by itself."""
        self._reduce = -1
        self._interrupter: Interrupter | None = None
        self._hidden = False
        self.pointer: CData = _library.new_worker()
        self._pipe: Any = self._lib.gearman_worker_id(self.pointer)
        made = False
        try:
            self._configure(config)
            for function in functions:
                self._define(function)
            self._prepare_dividing(functions)
            made = True
        finally:
            if not made:
                self.free()

    def _configure(self, config: Config[WorkerOption]) -> None:
        lib, pointer = self._lib, self.pointer
        set_up("worker", pointer, config)
        grab = WorkerOption.GRAB_UNIQ | WorkerOption.GRAB_ALL
        # Taking either away makes C send the plainest request: so take first, then
        # set what is wanted.
        lib.gearman_worker_remove_options(pointer, int(grab & ~config.options))
        wanted = config.options & (grab | WorkerOption.IDENTIFIER)
        lib.gearman_worker_add_options(pointer, int(wanted | WorkerOption.NON_BLOCKING))
        lib.gearman_worker_set_timeout(pointer, ARM)

    def _define(self, function: Function) -> None:
        lib = self._lib
        timeout = 0
        if function.timeout is not None:
            timeout = _convert.milliseconds(function.timeout)
        if function.call is None:  # works where executable memory is refused
            code = lib.gearman_worker_register(self.pointer, function.name, timeout)
        else:
            trampoline = ffi.cast(
                "gearman_function_fn *", _callbacks.function_trampoline()
            )
            if function.aggregate is None:
                made = lib.gearman_function_create(trampoline)
            else:
                made = lib.gearman_function_create_partition(
                    trampoline,
                    ffi.cast(
                        "gearman_aggregator_fn *", _callbacks.aggregator_trampoline()
                    ),
                )
            code = lib.gearman_worker_define_function(
                self.pointer,
                function.name,
                len(function.name),
                made,
                timeout,
                ffi.cast("void *", function.number),
            )
        _convert.check(
            code,
            doing=f"registering the function {function.text!r}",
            detail=self.told(),
        )

    def add_server(self, reached: Reached) -> None:
        """Add a job server that has just answered; C connects at the next step."""
        peer = reached.host, reached.port
        if peer in self._peers:
            return  # "localhost" and "127.0.0.1" are one server
        lib = self._lib
        code = lib.gearman_worker_add_server(
            self.pointer, reached.host.encode("ascii"), reached.port
        )
        _convert.check(code, doing="adding a job server", detail=self.told())
        self._peers.add(peer)
        self.settled = False

    def request_options(self) -> bool:
        """Ask the servers for the options that were set; False when it failed.

        Blocks, for a second at most: C connects, asks and waits in one call.
        """
        if not self._options:
            return True
        lib = self._lib
        lib.gearman_worker_set_timeout(self.pointer, _OPTION_WAIT)
        with connecting:
            done = all(
                lib.gearman_worker_set_server_option(self.pointer, name, len(name))
                for name in self._options
            )
            self.descriptors += take_all(self._peers, self._buffer)
        lib.gearman_worker_set_timeout(self.pointer, ARM)
        return done

    def told(self) -> str:
        """Return the library's own words for the last failure."""
        return _convert.text(self._lib.gearman_worker_error(self.pointer))

    # -- asking for jobs ------------------------------------------------------------

    def work(self) -> int:
        """Do what can be done without waiting; a job that is there is run.

        Returns:
            SUCCESS after a job; IO_WAIT while an answer is missing; NO_JOBS when
            every server has none. After any other the C worker must be thrown away:
            at the next call it would follow a null pointer.
        """
        if self.divides:
            return self._work_dividing()
        if self.settled:
            return self._lib.gearman_worker_work(self.pointer)
        return self._watched(self._lib.gearman_worker_work, self.pointer)

    def _prepare_dividing(self, functions: Collection[Function]) -> None:
        limits = [f.reduce_timeout for f in functions if f.aggregate is not None]
        if limits:
            self.divides = True
            known = [limit for limit in limits if limit is not None]
            if len(known) == len(limits):
                self._reduce = _convert.milliseconds(max(known))
            self._interrupter = Interrupter(self, self._peers)

    def _work_dividing(self) -> int:
        """As `work`, where C may make a client that waits as long as we would."""
        lib = self._lib
        lib.gearman_worker_set_timeout(self.pointer, self._reduce)
        # That client would take its servers from there too.
        self._hidden = True
        _library.hide_servers()
        try:
            if self.settled:
                return lib.gearman_worker_work(self.pointer)
            return self._watched(lib.gearman_worker_work, self.pointer)
        finally:
            self.run_python()
            lib.gearman_worker_set_timeout(self.pointer, ARM)

    def run_python(self) -> None:
        """Before Python code runs: give it its environment and its Ctrl-C."""
        if self._hidden:
            self._hidden = False
            _library.show_servers()
        if self._interrupter is not None:
            self._interrupter.disarm()

    def wait_for_parts(self) -> None:
        """Before C waits for the parts of a job: watch for Ctrl-C in its place."""
        if self._interrupter is not None:
            self._interrupter.arm()

    def grab(self) -> tuple[int, CData]:
        """As `work`, but return the C job; after NO_JOBS, too, it must be thrown away."""
        jobs: list[CData] = []

        def grab() -> int:
            jobs.append(
                self._lib.gearman_worker_grab_job(self.pointer, ffi.NULL, self._code)
            )
            return int(self._code[0])

        code = grab() if self.settled else self._watched(grab)
        return code, jobs[0]

    def _watched(self, call: Callable[..., int], *arguments: CData) -> int:
        """Let C go on to connect, and take the socket that it makes."""
        self.hold()
        try:
            self._number = next_number(self._spare)
            code = call(*arguments)
            if not self._holding:  # let go of while C waited for the parts of a job
                self.hold()
            self._take(take_new(self._number, self._peers, self._buffer))
            if code == _NO_JOBS:
                self._settle()
            elif code == _SUCCESS and len(self._peers) == len(self.descriptors) == 1:
                self.settled = True
        finally:
            if self._holding:
                self._holding = False
                connecting.release()
        return code

    def let_go(self) -> bool:
        """Before a worker function runs: let other threads connect meanwhile.

        Returns:
            True where `hold` must be called after it.
        """
        holding = self._holding
        if holding:
            self._take(take_new(self._number, self._peers, self._buffer))
            if len(self.descriptors) < len(self._peers):
                # Its number went to another thread's file: a divided job needs it.
                self.descriptors += take_all(self._peers, self._buffer)
            self._holding = False
            connecting.release()
        return holding

    def hold(self) -> None:
        """Undo `let_go`, before C goes on."""
        connecting.acquire()
        self._holding = True

    def _take(self, descriptor: Descriptor | None) -> None:
        if descriptor is not None:
            self.descriptors.append(descriptor)

    def _settle(self) -> None:
        """Every server was asked: so every socket is there, or never will be."""
        if len(self.descriptors) < len(self._peers):
            self.descriptors += take_all(self._peers, self._buffer)
        self.settled = True
        self.blind = not self.descriptors
        if self.blind:
            self._lib.gearman_worker_set_timeout(self.pointer, BLIND)

    def hurry(self) -> None:
        """Put something into the pipe that C watches: then none of its waits waits."""
        if not self._hurried:
            self._hurried = True
            os.write(self._pipe.write_fd, b"\0")

    def calm(self) -> None:
        """Undo `hurry`; C itself puts back what it reads from the pipe."""
        if self._hurried:
            self._hurried = False
            try:
                os.read(self._pipe.read_fd, 512)
            except BlockingIOError:
                pass

    def arm(self) -> int:
        """Let C wait for its sockets, briefly; only that tells it what is ready."""
        return self._lib.gearman_worker_wait(self.pointer)

    @property
    def connected(self) -> bool:
        """True while no connection is known to be lost."""
        if self.blind:
            return self.arm() != _NO_ACTIVE_FDS
        return len(self.descriptors) >= len(self._peers) and all(
            descriptor.open for descriptor in self.descriptors
        )

    # -- the end --------------------------------------------------------------------

    def free(self) -> None:
        """Free it, connections first: C would free a job that one still receives."""
        if self._interrupter is not None:
            self._interrupter.close()
        pointer, self.pointer = self.pointer, ffi.NULL
        if pointer and self._born == process.generation:
            self._lib.gearman_worker_remove_servers(pointer)
            self._lib.gearman_worker_free(pointer)
