"""What the fuzzer plays with: job servers that die and return, and what runs there."""

from __future__ import annotations

import os
import signal
import socket
import threading
from dataclasses import dataclass, field
from functools import partial

from pygearman_cffi import Client, GearmanError, Worker
from pygearman_cffi.testing import GearmanServer, WorkerThread
from tests.fuzz.ledger import Ledger


@dataclass(eq=False)
class Place:
    """A job server that dies and returns."""

    name: str
    server: GearmanServer = field(default_factory=GearmanServer)
    generation: int = 0
    """Counts its deaths, twice each: it is odd while one is under way."""
    timer: threading.Timer | None = None
    frozen: bool = False

    @property
    def address(self) -> str:
        """Its address, which it keeps."""
        return self.server.address

    @property
    def is_dead(self) -> bool:
        """Tell whether it is down, or going down."""
        return self.generation % 2 == 1 or not self.server.running

    def settle(self) -> None:
        """Wait until what was to happen to it has happened."""
        if self.timer is not None:
            self.timer.join()
            self.timer = None

    def kill(self) -> None:
        """End it at once, and what it knows with it."""
        self.settle()
        self._kill()

    def kill_after(self, seconds: float) -> None:
        """End it in the middle of whatever is going on then."""
        self.settle()
        self.timer = threading.Timer(seconds, self._kill)
        self.timer.start()

    def freeze(self, seconds: float) -> None:
        """Let it stand still for a while."""
        self.settle()
        if self.server.running:
            pid = self.server.pid
            os.kill(pid, signal.SIGSTOP)
            self.timer = threading.Timer(seconds, os.kill, (pid, signal.SIGCONT))
            self.timer.start()

    def start(self) -> None:
        """Bring it back."""
        self.settle()
        self.server.start()

    def _kill(self) -> None:
        self.generation += 1
        self.server.kill()
        # What was ordered meanwhile may have been accepted just before the end.
        self.generation += 1


class World:
    """Two job servers, an address where nobody listens, and one that never answers."""

    def __init__(self) -> None:
        self.places = {name: Place(name) for name in ("a", "b")}
        self._hole = socket.create_server(("127.0.0.1", 0))
        self._nobody = socket.socket()
        self._nobody.bind(("127.0.0.1", 0))
        self.addresses = {
            **{name: place.address for name, place in self.places.items()},
            "hole": f"127.0.0.1:{self._hole.getsockname()[1]}",
            "nobody": f"127.0.0.1:{self._nobody.getsockname()[1]}",
        }
        self._names = {
            self.addresses[name]: name for name in ("a", "b", "hole", "nobody")
        }
        self._over = threading.Event()
        self.function = ""
        self.workers: list[WorkerThread] = []

    def generations(self) -> dict[str, int]:
        """Return how often each server has died."""
        return {name: place.generation for name, place in self.places.items()}

    def name_of(self, host: str, port: int) -> str:
        """Return the name of the server with an address."""
        return self._names[f"{host}:{port}"]

    def pause(self, seconds: float) -> None:
        """Be a slow function."""
        self._over.wait(seconds)

    def make_worker(self, names: tuple[str, ...], ledger: Ledger) -> Worker:
        """Return a worker that does the jobs of this example."""
        worker = Worker(
            [self.addresses[name] for name in names], connect_timeout=0.3, timeout=0.1
        )
        worker.add_function(self.function, partial(ledger.serve, worker))
        return worker

    def nested_call(self, ledger: Ledger) -> None:
        """Be a client inside a worker function."""
        order = ledger.order("echo")
        with Client(self.addresses["a"], timeout=0.1) as client:
            try:
                result = client.do(self.function, order.workload)
            except GearmanError:
                return
            ledger.check_result(order, result)

    def meddle(self, worker: Worker) -> None:
        """Call into the worker that runs this function."""
        for call in (
            worker.close,
            worker.work,
            worker.wait,
            worker.grab_job,
            lambda: worker.run(max_seconds=0.01),
            worker.remove_servers,
            lambda: worker.add_function("other", print),
            lambda: worker.function_exist("other"),
            lambda: worker.echo(b"?", timeout=0.05),
        ):
            try:
                call()
            except GearmanError:
                pass

    def is_disturbed(self) -> bool:
        """Tell whether a server is down, or about to be."""
        return any(
            place.timer is not None or not place.server.running
            for place in self.places.values()
        )

    def recover(self) -> None:
        """Bring every server back."""
        for place in self.places.values():
            place.start()

    def close(self) -> None:
        """End everything."""
        for place in self.places.values():
            place.settle()
            place.server.kill()
        self._hole.close()
        self._nobody.close()
