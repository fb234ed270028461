"""Guards: a closed client, a busy one, one inside its own callback."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from pygearman_cffi import BusyError, Client, ClosedError, Task
from pygearman_cffi.testing import GearmanServer

Call = Callable[[Client], object]

# Every call that needs the client.
CALLS: dict[str, Call] = {
    "do": lambda client: client.do("echo", b"x"),
    "do_background": lambda client: client.do_background("background", b"x"),
    "job_status": lambda client: client.job_status("H:x:1"),
    "unique_status": lambda client: client.unique_status("x"),
    "cancel_job": lambda client: client.cancel_job("H:x:1"),
    "echo": lambda client: client.echo(b"x"),
    "set_server_option": lambda client: client.set_server_option("exceptions"),
    "add_server": lambda client: client.add_server("a", 1),
    "add_servers": lambda client: client.add_servers("a:1"),
    "remove_servers": lambda client: client.remove_servers(),
    "add_options": lambda client: client.add_options(client.options),
    "remove_options": lambda client: client.remove_options(client.options),
    "set_log_fn": lambda client: client.set_log_fn(None),
    "set_ssl": lambda client: client.set_ssl(False),
    "namespace": lambda client: setattr(client, "namespace", "x"),
    "identifier": lambda client: setattr(client, "identifier", "x"),
    "timeout": lambda client: setattr(client, "timeout", 1),
    "options": lambda client: setattr(client, "options", client.options),
    "clone": lambda client: client.clone(),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


# -- closed ------------------------------------------------------------------------------


@every_call
@pytest.mark.parametrize("used", [True, False])
def test_closed(served: GearmanServer, call: Call, used: bool) -> None:
    """A closed client raises ClosedError, whether it had a connection or not."""
    client = Client(served.address)
    if used:
        client.echo(b"x")
    client.close()
    with pytest.raises(ClosedError, match="closed"):
        call(client)
    client.close()


def test_reading_a_closed_client() -> None:
    """What a client was set to can still be read after it was closed."""
    client = Client("a:1", timeout=2, namespace="n", identifier="i")
    client.close()
    assert client.closed
    assert client.servers == (("a", 1),)
    assert (client.timeout, client.namespace, client.identifier) == (2.0, "n", "i")
    assert not client.options


# -- busy --------------------------------------------------------------------------------

MAY_RUN_INSIDE = {"timeout", "set_ssl", "clone"}  # they touch nothing of C


@every_call
def test_second_thread(served: GearmanServer, call: Call) -> None:
    """A second thread gets BusyError, and the first one's call is not disturbed."""
    client = Client(served.address)
    inside, results = threading.Event(), []

    def work() -> None:
        results.append(client.do("sleep_ms", b"150", on_created=lambda _: inside.set()))

    thread = threading.Thread(target=work)
    thread.start()
    assert inside.wait(10)
    with pytest.raises(BusyError, match="another thread"):
        call(client)
    with pytest.raises(BusyError, match="another thread"):
        client.close()
    thread.join()
    assert results == [b"150"]
    assert client.do("reverse", b"abc") == b"cba"
    client.close()


@pytest.mark.parametrize("name", CALLS)
def test_inside_a_callback(client: Client, name: str) -> None:
    """The same client is busy inside its callbacks; the call goes on undisturbed."""
    refused: list[BaseException] = []

    def use(task: Task) -> None:
        assert task.function_name == "chunks"
        for call in (CALLS[name], Client.close):
            try:
                call(client)
            except BusyError as error:
                refused.append(error)

    assert client.do("chunks", b"abcdefgh", on_data=use) == b"abcdefgh"
    expected = 1 if name in MAY_RUN_INSIDE else 2
    assert len(refused) == expected * 2  # two packets of data
    assert all("callback" in str(error) for error in refused)
    client.timeout = None
    assert client.do("reverse", b"abc") == b"cba"


def test_another_client_inside_a_callback(
    served: GearmanServer, client: Client
) -> None:
    """Another client can be used, made and closed inside a callback."""
    results: list[bytes] = []

    def use(task: Task) -> None:
        with Client(served.address) as other:
            results.append(other.do("reverse", task.data))
        with pytest.raises(BusyError):
            client.echo(b"x")

    assert client.do("chunks", b"abcdef", on_data=use) == b"abcdef"
    assert results == [b"ba", b"dc"]


def test_exception_out_of_a_nested_client(
    served: GearmanServer, client: Client
) -> None:
    """An error of another client inside a callback comes out with its own text."""

    def use(_task: Task) -> None:
        Client(()).echo(b"x")

    with pytest.raises(Exception, match=r"^Client\.echo\(\): no job server was added"):
        client.do("echo", b"x", on_created=use)
    assert client.do("reverse", b"abc") == b"cba"
