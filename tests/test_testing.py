"""WorkerThread, FakeJob and the fixtures of the pytest plugin."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from array import array
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from pygearman_cffi.client import Client
from pygearman_cffi.errors import BusyError, ClosedError, GearmanError
from pygearman_cffi.job import Job
from pygearman_cffi.testing import FakeJob, GearmanServer, WorkerThread
from pygearman_cffi.worker import Worker
from tests.programs import wait_for
from tests.workers import grab

ROOT = Path(__file__).parent.parent


@pytest.fixture
def server() -> Iterator[GearmanServer]:
    """A server of the test's own: some leave jobs behind."""
    with GearmanServer() as server:
        yield server


@pytest.fixture
def client(server: GearmanServer) -> Iterator[Client]:
    """A client of it."""
    with Client(server.address, timeout=20) as client:
        yield client


def upper(job: Job) -> bytes:
    """A worker function."""
    return job.workload.upper()


def made_worker(server: GearmanServer, fn: Callable[[Job], bytes] = upper) -> Worker:
    """A worker that serves ``fn`` under its own name."""
    worker = Worker(server.address)
    worker.add_function(fn.__name__, fn)
    return worker


# --- WorkerThread ------------------------------------------------------------


def test_worker_thread_serves(server: GearmanServer, client: Client) -> None:
    """While the block lasts the worker serves; at its end it is stopped and closed."""
    worker = made_worker(server)
    with WorkerThread(worker) as thread:
        assert client.do("upper", b"abc") == b"ABC"
        assert client.do("upper", b"") == b""
    assert not thread.running
    assert thread.result == 2
    assert worker.closed


def test_worker_thread_unused(server: GearmanServer) -> None:
    """A block that does nothing ends at once: stop() may come before run() begins."""
    for _ in range(20):
        with WorkerThread(made_worker(server)) as thread:
            pass
        assert thread.result == 0


def test_worker_thread_leaves_open(server: GearmanServer, client: Client) -> None:
    """With close=False the worker can be run again."""
    with made_worker(server) as worker:
        for _ in range(2):
            with WorkerThread(worker, close=False):
                assert client.do("upper", b"again") == b"AGAIN"
        assert not worker.closed


def test_worker_thread_by_hand(server: GearmanServer, client: Client) -> None:
    """start() and stop() do what the block does; stop() twice is harmless."""
    thread = WorkerThread(made_worker(server))
    assert thread.stop() is None
    thread.start()
    with pytest.raises(RuntimeError, match="is running"):
        thread.start()
    assert client.do("upper", b"hand") == b"HAND"
    assert thread.stop() == 1
    assert thread.stop() == 1


def interrupted(job: Job) -> bytes:
    """A worker function that ends run()."""
    if job.workload == b"stop":
        raise KeyboardInterrupt
    return job.workload


def test_worker_thread_reraises(server: GearmanServer, client: Client) -> None:
    """What ended run() is raised at the end of the block."""
    thread = WorkerThread(made_worker(server, interrupted))
    thread.start()
    client.do_background("interrupted", b"stop")
    wait_for(lambda: not thread.running)
    with pytest.raises(KeyboardInterrupt):
        thread.stop()
    assert thread.worker.closed


