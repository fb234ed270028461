"""The workers of the porting gallery: what C's client hears of each and of its original."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from pygearman_cffi import Client
from pygearman_cffi.testing import GearmanServer
from tests.examples import PATIENCE, at, rest, run, started
from tests.programs import run_client, wait_for, wait_for_worker

REVERSE = ["c_api/reverse_worker.c", "c_api/reverse_worker.py", "reverse_worker.py"]


@pytest.fixture
def server() -> Iterator[GearmanServer]:
    """A job server for one test."""
    with GearmanServer() as server:
        yield server


@pytest.fixture
def client(server: GearmanServer) -> Iterator[Client]:
    """A client of it."""
    with Client(server.address, timeout=PATIENCE) as client:
        yield client


def heard(server: GearmanServer, *tasks: str) -> list[str]:
    """Return what the callbacks of a C client see of these tasks.

    Without "running", which C sets at the first data only.
    """
    first, *others = tasks
    done = run_client(server, first, b"", *others, name="client_tasks")
    assert (done.returncode, done.stderr) == (0, b"")
    return re.sub(" known=1 running=[01]", "", done.stdout.decode()).splitlines()


# --- reverse -----------------------------------------------------------------

SPEC = ["fg:reverse:abc", "fg:reverse:"]
CHUNKS = [f"data [{letter}] GEARMAN_UNKNOWN_STATE" for letter in "cba"]
STATUSES = [f"status {done}/3" for done in range(4)]
COMPLETE = "complete [] GEARMAN_SUCCESS"
EXPECTED = {
    ("--chunk",): ["created H:", *CHUNKS, COMPLETE, "created H:", COMPLETE],
    ("--status",): [
        "created H:",
        STATUSES[0],
        "data [cba] GEARMAN_UNKNOWN_STATE",
        STATUSES[3],
        COMPLETE,
        "created H:",
        "status 0/0",
        "data [] GEARMAN_UNKNOWN_STATE",
        "status 0/0",
        COMPLETE,
    ],
    ("-d", "-s"): [
        "created H:",
        *[line for pair in zip(CHUNKS, STATUSES[:3], strict=True) for line in pair],
        COMPLETE,
        "created H:",
        COMPLETE,
    ],
}


@pytest.mark.parametrize("options", EXPECTED)
@pytest.mark.parametrize("worker", REVERSE)
def test_reverse(server: GearmanServer, worker: str, options: tuple[str, ...]) -> None:
    """Chunks and statuses reach a C client in C's order, also for an empty text."""
    with started(worker, *at(server), "-c", "2", *options) as serving:
        assert heard(server, *SPEC) == EXPECTED[options]
        lines = rest(serving)
    assert serving.returncode == 0
    assert lines[-6:] == [
        "Received job: H:",
        "Workload: abc (3)",
        "Result: cba",
        "Received job: H:",
        "Workload:  (0)",
        "Result: ",
    ]


def test_reverse_in_one_piece(server: GearmanServer) -> None:
    """Without options the C worker sends the result ahead, the twin at the end."""
    for worker, result in (
        (REVERSE[0], ["data [cba] GEARMAN_UNKNOWN_STATE", COMPLETE]),
        (REVERSE[2], [*STATUSES[:3], "complete [cba] GEARMAN_SUCCESS"]),
    ):
        with started(worker, *at(server), "-c", "1"):
            assert heard(server, "fg:reverse:abc") == ["created H:", *result]


@pytest.mark.parametrize("more", [(), ("--chunk",)])
@pytest.mark.parametrize("worker", REVERSE)
def test_reverse_unique(
    server: GearmanServer, client: Client, worker: str, more: tuple[str, ...]
) -> None:
    """With --unique, a worker prints the unique that the client has given."""
    with started(worker, *at(server), "-c", "1", "-u", *more) as serving:
        assert client.do("reverse", b"abc", unique="my-unique") == b"cba"
        assert "Unique: my-unique" in rest(serving)


@pytest.mark.parametrize("worker", REVERSE)
def test_reverse_identifier(server: GearmanServer, worker: str) -> None:
    """The job server lists a worker under the name that it was given."""
    with started(worker, *at(server), "--identifier", "a_worker"):
        wait_for_worker(server, "reverse")
        lines = server.command("workers")
    assert any(" a_worker : reverse" in line for line in lines)


@pytest.mark.parametrize("worker", REVERSE)
def test_reverse_without_a_server(server: GearmanServer, worker: str) -> None:
    """A worker whose loop ends when work() fails says that there is no server."""
    server.stop()
    done = run(worker, *at(server), "--chunk")
    assert "COULD_NOT_CONNECT" in done.stdout + done.stderr
    assert done.returncode == (0 if "c_api" in worker else 1)


# --- the others --------------------------------------------------------------


def test_context(server: GearmanServer, client: Client) -> None:
    """The worker with a context numbers its jobs, as PHP's."""
    with started("reverse_worker_context.py", *at(server), "--count", "2") as serving:
        results = [client.do("reverse", text) for text in (b"hello", b"world")]
        assert rest(serving) == ["2 jobs done"]
    assert results == [b"1: olleh", b"2: dlrow"]
    assert serving.returncode == 0


TEXTS = {
    b"": 0,
    b" \t\n": 0,
    b"one": 1,
    b"this is a test": 4,
    b"  between\tand\n\nbeyond  ": 3,
    b"no\rbreak\x00here\xff": 1,
}


def test_wc(server: GearmanServer, client: Client) -> None:
    """Words are what stands between blanks, tabs and line feeds, as for C's."""
    with started("wc_worker.py", *at(server), "--count", str(len(TEXTS))) as serving:
        results = {text: int(client.do("wc", text)) for text in TEXTS}
        lines = rest(serving)
    assert results == TEXTS
    assert "Job=H: Workload=this is a test Result=4" in lines
    assert serving.returncode == 0


def test_partition_parts(server: GearmanServer, client: Client) -> None:
    """The results of the parts are joined, whatever their number."""
    program = "gearman_execute_partition_worker.py"
    with (
        started(program, *at(server), "word_split", "--count", "2") as dividing,
        started(program, *at(server), "count"),
    ):
        text = b"a bc def " * 20
        task = client.execute_by_partition("word_split", "count", text)
        assert task.result == b"120"
        assert client.execute_by_partition("word_split", "count", b"a").result == b"1"
        assert rest(dividing) == []
    assert dividing.returncode == 0


def test_progress_worker(server: GearmanServer, client: Client) -> None:
    """Each step is told, and what is no number fails with a reason."""
    worker = ("progress_worker.py", *at(server), "--pause", "0", "--count", "2")
    with started(*worker) as serving:
        assert heard(server, "fg:progress:2", "fg:progress:x") == [
            "created H:",
            *[f"status {done}/2" for done in range(3)],
            "complete [done] GEARMAN_SUCCESS",
            "created H:",
            "warning [the workload is a number of steps] GEARMAN_UNKNOWN_STATE",
            "fail [] GEARMAN_WORK_FAIL",
        ]
        assert rest(serving) == []


def test_progress_is_seen_by_job_status(server: GearmanServer, client: Client) -> None:
    """How far a job of many steps is can be asked for, too."""
    with started("progress_worker.py", *at(server), "--pause", "0.02"):
        handle = client.do_background("progress", b"5000")

        def fraction() -> float | None:
            return client.job_status(handle).fraction

        wait_for(fraction)
        first = fraction() or 0
        wait_for(lambda: (fraction() or 0) > first)
