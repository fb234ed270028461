"""The recorded configuration of a client or worker, and the methods that change it.

C objects are thrown away when in doubt and rebuilt from this record.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import IntFlag
from types import EllipsisType
from typing import Any, ClassVar, Generic, TypeVar

from . import _addresses, _callbacks, _convert, _library
from ._addresses import Address, ServersLike
from ._handle import Handle
from .enums import Verbose
from .errors import ArgumentTypeError, InvalidArgumentError, UnsupportedError

__all__ = ["SEND_BUFFER_SIZE", "Config", "Configured", "LogFunction", "Timeout"]

SEND_BUFFER_SIZE = 1 << 20
"""Bytes. libgearman asks the kernel for 32 KiB, which makes every 64 KiB of a large
payload wait for a delayed acknowledgement, 40 ms each."""

LogFunction = Callable[[str, Verbose], object]
Timeout = float | EllipsisType | None
"""Seconds, None for no limit, or `...` for the object's own."""

_O = TypeVar("_O", bound=IntFlag)

logging.getLogger("pygearman_cffi").addHandler(logging.NullHandler())

_TLS_REASON = (
    "libgearman's TLS protects nobody: Debian's build has none and sends plaintext "
    "without a word, the others verify no certificate and crash the process when the "
    "server goes away. Run a TLS tunnel beside the job server and connect to its local "
    "end; TLS.md has a recipe for stunnel that verifies"
)


@dataclass
class Config(Generic[_O]):
    """Everything that is needed to build the C object anew."""

    options: _O
    servers: list[Address] = field(default_factory=list)
    servers_are_default: bool = False
    timeout: float | None = None
    connect_timeout: float | None = 5.0
    namespace: bytes = b""
    identifier: bytes | None = None
    exceptions: bool = True
    server_options: list[bytes] = field(default_factory=list)
    send_buffer_size: int | None = SEND_BUFFER_SIZE
    log: _callbacks.LogTarget | None = None
    verbose: Verbose = Verbose.NEVER

    def copy(self) -> Config[_O]:
        """Return a record that shares nothing that can change."""
        return replace(
            self,
            servers=list(self.servers),
            server_options=list(self.server_options),
        )


