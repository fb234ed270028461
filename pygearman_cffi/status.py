"""Plain values: the status of a job, and a job handle that knows its server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from .errors import ArgumentTypeError, InvalidArgumentError

__all__ = ["JobHandle", "JobStatus"]

Address: TypeAlias = "tuple[str, int]"


class JobHandle(str):
    """A job handle, as the job server gave it, that remembers its server.

    It is a `str` like `H:host:1`. `server` is the (host, port) of the job server
    that gave it, or None; a plain `str` is asked of every server in order.
    """

    server: Address | None

    __slots__ = ("server",)

    def __new__(cls, handle: str, server: Address | None = None) -> JobHandle:
        """Make a handle of a known server, or of any.

        Raises:
            ArgumentTypeError: server is neither None nor a pair of str and int.
            InvalidArgumentError: its port is not one.
        """
        self = str.__new__(cls, handle)
        self.server = None if server is None else _checked(server)
        return self

    def __reduce__(self) -> tuple[type[JobHandle], tuple[str, Address | None]]:
        return JobHandle, (str(self), self.server)


def _checked(server: object) -> Address:
    doing = "JobHandle()"
    if not isinstance(server, (tuple, list)) or len(server) != 2:
        raise ArgumentTypeError(
            f"a server is (host, port) or None, not {server!r}", doing=doing
        )
    host, port = server
    if not isinstance(host, str) or type(port) is not int:
        raise ArgumentTypeError(
            f"a server is (host, port), a str and an int, not {server!r}", doing=doing
        )
    if not 1 <= port <= 65535:
        raise InvalidArgumentError(
            f"{port} is not a port; it must be 1 to 65535", doing=doing
        )
    return host, port


@dataclass(frozen=True)
class JobStatus:
    """What a job server says of one job.

    `known` False means that no server that could be asked knows the job: it finished or
    never existed, for Gearman keeps no results.
    """

    known: bool
    running: bool
    numerator: int
    denominator: int
    client_count: int | None = None
    """How many clients wait for it; None where it was not asked for."""

    @property
    def fraction(self) -> float | None:
        """How much is done, 0.0 to 1.0, or None while the worker sent no status."""
        if not self.denominator:
            return None
        return self.numerator / self.denominator
