"""A job server that turns hostile, and a fuzzer of client and worker with random bytes.

A connection is answered as a job server would, up to a stage; then come the bytes of a
plan, and an end. `python -m tests.fuzz_servers --connections 100000` is the long form of
the fuzzer; what it runs are children of its own, so that it survives what they do not.

Two things are left out of the random bytes, since the C library dies of them and nobody
in Python can know it beforehand: a line of text without a space where a packet should be,
and a packet whose number has its highest bit set.
"""

from __future__ import annotations

import random
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass

from pygearman_cffi import (
    Client,
    ClientOption,
    GearmanError,
    OutOfMemoryError,
    Worker,
)
from tests.fakes import (
    ECHO_REQ,
    GET_STATUS,
    HEADER,
    JOB_CREATED,
    OPTION_REQ,
    STATUS_RES,
    SUBMITS,
    WORK_COMPLETE,
    FakeServer,
    packet,
    requests,
)

GRAB_JOB, GRAB_JOB_UNIQ, GRAB_JOB_ALL = 9, 30, 39
GRABS = {GRAB_JOB, GRAB_JOB_UNIQ, GRAB_JOB_ALL}
JOB_ASSIGN, JOB_ASSIGN_UNIQ, JOB_ASSIGN_ALL, NO_JOB, NOOP = 11, 31, 40, 10, 6
STAGES = {
    "greeting": {ECHO_REQ},
    "nudge": {GET_STATUS},
    "option": {OPTION_REQ},
    "job": SUBMITS,
    "grab": GRABS,
    "never": set(),
}
"""Where a server may turn hostile, by the request that it answers so."""
HANDLE = b"H:h:1"


@dataclass
class Plan:
    """How a server behaves: well up to a stage, then not."""

    stage: str
    payload: bytes = b""
    end: str = "stay"
    """"stay", "close", "reset", or "dribble": a byte at a time, and then stay."""
    pace: float = 0.0
    """Seconds between the bytes that are dribbled."""


