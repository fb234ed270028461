"""The traps of libgearman's client, continued: servers, timeouts, wrong input.

Each runs in a process of its own, which must live, be silent and end with status 0.
"""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from pygearman_cffi.testing import GearmanServer
from tests.fakes import FakeServer, answers
from tests.traps import run_trap


def test_11_one_server_is_down(served: GearmanServer) -> None:
    """With a dead server anywhere in the list every task runs, one or many."""
    run_trap(
        """
        import socket
        dead = socket.socket()
        dead.bind(("127.0.0.1", 0))
        down = "127.0.0.1:%d" % dead.getsockname()[1]
        for servers in ([down, ADDRESS], [ADDRESS, down], [down, ADDRESS, down]):
            for number in (1, 2, 5):
                with Client(servers, timeout=10) as client:
                    for _ in range(2):
                        tasks = [client.add_task("reverse", b"ab") for _ in range(number)]
                        assert client.run_tasks()
                        assert [task.result for task in tasks] == [b"ba"] * number
                    client.echo(b"x")
                    client.set_server_option("exceptions")
                    assert client.execute("reverse", b"ab").result == b"ba"
        dead.close()
        """,
        served.address,
    )


def test_13_the_same_unique_twice(served: GearmanServer) -> None:
    """Tasks of one unique in one client all end, each with its own result."""
    run_trap(
        """
        with Client(ADDRESS, timeout=10) as client:
            tasks = [client.add_task("echo", b"%d" % n, unique="u") for n in range(6)]
            assert client.run_tasks() is True
            assert [task.result for task in tasks] == [b"%d" % n for n in range(6)]
            fine(client)
        """,
        served.address,
    )


def test_14_timeouts(served: GearmanServer) -> None:
    """A timeout is a deadline: 0 and less are refused, signals do not put it off."""
    run_trap(
        """
        client = Client(ADDRESS)
        for wrong in (0, 0.0, -1, math.nan, -math.inf):
            for call in (
                lambda: Client(timeout=wrong),
                lambda: setattr(client, "timeout", wrong),
                lambda: client.do("echo", timeout=wrong),
                lambda: client.run_tasks(wrong),
            ):
                expect(InvalidArgumentError, "timeout", call)
        ticks = []
        signal.signal(signal.SIGALRM, lambda *_: ticks.append(1))
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
        begun = time.monotonic()
        expect(
            GearmanTimeoutError, "may still run",
            lambda: client.do("nobody_serves_this", timeout=0.5),
        )
        took = time.monotonic() - begun
        assert 0.5 <= took < 0.7, took
        assert len(ticks) > 20
        fine(client)
        signal.setitimer(signal.ITIMER_REAL, 0)
        """,
        served.address,
    )


# -- 20 and the runners-up ---------------------------------------------------------------


def test_20_text_lines(served: GearmanServer) -> None:
    """A service that answers with a word, which kills C, is an error that says so."""
    script = """
        for address in sys.argv[2:]:
            client = Client(address, connect_timeout=0.3)
            for call in (
                lambda: client.do("echo"), lambda: client.do_background("echo"),
                lambda: client.echo(b"x"), lambda: client.unique_status("x"),
            ):
                error = expect(NotGearmanError, "not a job server", call)
                assert address in str(error) and isinstance(error, CouldNotConnectError)
            client.add_servers(ADDRESS)
            fine(client)
    """
    words = (b"ERROR\r\n", b"+PONG\r\n", b"\n", b"\r\n", b"x")
    with ExitStack() as stack:
        fakes = [stack.enter_context(FakeServer(answers(word))) for word in words]
        run_trap(script, served.address, *(fake.address for fake in fakes))


