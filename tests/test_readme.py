"""The README: its programs run and print what it says, its names and links exist."""

from __future__ import annotations

import builtins
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pygearman_cffi
from pygearman_cffi import Client, Job, Worker, errors
from pygearman_cffi.testing import GearmanServer
from tests.programs import wait_for_worker

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
# Each begins with its name: "# worker.py".
PROGRAMS = {
    text.split("\n", 1)[0].removeprefix("# "): text
    for language, text in BLOCKS
    if language == "python"
}
PATIENCE = 30.0


@pytest.fixture
def server() -> Iterator[GearmanServer]:
    """A job server for one test."""
    with GearmanServer() as server:
        yield server


def python(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run Python to its end, with warnings as errors."""
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=cwd,
        env={k: v for k, v in os.environ.items() if k != "GEARMAN_SERVERS"},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


def written(name: str, folder: Path, server: GearmanServer | None = None) -> Path:
    """Write a program of the README to a file, for this server."""
    text = PROGRAMS[name]
    if server is not None:
        text = text.replace("localhost:4730", server.address)
        text = text.replace('b"localhost", 4730', f'b"{server.host}", {server.port}')
        assert str(server.port) in text
    path = folder / name
    path.write_text(text)
    return path


def promised(name: str) -> list[str]:
    """Return what a program prints, by the comments after its print calls."""
    return re.findall(r"^ *print\(.*\)  # (.+)$", PROGRAMS[name], re.MULTILINE)


def test_every_program_is_run() -> None:
    """A program that is added to the README is added to the tests here."""
    names = ["worker.py", "client.py", "conftest.py", "test_upper.py", "raw.py"]
    assert list(PROGRAMS) == names
    assert len(PROGRAMS) == sum(language == "python" for language, _ in BLOCKS)


def test_worker_and_clients(server: GearmanServer, tmp_path: Path) -> None:
    """The worker serves both clients, which print what the README says."""
    worker = written("worker.py", tmp_path, server)
    with subprocess.Popen(
        [sys.executable, "-W", "error", worker], stderr=subprocess.PIPE, text=True
    ) as serving:
        try:
            wait_for_worker(server, "reverse")
            for name in ("client.py", "raw.py"):
                done = python(written(name, tmp_path, server), cwd=tmp_path)
                assert done.stdout.splitlines() == promised(name)
                assert (done.returncode, done.stderr) == (0, "")
            serving.terminate()
            assert serving.communicate(timeout=PATIENCE)[1] == ""
            assert serving.returncode == 0
        finally:
            serving.kill()


def test_tests(tmp_path: Path) -> None:
    """The tests pass."""
    for name in ("conftest.py", "test_upper.py"):
        written(name, tmp_path)
    done = python("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=tmp_path)
    assert "2 passed" in done.stdout, done.stdout


def test_length_and_first_line() -> None:
    """It stays short, and begins by telling the two packages apart."""
    lines = README.splitlines()
    assert len(lines) < 200
    assert "libgearman" in lines[0]
    assert "not PyPI's `pygearman`" in lines[0]


def test_links() -> None:
    """Every file that is linked to exists."""
    links = re.findall(r"\]\(([^)]+)\)", README)
    files = [link for link in links if not link.startswith("https://")]
    assert {"CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "examples/README.md"} <= {
        *files
    }
    assert [name for name in files if not (ROOT / name).is_file()] == []


def test_make_targets() -> None:
    """Every make target that is named exists."""
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"\$ make (\w+)", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_exceptions() -> None:
    """The tree shows every exception, in its place, with the built-in one it is."""
    (tree,) = (text for language, text in BLOCKS if language == "text")
    above: dict[int, str] = {-1: "GearmanError"}
    shown = []
    for line in tree.splitlines():
        level = len(line) - len(line.lstrip("│├└─ "))
        parent = above[max(key for key in above if key < level)]
        for name in re.findall(r"\w+Error", re.sub(r"\(.*?\)", "", line)):
            assert issubclass(getattr(errors, name), getattr(errors, parent))
            shown.append(name)
            above = {**{k: v for k, v in above.items() if k < level}, level: name}
    assert sorted(shown) == sorted(errors.__all__)
    pairs = re.findall(r"(\w+Error) +\((\w+Error)\)", tree)
    assert len(pairs) > 10
    for name, base in pairs:
        known = getattr(errors, base, None) or getattr(builtins, base)
        assert issubclass(getattr(errors, name), known)


def test_names() -> None:
    """Every Python name that is mentioned exists, and so does every C function."""
    for variable, face in {"client": Client, "worker": Worker, "job": Job}.items():
        names = re.findall(
            rf"\b{variable}\.(\w+)", README.replace(f"{variable}.py", "")
        )
        assert names
        assert [name for name in names if not hasattr(face, name)] == []
    for name in re.findall(r"`(?:raise|except) (\w+)`", README):
        assert name in pygearman_cffi.__all__
    for face, name in re.findall(r"`(ReturnCode|WorkerOption|Client)\.(\w+)", README):
        assert hasattr(getattr(pygearman_cffi, face), name)
    functions = {*re.findall(r"\b(gearman_\w+)\(", README)}
    functions -= {"gearman_success", "gearman_worker"}  # inline in C; our fixture
    assert len(functions) > 5
    assert [name for name in functions if not hasattr(pygearman_cffi.lib, name)] == []


def test_php_names() -> None:
    """Every PHP method that is mentioned exists."""
    classes = {"c": "GearmanClient", "w": "GearmanWorker", "j": "GearmanJob"}
    checks = [
        f'method_exists("{classes[variable]}", "{method}") || print("{method}\\n");'
        for variable, method in re.findall(r"\$([cwj])->(\w+)\(", README)
    ]
    assert len(checks) > 5
    done = subprocess.run(
        ["php", "-r", " ".join(checks)], capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
