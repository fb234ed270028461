"""The enumerations, against the constants of the library."""

from __future__ import annotations

import enum
import pickle

import pytest

from pygearman_cffi import (
    ClientOption,
    Priority,
    ReturnCode,
    TaskState,
    Verbose,
    WorkerOption,
    ffi,
    lib,
)

# The prefix of an enumeration's names in C, and the C type they belong to.
C_NAMES: dict[type[enum.IntEnum | enum.IntFlag], tuple[str, str]] = {
    ReturnCode: ("GEARMAN_", "gearman_return_t"),
    ClientOption: ("GEARMAN_CLIENT_", "gearman_client_options_t"),
    WorkerOption: ("GEARMAN_WORKER_", "gearman_worker_options_t"),
    Priority: ("GEARMAN_JOB_PRIORITY_", "gearman_job_priority_t"),
    Verbose: ("GEARMAN_VERBOSE_", "gearman_verbose_t"),
}

every_enum = pytest.mark.parametrize("cls", C_NAMES, ids=lambda cls: cls.__name__)


@every_enum
def test_values_are_those_of_c(cls: type[enum.IntEnum]) -> None:
    """Every enumerator, alias included, has the value of the C constant of its name."""
    prefix, _ = C_NAMES[cls]
    for name, member in cls.__members__.items():
        assert getattr(lib, prefix + name) == int(member), name


@every_enum
def test_nothing_of_c_is_missing(cls: type[enum.IntEnum]) -> None:
    """Every enumerator of C's type has one here, but for the upper bounds *_MAX."""
    prefix, c_type = C_NAMES[cls]
    ours = {prefix + name for name in cls.__members__}
    theirs = set(ffi.typeof(c_type).relements)
    theirs -= {f"{prefix}MAX"}
    assert theirs - ours == set()


def test_aliases() -> None:
    """FAIL, FATAL and ERROR are other names of WORK_FAIL and WORK_ERROR, as in C."""
    assert ReturnCode["FAIL"] is ReturnCode["FATAL"] is ReturnCode.WORK_FAIL
    assert ReturnCode["ERROR"] is ReturnCode.WORK_ERROR


@pytest.mark.parametrize("cls", [*C_NAMES, TaskState], ids=lambda cls: cls.__name__)
def test_members_are_singletons(cls: type[enum.Enum]) -> None:
    """A member survives pickling as itself, and its name leads back to it."""
    for member in cls:
        assert pickle.loads(pickle.dumps(member)) is member
        assert cls[str(member.name)] is member


def test_unknown_return_code() -> None:
    """A return code of a newer library is MAX_RETURN, never an error of its own."""
    assert ReturnCode(1000) is ReturnCode.MAX_RETURN
    assert ReturnCode(-1) is ReturnCode.MAX_RETURN
