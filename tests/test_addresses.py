"""Server lists: hosts and ports as users write them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pygearman_cffi import ArgumentTypeError, InvalidArgumentError, _addresses

DOING = "Client.add_servers()"


@pytest.mark.parametrize(
    ("servers", "expected"),
    [
        ("a", [("a", 4730)]),
        (" a ", [("a", 4730)]),
        ("a:1, b:65535 ,c", [("a", 1), ("b", 65535), ("c", 4730)]),
        ("127.0.0.1:04730", [("127.0.0.1", 4730)]),
        ("::1", [("::1", 4730)]),
        ("[::1]", [("::1", 4730)]),
        ("[::1]:5000,fe80::1%eth0", [("::1", 5000), ("fe80::1%eth0", 4730)]),
        (["a:1", ("b", 2), ["c", 3]], [("a", 1), ("b", 2), ("c", 3)]),
        ((server for server in ("a", "b:2")), [("a", 4730), ("b", 2)]),
        (":5000", [("localhost", 5000)]),
        ([], []),
    ],
)
def test_server_lists(servers: Any, expected: list[tuple[str, int]]) -> None:
    """A list of servers is text or an iterable; IPv6 literals and ports work."""
    assert _addresses.addresses(servers, DOING) == expected


@pytest.mark.parametrize(
    "servers",
    [
        *("a:0", "a:65536", "a:70000", "a:-1", "a:99999999999999999999"),
        *("a:x", "a:", "a:1:", "a:²", "a:٣"),
        "",
        "a,,b",
        "a,",
        "[::1",
        "[::1]5000",
        "[::1]:",
        "a b:1",
        "a\0b",
        [("a", 0)],
        [("a", 65536)],
        [("a,b", 1)],
        [("[::1]", 1)],
        [("localhost:4730", 1)],
        [("10.0.0.1:4730", 1)],
        ["a:1", ""],
        "x" * 256,
    ],
)
def test_bad_server_lists(servers: Any) -> None:
    """Whatever is not a host and a port is a ValueError; C would take it for another."""
    with pytest.raises(InvalidArgumentError) as caught:
        _addresses.addresses(servers, DOING)
    assert isinstance(caught.value, ValueError)
    assert DOING in str(caught.value)


@pytest.mark.parametrize(
    "servers",
    [None, 4730, b"a:1", [1], [("a",)], [("a", 1, 2)], [("a", "1")], [(b"a", 1)]]
    + [[("a", True)], [("a", 1.0)], [None]],
)
def test_servers_of_a_wrong_type(servers: Any) -> None:
    """What is no server at all is a TypeError that says what is one."""
    with pytest.raises(ArgumentTypeError) as caught:
        _addresses.addresses(servers, DOING)
    assert DOING in str(caught.value)


@given(
    st.ip_addresses(),
    st.integers(min_value=1, max_value=65535),
)
def test_address_round_trip(host: Any, port: int) -> None:
    """An IPv4 or IPv6 address with a port is read as it was written."""
    text = f"[{host}]:{port}" if host.version == 6 else f"{host}:{port}"
    assert _addresses.addresses(text, DOING) == [(str(host), port)]
