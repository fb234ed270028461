"""PORTING.md: every name in it exists, and nothing to be ported is missing from it."""

from __future__ import annotations

import inspect
import re
import subprocess
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import pytest

import pygearman_cffi
from pygearman_cffi import Client, Job, ReturnCode, Task, Worker, errors
from pygearman_cffi.errors import CODE_TO_ERROR
from tests.test_coverage_table import exported, python_object
from tests.test_coverage_table import table as coverage

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "PORTING.md").read_text(encoding="utf-8")
CODE = re.compile(r"`([^`]+)`")
# Macros and inline functions of C, which no library exports.
INLINE = {
    "gearman_continue",
    "gearman_failed",
    "gearman_literal_param",
    "gearman_success",
}


class Row(NamedTuple):
    """A row of a table, and the headings that it stands under."""

    chapter: str
    section: str
    cells: tuple[str, ...]

    def codes(self, column: int) -> list[str]:
        """Return what stands in backticks in a cell."""
        return CODE.findall(self.cells[column])


def rows() -> list[Row]:
    """Return the rows of all tables, without their heads."""
    chapter = section = ""
    found: list[Row] = []
    head = True
    for line in TEXT.splitlines():
        if line.startswith("## "):
            chapter, section = line[3:], ""
        elif line.startswith("### "):
            section = line[4:]
        if not line.startswith("|"):
            head = True
        elif not re.fullmatch(r"[|-]+", line):
            cells = tuple(cell.strip() for cell in line.strip("|").split(" |"))
            if not head:
                found.append(Row(chapter, section, cells))
            head = False
    return found


ROWS = rows()
FROM_C = [row for row in ROWS if row.chapter == "From C" and "gearman_" in row.cells[0]]
CODES = [row for row in ROWS if row.chapter == "Return codes"]
# Tables whose second column is what the first is in Python.
NAMING = [row for row in ROWS if row.chapter.startswith("From ")]


def exists(name: str) -> bool:
    """Tell whether a dotted name is one of the package."""
    try:
        python_object(name)
    except AttributeError:
        return False
    return True


def keywords() -> set[str]:
    """Return every parameter of the public methods."""
    found: set[str] = set()
    for cls in (Client, Worker, Task, Job):
        found |= inspect.signature(cls).parameters.keys()
        for name, method in inspect.getmembers(cls, inspect.isfunction):
            if not name.startswith("_"):
                found |= inspect.signature(method).parameters.keys()
    return found


def test_tables_were_read() -> None:
    """All rows have as many cells as the head of their table."""
    assert len(ROWS) > 250
    sizes = {row.chapter: {len(other.cells) for other in ROWS if other[0] == row[0]}
             for row in ROWS}  # fmt: skip
    assert all(len(found) == 1 for found in sizes.values()), sizes


# --- names -------------------------------------------------------------------


@pytest.mark.parametrize("row", NAMING, ids=lambda row: row.cells[0])
def test_python_names_exist(row: Row) -> None:
    """What a table gives as the Python name exists, or the row says why there is none."""
    names = row.codes(1)
    for name in names:
        bare = name.removeprefix("return ")
        assert bare == "result" or exists(bare), name
    assert names or len(row.cells[2]) > 10


def test_dotted_names_exist() -> None:
    """Every `Client.x` and its like that is mentioned anywhere exists."""
    names = set(re.findall(r"`((?:[A-Z]\w+)\.\w+)", TEXT))
    assert len(names) > 100
    unknown = {name for name in names if not exists(name)}
    assert unknown <= {"GearmanError.code"}  # an attribute of instances
    assert pygearman_cffi.GearmanError("x").code is None


def test_exceptions_exist() -> None:
    """Every exception that is mentioned is one of the package, or of Python."""
    for name in set(re.findall(r"`(\w+Error|Job\w+|RetryJob|StopWorker)`", TEXT)):
        assert name in pygearman_cffi.__all__ or name in {
            "ConnectionError",
            "TypeError",
        }, name


