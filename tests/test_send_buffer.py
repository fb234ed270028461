"""The kernel's send buffer of our own connections, on both sides."""

from __future__ import annotations

import socket

import pytest

from pygearman_cffi import Client, InvalidArgumentError, Worker
from pygearman_cffi._descriptor import Descriptor, borrow
from pygearman_cffi.testing import GearmanServer


def buffered(descriptor: Descriptor) -> int:
    """Return what the kernel buffers of what a socket of C sends."""
    with borrow(descriptor.number) as sock:
        return sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)


def of_client(server: GearmanServer, size: int | None) -> int:
    """Connect a client and look at its socket."""
    with Client(server.address, send_buffer_size=size) as client:
        client.echo(b"x")
        descriptor = client._engine.lanes.first(None)._descriptor
        assert descriptor is not None
        return buffered(descriptor)


def of_worker(server: GearmanServer, size: int | None) -> int:
    """Connect a worker and look at its socket."""
    with Worker(server.address, timeout=0.05, send_buffer_size=size) as worker:
        worker.add_function("buffered", lambda job: None)
        assert not worker.work()
        assert worker._service is not None
        assert worker._service._cworker is not None
        return buffered(worker._service._cworker.descriptors[0])


@pytest.mark.parametrize("look", [of_client, of_worker])
def test_what_is_asked_for(gearman_server: GearmanServer, look: type) -> None:
    """A size widens it, and None leaves what libgearman asks for."""
    # Linux reports twice what was set, for its own bookkeeping.
    assert look(gearman_server, None) in (32768, 65536)
    assert look(gearman_server, 100_000) in (100_000, 200_000)


@pytest.mark.parametrize("kind", [Client, Worker])
def test_what_is_recorded(kind: type[Client | Worker]) -> None:
    """It can be read, changed and copied; what is no size is refused."""
    with kind((), send_buffer_size=1 << 18) as thing, thing.clone() as twin:
        assert (thing.send_buffer_size, twin.send_buffer_size) == (1 << 18, 1 << 18)
        thing.send_buffer_size = None
        assert thing.send_buffer_size is None
        for wrong in (0, -1, 1 << 31):
            with pytest.raises(InvalidArgumentError):
                thing.send_buffer_size = wrong
        with pytest.raises(TypeError):
            thing.send_buffer_size = "many"  # type: ignore[assignment]
