"""Byte-exact payloads between the Python client and workers that are not Python."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pygearman_cffi import Client, Priority, WorkExceptionError, WorkFailError
from pygearman_cffi.testing import GearmanServer
from tests.programs import c_worker, gearman_tool_worker, php_worker

ALL_BYTES = bytes(range(256))
# Around the sizes of C's buffers (8192), and of one segment on the loopback (65536)
# with its headers.
EDGES = [0, 1, 255, 256, 257, *range(8191, 8194), *range(65470, 65541)]
# The tool reads nothing while it writes: a plain `cat` and it would wait for each other.
PATIENT_CAT = 'f=$(mktemp) && cat >"$f" && cat "$f" && rm "$f"'
LARGE = [1 << 20, (1 << 20) + 1]


def payload_of(size: int) -> bytes:
    """Return a payload with all byte values, NULs among them, that shows any shift."""
    # 251 is a prime: the pattern does not repeat at the sizes of buffers.
    step = ALL_BYTES + ALL_BYTES[:251][::-1]
    return (step * (size // len(step) + 1))[:size]


@pytest.fixture(scope="module", params=["worker_v1", "worker_v2", "tool", "php"])
def partner(
    request: pytest.FixtureRequest,
) -> Iterator[tuple[GearmanServer, str]]:
    """A server with one kind of worker, and the name of the function that echoes."""
    with GearmanServer() as server:
        if request.param == "tool":
            with gearman_tool_worker(server, "cat", "--", "sh", "-c", PATIENT_CAT):
                yield server, "cat"
        elif request.param == "php":
            with php_worker(server):
                yield server, "echo_php"
        else:
            with c_worker(server, request.param):
                yield server, "echo"


def test_edges(partner: tuple[GearmanServer, str]) -> None:
    """Every size around the edges of buffers comes back as it was sent."""
    server, function = partner
    with Client(server.address, timeout=60) as client:
        for size in EDGES:
            payload = payload_of(size)
            assert client.do(function, payload) == payload, size


@pytest.mark.parametrize("size", LARGE)
def test_large(partner: tuple[GearmanServer, str], size: int) -> None:
    """A megabyte, and one byte more, come back as they were sent."""
    server, function = partner
    with Client(server.address, timeout=60) as client:
        payload = payload_of(size)
        assert client.do(function, payload) == payload


@pytest.mark.parametrize("payload", [b"\0", b"\0" * 1000, b"a\0b\0", ALL_BYTES * 4])
def test_nul_bytes(partner: tuple[GearmanServer, str], payload: bytes) -> None:
    """NUL bytes, alone, first, last and in between, are bytes like any other."""
    server, function = partner
    with Client(server.address, timeout=60) as client:
        assert client.do(function, payload) == payload
        assert client.do(function, memoryview(payload)) == payload
        assert client.do(function, bytearray(payload)) == payload


def test_background_jobs_arrive(partner: tuple[GearmanServer, str]) -> None:
    """Background jobs of each priority are accepted and done."""
    server, function = partner
    with Client(server.address, timeout=60) as client:
        for priority in Priority:
            handle = client.do_background(function, payload_of(9000), priority=priority)
            assert handle.startswith("H:")
        # One worker: what it does now, it does after those.
        assert client.do(function, b"x", priority=Priority.LOW) == b"x"
        assert server.status()[function].total == 0


@pytest.mark.parametrize("style", ["worker_v1", "worker_v2"])
@pytest.mark.parametrize("size", [3, 30_000, 200_000])
def test_chunks_of_a_c_worker(style: str, size: int) -> None:
    """Chunks, warnings and status of both styles of C worker arrive in order."""
    with GearmanServer() as server, c_worker(server, style):
        seen: list[object] = []
        payload = payload_of(size)
        result = Client(server.address, timeout=60).do(
            "chunks",
            payload,
            on_data=lambda task: seen.append(len(task.data)),
            on_warning=lambda task: seen.append(task.data),
            on_status=lambda task: seen.append((task.numerator, task.denominator)),
        )
        assert result == payload
        assert seen == [size // 3, b"careful", (1, 2), size // 3]


@pytest.mark.parametrize("style", ["worker_v1", "worker_v2"])
def test_failures_of_a_c_worker(style: str) -> None:
    """Failures and exceptions of both styles of C worker arrive, and nothing hangs."""
    with GearmanServer() as server, c_worker(server, style):
        client = Client(server.address, timeout=60)
        for size in (1, 8192, 100_000):
            with pytest.raises(WorkExceptionError) as caught:
                client.do("exception", payload_of(size))
            assert caught.value.payload == payload_of(size)
            with pytest.raises(WorkFailError):
                client.do("fail", payload_of(size))
        assert client.do("echo", b"x") == b"x"


def test_unique_and_handle_reach_a_c_worker(client: Client) -> None:
    """A C worker sees the unique that was given and the handle that is known here."""
    handles: list[object] = []
    seen = client.do("handle", on_created=lambda task: handles.append(task.job_handle))
    assert [seen.decode()] == handles
    assert client.do("unique", unique="mine") == b"mine"
