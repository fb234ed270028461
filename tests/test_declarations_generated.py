"""The generated files are what build_ffi.py makes of cdef/*.h, or it says so."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import build_ffi

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of everything that build_ffi.py reads and writes."""
    shutil.copy(build_ffi.__file__, tmp_path)
    package = tmp_path / "pygearman_cffi"
    shutil.copytree(build_ffi.PACKAGE / "cdef", package / "cdef")
    for name in ("_libgearman.py", "_libgearman.pyi"):
        shutil.copy(build_ffi.PACKAGE / name, package)
    return tmp_path


def build(tree: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a tree's build_ffi.py from a folder that is not the tree."""
    command = [sys.executable, str(tree / "build_ffi.py"), *options]
    return subprocess.run(
        command, cwd=tree.parent, capture_output=True, text=True, check=False
    )


def test_generated_files_are_up_to_date(tree: Path) -> None:
    """What is committed is what build_ffi.py makes of cdef/*.h."""
    done = build(tree, "--check")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_check_notices_a_changed_declaration(tree: Path) -> None:
    """--check fails, names both files and the cure, and changes nothing."""
    header = tree / "pygearman_cffi" / "cdef" / "util.h"
    module = tree / "pygearman_cffi" / "_libgearman.py"
    before = module.read_text()
    header.write_text(header.read_text() + "int gearman_new(void);\n")
    done = build(tree, "--check")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "pygearman_cffi/_libgearman.py is out of date: run python build_ffi.py",
        "pygearman_cffi/_libgearman.pyi is out of date: run python build_ffi.py",
    ]
    assert module.read_text() == before
    assert build(tree).returncode == 0
    assert "gearman_new" in module.read_text()
    assert build(tree, "--check").returncode == 0


@pytest.mark.parametrize("name", ["_libgearman.py", "_libgearman.pyi"])
def test_check_notices_an_edited_file(tree: Path, name: str) -> None:
    """A generated file edited by hand, or missing, is out of date, the other is not."""
    path = tree / "pygearman_cffi" / name
    message = f"pygearman_cffi/{name} is out of date: run python build_ffi.py\n"
    path.write_text(path.read_text() + "\n")
    done = build(tree, "--check")
    assert (done.returncode, done.stderr) == (1, message)
    path.unlink()
    done = build(tree, "--check")
    assert (done.returncode, done.stderr) == (1, message)


def test_check_notices_a_header_that_is_not_listed(tree: Path) -> None:
    """A new cdef file must be given its place in the order, not be ignored."""
    (tree / "pygearman_cffi" / "cdef" / "new.h").write_text("int gearman_new(void);\n")
    done = build(tree, "--check")
    assert done.returncode == 1
    assert "new.h" in done.stderr


def test_an_unknown_type_stops_the_build(tree: Path) -> None:
    """A type that cffi does not know is an error which names the file."""
    path = tree / "pygearman_cffi" / "cdef" / "libc.h"
    path.write_text(path.read_text().replace("typedef uint16_t in_port_t;", ""))
    done = build(tree)
    assert done.returncode == 1
    assert "cdef/constants.h" in done.stderr
