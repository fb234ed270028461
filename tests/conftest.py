"""Fixtures for all tests; those that users get are in `pygearman_cffi.pytest_plugin`."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest

from pygearman_cffi import Client
from pygearman_cffi.testing import GearmanServer
from tests.programs import c_worker

pytest_plugins = ["pygearman_cffi.pytest_plugin"]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[
    None, pytest.TestReport, pytest.TestReport
]:
    """Let what was logged travel between processes, whatever characters are in it."""
    report = yield
    report.sections = [
        (title, text.encode("utf-8", "backslashreplace").decode())
        for title, text in report.sections
    ]
    return report


@pytest.fixture(scope="session")
def served() -> Iterator[GearmanServer]:
    """A job server with one C worker: echo, reverse, upper, chunks, fail, ..."""
    with GearmanServer() as server, c_worker(server):
        yield server


@pytest.fixture
def client(served: GearmanServer) -> Iterator[Client]:
    """A client, with default settings, of the server with the C worker."""
    with Client(served.address) as client:
        yield client
