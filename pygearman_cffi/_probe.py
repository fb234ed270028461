"""A worker's eyes: job servers that are tried beside the work, and C's own sockets."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import socket
import struct
import termios
import time
from array import array
from collections.abc import Collection, Iterator

from . import _sockets
from ._addresses import Address
from ._convert import BytesLike
from ._descriptor import Descriptor, descriptors
from ._sockets import Reached
from .errors import CouldNotConnectError, NotGearmanError

__all__ = [
    "Probe",
    "echo",
    "next_number",
    "request_option",
    "take_all",
    "take_new",
    "unread",
    "writable",
]

_GREETING = b"pygearman_cffi"
_REQUEST = struct.pack(">4sII", b"\0REQ", 16, len(_GREETING)) + _GREETING
_ANSWER = struct.pack(">4sII", b"\0RES", 17, len(_GREETING)) + _GREETING


class Probe:
    """One pre-flight of a job server, moved on by whoever polls it.

    The pre-flight of `_sockets` in small steps: a worker goes on serving the other
    job servers meanwhile. Only the resolution of a name blocks.
    """

    deadline = float("inf")
    """When the present address has had its time; infinity for never."""
    events = select.POLLOUT
    """What to poll for."""

    def __init__(self, server: Address, connect_timeout: float | None) -> None:
        self._server = server
        self._timeout = connect_timeout
        self._sock: socket.socket | None = None
        self._addresses: list[tuple[int, tuple[str, int]]] | None = None
        self._until = float("inf")
        self._failure = CouldNotConnectError("the name has no address")
        self._greeted = False
        self._received = b""

    def fileno(self) -> int:
        """Return the descriptor to poll, -1 when the probe is over."""
        return -1 if self._sock is None else self._sock.fileno()

    def close(self) -> None:
        """Give up."""
        sock, self._sock = self._sock, None
        if sock is not None:
            sock.close()

    def advance(self) -> Reached | None:
        """Do what can be done without waiting.

        Returns:
            The address that answered; None while none has.

        Raises:
            CouldNotConnectError: nothing listens, or nothing answered in time.
            NotGearmanError: the peer speaks another protocol.
        """
        if self._addresses is None:
            self._addresses = _sockets.resolve(self._server)
            if self._timeout is not None:
                self._until = time.monotonic() + self._timeout
            self._next()
        while True:
            if self._sock is None:
                raise self._failure
            try:
                reached = self._step(self._sock)
            except CouldNotConnectError as reason:
                self._failure = reason
                self._next()
                continue
            if reached is not None or time.monotonic() < self.deadline:
                return reached
            self._failure = CouldNotConnectError(
                f"no answer within connect_timeout, {self._timeout} s"
            )
            self._next()

    def _next(self) -> None:
        """Begin with the next address, if there is one."""
        self.close()
        while self._addresses:
            # Each address gets its share: one that swallows everything must not
            # hide another that works.
            now = time.monotonic()
            self.deadline = now + (self._until - now) / len(self._addresses)
            family, sockaddr = self._addresses.pop(0)
            self._greeted = False
            self._received = b""
            self.events = select.POLLOUT
            try:
                # Kept at once: Ctrl-C may strike before the next line.
                sock = self._sock = socket.socket(family, socket.SOCK_STREAM)
            except OSError as reason:  # too many open files
                self._failure = CouldNotConnectError(reason.strerror or str(reason))
                continue
            sock.setblocking(False)
            code = sock.connect_ex(sockaddr)
            if code in (0, errno.EINPROGRESS):
                return
            self._failure = CouldNotConnectError(os.strerror(code))
            self.close()

    def _step(self, sock: socket.socket) -> Reached | None:
        try:
            if not self._greeted:
                if not writable(sock.fileno()):
                    return None
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code:
                    raise CouldNotConnectError(os.strerror(code))
                sock.send(_REQUEST)
                self._greeted = True
                self.events = select.POLLIN
            chunk = sock.recv(len(_ANSWER) - len(self._received))
        except BlockingIOError:
            return None
        except OSError as reason:
            raise CouldNotConnectError(reason.strerror or str(reason)) from None
        self._received += chunk
        if not chunk or not _ANSWER.startswith(self._received):
            raise NotGearmanError(
                f"it is not a job server: it answered {self._received!r} and "
                + ("goes on" if chunk else "closed the connection")
            )
        if len(self._received) < len(_ANSWER):
            return None
        try:
            host, port = sock.getpeername()[:2]
        except OSError as reason:  # it has answered, and hung up
            raise CouldNotConnectError(reason.strerror or str(reason)) from None
        reached = Reached(host, port, sock.fileno())
        self.close()
        return reached


def echo(
    server: Address,
    body: BytesLike,
    connect_timeout: float | None,
    deadline: float | None,
) -> None:
    """Send bytes to a job server and check that it sends them back."""

    def ask(sock: socket.socket) -> None:
        _sockets.echo(sock, body, deadline)

    _sockets.visit(server, connect_timeout, deadline, ask)


def request_option(
    server: Address,
    name: bytes,
    connect_timeout: float | None,
    deadline: float | None,
) -> None:
    """Check that a job server knows an option.

    Raises:
        ServerError: it does not.
    """

    def ask(sock: socket.socket) -> None:
        _sockets.request_option(sock, name, deadline)

    _sockets.visit(server, connect_timeout, deadline, ask)


def writable(number: int) -> bool:
    """Tell whether a socket would take something now."""
    poll = select.poll()
    poll.register(number, select.POLLOUT)
    return bool(poll.poll(0))


def unread(number: int) -> int:
    """Return how many bytes wait to be read from a socket, 0 where that is unknown."""
    size = array("i", [0])
    try:
        fcntl.ioctl(number, termios.FIONREAD, size)
    except OSError:
        return 0
    return size[0]


def next_number(spare: int) -> int:
    """Return the number that the next descriptor of this process gets.

    Args:
        spare: any open descriptor.
    """
    try:
        number = os.dup(spare)
    except OSError:  # there is none: C will not get one either
        return -1
    os.close(number)
    return number


def take_new(
    number: int, peers: Collection[Address], buffer: int | None
) -> Descriptor | None:
    """Take the socket with this number, if C has made it to one of these servers.

    Call it under `connecting`.
    """
    descriptor = Descriptor.claim(number, peers)
    if descriptor is not None:
        # With libgearman's 32 KiB each packet of the loopback waits for a delayed ACK.
        descriptor.widen(buffer)
    return descriptor


def take_all(peers: Collection[Address], buffer: int | None) -> Iterator[Descriptor]:
    """Take every socket that C has made to these servers and nobody has taken yet."""
    for number in set(descriptors(0)):
        descriptor = take_new(number, peers, buffer)
        if descriptor is not None:
            yield descriptor