class Hostile:
    """A server that follows a plan, which can be changed between connections."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.server = FakeServer(self._handle)
        self.address = self.server.address

    def __enter__(self) -> Hostile:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.__exit__(None, None, None)

    @property
    def connections(self) -> int:
        """How many there were."""
        return self.server.connections

    def _handle(self, server: FakeServer, connection: socket.socket) -> None:
        plan = self.plan
        wanted = STAGES[plan.stage]
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for kind, body in requests(connection):
            if kind in wanted:
                self._turn(server, connection, plan)
                return
            answer = well(kind, body)
            if answer:
                connection.sendall(answer)

    def _turn(self, server: FakeServer, connection: socket.socket, plan: Plan) -> None:
        if plan.end == "dribble":
            for number in range(len(plan.payload)):
                connection.sendall(plan.payload[number : number + 1])
                if server.over.wait(plan.pace):
                    return
        else:
            connection.sendall(plan.payload)
        if plan.end == "reset":
            linger = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        elif plan.end != "close":
            while connection.recv(65536):
                pass


def well(kind: int, body: bytes) -> bytes:
    """Answer a request as a job server would."""
    if kind in {ECHO_REQ, OPTION_REQ}:
        return packet(kind + 1, body)
    if kind == GET_STATUS:
        return packet(STATUS_RES, body, b"0", b"0", b"0", b"0")
    if kind in SUBMITS:
        return packet(JOB_CREATED, HANDLE) + packet(WORK_COMPLETE, HANDLE, b"result")
    if kind in GRABS:
        return packet(NO_JOB)
    return b""


def fatal(stream: bytes) -> bool:
    """Tell whether C dies of these bytes: of a line or a packet as said above."""
    while stream:
        if stream[0] == 0:
            if len(stream) < HEADER.size:
                return False
            magic, kind, size = HEADER.unpack(stream[: HEADER.size])
            if magic not in (b"\0RES", b"\0REQ"):
                return False
            if kind > 42:
                return int(kind) >= 1 << 31  # C takes it for a negative number
            stream = stream[HEADER.size + size :]
        else:
            line, newline, _ = stream.partition(b"\n")
            return bool(newline) and b" " not in line
    return False


# -- random bytes ----------------------------------------------------------------------

_FIELDS = (HANDLE, b"", b"H:h:10", b"H", b"x" * 63, b"x" * 64, b"x" * 65, b"h" * 300)
_SIZES = (0, 1, 5, 11, 63, 64, 65, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, 0xFFFFFFFF)


def _one(chance: random.Random) -> bytes:
    """A packet that is right, or nearly so."""
    kind = chance.randrange(0, 45) if chance.random() < 0.6 else chance.choice((8, 13))
    fields = [
        chance.choice((*_FIELDS, chance.randbytes(chance.randrange(40)), b"12", b"-7"))
        for _ in range(chance.randrange(6))
    ]
    if fields and chance.random() < 0.7:
        fields[0] = HANDLE
    whole = bytearray(packet(kind, *fields))
    while chance.random() < 0.35:
        way = chance.randrange(5)
        at = chance.randrange(len(whole) + 1)
        if way == 0 and len(whole) >= HEADER.size:
            whole[8:12] = chance.choice(_SIZES).to_bytes(4, "big")
        elif way == 1:
            del whole[at:]
        elif way == 2 and at < len(whole):
            whole[at] ^= 1 << chance.randrange(8)
        elif way == 3:
            whole[at:at] = chance.randbytes(chance.randrange(1, 9))
        else:
            whole[:4] = b"\0REQ"
    return bytes(whole)


def payload(chance: random.Random) -> bytes:
    """Random bytes; never those of which C certainly dies."""
    while True:
        way = chance.randrange(4)
        if way == 0:
            made = chance.randbytes(chance.randrange(200))
        elif way == 1:
            made = b"\0RES" + chance.randbytes(chance.randrange(60))
        elif way == 2:
            made = b"".join(_one(chance) for _ in range(chance.randrange(1, 5)))
        else:
            made = packet(JOB_CREATED, HANDLE)
            made += b"".join(_one(chance) for _ in range(chance.randrange(4)))
        if not fatal(made):
            return made


def plan(chance: random.Random, stages: tuple[str, ...]) -> Plan:
    """Make a random plan."""
    end = chance.choice(("close", "close", "close", "reset", "stay", "dribble"))
    return Plan(chance.choice(stages), payload(chance), end)


# -- what is fuzzed --------------------------------------------------------------------

LATE = 1.0
"""Seconds that a call may take beyond its deadline."""


class WrongError(Exception):
    """Something was wrong, and the process lived."""


def _tasks(client: Client, limit: float) -> None:
    tasks = [client.add_task("f", b"x") for _ in range(3)]
    client.add_task_status("H:h:1")
    client.add_task_background("f")
    client.run_tasks(limit)
    for task in tasks:
        if task.error is not None:
            raise task.error


Call = Callable[[Client, float], object]
CALLS: dict[str, Call] = {
    "do": lambda client, limit: client.do("f", b"x", timeout=limit),
    "do_background": lambda client, limit: client.do_background("f", timeout=limit),
    "epoch": lambda client, limit: client.do_background("f", at=2e9, timeout=limit),
    "run_tasks": _tasks,
    "map": lambda client, limit: list(client.map("f", [b"x"] * 4, timeout=limit)),
    "job_status": lambda client, limit: client.job_status("H:h:1", timeout=limit),
    "unique_status": lambda client, limit: client.unique_status("u", timeout=limit),
    "echo": lambda client, limit: client.echo(b"x", timeout=limit),
    "cancel_job": lambda client, limit: client.cancel_job("H:h:1", timeout=limit),
    "partition": lambda client, limit: client.execute_by_partition(
        "p", "f", b"x", timeout=limit
    ),
}
"""Every kind of call that goes to a server, with its time limit."""


def attempt(client: Client, name: str, limit: float) -> str:
    """Make a call that may fail; return what came of it.

    Raises:
        WrongError: it came too late, without a word, or with another exception.
    """
    begun = time.monotonic()
    try:
        CALLS[name](client, limit)
        told = "ok"
    except GearmanError as error:
        told = type(error).__name__
        if len(str(error)) < 10:
            raise WrongError(f"{name}: {error!r}") from error
    # What takes several steps may use its limit for each.
    most = (4 if name == "map" else 1) * limit + LATE
    took = time.monotonic() - begun
    if took > most:
        raise WrongError(f"{name} took {took:.2f} s, {most} at most: {told}")
    return told


def fuzz_client(seed: int, hostile: Hostile, good: Hostile, limit: float) -> str:
    """One client against one random plan; then it must serve with a good server."""
    chance = random.Random(seed)
    hostile.plan = plan(chance, ("greeting", "nudge", "option", "job", "job", "job"))
    client = Client(hostile.address, connect_timeout=5)
    if chance.random() < 0.1:
        client.add_options(ClientOption.NON_BLOCKING)
        client.add_task("f", b"x")
        for turn in range(4):
            try:
                if turn == 3:  # what is in flight ends, or is given up
                    client.remove_options(ClientOption.NON_BLOCKING)
                client.run_tasks(limit)
                client.wait(limit / 3)
            except GearmanError:
                pass
    told = attempt(client, chance.choice(list(CALLS)), limit)
    client.remove_servers()
    client.add_servers(good.address)
    if client.do("f", b"x", timeout=10) != b"result":
        raise WrongError("not usable afterwards")
    if chance.random() < 0.5:
        client.close()
    return told


def fuzz_worker(seed: int, hostile: Hostile, good: Hostile, limit: float) -> str:
    """One worker between a random plan and a good server: it must go on with that."""
    chance = random.Random(seed)
    hostile.plan = plan(chance, ("greeting", "grab", "grab", "grab"))
    servers = [hostile.address] + [good.address] * chance.randrange(2)
    worker = Worker(servers, timeout=limit, connect_timeout=5)
    worker.add_function("f", lambda job: job.workload)
    told = "ok"
    begun = time.monotonic()
    try:
        if chance.random() < 0.3:
            worker.run(max_seconds=limit)
        elif worker.work():
            told = "a job"
    except OutOfMemoryError as error:
        told = type(error).__name__
    took = time.monotonic() - begun
    if took > limit + LATE:
        raise WrongError(f"the worker took {took:.2f} s")
    worker.remove_servers()
    worker.add_servers(good.address)
    worker.work()
    if chance.random() < 0.5:
        worker.close()
    return told


FUZZERS = {"client": fuzz_client, "worker": fuzz_worker}
