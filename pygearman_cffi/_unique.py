"""Uniques of our own, for the jobs that were given none."""

from __future__ import annotations

import os
from itertools import count

__all__ = ["fresh_unique"]

# Own uniques save the library three system calls a job. A forked child must not go
# on with its parent's, or each would receive the other's answers.
_form = b""
_count = count(1)


def _renew_prefix() -> None:
    global _form, _count
    _form = os.urandom(12).hex().encode("ascii") + b"-%x"
    _count = count(1)


_renew_prefix()
os.register_at_fork(after_in_child=_renew_prefix)


def fresh_unique() -> bytes:
    """Return a unique that no other job has."""
    return _form % next(_count)
