"""What is asked of a connection itself; C offers it only in calls that block.

Where Python sees the socket it makes the exchange itself, on C's own connection while C
has nothing in flight there, so that deadline and signals hold.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from . import _convert
from ._descriptor import Descriptor
from ._frames import TaskFrame
from ._library import CData, ffi
from .enums import ReturnCode
from .errors import GearmanTimeoutError, error_for

if TYPE_CHECKING:
    from ._libgearman import Lib

__all__ = ["Requests"]

_SUCCESS, _TIMEOUT = int(ReturnCode.SUCCESS), int(ReturnCode.TIMEOUT)


class Requests(TaskFrame):
    """The part of a connection that asks about itself."""

    _pointer: CData = None
    _descriptor: Descriptor | None = None
    _lib: Lib
    tainted: bool
    """Something still sits in C: finish what is in flight, then replace it."""

    def request_option(self, name: bytes, deadline: float | None) -> None:
        """Ask the job server for an option of this connection.

        Raises:
            ServerError: it refused.
        """
        if self._descriptor is not None:
            self._descriptor.request_option(name, deadline)
            return

        def ask() -> int:
            if self._lib.gearman_client_set_server_option(
                self._pointer, name, len(name)
            ):
                return _SUCCESS
            return int(self._lib.gearman_client_error_code(self._pointer))

        self._slices(ask, deadline)

    def echo(self, workload: bytes, deadline: float | None) -> None:
        """Send bytes to the job server and check that they come back."""
        if self._descriptor is not None:
            self._descriptor.echo(workload, deadline)
            return
        self._slices(
            lambda: self._lib.gearman_client_echo(
                self._pointer, workload, len(workload)
            ),
            deadline,
        )

    def cancel_job(self, handle: bytes, deadline: float | None) -> None:
        """Ask the job server to drop a job."""
        if self._descriptor is not None:
            self._descriptor.cancel_job(handle, deadline)
            return
        buffer = ffi.new("char[64]", handle)
        self._slices(
            lambda: self._lib.gearman_client_cancel_job(self._pointer, buffer), deadline
        )

    def _slices(self, call: Callable[[], int], deadline: float | None) -> None:
        """Repeat a blocking call until it ends; the same call goes on where it was."""
        while (code := call()) == _TIMEOUT:
            # What was half done must be done or thrown away.
            self.tainted = True
            if deadline is not None and time.monotonic() >= deadline:
                raise GearmanTimeoutError("the time is up")
        if code != _SUCCESS:
            raise error_for(ReturnCode(code), doing="", detail=self._told())

    def _told(self) -> str:
        told = _convert.text(self._lib.gearman_client_error(self._pointer))
        return told.partition(" -> libgearman/")[0]  # its source line helps nobody
