"""The descriptor of a C connection.

The C library shows none. It is found among this process's own by what only libgearman
does to a socket: a linger of exactly 10 s, and our job server as its peer.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Collection, Iterator
from typing import TypeAlias

from . import _library
from ._addresses import Address
from ._convert import BytesLike
from ._sockets import (
    ERROR,
    HEADER,
    JOB_STATUS_RES,
    WORK_FAIL,
    WORK_WARNING,
    Reached,
    echo,
    exchange,
    refusal,
    request_option,
)
from .errors import CouldNotConnectError

__all__ = ["Descriptor", "Identity", "borrow", "connecting", "descriptors", "marked"]

Identity: TypeAlias = tuple[int, int]
"""What tells a socket from a later one that got its number."""
_LINGER = struct.Struct("ii")
_MARK = _LINGER.pack(1, 10)
"""What libgearman sets on every socket it makes, and nobody else would."""
_QUIET = _LINGER.pack(0, 0)
_PATIENCE = 1.0
"""Seconds that anybody waits for the lock around C's connects."""


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


def descriptors(hint: int) -> Iterator[int]:
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


def borrow(number: int) -> socket.socket:
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


_ours: dict[int, Identity | None] = {}
"""What was taken of C, by its number; it may have been closed since."""


def _defuse() -> None:
    """In a forked child: whatever C still does there must not reach our parent's jobs.

    The child may have been forked in a callback, and return to C in the middle of a call.
    """
    try:
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    except OSError:  # no more descriptors, or no such file
        return
    for number, identity in _ours.items():
        if identity is not None and _identity(number) == identity:
            os.dup2(null, number, inheritable=False)
    os.close(null)
    _ours.clear()


os.register_at_fork(after_in_child=_defuse)


def _identity(number: int) -> Identity | None:
    try:
        status = os.fstat(number)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _has_mark(sock: socket.socket) -> bool:
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER.size) == _MARK


def marked() -> set[Identity]:
    """Return the sockets with libgearman's mark: before C makes ours, those of others.

    They may keep it for long: those of C in whose calls nobody could look.
    """
    found = set()
    for number in descriptors(0):
        try:
            with borrow(number) as sock:
                identity = _identity(number) if _has_mark(sock) else None
        except OSError:  # no socket
            continue
        if identity is not None:
            found.add(identity)
    return found


class Descriptor:
    """The socket of one C connection, which C owns: looked at, never closed here."""

    __slots__ = ("_identity", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self._identity = _identity(number)

    @classmethod
    def find(
        cls, reached: Reached, known: Collection[Identity] = ()
    ) -> Descriptor | None:
        """Find the socket that C has just made to a server, or None.

        Call it under `connecting`, after C has made the socket. It is a guess until
        it `shows` an answer: C connects elsewhere without that lock.

        Args:
            reached: the server.
            known: the sockets that were there before.
        """
        peers = {(reached.host, reached.port)}
        numbers = (
            number
            for number in descriptors(reached.hint)
            if not known or _identity(number) not in known
        )
        claims = (cls.claim(number, peers) for number in numbers)
        return next(filter(None, claims), None)

    @classmethod
    def claim(cls, number: int, peers: Collection[Address]) -> Descriptor | None:
        """Take the socket with this number, if C has made it to one of these servers.

        Call it under `connecting`. Once taken it has lost libgearman's mark and cannot
        be taken for another one's; its close never blocks.
        """
        try:
            with borrow(number) as sock:
                if not _has_mark(sock):
                    return None
                try:
                    if sock.getpeername()[:2] not in peers:
                        return None
                except OSError:  # still connecting: its mark must do
                    pass
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _QUIET)
        except OSError:  # no socket, or no descriptor at all
            return None
        descriptor = cls(number)
        _ours[number] = descriptor._identity
        return descriptor

    @property
    def open(self) -> bool:
        """True while the number still means the socket that was found."""
        return self._identity is not None and _identity(self.number) == self._identity

    def shows(self, handle: bytes) -> bool:
        """Tell whether the status of this job has come, as far as anything has."""
        wanted = handle + b"\0"  # another's may begin with ours
        try:
            with borrow(self.number) as sock:
                flags = socket.MSG_PEEK | socket.MSG_DONTWAIT
                seen = sock.recv(HEADER.size + len(wanted), flags)
        except OSError:
            return False
        start = HEADER.pack(b"\0RES", JOB_STATUS_RES, 0)[:8]
        return (
            bool(seen) and start.startswith(seen[:8]) and wanted.startswith(seen[12:])
        )

    def fail_job(self, handle: bytes, warning: bytes) -> bool:
        """Tell the job server that a job failed; False where that cannot be sent."""
        body = b"\0".join((handle, warning))
        packets = HEADER.pack(b"\0REQ", WORK_WARNING, len(body)) + body
        packets += HEADER.pack(b"\0REQ", WORK_FAIL, len(handle)) + handle
        try:
            with borrow(self.number) as sock:
                return self.open and sock.send(packets) == len(packets)
        except OSError:
            return False

    def shut_down(self) -> None:
        """End the connection from outside, which wakes a C call that waits on it."""
        if self.open:
            try:
                with borrow(self.number) as sock:
                    sock.shutdown(socket.SHUT_RDWR)
            except OSError:  # it has ended by itself
                pass

    def widen(self, size: int | None) -> None:
        """Let the kernel take more of what C sends; its own limit holds."""
        if size is not None:
            self._set(socket.SO_SNDBUF, size)

    def give_back(self) -> None:
        """Let its true owner find it: it was taken by mistake."""
        _ours.pop(self.number, None)
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
            with borrow(self.number) as sock:
                sock.setsockopt(socket.SOL_SOCKET, option, value)
        except OSError:  # C has closed it: there is nothing left to set
            pass

    def _borrowed(self) -> socket.socket:
        try:
            return borrow(self.number)
        except OSError as reason:  # too many open files
            raise CouldNotConnectError(
                f"the connection cannot be used: {reason.strerror}. Nothing was sent"
            ) from None

    def echo(self, body: BytesLike, deadline: float | None) -> None:
        """Send bytes to the job server and check that it sends them back."""
        with self._borrowed() as sock:
            echo(sock, body, deadline)

    def request_option(self, name: bytes, deadline: float | None) -> None:
        """Ask the job server for an option of this connection."""
        with self._borrowed() as sock:
            request_option(sock, name, deadline)

    def cancel_job(self, handle: bytes, deadline: float | None) -> None:
        """Ask the job server to drop a job, with the packet that C sends for it."""
        with self._borrowed() as sock:
            kind, answer = exchange(sock, WORK_FAIL, handle, deadline)
        if kind == ERROR:
            raise refusal(answer)
