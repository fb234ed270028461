"""Python in a process of its own: for what may kill, hang or end an interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parent.parent


def run_isolated(
    script: str,
    *arguments: str,
    timeout: float = 60.0,
    status: int = 0,
    **environment: str,
) -> str:
    """Run a script to its end, check its exit status, and return what it printed.

    Args:
        script: the text; a common indentation is taken away.
        *arguments: its `sys.argv[1:]`.
        timeout: seconds after which it is killed, and the test fails.
        status: the exit status it must have, negative for a signal.
        **environment: more variables.

    Raises:
        AssertionError: it ended otherwise, or wrote to its standard error; both
            outputs are in the message.
    """
    python = [sys.executable, "-X", "faulthandler", "-W", "error"]
    done = subprocess.run(
        [*python, "-c", textwrap.dedent(script), *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )
    assert done.returncode == status, f"{done.returncode}: {done.stdout}{done.stderr}"
    assert not done.stderr, done.stderr
    return done.stdout
