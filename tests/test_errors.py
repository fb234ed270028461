"""The exceptions: their tree, their messages, and the one table from return codes."""

from __future__ import annotations

import copy
import pickle
import re
from typing import Any

import pytest

import pygearman_cffi
from pygearman_cffi import errors
from pygearman_cffi.enums import ReturnCode
from pygearman_cffi.errors import CODE_TO_ERROR, GearmanError, error_for
from pygearman_cffi.status import JobHandle

ALL = [
    cls
    for cls in map(errors.__dict__.get, errors.__all__)
    if isinstance(cls, type) and issubclass(cls, GearmanError)
]
every_class = pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
every_code = pytest.mark.parametrize("code", list(CODE_TO_ERROR), ids=lambda c: c.name)

# Each class with the builtins that an `except` of a reader of the docs would name.
BUILTINS = {
    errors.LibraryNotFoundError: ImportError,
    errors.UnsupportedError: NotImplementedError,
    errors.ClosedError: ValueError,
    errors.ForkedError: RuntimeError,
    errors.BusyError: RuntimeError,
    errors.NotFinishedError: RuntimeError,
    errors.InvalidArgumentError: ValueError,
    errors.ArgumentTypeError: TypeError,
    errors.OutOfMemoryError: MemoryError,
    errors.GearmanTimeoutError: TimeoutError,
    errors.CouldNotConnectError: ConnectionError,
    errors.ConnectionLostError: ConnectionError,
    errors.NotGearmanError: ConnectionError,
}

# Not made from a return code: refused before C is called, or made by hand.
WITHOUT_CODE = {
    errors.GearmanError,
    errors.LibraryNotFoundError,
    errors.UnsupportedError,
    errors.ClosedError,
    errors.ForkedError,
    errors.ArgumentTypeError,
    errors.NotGearmanError,
}


def test_table_is_exhaustive() -> None:
    """Every return code but SUCCESS has a class, under its own name and not an alias."""
    assert set(CODE_TO_ERROR) == set(ReturnCode) - {ReturnCode.SUCCESS}


def test_every_class_is_reachable() -> None:
    """Every class is made from a return code, or is one of those that C never causes."""
    assert set(ALL) == set(CODE_TO_ERROR.values()) | WITHOUT_CODE
    assert {getattr(pygearman_cffi, cls.__name__) for cls in ALL} == set(ALL)


def test_tree_in_the_docstring() -> None:
    """The tree that errors.py draws is the tree of the classes, builtins included."""
    drawn = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"([│ ├└─]*)(\w+)(?: \((\w+)\))?", line)
        if match and match[2].endswith("Error"):
            depth = len(match[1]) // 4
            path[depth:] = [match[2]]
            parent = path[depth - 1] if depth else "Exception"
            drawn[match[2]] = {parent, match[3]} - {None}
    assert set(drawn) == {cls.__name__ for cls in ALL}
    for cls in ALL:
        assert {base.__name__ for base in cls.__bases__} == drawn[cls.__name__]


@pytest.mark.parametrize("cls", BUILTINS, ids=lambda cls: cls.__name__)
def test_builtin_bases(cls: type[GearmanError]) -> None:
    """Each class is caught as the builtin that fits it, and as a GearmanError."""
    with pytest.raises(BUILTINS[cls]) as caught:
        raise cls("text", doing="Client.do('f')")
    assert isinstance(caught.value, GearmanError)


def test_wrong_protocol_is_both() -> None:
    """NotGearmanError is a failed connection (nothing was sent) and a protocol error."""
    error = errors.NotGearmanError("it speaks HTTP")
    assert isinstance(error, errors.CouldNotConnectError)
    assert isinstance(error, errors.ProtocolError)


@every_class
def test_one_positional_argument(cls: type[GearmanError]) -> None:
    """Each has one argument only, so that an OSError leaves errno alone."""
    error = cls("told", doing="Client.do('f')", detail="words")
    assert error.args == ("Client.do('f'): told",)
    assert str(error) == "Client.do('f'): told"
    assert getattr(error, "errno", None) is None
    assert error.detail == "words"
    assert error.code is cls.default_code


