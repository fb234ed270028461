"""Fixtures for pytest: a job server, a client of it, workers beside the test.

They are not registered by themselves; a ``conftest.py`` asks for them::

    pytest_plugins = ["pygearman_cffi.pytest_plugin"]

and a test then reads::

    def test_upper(gearman_client, gearman_worker):
        gearman_worker(upper=lambda job: job.workload.upper())
        assert gearman_client.do("upper", b"abc") == b"ABC"

One job server serves the whole session, so a background job that a test leaves in the
queue is there in the next one: let every test use function names of its own, or make
a `pygearman_cffi.testing.GearmanServer` for itself. A test that stops or kills a
server should do the latter too.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol

import pytest

from .client import Client
from .testing import GearmanServer, WorkerThread
from .worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ._convert import BytesLike
    from .job import Job

    Function = Callable[[Job], BytesLike | None]

__all__ = ["WorkerFactory", "gearman_client", "gearman_server", "gearman_worker"]


class WorkerFactory(Protocol):
    """The type of the `gearman_worker` fixture."""

    def __call__(
        self,
        name: str | None = None,
        fn: Function | None = None,
        /,
        **functions: Function,
    ) -> Worker:
        """Start a worker that serves these functions, until the end of the test.

        Args:
            name: the name of one function.
            fn: that function.
            **functions: more functions, or all, by name.

        Returns:
            The worker, already running in a thread of its own.
        """


@pytest.fixture(scope="session")
def gearman_server() -> Iterator[GearmanServer]:
    """Run a real gearmand on a free loopback port for the whole session."""
    with GearmanServer() as server:
        yield server


@pytest.fixture
def gearman_client(gearman_server: GearmanServer) -> Iterator[Client]:
    """Make a client of `gearman_server`, closed at the end of the test."""
    gearman_server.start()  # a test before this one may have stopped it
    with Client(gearman_server.address) as client:
        yield client


@pytest.fixture
def gearman_worker(gearman_server: GearmanServer) -> Iterator[WorkerFactory]:
    """Make a factory of running workers, all stopped at the end of the test.

    ``gearman_worker(upper=fn)`` or ``gearman_worker("upper", fn)``. What a worker's
    ``run()`` raised is raised at the end of the test.
    """
    gearman_server.start()
    with ExitStack() as running:

        def start(
            name: str | None = None,
            fn: Function | None = None,
            /,
            **functions: Function,
        ) -> Worker:
            if (name is None) != (fn is None):
                raise TypeError("gearman_worker takes a name and a function, or fn=...")
            if name is not None and fn is not None:
                functions[name] = fn
            worker = Worker(gearman_server.address)
            running.callback(worker.close)
            for key, function in functions.items():
                worker.add_function(key, function)
            running.enter_context(WorkerThread(worker))
            return worker

        yield start