def test_20_arguments(served: GearmanServer) -> None:
    """What C would follow to address 0 or beyond a buffer is refused with a sentence."""
    run_trap(
        """
        wide = Client(ADDRESS, namespace="n" * 300, timeout=5)
        client = Client(ADDRESS, timeout=5)
        for kind, text, call in (
            (ArgumentTypeError, "handle", lambda: client.job_status(None)),
            (InvalidArgumentError, "handle", lambda: client.job_status("")),
            (ArgumentTypeError, "handle", lambda: client.add_task_status(None)),
            (ArgumentTypeError, "unique", lambda: client.unique_status(None)),
            (InvalidArgumentError, "unique", lambda: client.unique_status("")),
            (ArgumentTypeError, "", lambda: client.execute_by_partition(None, "f", b"x")),
            (ArgumentTypeError, "", lambda: client.execute_by_partition("f", None, b"x")),
            (ArgumentTypeError, "", lambda: client.execute_by_partition("f", "g", None)),
            (InvalidArgumentError, "empty",
             lambda: client.execute_by_partition("f", "g", b"")),
            (ArgumentTypeError, "", lambda: client.do(None)),
            (InvalidArgumentError, "512", lambda: client.do("f" * 513)),
            (InvalidArgumentError, "512", lambda: wide.do("f" * 300)),
            (InvalidArgumentError, "512", lambda: wide.add_task("f" * 213)),
            (InvalidArgumentError, "NUL", lambda: client.do("a\\0b")),
            (InvalidArgumentError, "63", lambda: client.do("f", unique="u" * 64)),
            (InvalidArgumentError, "", lambda: client.do("f", unique="")),
            (InvalidArgumentError, "NUL", lambda: client.do("f", unique="a\\0b")),
            (UnsupportedError, "UNBUFFERED_RESULT",
             lambda: client.add_options(ClientOption.UNBUFFERED_RESULT)),
            (UnsupportedError, "UNBUFFERED_RESULT",
             lambda: Client(options=ClientOption.UNBUFFERED_RESULT)),
        ):
            expect(kind, text, call)
        fine(client)
        client.close()
        client.close()
        """,
        served.address,
    )


def test_runners_up(served: GearmanServer) -> None:
    """In order, is_finished, no error after success, data that stays, empty payloads."""
    run_trap(
        """
        client, order = Client(ADDRESS, timeout=10), []
        client.set_created_fn(lambda task: order.append(int(task.context)))
        tasks = [
            client.add_task("reverse", b"%03d" % n, context=n) for n in range(300)
        ]
        assert not tasks[0].is_finished
        client.run_tasks()
        assert order == list(range(300))
        assert all(task.is_finished and task.error is None for task in tasks)
        client.close()
        assert [task.data[::-1] for task in tasks] == [b"%03d" % n for n in range(300)]
        assert tasks[5].result == b"500"
        with Client(ADDRESS, timeout=10) as client:
            for empty in (b"", bytearray(), memoryview(b"")):
                assert client.do("echo", empty) == b""
                assert client.execute("echo", empty).result == b""
            # 63 bytes arrive uncut; a name of any length is one for gearman_execute.
            assert client.do("unique", unique="u" * 63) == b"u" * 63
            for size in (1, 15, 16, 17, 511, 512):
                handle = client.do_background("n" * size, b"x", at=time.time() + 3600)
                assert client.job_status(handle).known, size
        """,
        served.address,
    )


@pytest.mark.parametrize("value", ["a:b", "127.0.0.1:1", "x y:99999,"])
def test_runner_up_gearman_servers(value: str, served: GearmanServer) -> None:
    """$GEARMAN_SERVERS neither adds servers to those given nor breaks the constructor."""
    run_trap(
        """
        with Client(ADDRESS, timeout=5) as client, Worker(ADDRESS) as worker:
            assert len(client.servers) == len(worker.servers) == 1
            fine(client)
            fine(client.clone())
            worker.add_function("never called", print)
            worker.timeout = 0.1
            assert worker.work() is False
            assert worker.return_code is ReturnCode.TIMEOUT
        """,
        served.address,
        GEARMAN_SERVERS=value,
    )


def test_runner_up_fork(served: GearmanServer) -> None:
    """What a forked child inherits it neither uses, nor closes, nor dies of."""
    run_trap(
        """
        client, worker = Client(ADDRESS, timeout=10), Worker(ADDRESS)
        worker.add_function("forked", lambda job: b"parent's")
        worker.timeout = 0.1
        worker.work()
        fine(client)
        results = client.map("reverse", [b"ab"] * 9)
        assert next(results) == b"ba"
        task = client.add_task("reverse", b"ab")
        for way in ("del", "close", "exit", "gc", "use"):
            child = os.fork()
            if not child:
                if way == "use":
                    for call in (
                        client.run_tasks, worker.work, worker.run, worker.grab_job,
                        lambda: next(results), lambda: worker.echo(b"x"),
                    ):
                        expect(ForkedError, "after the fork", call)
                    worker.stop()
                    assert task.state is TaskState.WAITING
                elif way == "close":
                    for each in (client, client):
                        each.close()
                elif way == "del":
                    del client, worker, results, task
                    gc.collect()
                elif way == "gc":
                    client.context, worker.context = worker, client
                    del client, worker, results, task
                    gc.collect()
                sys.exit(0)
            assert os.waitpid(child, 0)[1] == 0, way
        assert list(results) == [b"ba"] * 8
        assert client.run_tasks() and task.result == b"ba"
        fine(client)
        client.do_background("forked")
        worker.timeout = 10
        assert worker.work() and worker.return_code is ReturnCode.SUCCESS
        """,
        served.address,
    )
