"""What a worker asks its job servers directly, over connections of their own."""

from __future__ import annotations

from collections.abc import Callable

from . import _convert, _probe
from ._addresses import Address
from ._config import Timeout
from ._convert import BytesLike
from ._functions import Functions
from .enums import ReturnCode
from .errors import (
    ArgumentTypeError,
    GearmanError,
    InvalidArgumentError,
    NoServersError,
)

__all__ = ["Inquiries", "check_count"]

_Question = Callable[[Address, bytes, "float | None", "float | None"], None]


def check_count(value: object, what: str, doing: str) -> None:
    """Refuse what is not a number of things, of at least one."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ArgumentTypeError(
            f"{what} is an int or None, not {type(value).__name__}", doing=doing
        )
    if value < 1:
        raise InvalidArgumentError(
            f"{what} is {value}; it must be 1 at least, or None", doing=doing
        )


class Inquiries(Functions):
    """A worker's questions that have nothing to do with jobs."""

    _return_code = ReturnCode.SUCCESS

    def _check_servers(self, doing: str) -> None:
        if not self._config.servers:
            raise NoServersError(
                "the worker has no job server; add one with add_server(host, port)",
                doing=doing,
            )

    def echo(self, workload: BytesLike, *, timeout: Timeout = ...) -> None:
        """Send bytes to every job server and check that each sends them back.

        Each is asked over a connection of its own, so this is allowed in a worker
        function too, and shows whether the servers answer, not how busy they are.

        Args:
            workload: at least one byte.
            timeout: seconds for all of them, None for no limit; the worker's own
                `timeout` if it is left out.

        Raises:
            InvalidArgumentError: the workload is empty.
            NoServersError: no job server was added.
            CouldNotConnectError: one of them cannot be reached.
            GearmanTimeoutError: the time is up.
            ProtocolError: something else came back.

        Does what `gearman_worker_echo` does.
        """
        doing = "Worker.echo()"
        payload = _convert.workload(workload, doing)
        if not memoryview(payload).nbytes:
            raise InvalidArgumentError("the workload is empty", doing=doing)
        self._ask(doing, timeout, _probe.echo, bytes(payload))
        self._return_code = ReturnCode.SUCCESS

    def set_server_option(self, name: str | bytes, *, timeout: Timeout = ...) -> None:
        """Ask the job servers for an option of the worker's connections.

        gearmand's only one, "exceptions", means nothing to a worker.

        Args:
            name: of the option; it is asked for again at every later connection.
            timeout: as for `echo`.

        Raises:
            ServerError: a job server does not know the option.
            NoServersError, CouldNotConnectError, GearmanTimeoutError: as for `echo`.

        Wraps `gearman_worker_set_server_option`.
        """
        doing = f"Worker.set_server_option({name!r})"
        option = _convert.option_name(name, doing)
        self._ask(doing, timeout, _probe.request_option, option)
        if option not in self._config.server_options:
            self._set(doing, server_options=[*self._config.server_options, option])

    def _ask(
        self, doing: str, timeout: Timeout, question: _Question, body: bytes
    ) -> None:
        self._check_mine(doing)
        limit = self._config.timeout
        if timeout is not ...:
            limit = _convert.seconds(timeout, "timeout", doing)
        until = _convert.deadline(limit)
        self._check_servers(doing)
        for host, port in self._config.servers:
            try:
                question((host, port), body, self._config.connect_timeout, until)
            except GearmanError as reason:
                self._return_code = reason.code or ReturnCode.ERROR
                raise type(reason)(
                    f"job server {host}:{port}: {reason}",
                    code=reason.code,
                    detail=reason.detail,
                    doing=doing,
                ) from None