def test_worker_thread_keeps_the_failure_of_the_test(
    server: GearmanServer, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """A failing block raises its own exception; the worker's is logged."""

    def fail() -> None:
        with WorkerThread(made_worker(server, interrupted)) as thread:
            client.do_background("interrupted", b"stop")
            wait_for(lambda: not thread.running)
            raise LookupError("the test's")

    with caplog.at_level(logging.ERROR), pytest.raises(LookupError, match="the test's"):
        fail()
    assert "KeyboardInterrupt" in caplog.text


def test_worker_thread_that_does_not_end(server: GearmanServer, client: Client) -> None:
    """A function that never returns is an error that shows where it is."""
    release = threading.Event()

    def stuck(job: Job) -> bytes:
        release.wait()
        return job.workload

    thread = WorkerThread(made_worker(server, stuck), timeout=0.2)
    thread.start()
    client.do_background("stuck")
    wait_for(lambda: server.status()["stuck"].running)
    with pytest.raises(RuntimeError, match=r"release\.wait"):
        thread.stop()
    release.set()
    thread.stop()
    assert thread.worker.closed


# --- FakeJob -----------------------------------------------------------------


def test_fake_job_is_like_a_job() -> None:
    """Every public name of a job is one of a fake job."""
    fake = set(dir(FakeJob())) | set(vars(FakeJob()))
    assert {name for name in dir(Job) if not name.startswith("_")} <= fake


def test_fake_job_properties() -> None:
    """A fake job has what it was given; its workload is bytes, as a client requires."""
    with pytest.raises(TypeError, match=r"\.encode\(\)"):
        FakeJob("text")  # type: ignore[arg-type]
    job = FakeJob(b"abc")
    assert (job.handle, job.unique, job.function_name) == ("H:fake:1", "", "fake")
    assert (job.workload, job.workload_size) == (b"abc", 3)
    job = FakeJob(bytearray(b"x"), handle="H:a:2", unique="u", function_name="f")
    assert (job.handle, job.unique, job.function_name) == ("H:a:2", "u", "f")
    assert job.workload == b"x"


def test_fake_job_records_in_order() -> None:
    """All that is sent is recorded, by kind and in order."""
    job = FakeJob(b"abc")
    job.send_data(b"1")
    job.send_warning(bytearray(b"w"))
    job.send_status(1, 2)
    job.send_data(memoryview(b"2"))
    job.send_complete(b"end")
    assert job.finished
    assert (job.data, job.warnings, job.statuses) == ([b"1", b"2"], [b"w"], [(1, 2)])
    assert (job.completed, job.exception, job.failed) == (b"end", None, False)
    assert job.sent == [
        ("data", b"1"),
        ("warning", b"w"),
        ("status", 1, 2),
        ("data", b"2"),
        ("complete", b"end"),
    ]


@pytest.mark.parametrize(
    ("end", "packet"),
    [
        (lambda job: job.send_complete(), ("complete", b"")),
        (lambda job: job.send_exception(b"oh"), ("exception", b"oh")),
        (lambda job: job.send_fail(), ("fail",)),
    ],
    ids=["complete", "exception", "fail"],
)
def test_fake_job_ends_once(
    end: Callable[[FakeJob], None], packet: tuple[str, ...]
) -> None:
    """What is sent after the end is ignored, as by the real job."""
    job = FakeJob()
    end(job)
    job.send_data(b"late")
    job.send_warning(b"late")
    job.send_status(1, 1)
    job.send_complete(b"late")
    job.send_exception(b"late")
    job.send_fail()
    assert job.sent == [packet]


def test_fake_job_take_workload() -> None:
    """The workload can be taken once; afterwards it is gone."""
    job = FakeJob(b"abc")
    taken = job.take_workload()
    assert isinstance(taken, memoryview)
    assert bytes(taken) == b"abc"
    with pytest.raises(ClosedError, match="take_workload"):
        _ = job.workload
    with pytest.raises(ClosedError):
        job.take_workload()
    assert job.workload_size == 0


PAYLOADS: list[Any] = ["text", None, 1, ["a"], b"", b"x", bytearray(b"x"), array("h")]
NUMBERS: list[Any] = [-1, 0, 2**32 - 1, 2**32, "1", 1.0, None, True]
KINDS = ("data", "warning", "complete", "exception")
PLAIN = ("function_name", "handle", "unique", "workload", "workload_size")
CALLS: list[tuple[str, tuple[Any, ...]]] = [
    *[(name, ()) for name in (*PLAIN, "take_workload", "send_fail", "close")],
    *[(f"send_{kind}", (payload,)) for kind in KINDS for payload in PAYLOADS],
    *[("send_status", (number, 1)) for number in NUMBERS],
    *[("send_status", (1, number)) for number in NUMBERS],
]


def outcome(job: Job, before: str | None, call: str, arguments: tuple[Any, ...]) -> Any:
    """What comes out of a call, which another one may precede."""
    if before:
        getattr(job, before)()
    try:
        found = getattr(job, call)
        result = found(*arguments) if callable(found) else found
    except GearmanError as error:
        return type(error), str(error)
    return bytes(result) if isinstance(result, memoryview) else result


@pytest.mark.parametrize("grabbed", [False, True], ids=["in a function", "grabbed"])
@pytest.mark.parametrize("before", [None, "send_fail", "take_workload", "close"])
def test_fake_job_refuses_what_a_job_refuses(
    server: GearmanServer, client: Client, before: str | None, grabbed: bool
) -> None:
    """A fake job answers each call as a real one does, also after its end."""
    answers: list[Any] = []

    def use(job: Job) -> None:
        fake = FakeJob(b"abc", handle=job.handle, unique=job.unique, grabbed=grabbed)
        call = CALLS[len(answers)]
        real = outcome(job, before, *call)
        answers.append((call, real, outcome(fake, before, *call)))

    with Worker(server.address, timeout=10) as worker:
        if grabbed:
            worker.register("fake")
        else:
            worker.add_function("fake", use)
        for _ in CALLS:
            client.do_background("fake", b"abc")
            if grabbed:
                with grab(worker) as job, suppress(ClosedError):
                    use(job)
                    job.send_complete()
            else:
                assert worker.work()
    assert len(answers) == len(CALLS)
    assert [answer for answer in answers if answer[1] != answer[2]] == []


def test_fake_job_refuses_another_thread() -> None:
    """A fake job belongs to the thread that made it, as a real one does to its own."""
    job = FakeJob()
    with ThreadPoolExecutor(1) as pool, pytest.raises(BusyError, match="thread"):
        pool.submit(job.send_data, b"x").result()
    assert not job.sent


def test_fake_job_keeps_its_record() -> None:
    """What was recorded of a grabbed job can be read after it was closed."""
    with FakeJob(grabbed=True) as job:
        job.send_data(bytearray(b"x"))
        with pytest.raises(TypeError):
            job.send_status("1", 2)  # type: ignore[arg-type]
    assert job.sent == [("data", b"x")]
    assert not job.finished


# --- the fixtures ------------------------------------------------------------

A_USERS_TESTS = '''
from contextlib import suppress

import pytest


def test_names(gearman_client, gearman_worker):
    """Functions are given by keyword, by position, or both; workers add up."""
    gearman_worker(upper=lambda job: job.workload.upper())
    worker = gearman_worker("1st", lambda job: b"1", second=lambda job: b"2")
    assert gearman_client.do("upper", b"abc") == b"ABC"
    assert gearman_client.do("1st") == b"1"
    assert gearman_client.do("second") == b"2"
    assert worker.function_exist("1st")


def test_half_a_function(gearman_worker):
    with pytest.raises(TypeError, match="name and a function"):
        gearman_worker("name")


def test_server(gearman_server, gearman_client):
    """The server is one for all, and comes back for the next test."""
    assert gearman_client.servers == (("127.0.0.1", gearman_server.port),)
    gearman_server.kill()


def test_server_is_back(gearman_client):
    assert gearman_client.echo(b"there?") is None
'''


def test_plugin(tmp_path: Path) -> None:
    """The three fixtures work in a project that names the plugin, and clean up."""
    (tmp_path / "conftest.py").write_text(
        'pytest_plugins = ["pygearman_cffi.pytest_plugin"]\n'
    )
    (tmp_path / "test_users.py").write_text(A_USERS_TESTS)
    options = ["-q", "-W", "error", "-p", "no:cacheprovider", "--rootdir"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(tmp_path), str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "4 passed" in done.stdout, done.stdout + done.stderr
