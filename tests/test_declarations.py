"""cdef/*.h says what the installed C headers say: checked by the C compiler."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

import build_ffi
from pygearman_cffi import _library
from pygearman_cffi._libgearman import ffi
from tests import c_compiler, declarations

if TYPE_CHECKING:
    from pathlib import Path

# What the installed headers declare and cdef/*.h does not, with the reason.
NOT_DECLARED = {
    "function gearman_client_namespace": "no version of the library exports it",
    "function gearman_worker_shutdown_handle": "no version of the library exports it",
    "inline function gearman_continue": "static inline: no symbol to load",
    "inline function gearman_failed": "static inline: no symbol to load",
    "inline function gearman_success": "static inline: no symbol to load",
    "struct gearman_client_st": "the inside of an opaque object",
    "struct gearman_job_st": "the inside of an opaque object",
    "struct gearman_task_st": "the inside of an opaque object",
    "struct gearman_worker_st": "the inside of an opaque object",
    "macro GEARMAN_DEFAULT_TCP_HOST": "a string",
    "macro GEARMAN_DEFAULT_TCP_PORT_STRING": "a string",
    "macro GEARMAN_DEFAULT_TCP_SERVICE": "a string",
    "macro GEARMAN_ID_INITIALIZER": "a function call",
    "macro GEARMAN_NI_MAXHOST": "a number of <netdb.h>, not of libgearman",
    "macro GEARMAN_NI_MAXSERV": "a number of <netdb.h>, not of libgearman",
    "macro LIBGEARMAN_VERSION_HEX": "of the headers; the library may be another",
    "macro LIBGEARMAN_VERSION_STRING": "of the headers; the library may be another",
    "macro gearman_string_param_null": "two arguments of a call",
}

HEX = "LIBGEARMAN_VERSION_HEX"

# Constants that newer headers have, with their value there and the version that adds
# them (in the notation of LIBGEARMAN_VERSION_HEX).
NEWER_CONSTANTS = {
    "GEARMAN_CLIENT_STOP_WAIT_ON_SIGNAL": (1 << 10, 0x02000000),
    "GEARMAN_WORKER_STOP_WAIT_ON_SIGNAL": (1 << 13, 0x02000000),
}


class Lie(NamedTuple):
    """A wrong declaration, and what the checker has to name when it meets it."""

    header: str
    truth: str
    lie: str
    named: str


LIES = [
    Lie("kill.h", "bool gearman_id_valid", "int gearman_id_valid", "gearman_id_valid"),
    Lie("job.h", "uint32_t numerator", "size_t numerator", "gearman_job_send_status"),
    Lie("job.h", "uint32_t numerator", "int numerator", "gearman_job_send_status"),
    Lie("task.h", "const void *gearman_task_d", "void *gearman_task_d", "task_data"),
    Lie("result.h", "int64_t gearman_r", "int gearman_r", "gearman_result_integer"),
    Lie("util.h", "gearman_version(void)", "gearman_versoin(void)", "gearman_versoin"),
    Lie("parse.h", ", void *context", "", "gearman_parse_servers"),
    Lie("strerror.h", "gearman_return_t rc", "gearman_return_t *rc", "strerror"),
    Lie("libc.h", "uint16_t in_port_t", "uint32_t in_port_t", "in_port_t"),
    Lie("libc.h", "long time_t", "int time_t", "time_t"),
    Lie("libc.h", "free(void *ptr)", "free(char *ptr)", "free"),
    Lie("job_handle.h", "_JOB_HANDLE_SIZE", "_OPTION_SIZE - 1", "job_handle_t"),
    Lie("constants.h", "size_t *result_size, ", "", "gearman_worker_fn"),
    Lie("constants.h", "const char *line", "char *line", "gearman_log_fn"),
    Lie("client_callbacks.h", "_t (gearman_data_fn)", "_t *(gearman_data_fn)", "data"),
    Lie("kill.h", "read_fd;\n  int write_fd", "write_fd;\n  int read_fd", "offsetof"),
    Lie("kill.h", "int write_fd;", "long write_fd;", "write_fd"),
    Lie("kill.h", "  int write_fd;\n", "", "sizeof struct gearman_id_t"),
    Lie("function.h", "callback;", "callbacks;", "callbacks"),
    Lie("function.h", "_aggregator_fn *aggr", "_function_fn *aggr", "aggregator"),
    Lie("task_attr.h", "time_t value", "char value[8]", "value"),
    Lie("task_attr.h", "    struct gearman_task_attr_epoch_t epoch;\n", "", "options"),
    Lie("interface/status.h", "uint32_t num", "int num", "numerator"),
    Lie("return.h", "  GEARMAN_PAUSE,\n", "", "constant GEARMAN_UNKNOWN_STATE"),
    Lie("return.h", "_NOT_FOUND,\n", "_NOT_FOUND = 53,\n", "GEARMAN_JOB_NOT_FOUND"),
    Lie("constants.h", "(1 << 8)", "(1 << 14)", "constant GEARMAN_CLIENT_SSL"),
    Lie("priority.h", "_HIGH,", "_HIGH = -1,", "signed enum gearman_job_priority_t"),
    Lie("limits.h", "_UUID_SIZE 36", "_UUID_SIZE 37", "constant GEARMAN_MAX_UUID_SIZE"),
]

# Declarations that change no number and no size when they are left out.
GAPS = {
    "field gearman_status_v1_t.is_running": (
        "interface/status.h",
        "  bool is_running;",
    ),
    "constant GEARMAN_FAIL": ("return.h", "  GEARMAN_FAIL = GEARMAN_WORK_FAIL,"),
    "macro GEARMAN_OPTION_SIZE": ("limits.h", "#define GEARMAN_OPTION_SIZE 64"),
    "function gearman_version": ("util.h", "const char *gearman_version(void);"),
    "typedef gearman_allocator_t": (
        "constants.h",
        "typedef struct gearman_allocator_t gearman_allocator_t;",
    ),
}


@pytest.fixture(scope="module")
def headers() -> dict[str, str]:
    """The cdef files by name, without the probe that is not libgearman's."""
    texts = build_ffi.read_headers()
    del texts["ssl.h"]
    return texts


