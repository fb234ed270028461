"""Look for invalid accesses and leaks with valgrind, over every call of the public API.

    python -m tests.valgrind.run [--log FILE]

An error that has nothing of libgearman or of cffi in its stack is Python's own; one that
`known.supp` names is libgearman's own, with the reason. Any other one is a failure. It
prints a table.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

from pygearman_cffi.testing import GearmanServer

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
OURS = ("libgearman", "_cffi_backend", "libffi")


def frames(error: ET.Element) -> list[str]:
    """Return the first stack of an error as readable lines."""
    stack = error.find("stack")
    assert stack is not None
    return [
        f"{frame.findtext('fn') or '?'} ({Path(frame.findtext('obj') or '?').name})"
        for frame in stack
    ]


def of_ours(error: ET.Element) -> bool:
    """Tell whether libgearman or cffi had a part in it."""
    return any(
        name in (frame.findtext("obj") or "")
        for frame in error.iter("frame")
        for name in OURS
    )


def watch(log: Path) -> int:
    """Make the calls under valgrind; return the exit status."""
    command = [
        "valgrind",
        "--leak-check=full",
        "--show-leak-kinds=definite",
        "--errors-for-leak-kinds=definite",
        "--num-callers=30",
        "--track-fds=no",
        f"--suppressions={HERE / 'known.supp'}",
        "--xml=yes",
        f"--xml-file={log}",
        sys.executable,
        "-m",
        "tests.valgrind.calls",
    ]
    with GearmanServer() as server:
        return subprocess.run(
            [*command, server.address],
            cwd=ROOT,
            # Python's own allocator would hide every object's fate from valgrind.
            env={**os.environ, "PYTHONMALLOC": "malloc"},
            check=False,
            timeout=1800,
        ).returncode


def main() -> int:
    """Watch, and show what was found; return 1 when it is ours."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--log", type=Path, help="keep valgrind's XML here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        log = options.log or Path(folder, "valgrind.xml")
        status = watch(log)
        document = ET.parse(log).getroot()
    kinds: Counter[tuple[str, bool]] = Counter()
    found = []
    for error in document.findall("error"):
        kind, ours = error.findtext("kind") or "?", of_ours(error)
        kinds[kind, ours] += 1
        if ours:
            what = error.findtext("what") or error.findtext("xwhat/text") or ""
            found.append("\n    ".join([f"{kind}: {what}", *frames(error)[:16]]))
    for text in found:
        print(text)
    print(f"{'valgrind':32} {'ours':>6} {'of Python alone':>16}")
    for kind in sorted({kind for kind, _ in kinds}):
        print(f"{kind:32} {kinds[kind, True]:>6} {kinds[kind, False]:>16}")
    known = HERE.joinpath("known.supp").read_text(encoding="utf-8")
    names = set(re.findall(r"^\{\n\s*(\S.*)$", known, re.MULTILINE))
    for pair in document.findall("suppcounts/pair"):
        if pair.findtext("name") in names:
            print(f"known: {pair.findtext('name')}, {pair.findtext('count')} times")
    print(f"the calls ended with {status}")
    return 1 if status or found else 0


if __name__ == "__main__":
    sys.exit(main())
