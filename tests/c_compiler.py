"""A C compiler for the tests that compare our declarations with C's own headers.

Nothing here skips: a missing compiler or missing headers is a failed test that names
what to install.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

INSTALL = "install a C compiler and libgearman's headers (gcc and libgearman-dev)"


def tool(name: str) -> str:
    """Return the path of a program, or fail the test that needs it."""
    path = shutil.which(name)
    if path is None:
        pytest.fail(f"{name} is not in PATH: {INSTALL}")
    return path


def command() -> list[str]:
    """Return the compiler ($CC, else cc) and the flags that find the headers."""
    name, *options = shlex.split(os.environ.get("CC") or "cc")
    flags = [tool(name), *options]
    pkg_config = shutil.which("pkg-config")
    if pkg_config is not None:  # no file for it is no error: /usr/include needs no flag
        found = run([pkg_config, "--cflags", "gearmand"])
        flags += shlex.split(found.stdout) if found.returncode == 0 else []
    return flags


def run(
    arguments: list[str], *, text: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program; capture what it says, in English."""
    return subprocess.run(
        arguments,
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
        env={**os.environ, "LC_ALL": "C"},
    )


def preprocess(source: str) -> str:
    """Return the preprocessed text, with its #define lines and # line markers."""
    done = run([*command(), "-E", "-dD", "-x", "c", "-"], text=source)
    if done.returncode != 0:
        pytest.fail(f"the C preprocessor failed: {INSTALL}\n{done.stderr}")
    return done.stdout


def compile_object(source: str, folder: Path) -> str:
    """Compile without linking; return the compiler's complaints, "" when it has none.

    Every warning is an error.
    """
    path = folder / "check.c"
    path.write_text(source)
    options = ["-std=gnu11", "-Wall", "-Wextra", "-Wincompatible-pointer-types"]
    target = ["-c", str(path), "-o", str(folder / "check.o")]
    done = run([*command(), *options, "-Werror", *target])
    return "" if done.returncode == 0 else done.stderr or "the compiler failed"


def build_and_run(source: str, folder: Path) -> str:
    """Compile a whole program, run it, and return what it prints."""
    path, program = folder / "program.c", folder / "program"
    path.write_text(source)
    built = run([*command(), "-std=gnu11", str(path), "-o", str(program)])
    if built.returncode != 0:
        pytest.fail(f"the C compiler failed:\n{built.stderr}")
    done = run([str(program)])
    assert done.returncode == 0, done.stderr
    return done.stdout
