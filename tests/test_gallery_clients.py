"""The clients of the porting gallery: each beside a program that makes C's own calls."""

from __future__ import annotations

import re
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from subprocess import CompletedProcess

import pytest

from pygearman_cffi import Job, JobFail, Worker
from pygearman_cffi.testing import GearmanServer, WorkerThread
from tests.examples import at, rest, run, started
from tests.programs import php, run_client, wait_for

BG = ["c_api/reverse_client_bg.c", "c_api/reverse_client_bg.py", "reverse_client_bg.py"]
CB = ["c_api/reverse_client_cb.c", "c_api/reverse_client_cb.py", "reverse_client_cb.py"]
QUEUED = "Known=true, Running=false, Percent Complete=0/0"
GONE = "Known=false, Running=false, Percent Complete=0/0"


@pytest.fixture
def server() -> Iterator[GearmanServer]:
    """A job server for one test."""
    with GearmanServer() as server:
        yield server


def in_c(server: GearmanServer, call: str, *arguments: str) -> CompletedProcess[bytes]:
    """Make one of the calls of ``tests/c/gallery_client.c``."""
    return run_client(server, call, b"", *arguments, name="gallery_client")


@contextmanager
def failing(server: GearmanServer, function: str) -> Iterator[None]:
    """Serve a function whose jobs all fail."""

    def fail(job: Job) -> bytes:
        raise JobFail

    worker = Worker(server.address)
    worker.add_function(function, fail)
    with WorkerThread(worker):
        yield


def by_job(lines: list[str]) -> list[list[str]]:
    """Return the lines of each job in their order, without the handle."""
    jobs = defaultdict(list)
    for line in lines:
        if found := re.search(r"\bH:[^\s,]+:\d+", line):
            jobs[found[0]].append(line.replace(found[0], "H:"))
    return list(jobs.values())


# --- one answer --------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "name"), [("echo", "echo_client.py"), ("worker-echo", "echo_worker.py")]
)
def test_echo(server: GearmanServer, call: str, name: str) -> None:
    """An echo prints what came back, and fails without a server, as C's."""
    original, twin = in_c(server, call, "Hello!"), run(name, *at(server), "Hello!")
    assert original.stdout.decode() == twin.stdout == "Hello!"
    assert (original.returncode, twin.returncode, twin.stderr) == (0, 0, "")
    server.stop()
    original, twin = in_c(server, call, "Hello!"), run(name, *at(server), "Hello!")
    assert (original.returncode, original.stdout) == (1, b"")
    assert (twin.returncode, twin.stdout) == (1, "")


def test_do(server: GearmanServer) -> None:
    """Jobs one by one have the results that C's have, in pieces or not."""
    worker = ("reverse_worker.py", *at(server), "--chunk", "--status")
    with started(*worker, "--count", "8"):
        for text in ("Hello!", ""):
            original = in_c(server, "do", "2", text)
            twin = run("reverse_client.py", *at(server), "--count", "2", text)
            results = re.findall("^Success: (.*)$", twin.stdout, re.MULTILINE)
            assert original.stdout.decode().splitlines() == results == [text[::-1]] * 2
            assert twin.stdout.count("Sending job\n") == 2


def test_do_identifier(server: GearmanServer) -> None:
    """The job server lists the client under the name that it was given."""
    options = [*at(server), "--identifier", "a_client", "x"]
    with started("reverse_client.py", *options):
        wait_for(lambda: " a_client :" in "\n".join(server.command("workers")))


def test_do_fails(server: GearmanServer) -> None:
    """A job that fails ends both programs with status 1."""
    with failing(server, "reverse"):
        assert in_c(server, "do", "3", "x").returncode == 1
        twin = run("reverse_client.py", *at(server), "--count", "3", "x")
    assert twin.returncode == 1
    assert twin.stdout.count("Sending job") == 1
    assert "RET: Client.do('reverse'): the worker reported failure" in twin.stdout


def test_execute(server: GearmanServer) -> None:
    """gearman_execute and execute() have the same result, in pieces or not."""
    for options in ([], ["--chunk"]):
        with started("reverse_worker.py", *at(server), "--count", "2", *options):
            original = in_c(server, "execute", "my string to reverse")
            twin = run("gearman_execute_example.py", *at(server))
        assert original.stdout.decode() == twin.stdout == "esrever ot gnirts ym\n"
        assert (original.returncode, twin.returncode, twin.stderr) == (0, 0, "")
    with failing(server, "reverse"):
        original = in_c(server, "execute", "x")
        twin = run("gearman_execute_example.py", *at(server), "x")
    assert (original.returncode, twin.returncode, twin.stdout) == (1, 1, "")
    assert twin.stderr.startswith("Error: Client.execute('reverse')")


