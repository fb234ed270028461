"""A short run of the fuzzer; `make fuzz` is the long one."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.fuzz.run import ROOT


@pytest.mark.slow
def test_random_sequences_of_calls() -> None:
    """No sequence of calls crashes, hangs, outlasts a deadline, lies or loses a job."""
    command = [sys.executable, "-m", "tests.fuzz.run", "--seconds", "6", "--seed", "1"]
    done = subprocess.run(
        [*command, "--examples", "10"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout)
