"""Questions about jobs: which server they go to, and what becomes of those in vain."""

from __future__ import annotations

from . import _sockets
from ._callbacks import Frame, call_parking
from ._config import Config
from ._convert import Address
from ._lanes import Lanes
from .enums import ClientOption, ReturnCode
from .errors import CouldNotConnectError, GearmanError
from .task import Task

__all__ = ["Questions"]


class Questions:
    """The questions of one client; each is asked of its servers in order."""

    def __init__(self, config: Config[ClientOption], lanes: Lanes) -> None:
        self._config = config
        self._lanes = lanes
        self.unanswered: dict[Address, GearmanError] = {}
        """The servers that cannot be asked in this run, and why."""

    def choose(self, task: Task, deadline: float | None) -> bool:
        """Put a server first that can be asked; end the question if there is none.

        Raises:
            CouldNotConnectError: no server at all was reached: it waits, as jobs do.
        """
        servers = task._ask or tuple(self._config.servers)
        if not servers:
            self._lanes.first(deadline)  # says that there are none
        down = tuple(server for server in servers if server in self.unanswered)
        task._ask = tuple(server for server in servers if server not in down) + down
        if len(down) < len(servers):
            return True
        reason = self.unanswered[down[0]]
        if isinstance(reason, CouldNotConnectError) and (
            self.unanswered.keys() >= set(self._config.servers)
        ):
            raise reason
        task._refused(reason.code or ReturnCode.ERROR, reason.detail or str(reason))
        return False

    def ask(self, task: Task, deadline: float | None) -> BaseException | None:
        """Ask about a unique, on a connection of its own.

        Returns:
            What the task's callback raised.
        """
        known, running, numerator, denominator, clients = _sockets.unique_status(
            task._ask[0], task._asked, self._config.connect_timeout, deadline
        )
        task._set_status(numerator, denominator)
        frame = Frame()
        if task._answer(known, running, clients) and task._on_status is not None:
            call_parking(frame, task._on_status, task)
        return frame.error
