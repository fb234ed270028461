"""The functions of a worker by name; what C knows is made from this record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from ._convert import BytesLike
from .enums import ReturnCode
from .errors import InvalidArgumentError

if TYPE_CHECKING:
    from .job import Job

__all__ = ["Aggregator", "Function", "Registry"]

Aggregator = Callable[[list[bytes]], "BytesLike | None"]

_numbers = count(1)


@dataclass
class Function:
    """What a worker has registered under one name."""

    name: bytes
    call: Callable[[Job], object] | None
    """None: registered for `grab_job` only."""
    timeout: float | None
    aggregate: Aggregator | None = None
    """Joins the results of what `call` has given away; None: nothing is divided."""
    reduce_timeout: float | None = None
    number: int = field(default_factory=lambda: next(_numbers))
    """How C knows it: never the address of a Python object that could be gone."""
    text: str = ""

    def __post_init__(self) -> None:
        self.text = self.name.decode("utf-8", "surrogateescape")


class Registry(dict[bytes, Function]):
    """Functions by name, without the namespace."""

    def check(self, doing: str, *, calls: bool) -> None:
        """Refuse a record that cannot be served.

        Args:
            doing: the operation, for the message.
            calls: jobs are to be run, not grabbed.
        """
        if not self:
            raise InvalidArgumentError(
                "the worker has no function; add one with add_function(name, fn)",
                code=ReturnCode.NO_REGISTERED_FUNCTIONS,
                doing=doing,
            )
        if not calls:
            return
        for function in self.values():
            if function.call is None:
                raise InvalidArgumentError(
                    f"{function.text!r} is only registered, for grab_job(); add_function"
                    "() gives it something to run",
                    code=ReturnCode.INVALID_FUNCTION_NAME,
                    doing=doing,
                )
