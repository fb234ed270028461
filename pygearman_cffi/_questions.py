"""Questions about jobs: which server they go to, and what becomes of those in vain."""

from __future__ import annotations

from . import _sockets
from ._addresses import Address
from ._config import Config
from ._frames import Frame, call_parking
from ._kind import Kind
from ._lanes import Lanes, unreached
from .enums import ClientOption, ReturnCode
from .errors import CouldNotConnectError, GearmanError, ProtocolError, ServerError
from .task import Task

__all__ = ["Questions"]


class Questions(Frame):
    """The questions of one client; each is asked of its servers in order.

    A server that cannot be asked is passed over. Its job is then not known, as far as
    was heard; only a question that nobody answers fails.
    """

    def __init__(self, config: Config[ClientOption], lanes: Lanes) -> None:
        self._config = config
        self._lanes = lanes
        self._down: dict[Address, GearmanError] = {}

    def begin(self) -> None:
        """Begin a run: ask every server again."""
        self._down.clear()

    def take_error(self) -> BaseException | None:
        """Return what a callback raised, once."""
        error, self.error = self.error, None
        return error

    def unanswered(self, task: Task, reason: GearmanError) -> None:
        """Pass a server over for the rest of the run."""
        self._down[task._ask[0]] = reason

    def prepare(self, task: Task, deadline: float | None) -> bool:
        """Put a server first that can be asked; True when a session must ask it.

        Raises:
            CouldNotConnectError: no server at all was reached: it waits, as jobs do.
        """
        servers = task._ask or tuple(self._config.servers)
        if not servers:
            self._lanes.first(deadline)  # says that there are none
        down = tuple(server for server in servers if server in self._down)
        task._ask = tuple(server for server in servers if server not in down) + down
        if len(down) == len(servers):
            self._give_up(task)
        elif task._kind is Kind.STATUS_BY_UNIQUE:
            self._ask_unique(task, deadline)
        else:
            return True
        return False

    def _give_up(self, task: Task) -> None:
        reasons = [(server, self._down[server]) for server in task._ask]
        if task._heard:  # the others do not know it
            task._ask = task._ask[:1]
            self._answered(task, False, False, 0)
            return
        error = reasons[0][1]
        if isinstance(error, CouldNotConnectError):
            error = unreached(reasons)
            if self._down.keys() >= set(self._config.servers):
                raise error
        task._refused(error.code or ReturnCode.ERROR, error.detail or str(error))

    def _ask_unique(self, task: Task, deadline: float | None) -> None:
        """Ask about a unique, on a connection of its own."""
        try:
            known, running, numerator, denominator, clients = _sockets.unique_status(
                task._ask[0], task._asked, self._config.connect_timeout, deadline
            )
        except (CouldNotConnectError, ServerError, ProtocolError) as reason:
            self.unanswered(task, reason)
            return
        task._set_status(numerator, denominator)
        self._answered(task, known, running, clients)

    def _answered(self, task: Task, known: bool, running: bool, clients: int) -> None:
        if task._answer(known, running, clients) and task._on_status is not None:
            call_parking(self, task._on_status, task)
