"""What all examples have in common: help, wrong options, the index, and the demo."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.examples import (
    CLIENTS,
    EXAMPLES,
    JFY_CLIENTS,
    JFY_WORKERS,
    PATIENCE,
    WORKERS,
    command,
    run,
)
from tests.programs import is_listening

ALL = sorted({*CLIENTS, *WORKERS, *JFY_CLIENTS, *JFY_WORKERS})


@pytest.mark.parametrize("name", ALL)
def test_help(name: str) -> None:
    """Every example explains its options when asked with -h."""
    done = run(name, "-h")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: ")
    assert "--host" in done.stdout
    assert "--port" in done.stdout


@pytest.mark.parametrize("name", ALL)
def test_unknown_option(name: str) -> None:
    """An option that does not exist is answered with the usage, and status 2."""
    done = run(name, "--no-such-option")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith((f"usage: {Path(name).name}", f"{Path(name)}", "/"))


@pytest.mark.parametrize("name", CLIENTS + WORKERS)
def test_port_that_is_none(name: str) -> None:
    """A port that cannot be is one sentence on the standard error, and status 1."""
    text = ["x"] if name in CLIENTS else []
    done = run(name, "--port", "70000", *text)
    assert done.returncode == 1
    assert done.stderr.endswith("70000 is not a port; it must be 1 to 65535\n")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("name", ["c_api/jfy_client", "c_api/jfy_worker"])
def test_raw_ports_quote_c(name: str) -> None:
    """A raw port quotes its original: verbatim, in order, and every call of it."""
    source = [line.strip() for line in (EXAMPLES / f"{name}.c").read_text().split("\n")]
    port = (EXAMPLES / f"{name}.py").read_text().split("\n")
    quoted = [line.split("# | ")[1].strip() for line in port if "# | " in line]
    position = 0
    for line in quoted:
        assert line in source[position:], f"not there, or out of order: {line}"
        position = source.index(line, position) + 1
    calls = {line for line in source if re.search(r"\bgearman_\w+\(", line)}
    assert calls <= set(quoted)


def test_index() -> None:
    """The index of the examples names every program, and none that is not there."""
    text = (EXAMPLES / "README.md").read_text()
    named = set(re.findall(r"\]\(([\w/]+\.(?:py|c))\)", text))
    there = {
        path.relative_to(EXAMPLES).as_posix()
        for path in [*EXAMPLES.rglob("*.py"), *EXAMPLES.rglob("*.c")]
    }
    assert named == there


def test_demo() -> None:
    """The demo shows both results, succeeds, and leaves no process behind."""
    demo = subprocess.Popen(
        command("demo.py"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    with demo:
        output, _ = demo.communicate(timeout=2 * PATIENCE)
    assert demo.returncode == 0, output
    assert "result=this is a test->result=" in output
    assert "Success: !olleH" in output
    (port,) = re.findall(r"127\.0\.0\.1:(\d+)", output)
    assert not is_listening(int(port))
    with pytest.raises(ProcessLookupError):
        os.killpg(demo.pid, 0)
