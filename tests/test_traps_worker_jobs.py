"""The traps of libgearman's worker, continued: results, functions, stops, wrong input.

Each runs in a process of its own, which must live, be silent and end with status 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest

from pygearman_cffi.testing import GearmanServer
from tests.fakes import FakeServer, answers, says
from tests.programs import registered, wait_for
from tests.traps import run_worker_trap

_numbers = count(1)


@pytest.fixture
def name() -> str:
    """A function name that no other test uses."""
    return f"trap-{next(_numbers)}"


@pytest.fixture(scope="module")
def server() -> Iterator[GearmanServer]:
    """A server of this file."""
    with GearmanServer() as server:
        yield server


def test_15_stray_results(server: GearmanServer, name: str) -> None:
    """Whatever else a function returns fails its job once; nothing is run again."""
    run_worker_trap(
        """
        calls = []

        def guilty(job):
            calls.append(1)
            return wrong

        worker = serving(f=guilty)
        for wrong in (0, 19, -1, 2**40, True, 1.5, "text", object(), [1], ReturnCode.ERROR):
            calls.clear()
            asked = Asked(name + "f")
            assert worker.work() and worker.return_code is ReturnCode.WORK_FAIL
            task = asked.end()
            assert type(task.error) is WorkFailError
            assert b"the worker function returned" in task.warnings[0], task.warnings
            worker.timeout = 0.05
            assert not worker.work() and len(calls) == 1
            worker.timeout = 10
        good(worker)
        """,
        server,
        name,
    )


def test_16_function_timeout(server: GearmanServer, name: str) -> None:
    """A job that outlasts the function's timeout goes to another; the first lives on."""
    run_worker_trap(
        """
        entered, runs = threading.Event(), []

        def slow(job):
            runs.append(1)
            if len(runs) == 1:
                entered.set()
                time.sleep(1.4)
                return b"late"
            return b"in time"

        first, second = Worker(ADDRESS, timeout=10), Worker(ADDRESS, timeout=10)
        for worker in (first, second):
            worker.add_function(name, slow, timeout=1.0)
        asked = Asked(name)
        thread = threading.Thread(target=first.work)
        thread.start()
        assert entered.wait(10)
        assert second.work() and second.return_code is ReturnCode.SUCCESS
        assert asked.end().result == b"in time"
        thread.join()
        second.close()
        assert len(runs) == 2
        first.timeout = 0.1
        assert first.work() is False  # it sees an error packet, and goes on
        first.timeout = 10
        good(first)
        expect(InvalidArgumentError, "timeout",
               lambda: first.add_function(name, slow, timeout=0.5))
        """,
        server,
        name,
    )


def test_17_redefined_functions(server: GearmanServer, name: str) -> None:
    """Unregistering and adding before the next work() leaves the function served."""
    run_worker_trap(
        """
        worker = serving(f=lambda job: b"0")
        for number in range(1, 4):
            if number % 2:
                worker.unregister(name + "f")
            else:
                worker.unregister_all()
            answer = b"%d" % number
            worker.add_function(name + "f", lambda job: answer)
            asked = Asked(name + "f")
            assert worker.work()
            assert asked.end().result == answer
        # Twice the same name is registered once.
        worker.add_function(name + "f", lambda job: b"x", timeout=2)
        worker.add_function(name + "f", lambda job: b"y", timeout=3)
        asked = Asked(name + "f")
        assert worker.work() and asked.end().result == b"y"
        worker.unregister(name + "f")
        assert not worker.function_exist(name + "f")
        expect(InvalidArgumentError, "no function",
               lambda: worker.unregister(name + "f"))
        expect(InvalidArgumentError, "function", worker.work)
        """,
        server,
        name,
    )
    wait_for(lambda: registered(server, name + "f") == 0)


def test_18_stop_after_close(server: GearmanServer, name: str) -> None:
    """stop() on a closed worker touches no file that has got its numbers since."""
    run_worker_trap(
        """
        def numbers():
            return set(os.listdir("/proc/self/fd"))

        def used(number):
            workers = [serving(f=print) for _ in range(number)]
            for worker in workers:
                worker.timeout = 0.05
                worker.work()
            for worker in workers:
                worker.close()
                worker.close()
            return workers

        used(1)  # what a process keeps for all its workers
        before = numbers()
        workers = used(5)
        assert numbers() == before
        pipes = [os.pipe() for _ in range(40)]
        for reading, _ in pipes:
            os.set_blocking(reading, False)
        for worker in workers:
            worker.stop()
        gc.collect()
        del workers, worker
        gc.collect()
        for reading, writing in pipes:
            try:
                raise SystemExit(f"somebody wrote {os.read(reading, 9)!r}")
            except BlockingIOError:
                pass
            os.write(writing, b"x")
            assert os.read(reading, 9) == b"x"
        """,
        server,
        name,
    )


