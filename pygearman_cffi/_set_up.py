"""What a C client and a C worker are told alike, before they know a server."""

from __future__ import annotations

from typing import Any, Literal

from . import _callbacks, _library
from ._config import Config
from ._library import CData, ffi

__all__ = ["set_up"]


def set_up(
    kind: Literal["client", "worker"], pointer: CData, config: Config[Any]
) -> None:
    """Set the log function, the namespace and the identifier; no I/O happens here."""
    lib = _library.load()
    if config.log is not None:
        getattr(lib, f"gearman_{kind}_set_log_fn")(
            pointer,
            ffi.cast("gearman_log_fn *", _callbacks.log_trampoline()),
            ffi.cast("void *", config.log.number),
            int(config.verbose),
        )
    if config.namespace:
        getattr(lib, f"gearman_{kind}_set_namespace")(
            pointer, config.namespace, len(config.namespace)
        )
    if config.identifier:
        getattr(lib, f"gearman_{kind}_set_identifier")(
            pointer, config.identifier, len(config.identifier)
        )