def test_partition(server: GearmanServer) -> None:
    """A divided job has the same result for both, and fails for both with a part."""
    divider = ("gearman_execute_partition_worker.py", *at(server), "word_split")
    with started(*divider):
        worker = ("gearman_execute_partition_worker.py", *at(server), "count")
        with started(*worker, "--count", "10") as counting:
            original = in_c(server, "partition", "this dog does not hunt")
            twin = run("gearman_execute_partition.py", *at(server))
            assert original.stdout.decode() == twin.stdout == "18\n"
            assert (original.returncode, twin.returncode, twin.stderr) == (0, 0, "")
            words = [line.split("=")[-1] for line in rest(counting)]
            assert sorted(words) == sorted(["this", "dog", "does", "not", "hunt"] * 2)
        with failing(server, "count"):
            original = in_c(server, "partition", "this dog")
            twin = run("gearman_execute_partition.py", *at(server), "this dog")
        assert (original.returncode, twin.returncode, twin.stdout) == (1, 1, "")
        assert "WORK_FAIL" in twin.stderr


# --- nobody waits ------------------------------------------------------------


@pytest.mark.parametrize("client", BG)
def test_background(server: GearmanServer, client: str) -> None:
    """Without --wait the handle is printed, and the job is the server's."""
    done = run(client, *at(server), "abc")
    assert re.fullmatch(r"Background Job Handle=H:\S+:1\n", done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert server.status()["reverse"].queued == 1


@pytest.mark.parametrize("client", BG)
def test_background_status(server: GearmanServer, client: str) -> None:
    """A job is queued, then it runs and says how far it is, then it is gone."""
    seen = threading.Event()

    def hold(job: Job) -> bytes:
        job.send_status(3, 14)
        seen.wait(30)
        return b""

    options = ["--wait", "--interval", "0.01", "abc"]
    with started(client, *at(server), *options) as asking:
        assert asking.stdout is not None
        assert asking.stdout.readline().startswith("Background Job Handle=H:")
        assert asking.stdout.readline().rstrip() == QUEUED
        worker = Worker(server.address)
        worker.add_function("reverse", hold)
        with WorkerThread(worker):
            while "3/14" not in (line := asking.stdout.readline()):
                # Between being given to the worker and its first word.
                expected = {QUEUED, QUEUED.replace("Running=false", "Running=true")}
                assert line.rstrip() in expected
            assert line == "Known=true, Running=true, Percent Complete=3/14\n"
            seen.set()
            assert rest(asking)[-1] == GONE
    assert asking.returncode == 0


def test_epoch(server: GearmanServer) -> None:
    """A job that is due later is known and does not run, then it is done and gone."""
    start = time.monotonic()
    options = [*at(server), "--epoch", "1", "--interval", "0.05", "abc"]
    with (
        started("reverse_worker.py", *at(server), "--count", "2") as serving,
        started("reverse_client_epoch.py", *options) as twin,
    ):
        # C takes whole seconds: due in 2, it is due in more than 1.
        original = in_c(server, "epoch", "2", "abc").stdout.decode()
        outputs = [re.sub(r"H:\S+", "H:", original).splitlines(), rest(twin)]
        assert rest(serving).count("Result: cba") == 2
    assert time.monotonic() - start >= 1.0
    for lines in outputs:
        assert lines[:2] == ["Background Job Handle=H:", QUEUED]
        assert lines[-1] == GONE
        others = {QUEUED, QUEUED.replace("Running=false", "Running=true")}
        assert set(lines[1:-1]) <= others
    assert twin.returncode == 0


# --- many jobs ---------------------------------------------------------------


@pytest.mark.parametrize("client", CB)
def test_callbacks(server: GearmanServer, client: str) -> None:
    """Ten jobs are created, send data and statuses, and complete, each in C's order."""
    worker = ("reverse_worker.py", *at(server), "--chunk", "--status")
    with started(*worker, "--count", "10"):
        done = run(client, *at(server), "ab")
    jobs = by_job(done.stdout.splitlines())
    assert (len(jobs), done.returncode, done.stderr) == (10, 0, "")
    for lines in jobs:
        assert lines == [
            "Created: H:",
            "Data: H: b",
            "Status: H: (0/2)",
            "Data: H: a",
            "Status: H: (1/2)",
            "Completed: H: ",
        ]


@pytest.mark.parametrize("client", CB)
def test_callbacks_of_failure(server: GearmanServer, client: str) -> None:
    """Jobs that fail are heard of, and are no failure of the program."""
    with failing(server, "reverse"):
        done = run(client, *at(server), "--count", "3", "ab")
    assert by_job(done.stdout.splitlines()) == [["Created: H:", "Failed: H:"]] * 3
    assert (done.returncode, done.stderr) == (0, "")


def test_task_contexts(server: GearmanServer) -> None:
    """Callbacks find their context, and come as they come in PHP."""
    with started("reverse_worker.py", *at(server), "--count", "4"):
        original = php(server, "reverse_client_task.php", "foo", "bar")
        twin = run("reverse_client_task.py", *at(server))
    assert (original.returncode, twin.returncode, twin.stderr) == (0, 0, "")
    outputs = [original.stdout.decode().splitlines(), twin.stdout.splitlines()]
    for lines in outputs:
        assert lines[-3:] == ["t1: oof", "t2: rab", "DONE"]
    first, second = (sorted(by_job(lines)) for lines in outputs)
    assert first == second
    assert first[0] == [
        "CREATED: H:",
        *[f"STATUS: H: - {done}/3" for done in range(3)],
        "COMPLETE: H:, oof",
    ]
    # PHP, on libgearman 1.1, gets the result of the last task first; we never.
    completed = re.findall("COMPLETE: .*, (.*)", twin.stdout)
    assert completed == ["oof", "rab"]


def test_task_in_background(server: GearmanServer) -> None:
    """Of a background task its creation is heard, and nothing else."""
    with started("reverse_worker.py", *at(server), "--count", "2") as serving:
        twin = run("reverse_client_task.py", *at(server), "--background", "ab", "cd")
        assert rest(serving).count("Result: dc") == 1
    jobs = sorted(by_job(twin.stdout.splitlines()), key=len)
    assert jobs[0] == ["CREATED: H:"]
    assert jobs[1][-1] == "COMPLETE: H:, ba"
    assert twin.stdout.endswith("t1: ba\nDONE\n")


def test_nonblocking(server: GearmanServer) -> None:
    """A NON_BLOCKING client gets what C's gets, and is free while nothing comes."""
    texts = ["one", "two", "three"]
    with started("reverse_worker.py", *at(server), "--fast"):
        original = in_c(server, "nonblocking", *texts)
        options = [*at(server), "--interval", "30"]
        twin = run("reverse_client_nonblocking.py", *options, *texts)
    assert twin.stdout.splitlines() == ["one: eno", "two: owt", "three: eerht"]
    assert sorted(original.stdout.decode().splitlines()) == sorted(
        twin.stdout.splitlines()
    )
    assert (original.returncode, twin.returncode, twin.stderr) == (0, 0, "")
    options = [*at(server), "--interval", "0.05"]
    with started("reverse_client_nonblocking.py", *options, "x") as waiting:
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == "waiting ...\n"
        with failing(server, "reverse"):
            assert "reported failure" in rest(waiting)[-1]
    assert waiting.returncode == 1


def test_multi_query(server: GearmanServer) -> None:
    """Three questions are answered at once, each with its own answer."""
    worker = ("multi_query_worker.py", *at(server), "--pause", "0", "--count", "1")
    with started(*worker), started(*worker), started(*worker):
        done = run("multi_query_client.py", *at(server), "eve")
    lines = done.stdout.splitlines()
    assert (lines[0], done.returncode, done.stderr) == ("Fetching...", 0, "")
    assert re.fullmatch(r"Got everything in \d+\.\d\d seconds:", lines[1])
    assert lines[2:] == [
        "lookup_user: eve is tall and wonderful",
        "baconate: eve is one film away from Kevin Bacon",
        "get_latest_posts_by: eve has written nothing yet",
    ]


def test_multi_query_fails(server: GearmanServer) -> None:
    """A question that fails takes nothing from the others."""

    def answer(job: Job) -> bytes:
        if job.function_name == "baconate":
            raise JobFail("no film")
        return b"yes"

    worker = Worker(server.address)
    for name in ("lookup_user", "baconate", "get_latest_posts_by"):
        worker.add_function(name, answer)
    with WorkerThread(worker):
        done = run("multi_query_client.py", *at(server))
    assert done.returncode == 1
    assert done.stdout.splitlines()[2] == "lookup_user: yes"
    assert "no film" in done.stdout.splitlines()[3]
    assert done.stdout.splitlines()[4] == "get_latest_posts_by: yes"