@every_class
def test_pickling(cls: type[GearmanError]) -> None:
    """Each survives pickling, with everything it carries."""
    error = cls("told", doing="doing", detail="words", code=ReturnCode.PAUSE)
    if isinstance(error, errors.WorkError):
        error.function_name = "f"
        error.job_handle = JobHandle("H:x:1", ("host", 1))
        error.warnings = (b"\0",)
    if isinstance(error, errors.WorkExceptionError):
        error.payload = b"\xff"
    twin = pickle.loads(pickle.dumps(error))
    assert type(twin) is cls
    assert twin.args == error.args
    assert vars(twin) == vars(error)
    if isinstance(twin, errors.WorkError):
        assert getattr(twin.job_handle, "server", None) == ("host", 1)


@pytest.mark.parametrize(
    ("server", "cls"),
    [
        ("nope", errors.ArgumentTypeError),
        ("ab", errors.ArgumentTypeError),
        (4730, errors.ArgumentTypeError),
        (("host",), errors.ArgumentTypeError),
        ((b"host", 1), errors.ArgumentTypeError),
        (("host", "1"), errors.ArgumentTypeError),
        (("host", True), errors.ArgumentTypeError),
        (("host", 0), errors.InvalidArgumentError),
        (("host", 65536), errors.InvalidArgumentError),
    ],
    ids=repr,
)
def test_handle_of_what_is_no_server(server: Any, cls: type[GearmanError]) -> None:
    """A job handle takes no server but None and (host, port), at once, not when asked."""
    with pytest.raises(cls, match=r"JobHandle\(\)"):
        JobHandle("H:x:1", server)


@pytest.mark.parametrize("server", [None, ("host", 1), ("::1", 65535)])
def test_handle_is_copied(server: tuple[str, int] | None) -> None:
    """A job handle survives copying and pickling, with its server."""
    handle = JobHandle("H:x:1", server)
    copies = (
        copy.copy(handle),
        copy.deepcopy(handle),
        pickle.loads(pickle.dumps(handle)),
    )
    for twin in copies:
        assert (type(twin), str(twin), twin.server) == (JobHandle, "H:x:1", server)
    pair: Any = list(server or ("h", 1))  # as JSON gives it
    assert JobHandle("H:x:1", pair).server == (server or ("h", 1))


@every_class
def test_says_of_itself_what_it_means(cls: type[GearmanError]) -> None:
    """Each class has a docstring of its own."""
    assert cls.__doc__
    assert cls.__doc__ != GearmanError.__doc__ or cls is GearmanError


@every_code
def test_message(code: ReturnCode) -> None:
    """A message says what was attempted, what C said, its code, and what to do."""
    error = error_for(code, doing="Client.do('f')", detail="C's own text")
    assert type(error) is CODE_TO_ERROR[code]
    assert error.code is code
    assert error.detail == "C's own text"
    assert error.doing == "Client.do('f')"
    assert str(error).startswith(f"Client.do('f'): C's own text ({code.name})")
    hint = error_for(code, doing="x", hint="Turn it off and on again.")
    assert str(hint).endswith("Turn it off and on again.")


@pytest.mark.parametrize(
    ("code", "word"),
    [
        (ReturnCode.COULD_NOT_CONNECT, "check that a job server listens"),
        (ReturnCode.LOST_CONNECTION, "may or may not have run"),
        (ReturnCode.TIMEOUT, "may still run"),
        (ReturnCode.NO_SERVERS, "add_server("),
        (ReturnCode.INVALID_PACKET, "check that the address"),
        (ReturnCode.WORK_FAIL, "worker's log"),
    ],
)
def test_advice(code: ReturnCode, word: str) -> None:
    """The failures that a user meets tell what to do."""
    assert word.lower() in str(error_for(code, doing="Client.do('f')")).lower()


def test_during_adds_what_was_attempted_once() -> None:
    """A deeper room leaves `doing` open; the first that knows it fills it in."""
    error = errors.ServerError("the queue is full")
    assert error.during("Client.do('f')") is error
    assert error.during("something outside") is error
    assert str(error) == "Client.do('f'): the queue is full"
    assert error.doing == "Client.do('f')"


def test_unknown_return_code() -> None:
    """A code that a newer library invents has a name and a class, and no crash."""
    code = ReturnCode(999)
    assert code is ReturnCode.MAX_RETURN
    assert type(error_for(code, doing="x")) is GearmanError
