"""Sockets: the pre-flight of a server, and the descriptor of a C connection.

The C library shows no descriptor. It is found among this process's own by what only
libgearman does to a socket: a linger of exactly 10 s, and our job server as its peer.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from . import _library
from ._convert import Address, BytesLike
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
    "Descriptor",
    "Reached",
    "connecting",
    "preflight",
    "unique_status",
]

_S: TypeAlias = socket.socket
_T = TypeVar("_T")

_ECHO_REQ, _ECHO_RES, _ERROR, _OPTION_REQ, _OPTION_RES = 16, 17, 19, 26, 27
_JOB_STATUS_RES, _STATUS_REQ, _STATUS_RES = 20, 41, 42
_WORK_FAIL, _WORK_WARNING = 14, 29
_HEADER = struct.Struct(">4sII")
_GREETING = b"pygearman_cffi"
_LINGER = struct.Struct("ii")
_MARK = _LINGER.pack(1, 10)
"""What libgearman sets on every socket it makes, and nobody else would."""
_QUIET = _LINGER.pack(0, 0)
_CHUNK = 262144
_FOREVER = 2**31 - 1
"""The longest that poll() can count, in milliseconds."""

_PATIENCE = 1.0


class _Turn:
    """A lock that nobody waits for in vain: without it there is only more to guess.

    An interrupt can strike while it is let go, and leave it taken for ever.
    """

    def __init__(self) -> None:
        self._lock = _library.fork_safe()

    def acquire(self) -> None:
        self._lock.acquire(timeout=_PATIENCE)

    def release(self) -> None:
        try:
            self._lock.release()
        except RuntimeError:  # it was not to be had in time, or is let go already
            pass

    __enter__ = acquire

    def __exit__(self, *_: object) -> None:
        self.release()


connecting = _Turn()
"""Held while C makes a socket and it is told from those of other threads."""


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
        left = _FOREVER if deadline is None else deadline - time.monotonic()
        if left <= 0:
            raise GearmanTimeoutError(f"{what}: the time is up")
        ready = poll.poll(min(left * 1000 + 1, _FOREVER))
        if ready:
            return ready[0][1]


def _exchange(
    sock: socket.socket,
    request: int,
    body: BytesLike,
    deadline: float | None,
) -> tuple[int, bytes]:
    """Send one packet and receive the one that answers it.

    Sends and receives at once, so that a large body cannot block both sides.
    """
    outgoing = memoryview(b"".join((_HEADER.pack(b"\0REQ", request, len(body)), body)))
    incoming = bytearray()
    expected = _HEADER.size
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
        if kind < 0 and len(incoming) == _HEADER.size:
            _, kind, size = _HEADER.unpack(incoming)
            # An answer repeats what was asked; an error is a code and a sentence.
            if size > max(len(body), 8192):
                raise ProtocolError(f"the peer announced a packet of {size} bytes")
            expected += size
    return kind, bytes(memoryview(incoming)[_HEADER.size :])


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


def _resolve(server: Address) -> list[tuple[int, tuple[str, int]]]:
    host, port = server
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as reason:
        raise CouldNotConnectError(
            f"the name cannot be resolved: {reason}", code=ReturnCode.GETADDRINFO
        ) from None
    return [(family, sockaddr) for family, _, _, _, sockaddr in found]  # type: ignore[misc]


def _greet(
    family: int, sockaddr: tuple[str, int], deadline: float, then: Callable[[_S], _T]
) -> _T:
    """Connect, exchange one echo, and go on with the socket."""
    with socket.socket(family, socket.SOCK_STREAM) as sock:
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
            kind, body = _exchange(sock, _ECHO_REQ, _GREETING, deadline)
        except ProtocolError as reason:
            raise NotGearmanError(f"it is not a job server: {reason}") from None
        if kind != _ECHO_RES or body != _GREETING:
            raise NotGearmanError("it is not a job server: it did not echo")
        return then(sock)


def _visit(
    server: Address,
    connect_timeout: float | None,
    deadline: float | None,
    then: Callable[[_S], _T],
) -> _T:
    """Greet a server at the first of its addresses that answers, and go on there."""
    limit = None if connect_timeout is None else time.monotonic() + connect_timeout
    own = deadline is not None and (limit is None or deadline <= limit)
    until = deadline if own else limit
    failure: GearmanError = CouldNotConnectError("the name has no address")
    for family, sockaddr in _resolve(server):
        try:
            # No limit at all is a very late one: what follows compares numbers.
            return _greet(family, sockaddr, 1e18 if until is None else until, then)
        except GearmanTimeoutError:
            if own:
                raise
            raise CouldNotConnectError(
                f"no answer within connect_timeout, {connect_timeout} s"
            ) from None
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
        host, port = sock.getpeername()[:2]
        return Reached(host, port, sock.fileno())

    return _visit(server, connect_timeout, deadline, reached)


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
        kind, answer = _exchange(sock, _STATUS_REQ, unique, deadline)
        if kind == _ERROR:
            raise _refusal(answer)
        fields = answer.rstrip(b"\0").split(b"\0")
        if kind != _STATUS_RES or len(fields) != 6 or fields[0] != unique:
            raise ProtocolError("the job server's answer is not a status")
        try:
            known, running, numerator, denominator, clients = map(int, fields[1:])
        except ValueError:
            raise ProtocolError("the job server's status has no numbers") from None
        return bool(known), bool(running), numerator, denominator, clients

    return _visit(server, connect_timeout, deadline, ask)


def _descriptors(hint: int) -> Iterator[int]:
    """Yield the descriptors of this process, the likeliest first."""
    yield hint
    for folder in ("/proc/self/fd", "/dev/fd"):
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        yield from sorted((int(name) for name in names if name.isdigit()), reverse=True)
        return
    yield from range(1024)


def _borrow(number: int) -> _S:
    """Return a socket object for a socket of somebody else, who goes on using it.

    Raises:
        OSError: the number is not a socket's.
    """
    blocking = socket.getdefaulttimeout() is not None and os.get_blocking(number)
    duplicate = os.dup(number)
    try:
        return socket.socket(fileno=duplicate)
    except OSError:
        os.close(duplicate)
        raise
    finally:
        if blocking:  # a default timeout would end it for the owner too
            os.set_blocking(number, True)


class Descriptor:
    """The socket of one C connection, which C owns: looked at, never closed here."""

    __slots__ = ("_identity", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self._identity = self._look()

    @classmethod
    def find(cls, reached: Reached) -> Descriptor | None:
        """Find the socket that C has just made to a server, or None.

        Call it under `connecting`, after C has made the socket. It is a guess until
        it `shows` an answer: C connects elsewhere without that lock.
        """
        for number in _descriptors(reached.hint):
            try:
                with _borrow(number) as sock:
                    mark = sock.getsockopt(
                        socket.SOL_SOCKET, socket.SO_LINGER, _LINGER.size
                    )
                    if mark != _MARK:
                        continue
                    try:
                        peer = sock.getpeername()
                    except OSError:  # still connecting: its mark must do
                        peer = (reached.host, reached.port)
                    if peer[:2] == (reached.host, reached.port):
                        # Without its mark nobody else takes it for his.
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _QUIET)
                        return cls(number)
            except OSError:
                continue
        return None

    def _look(self) -> tuple[int, int] | None:
        try:
            status = os.fstat(self.number)
        except OSError:
            return None
        return status.st_dev, status.st_ino

    @property
    def open(self) -> bool:
        """True while the number still means the socket that was found."""
        return self._identity is not None and self._look() == self._identity

    def shows(self, handle: bytes) -> bool:
        """Tell whether the status of this job has come, as far as anything has."""
        try:
            with _borrow(self.number) as sock:
                flags = socket.MSG_PEEK | socket.MSG_DONTWAIT
                seen = sock.recv(_HEADER.size + len(handle), flags)
        except OSError:
            return False
        start = _HEADER.pack(b"\0RES", _JOB_STATUS_RES, 0)[:8]
        return (
            bool(seen) and start.startswith(seen[:8]) and handle.startswith(seen[12:])
        )

    def fail_job(self, handle: bytes, warning: bytes) -> bool:
        """Tell the job server that a job failed; False where that cannot be sent."""
        body = b"\0".join((handle, warning))
        packets = _HEADER.pack(b"\0REQ", _WORK_WARNING, len(body)) + body
        packets += _HEADER.pack(b"\0REQ", _WORK_FAIL, len(handle)) + handle
        try:
            with _borrow(self.number) as sock:
                return self.open and sock.send(packets) == len(packets)
        except OSError:
            return False

    def shut_down(self) -> None:
        """End the connection from outside, which wakes a C call that waits on it."""
        if self.open:
            try:
                with _borrow(self.number) as sock:
                    sock.shutdown(socket.SHUT_RDWR)
            except OSError:  # it has ended by itself
                pass

    def widen(self, size: int | None) -> None:
        """Let the kernel take more of what C sends; its own limit holds."""
        if size is not None:
            self._set(socket.SO_SNDBUF, size)

    def give_back(self) -> None:
        """Let its true owner find it: it was taken by mistake."""
        self._set(socket.SO_LINGER, _MARK)

    def linger(self, *, reset: bool) -> None:
        """Say how C's close ends: at once with a reset, or quietly in the background.

        libgearman's own 10 s would block the thread that frees the client.
        """
        self._set(socket.SO_LINGER, _LINGER.pack(1, 0) if reset else _QUIET)

    def _set(self, option: int, value: int | bytes) -> None:
        if not self.open:
            return
        try:
            with _borrow(self.number) as sock:
                sock.setsockopt(socket.SOL_SOCKET, option, value)
        except OSError:  # C has closed it: there is nothing left to set
            pass

    def echo(self, body: BytesLike, deadline: float | None) -> None:
        """Send bytes to the job server and check that it sends them back."""
        with _borrow(self.number) as sock:
            kind, answer = _exchange(sock, _ECHO_REQ, body, deadline)
        if kind == _ERROR:
            raise _refusal(answer)
        if kind != _ECHO_RES or answer != body:
            raise ProtocolError(
                "the job server did not send back what it was sent",
                code=ReturnCode.ECHO_DATA_CORRUPTION,
            )

    def request_option(self, name: bytes, deadline: float | None) -> None:
        """Ask the job server for an option of this connection."""
        self._request(_OPTION_REQ, name, _OPTION_RES, deadline)

    def cancel_job(self, handle: bytes, deadline: float | None) -> None:
        """Ask the job server to drop a job, with the packet that C sends for it."""
        self._request(_WORK_FAIL, handle, None, deadline)

    def _request(
        self, request: int, body: bytes, expected: int | None, deadline: float | None
    ) -> None:
        with _borrow(self.number) as sock:
            kind, answer = _exchange(sock, request, body, deadline)
        if kind == _ERROR:
            raise _refusal(answer)
        if expected is not None and kind != expected:
            raise ProtocolError(f"the job server answered with packet {kind}")


def _refusal(answer: bytes) -> ServerError:
    name, _, told = (
        part.decode("utf-8", "replace") for part in answer.partition(b"\0")
    )
    code = ReturnCode.__members__.get(name.removeprefix("GEARMAN_"))
    detail = f"{told} [{name}]"
    return ServerError(f"the job server refused: {detail}", code=code, detail=detail)
