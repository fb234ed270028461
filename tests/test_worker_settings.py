"""A worker's settings: namespace, identifier, options, timeouts, servers, and the log."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from pygearman_cffi import (
    ArgumentTypeError,
    Client,
    ClientOption,
    InvalidArgumentError,
    UnsupportedError,
    Verbose,
    Worker,
    WorkerOption,
)
from pygearman_cffi.testing import GearmanServer, WorkerThread
from tests import workers
from tests.programs import registered, wait_for
from tests.workers import NEVER, echo, grab, submit

name, client, worker = workers.name, workers.client, workers.worker


def test_a_namespace(gearman_server: GearmanServer, client: Client, name: str) -> None:
    """The namespace stands before each name on the server, not in the job."""
    worker = Worker(gearman_server.address, namespace="space-")
    assert worker.namespace == "space-"
    worker.add_function(name, lambda job: job.function_name.encode())
    with WorkerThread(worker, close=False):
        assert client.do(f"space-{name}") == name.encode()
    worker.namespace = "other-"
    worker.timeout = 10
    submit(client, f"other-{name}")
    assert worker.work() is True
    submit(client, f"other-{name}")
    with grab(worker) as job:
        assert job.function_name == name
        job.send_complete()
    with pytest.raises(InvalidArgumentError, match="512"):
        worker.namespace = "x" * 511
    with pytest.raises(InvalidArgumentError, match="512"):
        worker.add_function("x" * 510, echo)
    assert worker.namespace == "other-"
    worker.close()


def test_an_identifier(gearman_server: GearmanServer, name: str) -> None:
    """The server lists the identifier, and a new one after it was changed."""
    worker = Worker(gearman_server.address, identifier="my-worker")
    worker.add_function(name, echo)

    def listed(identifier: str) -> bool:
        lines = gearman_server.command("workers")
        return any(f" {identifier} : {name}" in line for line in lines)

    with WorkerThread(worker, close=False):
        wait_for(lambda: listed("my-worker"))
    worker.identifier = "renamed"
    with WorkerThread(worker):
        wait_for(lambda: listed("renamed"))
        wait_for(lambda: not listed("my-worker"))


def test_options(gearman_server: GearmanServer) -> None:
    """Options add to the usual two; internal ones and TLS are refused."""
    usual = WorkerOption.GRAB_UNIQ | WorkerOption.GRAB_ALL
    with Worker(gearman_server.address) as worker:
        assert worker.options == usual
        worker.add_options(WorkerOption.NON_BLOCKING)
        assert worker.has_option(WorkerOption.NON_BLOCKING)
        worker.remove_options(WorkerOption.NON_BLOCKING)
        assert worker.options == usual
        worker.add_options(
            WorkerOption.TIMEOUT_RETURN | WorkerOption.STOP_WAIT_ON_SIGNAL
        )
        for refused in (WorkerOption.ALLOCATED, WorkerOption.CHANGE, 1 << 20):
            with pytest.raises(InvalidArgumentError):
                worker.add_options(refused)  # type: ignore[arg-type]
        with pytest.raises(UnsupportedError):
            worker.add_options(WorkerOption.SSL)
        with pytest.raises(UnsupportedError):
            worker.set_ssl()
    with Worker(options=WorkerOption.NON_BLOCKING) as worker:
        assert worker.options == usual | WorkerOption.NON_BLOCKING


def test_options_of_a_client() -> None:
    """An enum that is not WorkerOption is refused by that name; plain ints are not."""
    wrong: Any = ClientOption.NON_BLOCKING
    plain: Any = int(WorkerOption.NON_BLOCKING)
    with Worker() as worker:
        usual = worker.options
        for use in (worker.add_options, worker.remove_options):
            with pytest.raises(ArgumentTypeError, match="options are WorkerOption"):
                use(wrong)
        with pytest.raises(ArgumentTypeError, match="WorkerOption, not ClientOption"):
            Worker(options=wrong)
        assert worker.options == usual
        worker.add_options(plain)
        assert worker.options == usual | WorkerOption.NON_BLOCKING


def test_the_identifier_option(gearman_server: GearmanServer, name: str) -> None:
    """With the option IDENTIFIER the library makes an identifier of its own."""
    worker = Worker(gearman_server.address, options=WorkerOption.IDENTIFIER)
    worker.add_function(name, echo)

    def identifier() -> str:
        for line in gearman_server.command("workers"):
            if line.endswith(f" : {name}"):
                return line.split(" : ")[0].split()[2]
        return ""

    with WorkerThread(worker):
        assert len(wait_for(identifier)) > 20


@pytest.mark.parametrize("value", [0, -1, NEVER])
def test_wrong_timeouts(worker: Worker, value: float) -> None:
    """A timeout of zero, a negative one and NaN are refused everywhere."""
    with pytest.raises(InvalidArgumentError):
        Worker(timeout=value)
    with pytest.raises(InvalidArgumentError):
        Worker(connect_timeout=value)
    with pytest.raises(InvalidArgumentError):
        worker.timeout = value
    assert worker.timeout == 10


@pytest.mark.parametrize("servers", ["h:0", "h:70000", "h:text", "a b", [("h", 0)]])
def test_wrong_servers(worker: Worker, servers: Any) -> None:
    """Bad ports and hosts are refused, and change nothing."""
    before = worker.servers
    with pytest.raises(InvalidArgumentError):
        Worker(servers)
    with pytest.raises(InvalidArgumentError):
        worker.add_servers(servers)
    assert worker.servers == before


def test_default_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without servers: $GEARMAN_SERVERS or localhost, which the first added replaces."""
    monkeypatch.delenv("GEARMAN_SERVERS", raising=False)
    with Worker() as worker:
        assert worker.servers == (("localhost", 4730),)
        worker.add_server("other", 1)
        assert worker.servers == (("other", 1),)
    monkeypatch.setenv("GEARMAN_SERVERS", "a:1,b:2")
    with Worker() as worker:
        assert worker.servers == (("a", 1), ("b", 2))


def test_changing_servers(
    gearman_server: GearmanServer, client: Client, name: str
) -> None:
    """Servers that are added or removed count from the next call."""
    with GearmanServer() as second, Worker(second.address, timeout=10) as worker:
        worker.add_function(name, echo)
        with Client(second.address) as other:
            submit(other, name)
        assert worker.work()
        worker.add_server(gearman_server.host, gearman_server.port)
        submit(client, name)
        assert worker.work()
        worker.timeout = 0.1
        wait_for(lambda: not worker.work() and registered(second, name) == 1)
        worker.remove_servers()
        wait_for(lambda: registered(second, name) == 0)
        worker.add_servers(gearman_server.address)
        worker.timeout = 10
        submit(client, name)
        assert worker.work()


def test_the_log_function(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """What libgearman logs goes to a function or a logger; None ends it."""
    lines: list[tuple[str, Verbose]] = []
    with GearmanServer() as server:
        worker = Worker(server.address, timeout=10)
        worker.set_log_fn(lambda line, verbose: lines.append((line, verbose)))
        worker.add_function(name, lambda job: server.kill())
        with Client(server.address) as client:
            submit(client, name)
        assert worker.work()
        worker.set_log_fn(logging.getLogger("mine"))
        worker.set_log_fn(None)
        worker.close()
    assert all(isinstance(line, str) for line, _ in lines)
