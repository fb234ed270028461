"""Clients and their process: forked, dropped, at its end, out of memory or files."""

from __future__ import annotations

import gc
import os
import threading
import weakref

import pytest

from pygearman_cffi import Client, Task
from pygearman_cffi.testing import GearmanServer
from tests.fakes import FakeServer, impostor, proxy
from tests.isolated import run_isolated
from tests.programs import wait_for

# -- fork --------------------------------------------------------------------------------

FORK = """
    import gc, os, sys
    from pygearman_cffi import Client, ClosedError, ForkedError

    client = Client(sys.argv[1])
    assert client.do("reverse", b"abc") == b"cba"
    for turn in range(3):
        child = os.fork()
        if not child:
            status = 1
            try:
                for call in (
                    lambda: client.do("echo", b"x"),
                    lambda: client.echo(b"x"),
                    lambda: client.unique_status("x"),
                    lambda: client.add_server("a", 1),
                    lambda: client.clone(),
                ):
                    try:
                        call()
                    except ForkedError as error:
                        assert "after the fork" in str(error)
                    else:
                        raise SystemExit(3)
                with Client(sys.argv[1]) as own:
                    assert own.do("reverse", b"xyz") == b"zyx"
                    ours = own.do("unique")
                    assert ours
                if turn == 1:
                    client.close()
                    client.close()
                del client
                gc.collect()
                status = 0
            finally:
                # With the destructors and without.
                os._exit(status) if turn else sys.exit(status)
        _, status = os.waitpid(child, 0)
        assert status == 0, status
        assert client.do("reverse", b"abc") == b"cba"
        client.echo(b"x")
    print("parent")
"""


def test_fork(served: GearmanServer) -> None:
    """A child gets ForkedError and never harms its parent's connection."""
    with proxy(served) as between:
        told = run_isolated(FORK, between.address)
        assert told == "parent\n"


def test_fork_with_a_client_in_a_block(served: GearmanServer) -> None:
    """A child that leaves the `with` block of its parent's client does no harm."""
    script = """
        import os, sys
        from pygearman_cffi import Client
        with Client(sys.argv[1]) as client:
            client.echo(b"x")
            child = os.fork()
            if child:
                assert os.waitpid(child, 0)[1] == 0
                assert client.do("reverse", b"abc") == b"cba"
    """
    run_isolated(script, served.address)


def test_uniques_after_a_fork(served: GearmanServer) -> None:
    """Parent and child never make the same unique: each gets its own answers."""
    script = """
        import os, sys
        from pygearman_cffi import Client
        from pygearman_cffi._unique import fresh_unique
        fresh_unique()
        reading, writing = os.pipe()
        if not os.fork():
            os.write(writing, b" ".join(fresh_unique() for _ in range(50)))
            os._exit(0)
        os.wait()
        theirs = set(os.read(reading, 65536).split())
        assert len(theirs) == 50
        assert not theirs & {fresh_unique() for _ in range(50)}
    """
    run_isolated(script)


def test_fork_while_threads_connect(served: GearmanServer) -> None:
    """A child can connect whatever other threads were doing at the fork."""
    script = """
        import os, sys, threading, warnings
        from pygearman_cffi import Client
        warnings.simplefilter("ignore", DeprecationWarning)  # threads and fork
        stop = threading.Event()
        def connect():
            while not stop.is_set():
                with Client(sys.argv[1]) as client:
                    client.echo(b"x")
        threads = [threading.Thread(target=connect) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(40):
            child = os.fork()
            if not child:
                with Client(sys.argv[1], timeout=10) as client:
                    client.echo(b"x")
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
        stop.set()
        for thread in threads:
            thread.join()
    """
    run_isolated(script, served.address)


# -- dropped, and the end of the process -------------------------------------------------


def open_descriptors() -> int:
    """Count this process's open descriptors."""
    return len(os.listdir("/proc/self/fd"))


def test_dropped_clients(served: GearmanServer) -> None:
    """A client that nobody holds any more closes its connection."""
    client = Client(served.address)
    client.echo(b"x")
    gone = weakref.ref(client)
    del client
    assert gone() is None
    before = open_descriptors()
    for _ in range(20):
        Client(served.address).echo(b"x")
    assert open_descriptors() <= before


def test_dropped_clients_in_cycles(served: GearmanServer) -> None:
    """A client in a reference cycle is freed by the collector, in any thread."""
    gc.collect()
    before = open_descriptors()
    for _ in range(20):
        client = Client(served.address)
        client.context = client
        client.echo(b"x")
    del client
    collector = threading.Thread(target=gc.collect)
    collector.start()
    collector.join()
    assert open_descriptors() <= before


def test_collection_inside_a_callback(served: GearmanServer, client: Client) -> None:
    """Clients that the collector frees inside a callback of another do no harm."""

    def collect(_task: Task) -> None:
        for _ in range(5):
            other = Client(served.address)
            other.echo(b"x")
            other.context = other
        del other
        gc.collect()

    for _ in range(3):
        result = client.do("chunks", b"abcdefgh", on_data=collect, on_status=collect)
        assert result == b"abcdefgh"


