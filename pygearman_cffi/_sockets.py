"""Python's own packets: the pre-flight of a server, and questions C asks badly."""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from ._addresses import Address
from ._convert import BytesLike
from ._convert import deadline as deadline_after
from .enums import ReturnCode
from .errors import (
    ConnectionLostError,
    CouldNotConnectError,
    GearmanError,
    GearmanTimeoutError,
    NotGearmanError,
    ProtocolError,
    ServerError,
)

__all__ = [
    "ERROR",
    "HEADER",
    "JOB_STATUS_RES",
    "WORK_FAIL",
    "WORK_WARNING",
    "Reached",
    "echo",
    "exchange",
    "preflight",
    "refusal",
    "request_option",
    "resolve",
    "unique_status",
    "visit",
]

_S: TypeAlias = socket.socket
_T = TypeVar("_T")

ECHO_REQ, ECHO_RES, ERROR, OPTION_REQ, OPTION_RES = 16, 17, 19, 26, 27
JOB_STATUS_RES, STATUS_REQ, STATUS_RES = 20, 41, 42
WORK_FAIL, WORK_WARNING = 14, 29
HEADER = struct.Struct(">4sII")
_GREETING = b"pygearman_cffi"
_CHUNK = 262144
_SLICE = 0.4
"""Seconds; no wait is longer: a signal just before `poll` begins is not seen by it."""


@dataclass(frozen=True)
class Reached:
    """The numeric address at which a job server answered."""

    host: str
    port: int
    hint: int
    """The number that our own socket had: C's next one usually gets it again."""


def _poll(sock: socket.socket, events: int, deadline: float | None, what: str) -> int:
    """Wait for events on a socket; signals are served meanwhile."""
    poll = select.poll()
    poll.register(sock, events)
    while True:
        left = _SLICE if deadline is None else deadline - time.monotonic()
        if left <= 0:
            raise GearmanTimeoutError(f"{what}: the time is up")
        ready = poll.poll(min(left, _SLICE) * 1000 + 1)
        if ready:
            return ready[0][1]


def exchange(
    sock: socket.socket,
    request: int,
    body: BytesLike,
    deadline: float | None,
) -> tuple[int, bytes]:
    """Send one packet and receive the one that answers it.

    Sends and receives at once, so that a large body cannot block both sides.
    """
    outgoing = memoryview(b"".join((HEADER.pack(b"\0REQ", request, len(body)), body)))
    incoming = bytearray()
    expected = HEADER.size
    kind = -1
    while len(incoming) < expected:
        events = select.POLLIN | (select.POLLOUT if outgoing else 0)
        ready = _poll(sock, events, deadline, "waiting for the job server")
        if outgoing and ready & select.POLLOUT:
            outgoing = outgoing[_send(sock, outgoing) :]
        if not ready & ~select.POLLOUT:
            continue
        # Never more than the answer: what follows would be the C library's.
        chunk = _receive(sock, min(expected - len(incoming), _CHUNK))
        if chunk is None:
            continue
        if not chunk:
            raise ConnectionLostError("the peer closed the connection")
        incoming += chunk
        if not b"\0RES".startswith(incoming[:4]):
            raise ProtocolError(f"the peer sent {bytes(incoming)!r}")
        if kind < 0 and len(incoming) == HEADER.size:
            _, kind, size = HEADER.unpack(incoming)
            # An answer repeats what was asked; an error is a code and a sentence.
            if size > max(len(body), 8192):
                raise ProtocolError(f"the peer announced a packet of {size} bytes")
            expected += size
    return kind, bytes(memoryview(incoming)[HEADER.size :])


def echo(sock: socket.socket, body: BytesLike, deadline: float | None) -> None:
    """Send bytes to a job server and check that it sends them back."""
    kind, answer = exchange(sock, ECHO_REQ, body, deadline)
    if kind == ERROR:
        raise refusal(answer)
    if kind != ECHO_RES or answer != body:
        raise ProtocolError(
            "the job server did not send back what it was sent",
            code=ReturnCode.ECHO_DATA_CORRUPTION,
        )


def request_option(sock: socket.socket, name: bytes, deadline: float | None) -> None:
    """Ask a job server for an option of this connection.

    Raises:
        ServerError: it does not know it.
    """
    kind, answer = exchange(sock, OPTION_REQ, name, deadline)
    if kind == ERROR:
        raise refusal(answer)
    if kind != OPTION_RES:
        raise ProtocolError(f"the job server answered with packet {kind}")


def _send(sock: socket.socket, data: memoryview) -> int:
    try:
        return sock.send(data[:_CHUNK])
    except BlockingIOError:
        return 0
    except OSError as reason:
        raise ConnectionLostError(str(reason)) from None


def _receive(sock: socket.socket, size: int) -> bytes | None:
    try:
        return sock.recv(size)
    except BlockingIOError:
        return None
    except OSError as reason:
        raise ConnectionLostError(str(reason)) from None


