"""Memory and descriptors over many jobs, in short; `make soak` is the long form."""

from __future__ import annotations

import pytest

from tests.soak import WAYS, soak

GROWTH = 700
"""KiB. The allocator takes its memory in larger pieces than a few jobs need; what were
lost with each of the 18,000 jobs after the warm-up may be 40 bytes."""


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_memory_stays_flat_over_many_jobs(way: str) -> None:
    """After a warm-up neither side takes more memory, nor another descriptor."""
    outcome = soak(20_000, way)
    print(outcome.table())
    assert not outcome.problems(GROWTH), outcome.table()
