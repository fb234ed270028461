"""Run the test suite with the libgearman of other Debian releases.

    python -m tests.libgearmans [bullseye trixie ...] [-- PYTEST ARGUMENTS]

Their packages are unpacked into build/debian, nothing is installed. They come from
the mirror that apt of this machine uses. One that was built for a newer C library gets
that one too, with a Python that is started on it. It prints a table.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "build" / "debian"
PACKAGES = {"bullseye": "libgearman8", "trixie": "libgearman8t64"}
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

# They compare with the headers or the package of the release that is installed, or are
# about the search for a library, which is named here.
LEFT_OUT = [
    "test_declarations.py",
    "test_declarations_generated.py",
    "test_declarations_library.py",
    "test_packaging.py",
    "test_library.py::test_each_name_is_listed",
]

# Starts Python on another C library, and lets it find itself: its children, which are
# started with sys.executable, run on that C library too.
WRAPPER = """#!/bin/sh
exec '{loader}' --library-path '{libraries}' --argv0 "$0" '{python}' "$@"
"""


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """Run a command and return its output."""
    return subprocess.run(
        list(map(str, command)), cwd=cwd, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def mirror() -> str:
    """Return where apt of this machine gets Debian from."""
    answer = run(
        "apt-get",
        "indextargets",
        "--format",
        "$(REPO_URI)",
        "Created-By: Packages",
        "Label: Debian",
    )
    if not answer.strip():
        sys.exit("apt knows no mirror of Debian on this machine (or apt-get update)")
    return answer.split()[0]


class Release:
    """A Debian release, in a folder."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.folder = FOLDER / name
        self.apt = self.folder / "apt"
        self.root = self.folder / "root"

    def fetch(self, package: str) -> None:
        """Download a package and unpack it."""
        state = self.folder / f"{package}.unpacked"
        if state.exists():
            return
        (self.apt / "lists" / "partial").mkdir(parents=True, exist_ok=True)
        (self.apt / "cache" / "archives" / "partial").mkdir(parents=True, exist_ok=True)
        (self.apt / "status").touch()
        (self.apt / "sources.list").write_text(
            f"deb [signed-by={KEYRING}] {mirror()} {self.name} main\n"
        )
        options = [
            f"Dir::Etc::sourcelist={self.apt}/sources.list",
            "Dir::Etc::sourceparts=/dev/null",
            f"Dir::State::lists={self.apt}/lists",
            f"Dir::State::status={self.apt}/status",
            f"Dir::Cache={self.apt}/cache",
            f"APT::Sandbox::User={os.environ.get('USER', 'root')}",
        ]
        apt = ["apt-get", "-q", *(word for o in options for word in ("-o", o))]
        run(*apt, "update")
        run(*apt, "download", package, cwd=self.apt)
        (archive,) = self.apt.glob(f"{package}_*.deb")
        run("dpkg-deb", "-x", archive, self.root)
        state.touch()

    def find(self, pattern: str) -> Path:
        """Return a file of the unpacked packages."""
        return min(self.root.rglob(pattern))

    def prepare(self) -> tuple[str, Path]:
        """Unpack what is needed; return the Python to use, and the library."""
        self.fetch(PACKAGES[self.name])
        library = self.find("libgearman.so.8.0.0")
        if loads(sys.executable, library):
            return sys.executable, library
        self.fetch("libc6")
        python = self._python()
        if not loads(python, library):
            sys.exit(
                f"{library} cannot be loaded, even on the C library of its release"
            )
        return python, library

    def _python(self) -> str:
        """Make an environment like this one, on the release's own C library."""
        venv = self.folder / "venv"
        (venv / "bin").mkdir(parents=True, exist_ok=True)
        shutil.copy(Path(sys.prefix) / "pyvenv.cfg", venv)
        if not (venv / "lib").exists():
            (venv / "lib").symlink_to(Path(sys.prefix) / "lib")
        loader = self.find("ld-linux-*.so.*")
        python = venv / "bin" / "python"
        python.write_text(
            WRAPPER.format(
                loader=loader,
                libraries=self.find("libc.so.6").parent,
                python=Path(sys.executable).resolve(),
            )
        )
        python.chmod(0o755)
        return str(python)


def loads(python: str, library: Path) -> bool:
    """Tell whether a Python can load a library."""
    script = "import ctypes, sys; ctypes.CDLL(sys.argv[1])"
    return not subprocess.run(
        [python, "-c", script, str(library)], check=False, capture_output=True
    ).returncode


def test(name: str, arguments: list[str]) -> tuple[str, str]:
    """Run the suite with the library of a release.

    Returns:
        The version, and pytest's last line.
    """
    python, library = Release(name).prepare()
    environment = {**os.environ, "PYGEARMAN_LIBGEARMAN": str(library)}
    script = "import pygearman_cffi as p; print(*p.libgearman_version, sep='.')"
    version = subprocess.run(
        [python, "-c", script],
        cwd=ROOT,
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout.strip()
    print(f"== libgearman {version} of {name}", flush=True)
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += [f"--deselect=tests/{test}" for test in LEFT_OUT]
    with subprocess.Popen(
        [*command, *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        last = ""
        for line in process.stdout:
            print(line, end="", flush=True)
            last = line.strip() or last
    return version, last


def main() -> int:
    """Test with each release; return 1 when a test failed."""
    words = sys.argv[1:]
    split = words.index("--") if "--" in words else len(words)
    names, arguments = words[:split] or list(PACKAGES), words[split + 1 :]
    rows, failed = [], False
    for name in names:
        version, last = test(name, arguments)
        counts = {word: int(n) for n, word in re.findall(r"(\d+) (\w+)", last)}
        bad = counts.get("failed", 0) + counts.get("error", 0) + counts.get("errors", 0)
        failed = failed or bool(bad) or not counts.get("passed")
        rows.append((version, name, counts.get("passed", 0), bad))
    print(f"\n{'libgearman':12} {'Debian':12} {'passed':>8} {'failed':>8}")
    for version, name, passed, bad in rows:
        print(f"{version:12} {name:12} {passed:>8} {bad:>8}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
