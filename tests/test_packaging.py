"""What is built from this tree, installed elsewhere, is a package that works."""

from __future__ import annotations

import email
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from pathlib import Path
from typing import NamedTuple

import pytest

import pygearman_cffi

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ROOT = Path(__file__).parent.parent
PACKAGE = "pygearman_cffi"
VERSION = pygearman_cffi.__version__

# What is no part of a clean checkout; nothing else may be missing from an sdist.
LEFTOVERS = shutil.ignore_patterns(
    ".git", ".venv*", "build", "dist", "htmlcov", "__pycache__", "*.py[co]",
    "*.egg-info", ".coverage*", ".hypothesis", ".*_cache",
)  # fmt: skip

# A stranger's first program: a server, a worker and a client, by public names only.
ROUND_TRIP = """
import importlib.metadata
import pygearman_cffi
from pygearman_cffi import Client, Worker
from pygearman_cffi.testing import GearmanServer, WorkerThread

with GearmanServer() as server:
    worker = Worker(server.address)
    worker.add_function("reverse", lambda job: job.workload[::-1])
    with WorkerThread(worker), Client(server.address) as client:
        assert client.do("reverse", b"Hello!", timeout=30) == b"!olleH"

assert importlib.metadata.version("pygearman-cffi") == pygearman_cffi.__version__
print(pygearman_cffi.__file__)
"""


class Built(NamedTuple):
    """What was built, and of what."""

    tree: Path
    sdist: Path
    wheel: Path


def clean_environment() -> dict[str, str]:
    """Our environment without what leads a Python to this checkout."""
    ours = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTHONSAFEPATH")
    return {name: value for name, value in os.environ.items() if name not in ours}


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command as a stranger would; return what it printed."""
    ended = subprocess.run(
        command,
        cwd=cwd,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The sdist of a clean copy of this tree, and the wheel built from that sdist."""
    tree = tmp_path_factory.mktemp("source") / "tree"
    shutil.copytree(ROOT, tree, symlinks=True, ignore=LEFTOVERS)
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", out, tree, cwd=out)
    (sdist,) = out.glob("*.tar.gz")
    (wheel,) = out.glob("*.whl")
    return Built(tree, sdist, wheel)


def files(folder: Path, base: Path) -> set[str]:
    """The paths of all files of a folder, relative to ``base``."""
    return {str(p.relative_to(base)) for p in folder.rglob("*") if p.is_file()}


def metadata(built: Built) -> Message:
    """The wheel's METADATA."""
    with zipfile.ZipFile(built.wheel) as wheel:
        name = f"{PACKAGE}-{VERSION}.dist-info/METADATA"
        return email.message_from_bytes(wheel.read(name))


def test_names(built: Built) -> None:
    """One wheel serves every Python and platform; the version is the package's own."""
    assert built.sdist.name == f"{PACKAGE}-{VERSION}.tar.gz"
    assert built.wheel.name == f"{PACKAGE}-{VERSION}-py3-none-any.whl"


def test_wheel_holds_the_package_and_nothing_else(built: Built) -> None:
    """The wheel is the package folder, with stub, marker and C declarations."""
    with zipfile.ZipFile(built.wheel) as wheel:
        names = {n for n in wheel.namelist() if ".dist-info/" not in n}
    assert names == files(built.tree / PACKAGE, built.tree)
    wanted = {"py.typed", "_libgearman.py", "_libgearman.pyi", "cdef/client.h"}
    assert {f"{PACKAGE}/{name}" for name in wanted} <= names


def test_sdist_holds_the_whole_tree(built: Built) -> None:
    """From the sdist everything can be done that can be done from a checkout."""
    with tarfile.open(built.sdist) as sdist:
        members = {m.name.partition("/")[2]: m for m in sdist if m.isfile()}
    assert set(members) == files(built.tree, built.tree) | {"PKG-INFO"}
    for program in ".ci/run", "scripts/setup.sh":
        assert members[program].mode & 0o100, f"{program} is not executable"


def test_only_cffi_at_run_time(built: Built) -> None:
    """Installing the package installs cffi and nothing else."""
    needed = [
        requirement
        for requirement in metadata(built).get_all("Requires-Dist", [])
        if "extra ==" not in requirement
    ]
    assert len(needed) == 1
    assert needed[0].startswith("cffi>=1.17;")


def test_licence_travels_along(built: Built) -> None:
    """The wheel carries the text of its licence."""
    assert metadata(built)["License-Expression"] == "BSD-3-Clause"
    with zipfile.ZipFile(built.wheel) as wheel:
        assert any(name.endswith("/LICENSE") for name in wheel.namelist())


@pytest.mark.parametrize("kind", ["wheel", "sdist", "folder", "editable"])
def test_installed_package_works(built: Built, kind: str, tmp_path: Path) -> None:
    """In a fresh environment the package works, however it was installed."""
    venv = tmp_path / "venv"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    tree = tmp_path / "tree"
    shutil.copytree(built.tree, tree, symlinks=True)
    arguments: dict[str, list[str | Path]] = {
        "wheel": [built.wheel],
        "sdist": [built.sdist],
        "folder": [tree],
        "editable": ["--editable", tree],
    }
    # Without a pip of its own: ours installs into it, which saves a few seconds.
    run(sys.executable, "-m", "venv", "--without-pip", venv, cwd=elsewhere)
    python = venv / "bin" / "python"
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--python", python]
    run(*pip, "install", "--quiet", *arguments[kind], cwd=elsewhere)

    assert "libgearman" in run(python, "-m", PACKAGE, "info", cwd=elsewhere)
    where = Path(run(python, "-c", ROUND_TRIP, cwd=elsewhere).splitlines()[-1])
    home = tree if kind == "editable" else venv
    assert where.resolve().is_relative_to(home.resolve())
