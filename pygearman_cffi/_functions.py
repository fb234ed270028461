"""What a worker serves: its record of functions, and the methods that change it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar, overload

from . import _convert
from ._config import Configured
from ._convert import BytesLike
from ._registry import Aggregator, Function, Registry
from .enums import ReturnCode, WorkerOption
from .errors import ArgumentTypeError, InvalidArgumentError
from .job import Job

__all__ = ["Functions", "WorkerFunction"]

WorkerFunction = Callable[[Job], "BytesLike | None"]
_F = TypeVar("_F", bound=WorkerFunction)
_SHORTEST = 1.0
"""Seconds; gearmand takes any shorter time limit for this."""


class Functions(Configured[WorkerOption]):
    """A worker's functions by name; what C knows is made from this record."""

    _option_type = WorkerOption
    # The last three change nothing here: `timeout` and signals always work.
    _settable = (
        WorkerOption.NON_BLOCKING
        | WorkerOption.GRAB_UNIQ
        | WorkerOption.GRAB_ALL
        | WorkerOption.IDENTIFIER
        | WorkerOption.TIMEOUT_RETURN
        | WorkerOption.STOP_WAIT_ON_SIGNAL
    )

    _functions: Registry

    def _functions_changed(self) -> None:
        """Let C know before it goes on."""
        raise NotImplementedError

    def _check_no_job(self, doing: str, *, own: bool = False) -> None:
        raise NotImplementedError

    def _set(self, doing: str, **changes: Any) -> None:
        namespace: bytes = changes.get("namespace", b"")
        for function in self._functions if namespace else ():
            _convert.function_name(function, namespace, doing)
        self._begin(doing)
        try:
            self._check_no_job(doing)
            for name, value in changes.items():
                setattr(self._config, name, value)
            self._changed()
        finally:
            self._end()

    def _name(self, name: str | bytes, doing: str) -> bytes:
        self._check_mine(doing)
        return _convert.function_name(name, self._config.namespace, doing)

    def _serve(
        self,
        name: str | bytes,
        call: Callable[[Job], object] | None,
        timeout: float | None,
        doing: str,
        *,
        aggregate: Aggregator | None = None,
        reduce_timeout: float | None = None,
    ) -> None:
        key = self._name(name, doing)
        limit = _convert.seconds(timeout, "timeout", doing)
        if limit is not None and limit < _SHORTEST:
            raise InvalidArgumentError(
                f"timeout is {timeout!r}; a job server takes {_SHORTEST} s at least",
                doing=doing,
            )
        known = self._functions.get(key)
        if (
            known is not None
            and known.timeout == limit
            and known.reduce_timeout == reduce_timeout
            and (known.call is None) is (call is None)
            and (known.aggregate is None) is (aggregate is None)
        ):
            known.call, known.aggregate = call, aggregate  # C has only its number
            return
        self._functions[key] = Function(key, call, limit, aggregate, reduce_timeout)
        self._functions_changed()

    def add_function(
        self, name: str | bytes, fn: WorkerFunction, *, timeout: float | None = None
    ) -> None:
        """Serve a function; another one of this name is replaced.

        In a worker function it takes effect after the job.

        Args:
            name: 1 to 512 bytes with the namespace, without NUL.
            fn: called with a `Job`; see `Worker` for what it may return and raise. What
                C and PHP call its context is a closure or a bound method here.
            timeout: seconds, 1.0 at least, after which the job server gives the job to
                another worker, whatever becomes of this one; None for no limit. gearmand
                before 1.1.19 rounds it to whole seconds.

        Raises:
            InvalidArgumentError: a wrong name or timeout.
            ArgumentTypeError: fn is not callable, or its call would only
                make a coroutine or a generator.

        Wraps `gearman_worker_define_function`; does what `gearman_worker_add_function`
        does.
        """
        doing = f"add_function({name!r})"
        _check_callable(fn, "fn", doing)
        self._serve(name, fn, timeout, doing)

    def define_partition(
        self,
        name: str | bytes,
        mapper: Callable[[Job], object],
        aggregator: Aggregator,
        *,
        reduce_timeout: float | None = None,
    ) -> None:
        """Serve a function that divides a job among other workers and joins the parts.

        For clients that call `Client.execute_by_partition`, or its twin in C. Each
        `job.send_data(part)` of the mapper becomes a job of the function that the
        client has named, which needs workers of its own: this one waits meanwhile. C
        waits, so `stop()` ends it only afterwards, and Ctrl-C gives the job back. A part
        that fails fails the whole job. One that ends in an exception ends nothing,
        unless gearmand was started with --exceptions: give a `reduce_timeout`.

        Args:
            name: as for `add_function`.
            mapper: called with the job; what it returns is ignored.
            aggregator: called with the results of the parts in the order in which
                they were sent; returns the whole result, bytes-like.
            reduce_timeout: seconds without a word from the parts after which the job
                fails; None for no limit. Of several in one worker the longest holds.

        Raises:
            InvalidArgumentError, ArgumentTypeError: as for `add_function`.

        Wraps `gearman_function_create_partition`.
        """
        doing = f"define_partition({name!r})"
        _check_callable(mapper, "mapper", doing)
        _check_callable(aggregator, "aggregator", doing)
        limit = _convert.seconds(reduce_timeout, "reduce_timeout", doing)
        self._serve(
            name, mapper, None, doing, aggregate=aggregator, reduce_timeout=limit
        )

    @overload
    def function(self, name: _F) -> _F: ...

    @overload
    def function(
        self, name: str | bytes | None = None, *, timeout: float | None = None
    ) -> Callable[[_F], _F]: ...

    def function(self, name: Any = None, *, timeout: float | None = None) -> Any:
        """Serve the decorated function, which stays what it is.

        Use it as `@worker.function`, which takes the function's own name, or as
        `@worker.function("name", timeout=2.0)`; see `add_function`.
        """

        def decorate(fn: _F) -> _F:
            own = getattr(fn, "__name__", None) if name in (None, fn) else name
            if own is None:
                raise ArgumentTypeError(
                    f"{fn!r} has no name of its own: use function(name)",
                    doing="Worker.function()",
                )
            self.add_function(own, fn, timeout=timeout)
            return fn

        return decorate(name) if callable(name) else decorate

    def register(self, name: str | bytes, *, timeout: float | None = None) -> None:
        """Offer a function whose jobs are fetched with `grab_job`; see `add_function`.

        A worker with such a function can neither `work()` nor `run()`.

        Wraps `gearman_worker_register`.
        """
        self._serve(name, None, timeout, f"register({name!r})")

    def unregister(self, name: str | bytes) -> None:
        """Serve a function no longer; in a worker function, after the job.

        Raises:
            InvalidArgumentError: there is none of this name.

        Wraps `gearman_worker_unregister`.
        """
        doing = f"unregister({name!r})"
        if self._functions.pop(self._name(name, doing), None) is None:
            raise InvalidArgumentError(
                "the worker has no function of this name",
                code=ReturnCode.NO_REGISTERED_FUNCTION,
                doing=doing,
            )
        self._functions_changed()

    def unregister_all(self) -> None:
        """Serve nothing any longer; in a worker function, after the job.

        Wraps `gearman_worker_unregister_all`.
        """
        self._check_mine("unregister_all()")
        self._functions.clear()
        self._functions_changed()

    def function_exist(self, name: str | bytes) -> bool:
        """Tell whether there is a function of this name.

        Wraps `gearman_worker_function_exist`.
        """
        doing = f"function_exist({name!r})"
        self._check_usable(doing)  # asking is for any thread
        namespace = self._config.namespace
        return _convert.function_name(name, namespace, doing) in self._functions

    def _copy_functions(self, other: Functions) -> None:
        for key, function in other._functions.items():
            self._functions[key] = Function(
                key,
                function.call,
                function.timeout,
                function.aggregate,
                function.reduce_timeout,
            )


def _check_callable(fn: object, what: str, doing: str) -> None:
    if not callable(fn):
        raise ArgumentTypeError(
            f"{what} is callable, not {type(fn).__name__}", doing=doing
        )
    if inspect.iscoroutinefunction(fn):
        raise ArgumentTypeError(
            f"{what} is a coroutine function; wrap it: lambda job: "
            "asyncio.run(fn(job))",
            doing=doing,
        )
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        raise ArgumentTypeError(
            f"{what} is a generator function; send each piece with job.send_data() "
            "instead of yielding it",
            doing=doing,
        )
