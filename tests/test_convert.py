"""What crosses the border to C: names, payloads, times, return codes."""

from __future__ import annotations

import array
import math
import mmap
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pygearman_cffi import (
    ArgumentTypeError,
    ConnectionLostError,
    GearmanError,
    InvalidArgumentError,
    ReturnCode,
    _convert,
    ffi,
)

DOING = "Client.do('f')"
NAIVE = datetime(2030, 1, 1)  # noqa: DTZ001  it is refused
GOOD_TEXT = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1
)


def refused(call: Callable[[], object], cls: type[GearmanError], *words: str) -> None:
    """Assert that a call is refused, with a message that says these words."""
    with pytest.raises(cls) as caught:
        call()
    for word in (DOING, *words):
        assert word in str(caught.value)


# -- payloads ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        b"a\0b",
        bytearray(b"a\0b"),
        memoryview(b"a\0b"),
        memoryview(b"a0\0_b0")[::2],
        array.array("B", b"a\0b"),
    ],
    ids=["bytes", "bytearray", "memoryview", "strided", "array"],
)
def test_payload_types(value: Any) -> None:
    """Every bytes-like object is a payload, byte for byte."""
    assert bytes(_convert.workload(value, DOING)) == b"a\0b"


def test_payload_of_wider_items() -> None:
    """A payload is the memory of an array, whatever its items are."""
    numbers = array.array("I", [1, 2**32 - 1])
    assert bytes(_convert.workload(numbers, DOING)) == numbers.tobytes()
    grid = memoryview(bytes(range(6))).cast("B", (2, 3))
    assert bytes(_convert.workload(grid, DOING)) == bytes(range(6))
    with mmap.mmap(-1, 4096) as pages:
        view = _convert.workload(pages, DOING)
        assert len(view) == 4096
        assert isinstance(view, memoryview)
        view.release()


def test_bytes_are_not_copied() -> None:
    """`bytes` go through as the same object."""
    payload = b"x" * 100
    assert _convert.workload(payload, DOING) is payload
    assert _convert.workload(memoryview(b""), DOING) == b""


@pytest.mark.parametrize("value", [None, 1, 1.5, [1], {}, object(), True])
def test_payload_of_a_wrong_type(value: object) -> None:
    """What is not bytes-like is refused by type; an int is never a number of zeros."""
    refused(
        lambda: _convert.workload(value, DOING),
        ArgumentTypeError,
        type(value).__name__,
    )


def test_payload_of_text() -> None:
    """A `str` payload is refused with a word on how to encode it."""
    refused(lambda: _convert.workload("abc", DOING), ArgumentTypeError, ".encode()")


@given(st.binary(max_size=300))
def test_payload_round_trip(payload: bytes) -> None:
    """A payload that went to C memory comes back the same."""
    view = _convert.workload(bytearray(payload), DOING)
    assert _convert.buffer(ffi.from_buffer(view), len(view)) == payload


def test_payload_that_no_packet_can_hold() -> None:
    """A payload of 4 GiB is refused at once, before anybody copies it."""
    pages = mmap.mmap(-1, 2**32)  # of which none is ever touched
    refused(lambda: _convert.workload(pages, DOING), InvalidArgumentError, "4294967296")


def test_buffer_of_nothing() -> None:
    """NULL, and no size, are an empty payload."""
    assert _convert.buffer(ffi.NULL, 5) == b""
    assert _convert.buffer(ffi.new("char[1]"), 0) == b""


# -- names ---------------------------------------------------------------------------


@given(GOOD_TEXT.filter(lambda text: len(text.encode()) <= 512))
def test_function_name_round_trip(name: str) -> None:
    """A name goes to C as UTF-8 and comes back as the same `str`."""
    encoded = _convert.function_name(name, b"", DOING)
    assert encoded == name.encode()
    assert _convert.text(ffi.new("char[]", encoded)) == name


@given(st.binary(min_size=1, max_size=63).filter(lambda name: b"\0" not in name))
def test_names_that_are_no_text(name: bytes) -> None:
    """A name of any bytes survives the way to `str` and back."""
    text = _convert.text(ffi.new("char[]", name))
    assert _convert.unique(text, DOING) == name
    assert _convert.unique(name, DOING) == name


CHECKS: dict[str, tuple[Callable[[Any], bytes], int]] = {
    "function name": (lambda value: _convert.function_name(value, b"", DOING), 512),
    "unique": (lambda value: _convert.unique(value, DOING), 63),
    "job handle": (lambda value: _convert.handle(value, DOING), 63),
    "option": (lambda value: _convert.option_name(value, DOING), 255),
    "identifier": (lambda value: _convert.identifier(value, DOING), 254),
    "namespace": (lambda value: _convert.namespace(value, DOING), 511),
}
every_name = pytest.mark.parametrize("what", CHECKS)