class Configured(Handle, Generic[_O]):
    """What a client and a worker have in common: how they are set up."""

    _option_type: type[_O]
    _settable: ClassVar[IntFlag]
    _config: Config[_O]
    context: Any = None
    """Anything the caller wants to keep with the object."""

    def __init__(
        self,
        servers: ServersLike | None,
        *,
        timeout: float | None,
        connect_timeout: float | None,
        namespace: str | bytes,
        identifier: str | bytes | None,
        options: _O,
        exceptions: bool = True,
        send_buffer_size: int | None = SEND_BUFFER_SIZE,
    ) -> None:
        doing = f"{type(self).__name__}()"
        default = servers is None
        reading = doing
        if servers is None:
            servers = os.environ.get("GEARMAN_SERVERS") or "localhost"
            reading = f"{doing} with $GEARMAN_SERVERS"
        self._config = Config(
            options=self._check_options(options, doing),
            servers=_addresses.addresses(servers, reading),
            servers_are_default=default,
            timeout=_convert.seconds(timeout, "timeout", doing),
            connect_timeout=_convert.seconds(connect_timeout, "connect_timeout", doing),
            namespace=_convert.namespace(namespace, doing),
            identifier=None
            if identifier is None
            else _convert.identifier(identifier, doing),
            exceptions=bool(exceptions),
            send_buffer_size=_convert.buffer_size(send_buffer_size, doing),
        )
        super().__init__()

    # -- what the two faces do differently ---------------------------------------

    def _changed(self) -> None:
        """Drop C objects that were built from the former configuration."""
        raise NotImplementedError

    def _call(self, what: str) -> str:
        """Name an operation, for the messages of what goes wrong in it."""
        return f"{type(self).__name__}.{what}"

    def _set(self, doing: str, **changes: Any) -> None:
        self._begin(doing)
        try:
            for name, value in changes.items():
                setattr(self._config, name, value)
            self._changed()
        finally:
            self._end()

    # -- job servers --------------------------------------------------------------

    @property
    def servers(self) -> tuple[Address, ...]:
        """The job servers as (host, port), in the order in which they are tried."""
        return tuple(self._config.servers)

    def add_server(self, host: str = "localhost", port: int = 4730) -> None:
        """Add a job server at the end of the list; no I/O happens here.

        The first one added replaces the default that `servers=None` stands for.
        C prefers the server added last, this package the one added first.

        Args:
            host: name or numeric address, IPv4 or IPv6.
            port: 1 to 65535.

        Raises:
            InvalidArgumentError: not a host name or not a port.

        Wraps `gearman_client_add_server` and `gearman_worker_add_server`.
        """
        doing = self._call(f"add_server({host!r}, {port!r})")
        self._add([_addresses.address(host, port, doing)], doing)

    def add_servers(self, servers: ServersLike) -> None:
        """Add several job servers, see `add_server`.

        Args:
            servers: "host[:port],..." or an iterable of "host:port" and (host, port).

        Raises:
            InvalidArgumentError: an entry is not a server; then none was added.

        Wraps `gearman_client_add_servers` and `gearman_worker_add_servers`.
        """
        doing = self._call("add_servers()")
        self._add(_addresses.addresses(servers, doing), doing)

    def _add(self, servers: list[Address], doing: str) -> None:
        known = [] if self._config.servers_are_default else self._config.servers
        self._set(doing, servers=[*known, *servers], servers_are_default=False)

    def remove_servers(self) -> None:
        """Forget every job server, and close the connections to them.

        A client's connection is closed once the tasks in flight on it have ended.

        Wraps `gearman_client_remove_servers` and `gearman_worker_remove_servers`.
        """
        self._set(self._call("remove_servers()"), servers=[], servers_are_default=False)

    # -- plain settings -----------------------------------------------------------

    @property
    def namespace(self) -> str:
        """A prefix to each function name that is sent from now on, "" for none."""
        return self._config.namespace.decode("utf-8", "surrogateescape")

    @namespace.setter
    def namespace(self, value: str | bytes) -> None:
        doing = self._call("namespace")
        self._set(doing, namespace=_convert.namespace(value, doing))

    @property
    def identifier(self) -> str | None:
        """The name that the job server lists for this connection, or None."""
        value = self._config.identifier
        return None if value is None else value.decode("ascii")

    @identifier.setter
    def identifier(self, value: str | bytes | None) -> None:
        doing = self._call("identifier")
        self._set(
            doing,
            identifier=None if value is None else _convert.identifier(value, doing),
        )

    @property
    def timeout(self) -> float | None:
        """The default limit in seconds, None for no limit."""
        return self._config.timeout

    @timeout.setter
    def timeout(self, value: float | None) -> None:
        doing = self._call("timeout")
        self._check_mine(doing)
        self._config.timeout = _convert.seconds(value, "timeout", doing)

    @property
    def send_buffer_size(self) -> int | None:
        """Bytes that the kernel is asked to buffer of what is sent, at each connect.

        None leaves libgearman's 32 KiB. The kernel's own limit, net.core.wmem_max on
        Linux, holds in any case.
        """
        return self._config.send_buffer_size

    @send_buffer_size.setter
    def send_buffer_size(self, value: int | None) -> None:
        doing = self._call("send_buffer_size")
        self._set(doing, send_buffer_size=_convert.buffer_size(value, doing))

    # -- options ------------------------------------------------------------------

    def _check_options(self, value: _O, doing: str) -> _O:
        if type(value) is not int and not isinstance(value, self._option_type):
            raise ArgumentTypeError(
                f"options are {self._option_type.__name__}, not {type(value).__name__}",
                doing=doing,
            )
        options = self._option_type(value)
        if options & self._option_type["SSL"]:
            raise UnsupportedError(_TLS_REASON, doing=doing)
        refused = int(options) & ~int(self._settable)
        if refused:
            raise InvalidArgumentError(
                f"{self._option_type(refused)!r} cannot be set: it is internal to "
                "the library, or unknown",
                doing=doing,
            )
        return options

    @property
    def options(self) -> _O:
        """The options that are set."""
        return self._config.options

    @options.setter
    def options(self, value: _O) -> None:
        doing = self._call("options")
        self._set(doing, options=self._check_options(value, doing))

    def add_options(self, options: _O) -> None:
        """Set options and keep those already set.

        Wraps `gearman_client_add_options` and `gearman_worker_add_options`.
        """
        doing = self._call("add_options()")
        checked = self._check_options(options, doing)
        self._set(doing, options=self._config.options | checked)

    def remove_options(self, options: _O) -> None:
        """Clear options and keep the others.

        Wraps `gearman_client_remove_options` and `gearman_worker_remove_options`.
        """
        doing = self._call("remove_options()")
        checked = self._check_options(options, doing)
        self._set(doing, options=self._config.options & ~checked)

    def has_option(self, option: _O) -> bool:
        """Tell whether all of the given options are set.

        Wraps `gearman_client_has_option`.
        """
        return self._config.options & option == option

    # -- logging ------------------------------------------------------------------

    def set_log_fn(
        self,
        fn: LogFunction | logging.Logger | None,
        verbose: Verbose = Verbose.ERROR,
    ) -> None:
        """Send the lines that libgearman logs somewhere.

        Args:
            fn: a function of (line, level), a `logging.Logger`, or None for nowhere.
                It runs inside the calls of this object and may not use it; what it
                raises comes out of that call.
            verbose: the most talkative level wanted; Debian's build logs errors only.

        Wraps `gearman_client_set_log_fn` and `gearman_worker_set_log_fn`.
        """
        doing = self._call("set_log_fn()")
        if fn is not None and not callable(fn) and not isinstance(fn, logging.Logger):
            raise ArgumentTypeError(
                f"fn is a function, a Logger or None, not {type(fn).__name__}",
                doing=doing,
            )
        try:
            level = Verbose(verbose)
        except ValueError as reason:
            raise InvalidArgumentError(str(reason), doing=doing) from None
        target = None if fn is None else _callbacks.LogTarget(fn)
        self._set(doing, log=target, verbose=level)

    # -- TLS ----------------------------------------------------------------------

    def set_ssl(
        self,
        enable: bool = True,
        *,
        ca_file: str | None = None,
        certificate: str | None = None,
        key_file: str | None = None,
        unsafe: bool = False,
    ) -> None:
        """Refuse TLS, with the reason: libgearman's protects nobody.

        Args:
            enable: False does nothing: there is no TLS to turn off.
            ca_file, certificate, key_file, unsafe: as C takes the files; they change
                nothing, and `unsafe=True` is not honoured.

        Raises:
            UnsupportedError: always, unless `enable` is False.

        Wraps `gearman_client_set_ssl` and `gearman_worker_set_ssl`.
        """
        doing = self._call("set_ssl()")
        self._check_mine(doing)
        if not enable:
            return
        reason = _TLS_REASON
        if not _library.features().ssl:
            reason = f"this libgearman was built without TLS. {reason}"
        raise UnsupportedError(reason, doing=doing)
