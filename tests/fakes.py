"""Job servers that misbehave: scripted ones for garbage, and a proxy before a real one.

Nothing of a job server is imitated here beyond what a client needs to come as far as
the garbage.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import threading
from collections.abc import Callable, Container, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType

from pygearman_cffi.testing import GearmanServer
from tests.programs import wait_for

HEADER = struct.Struct(">4sII")
JOB_CREATED, ECHO_REQ, ECHO_RES, ERROR = 8, 16, 17, 19
WORK_COMPLETE, GET_STATUS, STATUS_RES = 13, 15, 20
OPTION_REQ, OPTION_RES = 26, 27
SUBMITS = {7, 18, 21, 32, 33, 34}

Handler = Callable[["FakeServer", socket.socket], object]


class FakeServer:
    """A server on a free loopback port; each connection is handled in a thread."""

    def __init__(
        self,
        handler: Handler,
        *,
        host: str = "127.0.0.1",
        receive_buffer: int | None = None,
    ) -> None:
        self.host = host
        self.over = threading.Event()
        """Set when the server ends: what handlers wait for."""
        self.connections = 0
        self._handler = handler
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.socket(family)
        if receive_buffer is not None:  # the connections inherit it
            self._listener.setsockopt(
                socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer
            )
        self._listener.bind((self.host, 0))
        self._listener.listen(64)
        self.port: int = self._listener.getsockname()[1]
        self.address = f"{self.host}:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> FakeServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.over.set()
        try:
            # Closing alone would not wake the thread in accept().
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """End every connection."""
        with self._lock:
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def send(self, data: bytes) -> None:
        """Say something on every connection."""
        with self._lock:
            for connection in self._open:
                connection.sendall(data)

    def keep(self, connection: socket.socket) -> None:
        """Have a connection ended by `cut`."""
        with self._lock:
            self._open.append(connection)

    def _accept(self) -> None:
        while not self.over.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self.keep(connection)
            threading.Thread(
                target=self._handle, args=(connection,), daemon=True
            ).start()

    def _handle(self, connection: socket.socket) -> None:
        try:
            self._handler(self, connection)
        except OSError:
            pass  # the client, or the test, has ended it
        finally:
            with self._lock:
                self._open.remove(connection)
            connection.close()


@contextmanager
def dead_port() -> Iterator[str]:
    """An address on which nobody listens, and nobody can begin to."""
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


# -- those that are no job server at all ---------------------------------------------


def black_hole(server: FakeServer, _connection: socket.socket) -> None:
    """Accept, and never speak."""
    server.over.wait()


def closes(_server: FakeServer, _connection: socket.socket) -> None:
    """Accept, and hang up."""


def says(text: bytes) -> Handler:
    """Say something at once, as an SSH or SMTP server does, and wait."""

    def handler(server: FakeServer, connection: socket.socket) -> None:
        connection.sendall(text)
        server.over.wait()

    return handler


def answers(text: bytes) -> Handler:
    """Answer whatever is sent first with a text, as HTTP does, and hang up."""

    def handler(_server: FakeServer, connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(text)

    return handler


# -- one that seems to be a job server -------------------------------------------------


def packet(kind: int, *fields: bytes) -> bytes:
    """Return a packet from a job server."""
    body = b"\0".join(fields)
    return HEADER.pack(b"\0RES", kind, len(body)) + body


def requests(connection: socket.socket) -> Iterator[tuple[int, bytes]]:
    """Yield the packets that a client sends: kind and body."""
    while True:
        header = _exactly(connection, HEADER.size)
        if header is None:
            return
        _, kind, size = HEADER.unpack(header)
        body = _exactly(connection, size)
        if body is None:
            return
        yield kind, body


def _exactly(connection: socket.socket, size: int) -> bytes | None:
    received = bytearray()
    while len(received) < size:
        piece = connection.recv(size - len(received))
        if not piece:
            return None
        received += piece
    return bytes(received)


def impostor(
    *replies: bytes,
    hangs_up: bool = False,
    mute: Container[int] = (),
    watch: Callable[[int, bytes], object] | None = None,
) -> Handler:
    """Answer questions as a job server, and the first job with something scripted.

    Args:
        *replies: what is sent for each job in turn; after the last, nothing.
        hangs_up: end the connection after each reply.
        mute: kinds of packets that are not answered.
        watch: told of every packet.
    """

    def handler(_server: FakeServer, connection: socket.socket) -> None:
        left = list(replies)
        for kind, body in requests(connection):
            if watch is not None:
                watch(kind, body)
            if kind in mute:
                continue
            if kind == ECHO_REQ:
                connection.sendall(packet(ECHO_RES, body))
            elif kind == OPTION_REQ:
                connection.sendall(packet(OPTION_RES, body))
            elif kind == GET_STATUS:
                connection.sendall(packet(STATUS_RES, body, b"0", b"0", b"0", b"0"))
            elif kind in SUBMITS and left:
                connection.sendall(left.pop(0))
                if hangs_up:
                    return

    return handler


# -- a real one that stands still ----------------------------------------------------


@contextmanager
def frozen(server: GearmanServer) -> Iterator[None]:
    """Stop every thread of a job server while the block lasts; connections stay."""
    threads = Path(f"/proc/{server.pid}/task")
    os.kill(server.pid, signal.SIGSTOP)
    try:
        # The signal is sent at once, and felt by each thread in its own time.
        wait_for(lambda: all(_state(thread) == "T" for thread in threads.iterdir()))
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


def _state(thread: Path) -> str:
    stat = (thread / "stat").read_text()
    return stat.rpartition(")")[2].split()[0]


# -- a proxy ---------------------------------------------------------------------------


class Pace:
    """How a proxy passes data on in one direction: `size` bytes every `pause` seconds.

    It may be changed while the proxy runs.
    """

    def __init__(self, size: int = 65536, pause: float = 0.0) -> None:
        self.set(size, pause)

    def set(self, size: int = 65536, pause: float = 0.0) -> None:
        """Change it; by default to full speed."""
        self.size = size
        self.pause = pause


@contextmanager
def proxy(
    target: GearmanServer,
    *,
    up: Pace | None = None,
    down: Pace | None = None,
    host: str = "127.0.0.1",
) -> Iterator[FakeServer]:
    """Run a proxy before a real job server.

    Args:
        target: the job server.
        up: the pace of what clients send; they see a tiny receive buffer.
        down: the pace of what they receive.
        host: where it listens.
    """
    up, down = up or Pace(), down or Pace()

    def handler(server: FakeServer, near: socket.socket) -> None:
        with socket.create_connection((target.host, target.port)) as far:
            server.keep(far)
            far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            back = threading.Thread(
                target=_pump, args=(server, far, near, down), daemon=True
            )
            back.start()
            _pump(server, near, far, up)
            back.join()

    with FakeServer(handler, host=host, receive_buffer=4096) as server:
        yield server


def _pump(
    server: FakeServer, source: socket.socket, sink: socket.socket, pace: Pace
) -> None:
    try:
        while data := memoryview(source.recv(65536)):
            while data and not server.over.is_set():
                if pace.pause:
                    server.over.wait(pace.pause)
                size = pace.size
                sink.sendall(data[:size])
                data = data[size:]
    except OSError:
        pass
    for end in (source, sink):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
