"""Job servers that turn hostile: at the greeting, after it, in the middle of a reply.

The process lives, each call ends within its deadline and a second with an exception that
says what happened, and the same object then serves with a good server. Servers that are
no job server at all are in `test_client_servers.py` and `test_worker_unreachable.py`.
"""

from __future__ import annotations

import pytest

from tests import fuzz_servers
from tests.isolated import run_isolated

PROLOGUE = """
import logging, os, signal, sys, threading, time
from pygearman_cffi import *
from tests.fakes import *
from tests.hostile import *
logging.getLogger("pygearman_cffi").setLevel(logging.CRITICAL + 1)

def at_once(function, cases, threads=8):
    # Cases mostly wait: let several wait at once.
    todo, wrong = list(cases), []

    def run():
        with Hostile(Plan("job")) as hostile, Hostile(Plan("never")) as good:
            while todo:
                try:
                    case = todo.pop()
                except IndexError:
                    return
                try:
                    function(hostile, good, case)
                except BaseException as error:
                    wrong.append(f"{case}: {error!r}")

    running = [threading.Thread(target=run) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    print(len(list(cases)), "cases")
    if wrong:
        raise SystemExit(chr(10).join(wrong[:10]))

def fails(call, limit, *told):
    # It fails in time, and says one of these.
    begun = time.monotonic()
    try:
        got = call()
    except GearmanError as error:
        took = time.monotonic() - begun
        assert took < limit + 1, f"{took:.2f} s"
        if told and not any(word in str(error) for word in told):
            raise
        return error
    raise AssertionError(f"no error but {got!r}")

def serves(client, good):
    client.remove_servers()
    client.add_servers(good.address)
    assert client.do("f", b"x", timeout=10) == b"result"
"""


def run(script: str) -> str:
    """Run a script with the servers in its own threads."""
    lines = (line.removeprefix("        ") for line in script.splitlines())
    return run_isolated(PROLOGUE + "\n".join(lines), timeout=100)


def test_closing_at_every_byte() -> None:
    """Wherever a reply breaks off, the call fails and says so; a whole one is given."""
    run("""
        body = b"pygearman_cffi"
        nudge = b"pygearman_cffi:nudge:1"
        reply = b"".join((
            packet(JOB_CREATED, HANDLE), packet(12, HANDLE, b"1", b"2"),
            packet(29, HANDLE, b"careful"), packet(28, HANDLE, b"some "),
        ))
        whole = {
            "greeting": packet(ECHO_RES, body),
            "nudge": packet(STATUS_RES, nudge, b"0", b"0", b"0", b"0"),
            "option": packet(OPTION_RES, b"exceptions"),
            "job": reply + packet(WORK_COMPLETE, HANDLE, b"result"),
            "failing job": reply + packet(14, HANDLE),
            "exception": reply + packet(25, HANDLE, b"why"),
        }
        cases = [
            (stage, at, end)
            for stage, text in whole.items()
            for at in range(len(text) + 1)
            for end in ("close", "reset")
        ]

        def case(hostile, good, which):
            stage, at, end = which
            real = stage if stage in STAGES else "job"
            text = whole[stage]
            hostile.plan = Plan(real, text[:at], end)
            client = Client(hostile.address)
            if stage == "job" and at == len(text) and end == "close":
                assert client.do("f", b"x", timeout=5) == b"some result"
            elif at == len(text) and (end == "reset" or real != "job"):
                # The end may overtake the reply, or meet what comes next, or nobody.
                try:
                    assert client.do("f", b"x", timeout=5).endswith(b"result")
                except (ConnectionError, WorkFailError, WorkExceptionError) as error:
                    assert isinstance(error, GearmanError), error
            else:
                error = fails(lambda: client.do("f", b"x", timeout=5), 0)
                if real != "job":
                    assert isinstance(error, CouldNotConnectError), error
                elif at < len(text):
                    assert isinstance(error, ConnectionLostError), error
                    created = at >= len(packet(JOB_CREATED, HANDLE))
                    if end == "close":
                        assert (HANDLE.decode() in str(error)) is created, error
                else:
                    kind = WorkFailError if "fail" in stage else WorkExceptionError
                    assert type(error) is kind, error
            serves(client, good)
            client.close()

        at_once(case, cases)
    """)