def test_keywords_exist() -> None:
    """Every keyword that is mentioned, as in `on_data=`, is one of a public method."""
    known = keywords()
    for row in NAMING:
        for code in [*row.codes(1), *row.codes(2)]:
            for name in re.findall(r"\b(\w+)=(?!=)", code):
                assert name in known, (name, row.cells[0])


# --- C -----------------------------------------------------------------------


def test_every_c_function_is_there() -> None:
    """Every function that the library exports stands in a row, and only such do."""
    patterns = {code for row in FROM_C for code in row.codes(0)}
    functions = exported() | INLINE
    for pattern in patterns:
        assert any(fnmatchcase(name, pattern) for name in functions), pattern
    missing = {
        name
        for name in functions
        if not any(fnmatchcase(name, pattern) for pattern in patterns)
    }
    assert missing == set()


def test_tables_agree_with_coverage() -> None:
    """What COVERAGE.md says a function is in Python stands in its row here, too."""
    for row in FROM_C:
        for pattern in row.codes(0):
            for function, (python, _) in coverage().items():
                if python and fnmatchcase(function, pattern):
                    assert python in row.codes(1), (function, python)


def test_c_constants_exist() -> None:
    """Every constant of C that is mentioned is one of the headers."""
    for name in set(re.findall(r"\bGEARMAN_\w+", TEXT)):
        assert hasattr(pygearman_cffi.lib, name), name


# --- PHP ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "cls", ["GearmanClient", "GearmanTask", "GearmanWorker", "GearmanJob"]
)
def test_every_php_method_is_there(cls: str) -> None:
    """Every method that php-gearman has stands in a row, and only such do."""
    listing = subprocess.run(
        ["php", "-r", f'echo implode("\\n", get_class_methods("{cls}"));'],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    methods = listing.lower().split()  # "dolow" before 2.1.1; case means nothing there
    assert len(methods) > 10
    named = [row.codes(0)[0].lower() for row in ROWS if row.section == cls]
    assert len(named) == len(set(named))
    assert set(methods) <= set(named)
    newer = {"enableexceptionhandler"} if cls == "GearmanWorker" else set()
    assert set(named) - set(methods) <= newer


# --- return codes ------------------------------------------------------------


def test_every_return_code_is_there() -> None:
    """There is one row for each code, in the order of C's numbers."""
    assert [row.codes(0) for row in CODES] == [[code.name] for code in ReturnCode]


@pytest.mark.parametrize("row", CODES, ids=lambda row: row.cells[0])
def test_return_code(row: Row) -> None:
    """A row has the exception that the package raises, a meaning, and an advice."""
    code = ReturnCode[row.codes(0)[0]]
    if code is ReturnCode.SUCCESS:
        assert row.cells[2] == "-"
        return
    assert row.codes(2) == [CODE_TO_ERROR[code].__name__]
    assert getattr(errors, row.codes(2)[0])
    assert row.cells[1]
    assert row.cells[3]


def test_aliases() -> None:
    """The names of C that stand for the same number are told."""
    aliases = ReturnCode.__members__.keys() - {code.name for code in ReturnCode}
    assert aliases == {"FAIL", "FATAL", "ERROR"}
    assert ReturnCode["FATAL"] is ReturnCode["FAIL"] is ReturnCode["WORK_FAIL"]
    assert ReturnCode["ERROR"] is ReturnCode["WORK_ERROR"]
    assert re.search(r"FATAL\s+and FAIL are WORK_FAIL.*ERROR is WORK_ERROR", TEXT)


# --- links -------------------------------------------------------------------


def anchors(text: str) -> set[str]:
    """Return what the headings of a text can be linked by."""
    heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head).lower().replace(" ", "-") for head in heads}


def test_links() -> None:
    """Every file and every heading that is linked to exists; the README links here."""
    links = re.findall(r"\]\(([^)]+)\)", TEXT)
    assert len(links) > 5
    for link in links:
        path, _, anchor = link.partition("#")
        target = ROOT / path if path else ROOT / "PORTING.md"
        assert target.is_file(), link
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), link
    assert "(PORTING.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
