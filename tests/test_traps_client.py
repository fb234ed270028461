"""The traps of libgearman's client: what its C functions would do, and ours do instead.

The numbers of traps are the ones of the list that the package was written against. Each
runs in a process of its own, which must live, be silent and end with status 0.
"""

from __future__ import annotations

import socket
import threading

import pytest

from pygearman_cffi.testing import GearmanServer
from tests.fakes import (
    GET_STATUS,
    HEADER,
    JOB_CREATED,
    STATUS_RES,
    SUBMITS,
    WORK_COMPLETE,
    FakeServer,
    impostor,
    packet,
    requests,
)
from tests.traps import run_trap

PEEK = socket.MSG_PEEK | socket.MSG_WAITALL
HANDLES = (b"H:h:1", b"H:h:10", b"H:h:100")


def reply_to(kind: int, body: bytes) -> bytes:
    """Answer what is no job: an echo, an option, or a question about a job."""
    if kind == GET_STATUS:
        return packet(STATUS_RES, body, b"0", b"0", b"0", b"0")
    return packet(kind + 1, body)


# -- 1: replies that belong to somebody else ------------------------------------------


def confused(_server: FakeServer, connection: socket.socket) -> None:
    """Give the first jobs handles that begin alike, and answer the longest first."""
    jobs = 0
    for kind, body in requests(connection):
        if kind in SUBMITS:
            handle = HANDLES[jobs % 3]
            jobs += 1
            connection.sendall(packet(JOB_CREATED, handle))
            # Somebody else's results, whose handles are much like this one.
            connection.sendall(packet(WORK_COMPLETE, handle + b"0", b"theirs"))
            connection.sendall(packet(WORK_COMPLETE, handle[:-1], b"theirs"))
            connection.sendall(packet(WORK_COMPLETE, handle, body.split(b"\0")[2]))
        else:
            connection.sendall(reply_to(kind, body))


@pytest.mark.parametrize("careful", ["", "features"])
def test_1_similar_handles(careful: str) -> None:
    """A reply goes to the task of its handle, not to one whose handle begins so."""
    script = """
        from dataclasses import replace
        from pygearman_cffi import _library
        if sys.argv[2]:
            known = replace(_library.features(), loose_replies=True)
            _library._features = known
        with Client(ADDRESS, timeout=10) as client:
            for word in (b"1", b"2", b"3"):
                assert client.do("f", word) == word
            tasks = [client.add_task("f", b"%d" % n) for n in range(3)]
            client.run_tasks()
            assert [task.result for task in tasks] == [b"0", b"1", b"2"]
    """
    with FakeServer(confused) as fake:
        run_trap(script, fake.address, careful)


def test_1_late_reply() -> None:
    """The answer of a job that timed out is never the answer of the next one."""

    def handler(server: FakeServer, connection: socket.socket) -> None:
        for kind, body in requests(connection):
            if kind in SUBMITS:
                word = body.split(b"\0")[2]
                connection.sendall(packet(JOB_CREATED, b"H:h:1"))
                if word == b"late":
                    server.over.wait(0.3)
                connection.sendall(packet(WORK_COMPLETE, b"H:h:1", word))
            else:
                connection.sendall(reply_to(kind, body))

    script = """
        client = Client(ADDRESS)
        for number in range(3):
            expect(
                GearmanTimeoutError,
                "the job is H:h:1 and may still run",
                lambda: client.do("f", b"late", timeout=0.15),
            )
            for word in (b"a", b"b"):
                assert client.do("f", word, timeout=5) == word
    """
    with FakeServer(handler) as fake:
        run_trap(script, fake.address)


# -- 2 and 3: after a timeout -------------------------------------------------------------


def test_2_timed_out_send() -> None:
    """After a send that timed out nothing more of the caller's memory is sent."""
    received = bytearray()
    over = threading.Event()

    def handler(server: FakeServer, connection: socket.socket) -> None:
        while len(head := connection.recv(12, PEEK)) == 12:
            _, kind, size = HEADER.unpack(head)
            if kind in SUBMITS:
                break
            body = connection.recv(12 + size, socket.MSG_WAITALL)[12:]
            connection.sendall(reply_to(kind, body))
        else:
            return
        server.over.wait(0.6)  # until the caller has changed what it gave
        try:
            while piece := connection.recv(1 << 20):
                received.extend(piece)
        except ConnectionError:
            pass
        over.set()

    script = """
        client = Client(ADDRESS)
        secret = bytearray(b"a" * 16_000_000)
        begun = time.monotonic()
        expect(
            GearmanTimeoutError,
            "whether the job runs is not known",
            lambda: client.do("f", secret, timeout=0.3),
        )
        assert time.monotonic() - begun < 1.3
        secret[:] = b"Z" * len(secret)
        client.echo(b"x", timeout=5)
        client.close()
    """
    with FakeServer(handler, receive_buffer=4096) as fake:
        run_trap(script, fake.address)
        assert over.wait(10)
    assert b"Z" not in received


