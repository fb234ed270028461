"""Find, open and hold libgearman; the only room that opens a library.

Importing this module touches no library: the first use opens it, so that a program
can be installed, documented and type-checked on a machine without libgearman.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from ._libgearman import ffi
from .errors import LibraryNotFoundError, OutOfMemoryError

if TYPE_CHECKING:
    from ._libgearman import Lib

__all__ = [
    "OPTIONAL_SYMBOLS",
    "CData",
    "Features",
    "c_string",
    "features",
    "ffi",
    "fork_safe",
    "has_symbol",
    "hide_servers",
    "library_path",
    "load",
    "missing_symbols",
    "new_client",
    "new_worker",
    "show_servers",
    "version",
    "version_text",
]

CData: TypeAlias = Any
"""A value of C: cffi knows its type at run time, Python's checkers do not."""

OVERRIDE = "PYGEARMAN_LIBGEARMAN"

OPTIONAL_SYMBOLS: dict[str, str] = {
    "SSL_CTX_new": "OpenSSL's, reachable only where libgearman was built with TLS",
    "gearman_client_set_ssl": "added in libgearman 1.1.19",
    "gearman_worker_set_ssl": (
        "declared in worker.h since 1.1.19, exported only since 2.0.0"
    ),
}
"""Declared symbols that a supported libgearman may lack, each with the reason."""

_INSTALL = """\
Install libgearman, or name its file in $PYGEARMAN_LIBGEARMAN:
  Debian, Ubuntu:  apt-get install libgearman8   (libgearman8t64 on newer releases)
  Fedora, RHEL:    dnf install libgearman
  Alpine:          apk add gearman-libs
  macOS:           brew install gearman"""


_FORK_PATIENCE = 2.0


def fork_safe() -> threading.RLock:
    """Return a lock that no forked child finds held by a thread it does not have."""
    lock = threading.RLock()

    def let_go() -> None:
        try:
            lock.release()
        except RuntimeError:  # it was not to be had in time
            pass

    os.register_at_fork(
        # A fork must not hang because an interrupt has left the lock taken.
        before=lambda: lock.acquire(timeout=_FORK_PATIENCE),
        after_in_child=let_go,
        after_in_parent=let_go,
    )
    return lock


_SERVERS = "GEARMAN_SERVERS"
_lock = fork_safe()
_lib: Lib | None = None
_path = ""
_templates: dict[str, CData] = {}


def _candidates() -> Iterator[str]:
    override = os.environ.get(OVERRIDE)
    if override:
        # A user who names a file wants that one, never silently another.
        yield override
        return
    yield "libgearman.so.8"
    yield "libgearman.so"
    if sys.platform == "darwin":
        for name in ("libgearman.8.dylib", "libgearman.dylib"):
            yield name
            for folder in ("/opt/homebrew/lib", "/usr/local/lib", "/opt/local/lib"):
                yield f"{folder}/{name}"
    # Last and lazily: it may start a compiler, and needs one on some systems.
    from ctypes.util import find_library

    found = find_library("gearman")
    if found:
        yield found


def load() -> Lib:
    """Open libgearman once and return its functions and constants.

    Raises:
        LibraryNotFoundError: with every name tried and the loader's own words.
    """
    global _lib, _path
    if _lib is not None:
        return _lib
    with _lock:
        if _lib is not None:
            return _lib
        failures = []
        # NODELETE: at exit cffi closes the library while daemon threads may still
        # be inside it; the code they return to must stay mapped.
        flags = ffi.RTLD_NOW | getattr(ffi, "RTLD_NODELETE", 0)
        for name in _candidates():
            try:
                opened = cast("Lib", ffi.dlopen(name, flags))
                opened.gearman_version()  # not a library of another kind
            except (AttributeError, OSError, ffi.error) as reason:
                failures.append(f"  {name}: {reason}")
                continue
            _path = name
            _lib = opened
            return _lib
        raise LibraryNotFoundError(
            "libgearman could not be opened. Tried:\n"
            + "\n".join(failures)
            + f"\n{_INSTALL}"
        )