GARBAGE = """
        huge = (0xFFFFFFFF, 0xFFFFFFF0, 0x7FFFFFFF, 0x80000000, 100_000_000)
        texts = {
            "nothing": b"",
            "one byte": bytes(1),
            "half a header": packet(8, HANDLE)[:7],
            "zeros": bytes(64),
            "wrong magic": bytes([0]) + b"XXX" + bytes(8),
            "a request": bytes([0]) + b"REQ" + packet(8, HANDLE)[4:],
            "commands": b"".join(packet(kind, HANDLE, b"x") for kind in range(43)),
            "an unknown command": packet(43, HANDLE),
            "the largest command": packet(0x7FFFFFFF, HANDLE),
            "HTTP": b"HTTP/1.1 400 Bad Request" + bytes([13, 10, 13, 10]),
            "a text without an end": b"ERROR",
            "text with spaces": b"a b" + bytes([10]),
            "an error": packet(19, b"code", b"text"),
            "an error of no words": packet(19),
            "many errors": packet(19, b"code", b"text") * 1000,
            "a flood": packet(13, b"H:other:1", bytes(1000)) * 1000,
            "a flood of NOOP": packet(6) * 5000,
            "too few fields": packet(8) + packet(12, HANDLE) + packet(20, HANDLE),
            "too many": packet(8, HANDLE, *[b"x"] * 50) + packet(20, *[b"1"] * 50),
            "numbers that are none": packet(8, HANDLE) + packet(12, HANDLE, b"-", b"9" * 99),
            "for strangers": packet(8, HANDLE) + b"".join(
                packet(kind, b"H:other:9", b"theirs") for kind in (12, 13, 14, 25, 28, 29)
            ),
        }
        for size in huge:
            for kind in (8, 13, 17, 19, 20, 27):
                texts[f"{kind} of {size}"] = HEADER.pack(bytes([0]) + b"RES", kind, size) + HANDLE
        for size in (0, 1, 62, 63, 64, 65, 127, 128, 1000, 70000):
            name = b"h" * size
            texts[f"handle of {size}"] = packet(8, name) + packet(13, HANDLE, b"theirs")
"""


@pytest.mark.parametrize("stage", ["greeting", "nudge", "option", "job"])
def test_garbage_at_each_stage(stage: str) -> None:
    """Garbage at any stage, and then silence or the end, fails every call in time."""
    script = f"""{GARBAGE}
        stage = {stage!r}
        calls = list(CALLS) if stage == "job" else ["do", "job_status", "echo"]
        cases = [
            (text, end, calls[number % len(calls)])
            for number, (text, end) in enumerate(
                (text, end) for text in texts for end in ("stay", "close")
            )
        ]
        cases += [(text, "close", "do") for text in texts]

        def case(hostile, good, which):
            text, end, call = which
            hostile.plan = Plan(stage, texts[text], end)
            client = Client(hostile.address)
            told = attempt(client, call, 0.15)
            # What asks for no job is not concerned by what happens to jobs.
            if stage == "job" and call in ("do", "map", "run_tasks", "partition"):
                assert told != "ok", "it was given a result"
            serves(client, good)

        at_once(case, cases)
    """
    run(script)


def test_silence_and_slowness() -> None:
    """A byte at a time is waited for as long as the deadline allows, and no longer."""
    run("""
        reply = packet(JOB_CREATED, HANDLE) + packet(WORK_COMPLETE, HANDLE, b"result")

        def case(hostile, good, which):
            stage, payload, pace, works = which
            hostile.plan = Plan(stage, payload, "dribble", pace)
            client = Client(hostile.address, connect_timeout=0.5)
            call = lambda: client.do("f", b"x", timeout=1)
            if works:
                assert call() == b"result"
            else:
                begun = time.monotonic()
                error = fails(call, 1)
                kind = GearmanTimeoutError if stage == "job" else CouldNotConnectError
                assert type(error) is kind, error
                least = 1 if stage == "job" else 0.5
                assert least <= time.monotonic() - begun < least + 0.5
            serves(client, good)

        greeting = packet(ECHO_RES, b"pygearman_cffi")
        at_once(case, [
            ("job", reply, 0.005, True), ("job", reply, 0.2, False),
            ("job", b"", 0, False), ("greeting", greeting, 0.2, False),
            ("greeting", b"", 0, False), ("option", b"", 0, False),
            ("option", packet(OPTION_RES, b"exceptions"), 0.2, False),
            ("nudge", b"", 0, False), ("nudge", packet(STATUS_RES, HANDLE), 0.2, False),
        ])
    """)