@pytest.fixture(scope="module")
def upstream() -> dict[str, list[str]]:
    """What each installed header declares, in order."""
    return declarations.upstream_names()


@pytest.fixture(scope="module")
def absent(upstream: dict[str, list[str]]) -> set[str]:
    """The names that we declare and the installed headers are too old to have."""
    present = {name.split()[-1] for part in upstream.values() for name in part}
    return {*NEWER_CONSTANTS, *_library.OPTIONAL_SYMBOLS} - present


@pytest.fixture(scope="module")
def expected_names(upstream: dict[str, list[str]]) -> dict[str, list[str]]:
    """What each cdef file should declare, constants of newer versions aside."""
    opaque = {name.removeprefix("struct ") for name in NOT_DECLARED}
    result = {
        header: [
            name
            for name in part
            if name not in NOT_DECLARED
            and name.removeprefix("field ").split(".")[0] not in opaque
            and name.split()[-1] not in NEWER_CONSTANTS
        ]
        for header, part in upstream.items()
    }
    return {header: part for header, part in result.items() if part}


def our_names(headers: dict[str, str], absent: set[str]) -> dict[str, list[str]]:
    """Return what each cdef file declares, what the headers are too old for aside."""
    left_out = {*absent, *NEWER_CONSTANTS}
    return {
        header: [name for name in part if name.split()[-1] not in left_out]
        for header, part in declarations.our_names(headers).items()
        if header != "libc.h"
    }