@every_name
def test_length_of_names(what: str) -> None:
    """The longest name passes as it is, one byte more is refused, nothing is cut."""
    check, longest = CHECKS[what]
    assert check("x" * longest) == b"x" * longest
    refused(lambda: check("x" * (longest + 1)), InvalidArgumentError, what)
    # Bytes count, not letters.
    refused(lambda: check("é" * (longest // 2 + 1)), InvalidArgumentError, what)


@every_name
def test_names_that_c_would_misread(what: str) -> None:
    """A NUL is refused: C would cut the name there. So is a name of another type."""
    check, _ = CHECKS[what]
    refused(lambda: check("a\0b"), InvalidArgumentError, what, "NUL")
    refused(lambda: check(b"\0"), InvalidArgumentError, what, "NUL")
    wrong: list[object] = [None, 1, ["a"], bytearray(b"a"), ("a",)]
    for value in wrong:
        refused(partial(check, value), ArgumentTypeError, type(value).__name__)
    refused(lambda: check("\ud800"), InvalidArgumentError, what)


@every_name
def test_empty_names(what: str) -> None:
    """An empty name is refused; only a namespace may be empty."""
    check, _ = CHECKS[what]
    if what == "namespace":
        assert check("") == check(b"") == b""
    else:
        refused(lambda: check(""), InvalidArgumentError, what, "empty")
        refused(lambda: check(b""), InvalidArgumentError, what, "empty")


def test_function_name_with_namespace() -> None:
    """Namespace and name have 512 bytes together; more would smash C's stack."""
    assert _convert.function_name("f" * 500, b"n" * 12, DOING) == b"f" * 500
    refused(
        lambda: _convert.function_name("f" * 500, b"n" * 13, DOING),
        InvalidArgumentError,
        "500",
        "13",
        "512",
    )


@pytest.mark.parametrize("value", ["a b", "tab\t", "é", "a\n", "\x7f"])
def test_identifier_letters(value: str) -> None:
    """An identifier is visible ASCII, as C demands."""
    refused(
        lambda: _convert.identifier(value, DOING), InvalidArgumentError, "visible ASCII"
    )


# -- times ---------------------------------------------------------------------------


def test_seconds() -> None:
    """A time is a positive number; None and infinity are no limit."""
    assert _convert.seconds(0.5, "timeout", DOING) == 0.5
    assert _convert.seconds(3, "timeout", DOING) == 3.0
    assert _convert.seconds(None, "timeout", DOING) is None
    assert _convert.seconds(math.inf, "timeout", DOING) is None
    assert _convert.seconds(1e9, "timeout", DOING) == 1e9


@pytest.mark.parametrize("value", [0, 0.0, -0.0, -1, -math.inf, math.nan, -1e-9])
def test_bad_seconds(value: float) -> None:
    """Zero, negative and NaN times are refused: each means something else in C."""
    refused(
        lambda: _convert.seconds(value, "timeout", DOING),
        InvalidArgumentError,
        "timeout",
        "greater than 0",
    )


@pytest.mark.parametrize("value", ["1", b"1", True, [1], 1j, object()])
def test_seconds_of_a_wrong_type(value: Any) -> None:
    """A time that is no number is a TypeError."""
    refused(
        lambda: _convert.seconds(value, "timeout", DOING), ArgumentTypeError, "timeout"
    )


def test_seconds_beyond_float() -> None:
    """An int that no float can hold is as good as no limit, not an OverflowError."""
    assert _convert.seconds(10**400, "timeout", DOING) is None
    refused(
        lambda: _convert.seconds(-(10**400), "timeout", DOING), InvalidArgumentError
    )


def test_milliseconds() -> None:
    """C gets -1 for no limit, and never 0, which it takes for "do not wait"."""
    assert _convert.milliseconds(None) == -1
    assert _convert.milliseconds(1e-9) == 1
    assert _convert.milliseconds(0.3) == 300
    assert _convert.milliseconds(1e300) == 2**31 - 1


@given(st.floats(min_value=1e-12, allow_infinity=False, allow_nan=False))
def test_milliseconds_are_always_valid(value: float) -> None:
    """Whatever the time, C gets a positive int that it can hold."""
    assert 1 <= _convert.milliseconds(value) <= 2**31 - 1


def test_epoch() -> None:
    """A point in time is whole seconds since 1970, rounded up."""
    assert _convert.epoch(1.2, DOING) == 2
    moment = datetime(2030, 1, 1, tzinfo=timezone(timedelta(hours=2)))
    assert _convert.epoch(moment, DOING) == int(moment.timestamp())


@pytest.mark.parametrize("value", [-1, math.nan, math.inf, 2**31, NAIVE])
def test_bad_epoch(value: Any) -> None:
    """A time that C cannot hold, or without a zone, is refused."""
    refused(lambda: _convert.epoch(value, DOING), InvalidArgumentError, "at=")
    refused(lambda: _convert.epoch("now", DOING), ArgumentTypeError, "at=")  # type: ignore[arg-type]


# -- return codes --------------------------------------------------------------------


def test_check() -> None:
    """SUCCESS passes; any other code raises its class, with the library's own text."""
    _convert.check(0, doing=DOING)
    refused(
        lambda: _convert.check(ReturnCode.LOST_CONNECTION, doing=DOING),
        ConnectionLostError,
        "LOST_CONNECTION",
    )
    refused(lambda: _convert.check(999, doing=DOING), GearmanError, "MAX_RETURN")
