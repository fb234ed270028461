"""Fixtures for all tests; those that users get are in `pygearman_cffi.pytest_plugin`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pygearman_cffi import Client
from pygearman_cffi.testing import GearmanServer
from tests.programs import c_worker

pytest_plugins = ["pygearman_cffi.pytest_plugin"]


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