def test_worker() -> None:
    """A worker of a hostile server and a good one outlives all of it, and serves on."""
    script = f"""{GARBAGE}
        job = packet(JOB_ASSIGN_ALL, HANDLE, b"f", b"u", b"", b"work")
        texts["a job"] = job
        texts["jobs"] = job * 100
        texts["a stranger's job"] = packet(JOB_ASSIGN_ALL, HANDLE, b"g", b"u", b"", b"w")
        for at in range(0, len(job), 3):
            texts[f"a job cut at {{at}}"] = job[:at]
        cases = [
            (stage, text, end)
            for number, text in enumerate(texts)
            for stage in ("greeting", "grab")
            for end in ("stay", "close")
            if stage == "grab" or number % 4 == 0
        ]

        def case(hostile, good, which):
            stage, text, end = which
            hostile.plan = Plan(stage, texts[text], end)
            worker = Worker([hostile.address, good.address], timeout=0.05)
            worker.add_function("f", lambda job: job.workload)
            begun = time.monotonic()
            worker.run(max_seconds=0.05)
            worker.work()
            assert time.monotonic() - begun < 1.15
            worker.remove_servers()
            worker.add_servers(good.address)
            assert worker.work() is False
            assert worker.return_code is ReturnCode.TIMEOUT
            worker.echo(b"x", timeout=5)
            worker.close()

        at_once(case, cases)
    """
    run(script)


@pytest.mark.parametrize("who", ["client", "worker"])
def test_random_bytes(who: str) -> None:
    """Random bytes at any stage kill nobody; `make fuzz-servers` tries many more."""
    tally = fuzz_servers.supervise(who, 0, 100)
    assert not tally.crashes, "\n".join(tally.crashes)
    assert not tally.wrong, "\n".join(tally.wrong)
    assert tally.seeds == 100
    assert tally.connections >= 250
    # A worker survives whatever a server sends; a client's call says what it was.
    assert len(tally.outcomes) >= (2 if who == "client" else 1)


def test_what_kills_c_after_the_greeting() -> None:
    """Two things do, in C itself: a line without a space, and a negative command."""
    told = run("""
        import random
        from tests.hostile import _one

        # Children that die, beside one thread that serves.
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        deadly = [
            b"ERROR" + bytes([13, 10]), b"+PONG" + bytes([13, 10]), bytes([10]),
            packet(JOB_CREATED, HANDLE) + b"x" + bytes([10]),
            packet(0x80000000, HANDLE), packet(0xFFFFFFFF),
        ]
        # With most of what would be left out of the random bytes.
        chance = random.Random(1)
        while len(deadly) < 60:
            text = chance.choice((
                chance.randbytes(30) + bytes([10]),
                packet(8, HANDLE) + chance.randbytes(8).replace(b" ", b"") + bytes([10]),
                bytes([0]) + b"RES" + chance.randbytes(20),
                _one(chance),
            ))
            deadly.append(text)
        numbers = {True: 0, False: 0}
        with Hostile(Plan("job")) as hostile:
            for stage in ("nudge", "job"):
                for text in deadly:
                    hostile.plan = Plan(stage, text, "close")
                    child = os.fork()
                    if not child:
                        import faulthandler
                        faulthandler.disable()
                        try:
                            Client(hostile.address).do("f", b"x", timeout=5)
                        except GearmanError:
                            pass
                        os._exit(0)
                    _, status = os.waitpid(child, 0)
                    assert status in (0, signal.SIGSEGV), (status, text)
                    died = status == signal.SIGSEGV
                    numbers[died] += 1
                    assert died is fatal(text), (died, stage, text)
        print(numbers[True] > 30, numbers[False] > 30)
    """)
    assert told == "True True\n"
