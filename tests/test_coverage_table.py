"""COVERAGE.md tells the truth about every C function."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

import pygearman_cffi
from pygearman_cffi import _library

ROOT = Path(__file__).parent.parent
ROW = re.compile(r"^\| `(gearman_\w+)` \| (?:`([\w.]+)`|-) \| (.*) \|$", re.MULTILINE)


@cache
def table() -> dict[str, tuple[str, str]]:
    """Return what COVERAGE.md says: {C function: (Python name or "", note)}."""
    rows = ROW.findall((ROOT / "COVERAGE.md").read_text(encoding="utf-8"))
    assert len(rows) == len({name for name, _, _ in rows})
    return {name: (python, note) for name, python, note in rows}


def python_object(dotted: str) -> object:
    """Return what a dotted Python name of the package means."""
    thing: object = pygearman_cffi
    for part in dotted.split("."):
        if isinstance(thing, type) and part in getattr(thing, "__annotations__", {}):
            return None  # an attribute of instances, such as Task.context
        thing = getattr(thing, part)
    return thing


def exported() -> set[str]:
    """Return every C function that the opened library exports."""
    listing = subprocess.run(
        ["nm", "-D", "--defined-only", _library.library_path()],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return set(re.findall(r" T (gearman_\w+)$", listing, re.MULTILINE))


def claimed() -> dict[str, set[str]]:
    """Return which C functions the docstrings of public names claim to stand for."""
    claims: dict[str, set[str]] = {}
    for cls in ("Client", "Worker", "Task", "Job"):
        owner = getattr(pygearman_cffi, cls)
        things = {f"{cls}.{name}": getattr(owner, name) for name in dir(owner)}
        things[cls] = owner
        for name, thing in things.items():
            if name.startswith(f"{cls}._"):
                continue
            for function in re.findall(r"`(gearman_\w+)`", thing.__doc__ or ""):
                claims.setdefault(function, set()).add(name)
    return claims


def test_every_exported_function_has_a_row() -> None:
    """The table has each function of the library, and only those."""
    assert exported() == set(table())
    assert len(table()) == 171


@pytest.mark.parametrize("function", sorted(table()))
def test_a_row_is_true(function: str) -> None:
    """A Python name exists and its docstring says it; no name has a reason."""
    python, note = table()[function]
    if python:
        python_object(python)
    else:
        assert note, f"{function} has neither a name nor a reason"


def test_docstrings_claim_only_what_the_table_says() -> None:
    """A method that claims a C function is the one that its row names."""
    rows = table()
    for function, names in claimed().items():
        if function.startswith("gearman_") and function in rows:
            own = rows[function][0]
            ours = {name for name in names if own.split(".")[0] == name.split(".")[0]}
            assert not ours or own in names or not own, (function, own, names)


def test_every_method_that_stands_for_a_function_says_so() -> None:
    """The docstring of a wrapped name has the C name, so that a search finds it."""
    claims = claimed()
    silent = [
        (function, python)
        for function, (python, _) in table().items()
        if python
        and callable(python_object(python))
        and not isinstance(python_object(python), type)
        and python not in claims.get(function, set())
    ]
    assert silent == []
