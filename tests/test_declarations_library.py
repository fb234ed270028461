"""cdef/*.h says what the library exports, and how each function is called."""

from __future__ import annotations

from typing import Any

import pytest

import build_ffi
from pygearman_cffi import _library
from pygearman_cffi._libgearman import ffi
from tests import c_compiler, declarations

# The version from which on the library exports an optional function.
EXPORTED_SINCE = {
    "gearman_client_set_ssl": (1, 1, 19),
    "gearman_worker_set_ssl": (2, 0, 0),
}


@pytest.fixture(scope="module")
def lib() -> Any:
    """The library, opened as the package opens it."""
    return _library.load()


def resolves(lib: Any, name: str) -> bool:
    """Say whether the library has a function, which cffi looks up at first use."""
    try:
        getattr(lib, name)
    except (AttributeError, ffi.error):
        return False
    return True


def declared_functions() -> list[str]:
    """Return the names of all functions in cdef/*.h, our own two included."""
    names = declarations.our_names(build_ffi.read_headers()).values()
    return [
        name.removeprefix("function ")
        for part in names
        for name in part
        if name.startswith("function ")
    ]


def symbols(*options: str) -> set[str]:
    """Return the dynamic symbols of the loaded library's file, by nm."""
    arguments = [c_compiler.tool("nm"), "-D", *options, _library.library_path()]
    nm = c_compiler.run(arguments)
    assert nm.returncode == 0, nm.stderr
    return {line.split()[-1].split("@")[0] for line in nm.stdout.splitlines()}


def test_every_exported_function_is_declared() -> None:
    """Nothing that the library exports is out of reach of the raw layer."""
    exported = {name for name in symbols("--defined-only") if name[:8] == "gearman_"}
    assert len(exported) >= 170
    assert exported - set(declared_functions()) == set()


def test_every_declared_function_resolves(lib: Any) -> None:
    """A function that the library may lack stands in the list of optional symbols."""
    missing = {name for name in declared_functions() if not resolves(lib, name)}
    assert missing <= _library.OPTIONAL_SYMBOLS.keys()


def test_optional_symbols_are_declared_and_explained() -> None:
    """The list of optional symbols names declared functions, each with its reason."""
    assert _library.OPTIONAL_SYMBOLS.keys() <= set(declared_functions())
    assert all(_library.OPTIONAL_SYMBOLS.values())
    assert _library.OPTIONAL_SYMBOLS.keys() == {*EXPORTED_SINCE, "SSL_CTX_new"}


@pytest.mark.parametrize("name", EXPORTED_SINCE)
def test_optional_functions_come_with_their_version(lib: Any, name: str) -> None:
    """A version that adds a function exports it, an older one does not."""
    assert resolves(lib, name) == (_library.version() >= EXPORTED_SINCE[name])


def test_tls_probe_tells_whether_the_library_uses_openssl(lib: Any) -> None:
    """SSL_CTX_new resolves exactly when libgearman itself calls it."""
    assert resolves(lib, "SSL_CTX_new") == ("SSL_CTX_new" in symbols("-u"))


def test_inline_functions_are_not_declared(lib: Any) -> None:
    """What C has only inline is no function here: it would fail at first use."""
    for name in ("gearman_success", "gearman_failed", "gearman_continue"):
        assert name not in dir(lib)


def test_every_function_can_be_called(lib: Any) -> None:
    """Libffi can build a call of every function: no union is passed by value."""
    for name in declared_functions():
        if resolves(lib, name):
            ffi.callback(ffi.typeof(getattr(lib, name)), lambda *_: None)


def test_structs_by_value(lib: Any) -> None:
    """Structs that stand for C's unions arrive whole, in both directions."""
    attribute = lib.gearman_task_attr_init_epoch(1 << 40, lib.GEARMAN_JOB_PRIORITY_LOW)
    assert attribute.kind == lib.GEARMAN_TASK_ATTR_EPOCH
    assert attribute.priority == lib.GEARMAN_JOB_PRIORITY_LOW
    assert attribute.options.epoch.value == 1 << 40

    value = ffi.new("char[]", b"value")
    argument = lib.gearman_argument_make(ffi.NULL, 0, value, 5)
    assert (argument.value.c_str, argument.value.size) == (value, 5)

    function = ffi.cast("gearman_function_fn *", 0x1234)
    aggregator = ffi.cast("gearman_aggregator_fn *", 0x5678)
    partition = lib.gearman_function_create_partition(function, aggregator)
    assert partition.kind == lib.GEARMAN_WORKER_FUNCTION_PARTITION
    assert partition.callback.partitioner.func == function
    assert partition.callback.partitioner.aggregator == aggregator

    status: Any = ffi.new("gearman_status_t *")
    status.status_.mesg_.result_rc = lib.GEARMAN_IN_PROGRESS
    status.status_.mesg_.is_running = True
    status.status_.mesg_.numerator = 3
    status.status_.mesg_.denominator = 1 << 31
    assert lib.gearman_status_return(status[0]) == lib.GEARMAN_IN_PROGRESS
    assert lib.gearman_status_is_known(status[0]) is False
    assert lib.gearman_status_is_running(status[0]) is True
    assert lib.gearman_status_numerator(status[0]) == 3
    assert lib.gearman_status_denominator(status[0]) == 1 << 31

    assert not lib.gearman_id_valid(lib.gearman_id_initialize())
    assert lib.gearman_id_valid(ffi.new("gearman_id_t *", (5, 6))[0])