def test_no_descriptor_is_left(served: GearmanServer) -> None:
    """Connecting, failing and closing leave no descriptor behind."""
    with FakeServer(impostor(hangs_up=True)) as fake:
        before = open_descriptors()
        for _ in range(10):
            with Client(served.address) as client:
                client.echo(b"x")
                with pytest.raises(TimeoutError):
                    client.do("nobody_serves_this", timeout=0.01)
                client.unique_status("x")
            with Client("127.0.0.1:1") as client, pytest.raises(ConnectionError):
                client.echo(b"x")
            with Client(fake.address) as client:
                client.echo(b"x")
        wait_for(lambda: open_descriptors() <= before)


@pytest.mark.parametrize("way", ["end", "sys.exit(0)", "os._exit(0)", "collect"])
def test_exit_with_live_clients(served: GearmanServer, way: str) -> None:
    """A process may end while clients live, also in cycles and in globals."""
    script = """
        import gc, os, sys
        from pygearman_cffi import Client
        keep = [Client(sys.argv[1]) for _ in range(5)]
        for client in keep:
            client.context = client
            client.do("echo", b"x")
        way = sys.argv[2]
        if way == "collect":
            del keep, client
        elif way != "end":
            exec(way)
    """
    run_isolated(script, served.address, way)


def test_exit_with_threads_inside(served: GearmanServer) -> None:
    """A process may end while daemon threads wait in a client's calls."""
    script = """
        import sys, threading, time
        from pygearman_cffi import Client
        inside = threading.Barrier(7)
        def wait(timeout):
            client = Client(sys.argv[1])
            client.do("echo", b"x")
            inside.wait()
            while True:
                try:
                    client.do("nobody_serves_this", timeout=timeout)
                except TimeoutError:
                    pass
        for timeout in (None, None, None, 0.001, 0.001, 0.002):
            threading.Thread(target=wait, args=(timeout,), daemon=True).start()
        inside.wait()
        time.sleep(0.05)  # they go round meanwhile; nothing to wait for
    """
    for _ in range(5):
        run_isolated(script, served.address)


def test_too_many_open_files(served: GearmanServer) -> None:
    """Without a free descriptor calls fail as what they are; later they succeed."""
    script = """
        import os, resource, sys
        from pygearman_cffi import Client, GearmanError
        fresh, used = Client(sys.argv[1], timeout=10), Client(sys.argv[1], timeout=10)
        used.do("echo", b"x")
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        for spare in range(4):
            taken = []
            try:
                while True:
                    taken.append(os.dup(0))
            except OSError:
                pass
            for _ in range(spare):
                os.close(taken.pop())
            for client in (fresh, used):
                for call in (
                    lambda: client.do("echo", b"x"),
                    lambda: client.echo(b"x"),
                    lambda: client.unique_status("x"),
                ):
                    try:
                        call()
                    except GearmanError:
                        pass
            for number in taken:
                os.close(number)
            for client in (fresh, used):
                assert client.do("reverse", b"abc") == b"cba"
                client.echo(b"x")
    """
    run_isolated(script, served.address)


# -- memory ------------------------------------------------------------------------------


def test_without_executable_memory(served: GearmanServer) -> None:
    """Where callbacks are refused, the error names cause and cure; import works."""
    script = """
        import sys
        from pygearman_cffi import _callbacks, Client, OutOfMemoryError, ffi

        class Refusing:
            def __getattr__(self, name):
                return getattr(ffi, name)
            def callback(self, *arguments, **options):
                raise MemoryError("Cannot allocate write+execute memory")

        _callbacks.ffi = Refusing()
        client = Client(sys.argv[1])
        for _ in range(3):
            try:
                client.do("echo", b"x")
            except OutOfMemoryError as error:
                assert isinstance(error, MemoryError)
                text = str(error)
                assert "SELinux" in text and "pip" in text, text
                assert "Cannot allocate" in text, text
            else:
                raise SystemExit("no error")
        _callbacks.ffi = ffi  # allowed meanwhile
        assert client.do("reverse", b"abc") == b"cba"
    """
    run_isolated(script, served.address)


def test_memory_stays_flat(served: GearmanServer) -> None:
    """Thousands of jobs, timeouts and failures leave nothing behind."""
    script = """
        import gc, resource, sys
        from pygearman_cffi import Client, GearmanError
        client = Client(sys.argv[1])
        payload = bytes(20_000)

        def some(number):
            for _ in range(number):
                client.do("echo", payload)
                for function in ("fail", "exception"):
                    try:
                        client.do(function, payload)
                    except GearmanError:
                        pass
            for _ in range(number // 10):
                try:
                    client.do("nobody_serves_this", payload, timeout=0.0001)
                except GearmanError:
                    pass

        some(200)
        gc.collect()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        some(1000)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown < 3000, grown  # KiB; 60 MB went through
    """
    run_isolated(script, served.address)
