"""What a task of a client is for."""

from __future__ import annotations

from enum import Enum

__all__ = ["Kind"]


class Kind(Enum):
    """What a task is for: a job, or a question about one."""

    FOREGROUND = "foreground"
    BACKGROUND = "background"
    EPOCH = "epoch"
    STATUS = "status"
    STATUS_BY_UNIQUE = "status by unique"
    NUDGE = "nudge"

    def __init__(self, word: str) -> None:
        self.asks = word in {"status", "status by unique", "nudge"}
        """A question about a job."""
        self.detached = word in {"background", "epoch"}
        """A job that is DONE once the job server has accepted it."""