def library_path() -> str:
    """Return the file that was opened, as the loader resolved it where known."""
    load()
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
            for line in maps:
                path = line.rstrip("\n").partition("/")[2]
                if "libgearman" in path.rpartition("/")[2]:
                    return "/" + path
    except OSError:
        pass
    return _path


def c_string(pointer: CData) -> bytes:
    """Return the bytes of a C string, without its end."""
    return cast("bytes", ffi.string(pointer))


def version_text() -> str:
    """Return what the library calls its version, such as `1.1.20+ds`."""
    return c_string(load().gearman_version()).decode("ascii", "replace")


def version() -> tuple[int, ...]:
    """Return the version as numbers; distributions add letters, which are dropped."""
    match = re.match(r"\d+(?:\.\d+)*", version_text())
    return tuple(int(part) for part in match.group().split(".")) if match else ()


def has_symbol(name: str) -> bool:
    """Tell whether the opened library exports a declared function."""
    try:
        getattr(load(), name)
    except (AttributeError, ffi.error):
        # Out-of-line modules raise ffi.error, which hasattr() lets through.
        return False
    return True


def missing_symbols() -> tuple[str, ...]:
    """Return the optional symbols that this libgearman does not export."""
    return tuple(name for name in sorted(OPTIONAL_SYMBOLS) if not has_symbol(name))


@dataclass(frozen=True)
class Features:
    """What the opened libgearman can do; probed once, never guessed from its name."""

    ssl: bool
    """It was built with TLS (which verifies nobody, see `Client.set_ssl`)."""
    client_set_ssl: bool
    worker_set_ssl: bool
    stop_wait_on_signal: bool
    """It knows the STOP_WAIT_ON_SIGNAL options (2.0.0 and later)."""
    fifo_tasks: bool
    """Its own task list is first in, first out (2.0.0 and later)."""
    loose_replies: bool
    """It may give a reply to the wrong task (2.0.0 and later): this package then
    keeps one foreground job in flight per C client."""


_features: Features | None = None


def features() -> Features:
    """Return the features of the opened library."""
    global _features
    if _features is None:
        second = version() >= (2,)
        _features = Features(
            ssl=has_symbol("SSL_CTX_new"),
            client_set_ssl=has_symbol("gearman_client_set_ssl"),
            worker_set_ssl=has_symbol("gearman_worker_set_ssl"),
            stop_wait_on_signal=second,
            fifo_tasks=second,
            loose_replies=second,
        )
    return _features


def hide_servers() -> None:
    """Hide $GEARMAN_SERVERS from C; Python's own threads go on seeing it."""
    if _SERVERS in os.environ:
        os.unsetenv(_SERVERS)


def show_servers() -> None:
    """Undo `hide_servers`."""
    servers = os.environ.get(_SERVERS)
    if servers is not None:
        os.putenv(_SERVERS, servers)


def _pristine(kind: str) -> CData:
    """Return the process's own template, which never has servers or a connection."""
    template = _templates.get(kind)
    if template is None:
        with _lock:
            template = _templates.get(kind)
            if template is not None:
                return template
            create = getattr(load(), f"gearman_{kind}_create")
            # C reads this variable in create: a bad value makes it fail, a good
            # one adds servers behind our back. A clone does not read it.
            hide_servers()
            try:
                template = create(ffi.NULL)
            finally:
                show_servers()
            if not template:
                raise OutOfMemoryError(f"libgearman could not create a {kind}")
            _templates[kind] = template
    return template


def new_client() -> CData:
    """Return a fresh C client without servers; the caller owns it."""
    client = load().gearman_client_clone(ffi.NULL, _pristine("client"))
    if not client:
        raise OutOfMemoryError("libgearman could not create a client")
    return client


def new_worker() -> CData:
    """Return a fresh C worker without servers; the caller owns it."""
    worker = load().gearman_worker_clone(ffi.NULL, _pristine("worker"))
    if not worker:
        raise OutOfMemoryError("libgearman could not create a worker")
    return worker
