"""A job that a client has submitted, or a question about one.

A task is plain Python: it is filled while callbacks run and stays readable for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn, SupportsIndex

from . import _convert, _library
from ._addresses import Address
from ._convert import BytesLike
from ._kind import Kind
from ._library import CData
from .enums import Priority, ReturnCode, TaskState
from .errors import (
    ArgumentTypeError,
    GearmanError,
    NotFinishedError,
    WorkError,
    WorkExceptionError,
    WorkFailError,
    error_for,
)
from .status import JobHandle, JobStatus

if TYPE_CHECKING:
    from ._submit import Submitter

__all__ = ["EVENTS", "Task", "TaskFunction"]

TaskFunction = Callable[["Task"], object]


EVENTS = ("created", "data", "warning", "status", "complete", "exception", "fail")
"""What can happen to a task, by the names of C's callbacks."""

# In names of our own: before Python 3.12 each look into an enum takes its time.
_FOREGROUND, _SUCCESS = Kind.FOREGROUND, ReturnCode.SUCCESS
_CREATED, _DONE = TaskState.CREATED, TaskState.DONE
_new_str = str.__new__  # without the detour over JobHandle.__new__


class Task:
    """A job that a client has submitted; made by the client, never by its user.

    Readable at any time, also after `Client.run_tasks` and after `Client.close`.
    """

    context: Any = None
    """Whatever was given as `context=`; the package never looks at it."""
    state: TaskState = TaskState.WAITING
    """How far it has come."""
    return_code: ReturnCode = ReturnCode.UNKNOWN_STATE
    """How it ended; UNKNOWN_STATE until then."""
    data: bytes = b""
    """The payload of the packet being delivered, afterwards of the last one."""
    exception: bytes | None = None
    """What the worker sent as an exception, or None."""
    numerator: int = 0
    """How many parts are done, as the worker or the job server last said."""
    denominator: int = 0
    """Of how many parts."""
    client_count: int | None = None
    """How many clients wait for the job; None where it was not asked."""

    # What only some tasks need has its default here: a `do` makes a task per call.
    _kind: Kind = _FOREGROUND
    _priority: Priority = Priority.NORMAL
    _unique_given: bool = False
    _watched: bool = False
    """Somebody may look at it before it ends: its handle is taken when it comes."""
    _key: tuple[bytes, bytes] | None = None
    """What may not be in flight twice; None where it cannot happen."""
    _pointer: CData = None
    _ended: bool = False
    _known: bool = False
    _running: bool = False
    _chunks: list[bytes] | None = None
    _warnings: list[bytes] | None = None
    _final: bytes = b""
    _handle: JobHandle | None = None
    _server: Address | None = None
    _error: GearmanError | None = None
    _at: int = 0
    """When an epoch job is due, in seconds since 1970."""
    _on_end: Callable[[Task], object] | None = None
    """Told when it has ended in whatever way; must not fail."""
    _order: int = 0
    _asked: bytes = b""
    """The handle or unique of the job that a question is about."""
    _ask: tuple[Address, ...] = ()
    """The servers that a question still goes to, one after the other."""
    _heard: bool = False
    """One of them has answered it."""
    _on_created: TaskFunction | None = None
    _on_data: TaskFunction | None = None
    _on_warning: TaskFunction | None = None
    _on_status: TaskFunction | None = None
    _on_complete: TaskFunction | None = None
    _on_exception: TaskFunction | None = None
    _on_fail: TaskFunction | None = None

    def __init__(
        self,
        client: Submitter | None,
        doing: str,
        function: bytes,
        unique: bytes,
        workload: BytesLike = b"",
    ) -> None:
        self._client = client
        self._doing = doing
        self._function = function
        self._unique = unique
        self._workload = workload

    def __repr__(self) -> str:
        return f"<Task {self.function_name!r} {self.state.value}>"

    def __reduce_ex__(self, _protocol: SupportsIndex) -> NoReturn:
        """Refuse `copy` and `pickle`: nothing would fill a copy."""
        raise ArgumentTypeError(
            "a task can be neither copied nor pickled; take its result and job_handle"
        )

    # -- what it is -----------------------------------------------------------------

    @property
    def function_name(self) -> str:
        """The function's name, without the client's namespace; "" for a question."""
        return self._function.decode("utf-8", "surrogateescape")

    @property
    def unique(self) -> str:
        """The unique that was given, or else the one that was made for it."""
        return self._unique.decode("utf-8", "surrogateescape")

    @property
    def job_handle(self) -> JobHandle | None:
        """The handle that the job server gave, None while it is not known."""
        return self._handle

    # -- how it stands --------------------------------------------------------------

    @property
    def is_finished(self) -> bool:
        """True when it is DONE: its last packet was received."""
        return self.state is _DONE

    @property
    def is_known(self) -> bool:
        """True while the job server knows the job, as far as was heard."""
        return self._known

    @property
    def is_running(self) -> bool:
        """True while a worker runs the job, as far as was heard."""
        return self._running

    @property
    def warnings(self) -> tuple[bytes, ...]:
        """The warnings that the worker sent, in order."""
        return tuple(self._warnings or ())

    @property
    def error(self) -> GearmanError | None:
        """Why there is no result, None while there is no reason."""
        if self._error is None and self.state is _DONE:
            self._error = self._work_error()
        return self._error

    @property
    def result(self) -> bytes:
        """The chunks and the final payload, joined.

        Raises:
            NotFinishedError: it is not DONE yet.
            WorkError: the job failed or ended in an exception.
            GearmanError: `error`, where it was refused or abandoned.
        """
        self._check()
        if self._chunks is None:
            return self._final
        self._chunks = [b"".join([*self._chunks, self._final])]
        self._final = b""
        return self._chunks[0]

    def _check(self) -> None:
        """Raise why there is no result, if there is none."""
        if self.return_code is _SUCCESS:
            return
        error = self.error
        if error is None:
            raise NotFinishedError(
                f"the task is {self.state.value}; call run_tasks() first",
                doing=self._doing,
            )
        # The same exception may be raised again: not with a longer traceback.
        raise error.with_traceback(None)

    def _status(self) -> JobStatus:
        return JobStatus(
            known=self._known,
            running=self._running,
            numerator=self.numerator,
            denominator=self.denominator,
            client_count=self.client_count,
        )

    def _work_error(self) -> GearmanError | None:
        if self.return_code is ReturnCode.WORK_FAIL:
            cls: type[WorkError] = WorkFailError
            told = "the worker reported failure"
            if self._warnings:
                told += f", after the warning {_shown(self._warnings[-1])}"
        elif self.return_code is ReturnCode.WORK_EXCEPTION:
            cls = WorkExceptionError
            told = f"the worker sent the exception {_shown(self.exception or b'')}"
        else:
            return None
        error = cls(
            f"{told} ({self.return_code.name}). See the worker's log",
            doing=self._doing,
            function_name=self.function_name,
            unique=self.unique,
            job_handle=self._handle,
            warnings=self.warnings,
        )
        if isinstance(error, WorkExceptionError):
            error.payload = self.exception or b""
        return error

    # -- filled by the session and its callbacks ---------------------------------------

    def _sent(self, pointer: CData, server: Address) -> None:
        self._pointer = pointer
        self._server = server
        self.state = TaskState.SENT

    def _unsent(self) -> None:
        """Certainly no byte of it left: it may be sent again."""
        self._pointer = None
        self.state = TaskState.WAITING

    def _take_handle(self) -> None:
        """Read the handle from C; only for the thread that runs the session."""
        pointer = self._pointer
        if pointer is not None and not self._ended and not self._kind.asks:
            handle = _convert.text(_library.load().gearman_task_job_handle(pointer))
            if handle:
                self._set_handle(handle)

    def _set_handle(self, handle: str) -> None:
        self._handle = made = _new_str(JobHandle, handle)
        made.server = self._server

    def _accepted(self, handle: str) -> None:
        self._set_handle(handle)
        self._known = True
        if self._kind is _FOREGROUND:
            self.state = _CREATED
        else:
            self._finish(_SUCCESS, b"")

    def _add_data(self, data: bytes) -> None:
        self._running = True
        self.data = data
        if self._chunks is None:
            self._chunks = []
        self._chunks.append(data)

    def _add_warning(self, data: bytes) -> None:
        self._running = True
        self.data = data
        if self._warnings is None:
            self._warnings = []
        self._warnings.append(data)

    def _set_status(self, numerator: int, denominator: int) -> None:
        self._running = True
        self.numerator = numerator
        self.denominator = denominator

    def _answer(self, known: bool, running: bool, client_count: int) -> bool:
        """Take a server's answer; False when the next server must be asked."""
        self._known = known
        self._running = running
        if self._kind is Kind.STATUS_BY_UNIQUE:
            self.client_count = client_count
        self._heard = True
        self._ask = self._ask[1:]
        if not known and self._ask:
            self._unsent()
            return False
        self._finish(_SUCCESS, b"")
        return True

    def _finish(self, code: ReturnCode, data: bytes) -> None:
        self.data = data
        if not self._kind.asks:
            self._known = self._kind.detached
            self._running = False
        if code is _SUCCESS:
            self._final = data
        elif code is ReturnCode.WORK_EXCEPTION:
            self.exception = data
        self.return_code = code
        self._workload = b""
        self.state = _DONE
        self._ended = True
        self._pointer = None
        if self._on_end is not None:
            self._on_end(self)

    def _refused(self, code: ReturnCode, detail: str) -> None:
        self._error = error_for(code, doing=self._doing, detail=detail)
        self._finish(code, b"")

    def _abandon(self, code: ReturnCode, what: str) -> None:
        """Give up while the outcome is unknown; says what is known."""
        self._take_handle()
        if self._kind.asks:
            known = "nothing was changed by asking"
        elif self._handle:
            known = f"the job is {self._handle} and may still run"
        else:
            known = "it was being sent; whether the job runs is not known"
        self._error = error_for(
            code, doing=self._doing, detail=f"{what}: {known}", hint=""
        )
        self._workload = b""
        self._running = False
        self.state = TaskState.ABANDONED
        self._ended = True
        self._pointer = None
        if self._on_end is not None:
            self._on_end(self)


def _shown(payload: bytes) -> str:
    """Return the beginning of a payload as readable text."""
    text = payload[:200].decode("utf-8", "replace")
    return repr(text + "..." if len(payload) > 200 else text)