def resolve(server: Address) -> list[tuple[int, tuple[str, int]]]:
    host, port = server
    # For text Python imports its IDNA codec: some milliseconds, and a lock on which a
    # child hangs that another thread forked meanwhile.
    name = host.encode("ascii") if host.isascii() else host
    try:
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as reason:
        raise CouldNotConnectError(
            f"the name cannot be resolved: {reason}", code=ReturnCode.GETADDRINFO
        ) from None
    return [(family, sockaddr) for family, _, _, _, sockaddr in found]  # type: ignore[misc]


def _greet(
    family: int, sockaddr: tuple[str, int], deadline: float, then: Callable[[_S], _T]
) -> _T:
    """Connect, exchange one echo, and go on with the socket."""
    try:
        made = socket.socket(family, socket.SOCK_STREAM)
    except OSError as reason:  # no such family here, or too many open files
        raise CouldNotConnectError(reason.strerror or str(reason)) from None
    with made as sock:
        sock.setblocking(False)
        try:
            sock.connect(sockaddr)
        except BlockingIOError:
            _poll(sock, select.POLLOUT, deadline, "connecting")
            error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                raise CouldNotConnectError(os.strerror(error)) from None
        except OSError as reason:
            raise CouldNotConnectError(reason.strerror or str(reason)) from None
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            kind, body = exchange(sock, ECHO_REQ, _GREETING, deadline)
        except ProtocolError as reason:
            raise NotGearmanError(f"it is not a job server: {reason}") from None
        if kind != ECHO_RES or body != _GREETING:
            raise NotGearmanError("it is not a job server: it did not echo")
        return then(sock)


def visit(
    server: Address,
    connect_timeout: float | None,
    deadline: float | None,
    then: Callable[[_S], _T],
) -> _T:
    """Greet a server at the first of its addresses that answers, and go on there."""
    limit = deadline_after(connect_timeout)
    own = deadline is not None and (limit is None or deadline <= limit)
    until = deadline if own else limit
    failure: GearmanError = CouldNotConnectError("the name has no address")
    addresses = resolve(server)
    for left in range(len(addresses), 0, -1):
        # Each address gets its share: one that swallows everything must not hide
        # another that works. No limit at all is a very late one.
        now = time.monotonic()
        share = 1e18 if until is None else now + (until - now) / left
        try:
            return _greet(*addresses[-left], share, then)
        except GearmanTimeoutError:
            if own and left == 1:
                raise
            failure = CouldNotConnectError(
                f"no answer within connect_timeout, {connect_timeout} s"
            )
        except CouldNotConnectError as reason:
            failure = reason
        except ConnectionLostError as reason:
            failure = CouldNotConnectError(str(reason))
    raise failure


def preflight(
    server: Address, connect_timeout: float | None, deadline: float | None
) -> Reached:
    """Make sure that a job server answers before C is given the address.

    A black hole would make C wait for minutes, and a line of text without a space
    would kill the process. What fails here was certainly not sent.

    Raises:
        CouldNotConnectError: nothing listens, or nothing answered in time.
        NotGearmanError: the peer speaks another protocol.
        GearmanTimeoutError: the caller's own deadline passed first.
    """

    def reached(sock: socket.socket) -> Reached:
        try:
            host, port = sock.getpeername()[:2]
        except OSError as reason:  # it has answered, and hung up
            raise CouldNotConnectError(reason.strerror or str(reason)) from None
        return Reached(host, port, sock.fileno())

    return visit(server, connect_timeout, deadline, reached)


def unique_status(
    server: Address,
    unique: bytes,
    connect_timeout: float | None,
    deadline: float | None,
) -> tuple[bool, bool, int, int, int]:
    """Ask a server about a job by its unique: known, running, n, of, clients.

    On a socket of our own: C's call puts its connection out of step, and shows the
    number of clients only where it may block for ever.
    """

    def ask(sock: socket.socket) -> tuple[bool, bool, int, int, int]:
        kind, answer = exchange(sock, STATUS_REQ, unique, deadline)
        if kind == ERROR:
            raise refusal(answer)
        fields = answer.rstrip(b"\0").split(b"\0")
        if kind != STATUS_RES or len(fields) != 6 or fields[0] != unique:
            raise ProtocolError("the job server's answer is not a status")
        try:
            known, running, numerator, denominator, clients = map(int, fields[1:])
        except ValueError:
            raise ProtocolError("the job server's status has no numbers") from None
        return bool(known), bool(running), numerator, denominator, clients

    return visit(server, connect_timeout, deadline, ask)


def refusal(answer: bytes) -> ServerError:
    name, _, told = (
        part.decode("utf-8", "replace") for part in answer.partition(b"\0")
    )
    code = ReturnCode.__members__.get(name.removeprefix("GEARMAN_"))
    detail = f"{told} [{name}]"
    return ServerError(f"the job server refused: {detail}", code=code, detail=detail)
