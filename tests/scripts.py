"""Python programs that a test runs beside itself and sends signals to.

A script prints lines while it runs; the last one is its result, as JSON. What needs no
conversation runs by `tests.isolated`.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.isolated import ROOT

_PATIENCE = 40.0  # seconds, for what takes a fraction of one


class Script:
    """A running script."""

    def __init__(self, source: str, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [
                *[sys.executable, "-X", "faulthandler", "-W", "error"],
                *["-c", textwrap.dedent(source), *arguments],
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            text=True,
        )
        # A hang ends as a failure of the assertion that comes next.
        self._alarm = threading.Timer(_PATIENCE, self.process.kill)
        self._alarm.start()

    def line(self) -> str:
        """Wait for the next line and return it."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.finish()
            raise AssertionError("the script ended early")
        return line.rstrip("\n")

    def interrupt(self) -> None:
        """Do what Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)

    def finish(self, status: int = 0) -> Any:
        """Wait for its end, check its exit status, and return its result."""
        out, err = self.process.communicate()
        self._alarm.cancel()
        ended = (self.process.returncode, err)
        assert ended == (status, ""), f"{ended[0]}: {out}{err}"
        lines = out.splitlines()
        return json.loads(lines[-1]) if lines else None

    def end(self) -> None:
        """Make sure that nothing of it is left."""
        self._alarm.cancel()
        self.process.kill()
        self.process.communicate()


@contextmanager
def script(source: str, *arguments: str) -> Iterator[Script]:
    """Run a script while the block lasts."""
    running = Script(source, *arguments)
    try:
        yield running
    finally:
        running.end()
