"""Plain values: the status of a job, and a job handle that knows its server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

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
        """Make a handle of a known server, or of any."""
        self = str.__new__(cls, handle)
        self.server = server
        return self

    def __reduce__(self) -> tuple[type[JobHandle], tuple[str, Address | None]]:
        return JobHandle, (str(self), self.server)


@dataclass(frozen=True)
class JobStatus:
    """What a job server says of one job.

    `known` False means that it finished or never existed: Gearman keeps no results.
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
