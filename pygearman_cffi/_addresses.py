"""The addresses of job servers, as users write them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from .errors import ArgumentTypeError, InvalidArgumentError

__all__ = ["DEFAULT_PORT", "Address", "ServersLike", "address", "addresses"]

Address: TypeAlias = "tuple[str, int]"
ServersLike: TypeAlias = "str | Iterable[str | Address]"

DEFAULT_PORT = 4730
_MAX_HOST = 255


def address(host: str, port: int, doing: str) -> Address:
    """Check the address of one job server."""
    if not isinstance(host, str):
        raise ArgumentTypeError(
            f"a host is str, not {type(host).__name__}", doing=doing
        )
    if isinstance(port, bool) or not isinstance(port, int):
        raise ArgumentTypeError(
            f"a port is int, not {type(port).__name__}", doing=doing
        )
    name = host.strip() or "localhost"
    bad = any(c.isspace() or c in "\0,[]" for c in name)
    if bad or len(name) > _MAX_HOST or (":" in name and not _is_ipv6(name)):
        raise InvalidArgumentError(f"{host!r} is not a host name", doing=doing)
    if not 1 <= port <= 65535:
        raise InvalidArgumentError(
            f"{port} is not a port; it must be 1 to 65535", doing=doing
        )
    return name, port


def _is_ipv6(name: str) -> bool:
    """Tell an IPv6 literal from a host with a port, which stands elsewhere."""
    literal, _, _ = name.partition("%")
    return set(literal) <= set("0123456789abcdefABCDEF:.") and (
        "::" in literal or literal.count(":") in {6, 7}
    )


def _parse(entry: str, doing: str) -> Address:
    """Return the address that `host`, `host:port` or `[ipv6]:port` stands for."""
    entry = entry.strip()
    if not entry:
        raise InvalidArgumentError("the server list has an empty entry", doing=doing)
    if entry.startswith("["):
        host, bracket, rest = entry[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise InvalidArgumentError(
                f"{entry!r} is not [host]:port of an IPv6 server", doing=doing
            )
        port = rest[1:] if rest else None
    elif entry.count(":") > 1:
        host, port = entry, None  # a bare IPv6 literal
    else:
        host, colon, rest = entry.partition(":")
        port = rest if colon else None
    if port is None:
        return address(host, DEFAULT_PORT, doing)
    if not (port.isascii() and port.isdigit()):
        raise InvalidArgumentError(
            f"{port!r} in {entry!r} is not a port number", doing=doing
        )
    return address(host, int(port[:6]), doing)


def addresses(servers: ServersLike, doing: str) -> list[Address]:
    """Read a server list: "host[:port],..." or an iterable of it and of pairs."""
    if isinstance(servers, str):
        return [_parse(entry, doing) for entry in servers.split(",")]
    try:
        entries = list(servers)
    except TypeError:
        raise ArgumentTypeError(
            'servers is "host:port,..." or an iterable of "host:port" and '
            f"(host, port), not {type(servers).__name__}",
            doing=doing,
        ) from None
    found = []
    for entry in entries:
        if isinstance(entry, str):
            found.append(_parse(entry, doing))
        elif isinstance(entry, (tuple, list)) and len(entry) == 2:
            found.append(address(entry[0], entry[1], doing))
        else:
            raise ArgumentTypeError(
                f'a server is "host:port" or (host, port), not {entry!r}', doing=doing
            )
    return found