def test_declarations_agree_with_the_c_headers(
    headers: dict[str, str], absent: set[str], tmp_path: Path
) -> None:
    """Every prototype, type, field, offset, size and number of ours is C's own."""
    assert declarations.disagreements(headers, absent, tmp_path) == []


@pytest.mark.parametrize("lie", LIES)
def test_a_wrong_declaration_is_noticed(
    lie: Lie, headers: dict[str, str], absent: set[str], tmp_path: Path
) -> None:
    """The comparison with C can fail: it names whatever does not agree."""
    assert lie.truth in headers[lie.header]
    wrong = headers[lie.header].replace(lie.truth, lie.lie, 1)
    changed = {**headers, lie.header: wrong}
    complaints = declarations.disagreements(changed, absent, tmp_path)
    assert complaints
    assert lie.named in "\n".join(complaints)


def test_each_file_declares_what_its_header_declares(
    headers: dict[str, str], expected_names: dict[str, list[str]], absent: set[str]
) -> None:
    """Same files, same names, same order as upstream; what is left out has a reason."""
    assert our_names(headers, absent) == expected_names


@pytest.mark.parametrize("name", GAPS)
def test_a_missing_declaration_is_noticed(
    name: str,
    headers: dict[str, str],
    expected_names: dict[str, list[str]],
    absent: set[str],
) -> None:
    """The comparison of names can fail, for each kind of declaration."""
    header, line = GAPS[name]
    assert line in headers[header]
    incomplete = {**headers, header: headers[header].replace(line, "")}
    found = our_names(incomplete, absent)
    assert found.keys() == expected_names.keys()
    assert [*set(expected_names[header]) - set(found[header])] == [name]


def test_files_are_joined_in_the_order_of_upstream(
    headers: dict[str, str], upstream: dict[str, list[str]]
) -> None:
    """A name is declared before it is used: the order is that of the C headers."""
    ours = [name for name in declarations.our_names(headers) if name != "libc.h"]
    assert [name for name in upstream if name in ours] == ours


def test_every_reason_for_leaving_out_is_in_use(
    headers: dict[str, str], upstream: dict[str, list[str]]
) -> None:
    """A name that is said to be left out exists in C and is not declared."""
    ours = {name for part in declarations.our_names(headers).values() for name in part}
    theirs = {name for part in upstream.values() for name in part}
    assert NOT_DECLARED.keys() - theirs == set()
    assert NOT_DECLARED.keys() & ours == set()


@pytest.mark.parametrize("name", NEWER_CONSTANTS)
def test_constants_of_newer_versions(
    name: str, absent: set[str], tmp_path: Path
) -> None:
    """A constant the headers are too old for has the value that newer ones give it."""
    value, since = NEWER_CONSTANTS[name]
    source = f'{declarations.INCLUDES}int main(void) {{ printf("%d", {HEX}); }}\n'
    assert value == ffi.integer_const(name)
    assert (name in absent) == (int(c_compiler.build_and_run(source, tmp_path)) < since)


def test_a_union_by_value_cannot_be_called(headers: dict[str, str]) -> None:
    """The reason for structs in place of unions: libffi refuses the real thing."""
    wrong = headers["task_attr.h"].replace("  struct {\n", "  union {\n")
    assert wrong != headers["task_attr.h"]
    raw = declarations.load({**headers, "task_attr.h": wrong})
    with pytest.raises(NotImplementedError):
        raw.callback("gearman_task_attr_t(*)(gearman_job_priority_t)", lambda _: None)


def test_no_compiler_is_a_failure_that_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without a compiler these tests fail; they never pass by comparing nothing."""
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(pytest.fail.Exception, match="libgearman-dev"):
        c_compiler.preprocess(declarations.INCLUDES)


def test_no_headers_are_a_failure_that_says_what_to_install() -> None:
    """Without libgearman's headers these tests fail, and name the package."""
    with pytest.raises(pytest.fail.Exception, match="libgearman-dev"):
        c_compiler.preprocess("#include <libgearman/no_such_header.h>\n")