def test_19_no_server_and_failed_jobs(server: GearmanServer, name: str) -> None:
    """work() does not spin without a server, and counts jobs, not phantoms."""
    run_worker_trap(
        """
        lost = Worker("127.0.0.1:1")
        lost.add_function("f", print)
        until, used, calls = time.monotonic() + 0.5, cpu(), 0
        while time.monotonic() < until:
            assert lost.work() is False
            assert lost.return_code is ReturnCode.COULD_NOT_CONNECT
            calls += 1
        assert calls < 10 and cpu() - used < 0.2

        def fail(job):
            calls.append(1)
            raise JobFail("no")

        calls = []
        worker = serving(f=fail)
        with Client(ADDRESS, timeout=10) as client:
            for _ in range(5):
                client.do_background(name + "f")
        assert worker.run(max_jobs=5) == 5 and len(calls) == 5
        worker.timeout = 0.1
        assert worker.work() is False and len(calls) == 5
        worker.timeout = 10
        good(worker)
        """,
        server,
        name,
    )


def test_20_inputs(server: GearmanServer, name: str) -> None:
    """What kills C is refused with a sentence, or left out: text lines, NULL, names."""
    script = """
        for address in sys.argv[3:]:
            worker = Worker(address, connect_timeout=0.3)
            worker.add_function("f", print)
            assert worker.work() is False
            assert worker.return_code is ReturnCode.COULD_NOT_CONNECT
            assert worker.run(max_seconds=0.1) == 0
            assert worker.grab_job() is None
            worker.close()
        worker = Worker(ADDRESS, timeout=5)
        wide = Worker(ADDRESS, namespace="n" * 300)
        for kind, call in (
            (ArgumentTypeError, lambda: worker.register(None)),
            (ArgumentTypeError, lambda: worker.unregister(None)),
            (ArgumentTypeError, lambda: worker.add_function(None, print)),
            (ArgumentTypeError, lambda: worker.add_function("f", None)),
            (InvalidArgumentError, lambda: worker.add_function("", print)),
            (InvalidArgumentError, lambda: worker.add_function("a\\0b", print)),
            (InvalidArgumentError, lambda: worker.add_function("f" * 513, print)),
            (InvalidArgumentError, lambda: wide.add_function("f" * 213, print)),
            (InvalidArgumentError, lambda: worker.work()),
            (NoServersError, lambda: Worker(()).work()),
        ):
            expect(kind, "", call)
        worker.register(name)
        expect(InvalidArgumentError, "register", worker.work)
        assert worker.grab_job() is None
        assert worker.return_code is ReturnCode.NO_JOBS
        worker.unregister(name)
        good(worker)
        worker.close()
        worker.close()
    """
    texts = (b"ERROR\r\n", b"+PONG\r\n", b"\n")
    with (
        FakeServer(answers(texts[0])) as one,
        FakeServer(says(texts[1])) as two,
        FakeServer(answers(texts[2])) as three,
    ):
        run_worker_trap(script, server, name, one.address, two.address, three.address)


def test_runners_up(server: GearmanServer, name: str) -> None:
    """Epoch jobs are found, large results under signals are whole, no phantom success."""
    run_worker_trap(
        """
        payload = os.urandom(3_000_000)
        worker = serving(f=lambda job: payload, crash=lambda job: 1 / 0)
        with Client(ADDRESS, timeout=10) as client:
            handle = client.do_background(name + "f", at=time.time() + 1)
            begun = time.monotonic()
            assert worker.work() and time.monotonic() - begun < 4
            soon(lambda: not client.job_status(handle).known)
        signal.signal(signal.SIGALRM, lambda *_: None)
        signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
        for _ in range(3):
            asked = Asked(name + "f")
            worker.stop()
            assert worker.work() is False
            while not worker.work():
                pass
            assert asked.end().result == payload
        signal.setitimer(signal.ITIMER_REAL, 0)
        asked = Asked(name + "crash")
        assert worker.work() and worker.return_code is ReturnCode.WORK_FAIL
        assert asked.end().return_code is ReturnCode.WORK_FAIL
        good(worker)
        """,
        server,
        name,
    )