@pytest.mark.parametrize("silent", ["connected", "submitted", "created"])
def test_3_timeout_does_not_poison(silent: str, served: GearmanServer) -> None:
    """After a timeout in any state the same client serves the next call, also a clone."""
    reply = packet(JOB_CREATED, b"H:h:1") if silent == "created" else b""
    mute = {GET_STATUS} if silent == "connected" else set()
    script = """
        good, client = sys.argv[2], Client(ADDRESS, connect_timeout=0.2)
        for _ in range(3):
            begun = time.monotonic()
            try:
                client.do("f", b"x", timeout=0.3)
            except (GearmanTimeoutError, CouldNotConnectError) as error:
                assert "Client.do('f')" in str(error), error
            else:
                raise SystemExit("no error")
            assert time.monotonic() - begun < 1.3
        twin = client.clone()
        for each in (client, twin):
            each.remove_servers()
            each.add_servers(good)
            for _ in range(3):
                fine(each)
    """
    with FakeServer(impostor(reply, reply, reply, mute=mute)) as fake:
        run_trap(script, fake.address, served.address)


# -- 4 to 8 ------------------------------------------------------------------------------


def test_4_questions_by_unique(served: GearmanServer) -> None:
    """Asking by unique, alone or among tasks, leaves the connection usable."""
    run_trap(
        """
        with Client(ADDRESS, timeout=10) as client:
            for number in range(5):
                assert not client.unique_status("nobody").known
                fine(client)
                first = client.add_task("reverse", b"ab")
                question = client.add_task_status_by_unique("nobody")
                second = client.add_task("reverse", b"cd")
                client.run_tasks()
                assert (first.result, second.result) == (b"ba", b"dc")
                assert question.is_known is False
                fine(client)
        """,
        served.address,
    )


def test_5_exceptions(served: GearmanServer) -> None:
    """A job that ends in an exception raises it, where C's client hangs."""
    run_trap(
        """
        with Client(ADDRESS, timeout=10) as client:
            for _ in range(3):
                error = expect(
                    WorkExceptionError, "why", lambda: client.do("exception", b"why")
                )
                assert error.payload == b"why"
                fine(client)
        # Without the option nothing comes: a limit still holds, and says what it is.
        with Client(ADDRESS, exceptions=False) as client:
            expect(
                GearmanTimeoutError,
                "the job is H:",
                lambda: client.do("exception", b"why", timeout=0.3),
            )
            fine(client)
        """,
        served.address,
    )


def test_6_ssl() -> None:
    """TLS that would silently be plain text is refused, with the reason."""
    run_trap(
        """
        client, worker = Client("a:1"), Worker("a:1")
        for each in (client, worker):
            expect(UnsupportedError, "TLS", lambda: each.set_ssl(True))
            each.set_ssl(False)
        expect(
            UnsupportedError, "TLS", lambda: client.add_options(ClientOption.SSL)
        )
        expect(
            UnsupportedError, "TLS", lambda: worker.add_options(WorkerOption.SSL)
        )
        """,
        "-",
    )


def test_7_unfinished_tasks(served: GearmanServer) -> None:
    """Tasks that are given up or dropped make no later run wait, spin or crash."""
    run_trap(
        """
        client = Client(ADDRESS)
        begun, used = time.monotonic(), cpu()
        for number in range(5):
            stuck = [client.add_task("nobody_serves_this") for _ in range(10)]
            expect(GearmanTimeoutError, "the time", lambda: client.run_tasks(0.05))
            assert {task.state for task in stuck} == {TaskState.ABANDONED}
            del stuck
            gc.collect()
            task = client.add_task("reverse", b"ab")
            assert client.run_tasks(10) and task.result == b"ba"
            client.add_task("never run")
            assert client.job_status("H:x:1", timeout=5).known is False
            client.close()
            client = Client(ADDRESS)
        fine(client)
        assert time.monotonic() - begun < 5 and cpu() - used < 2
        """,
        served.address,
    )


def test_8_single_calls_keep_tasks(served: GearmanServer) -> None:
    """Single calls between add_task and run_tasks lose no task."""
    run_trap(
        """
        with Client(ADDRESS, timeout=10) as client:
            tasks = [client.add_task("reverse", b"%d-" % n) for n in range(3)]
            fine(client)
            client.echo(b"x")
            client.do_background("nobody_serves_this")
            assert not client.job_status("H:x:1").known
            assert not client.unique_status("nobody").known
            assert {task.state for task in tasks} == {TaskState.WAITING}
            assert client.run_tasks() is True
            assert [task.result for task in tasks] == [b"-0", b"-1", b"-2"]
        """,
        served.address,
    )
