"""Enumerations of libgearman, as Python enums with literal values.

They need no library: the values are checked against the C headers by the tests.
"""

from __future__ import annotations

from enum import Enum, IntEnum, IntFlag

__all__ = [
    "ClientOption",
    "Priority",
    "ReturnCode",
    "TaskState",
    "Verbose",
    "WorkerOption",
]


class ReturnCode(IntEnum):
    """What a libgearman call answered: `gearman_return_t` without its prefix."""

    SUCCESS = 0
    IO_WAIT = 1
    SHUTDOWN = 2
    SHUTDOWN_GRACEFUL = 3
    ERRNO = 4
    EVENT = 5
    TOO_MANY_ARGS = 6
    NO_ACTIVE_FDS = 7
    INVALID_MAGIC = 8
    INVALID_COMMAND = 9
    INVALID_PACKET = 10
    UNEXPECTED_PACKET = 11
    GETADDRINFO = 12
    NO_SERVERS = 13
    LOST_CONNECTION = 14
    MEMORY_ALLOCATION_FAILURE = 15
    JOB_EXISTS = 16
    JOB_QUEUE_FULL = 17
    SERVER_ERROR = 18
    WORK_ERROR = 19
    WORK_DATA = 20
    WORK_WARNING = 21
    WORK_STATUS = 22
    WORK_EXCEPTION = 23
    WORK_FAIL = 24
    NOT_CONNECTED = 25
    COULD_NOT_CONNECT = 26
    SEND_IN_PROGRESS = 27
    RECV_IN_PROGRESS = 28
    NOT_FLUSHING = 29
    DATA_TOO_LARGE = 30
    INVALID_FUNCTION_NAME = 31
    INVALID_WORKER_FUNCTION = 32
    NO_REGISTERED_FUNCTION = 33
    NO_REGISTERED_FUNCTIONS = 34
    NO_JOBS = 35
    ECHO_DATA_CORRUPTION = 36
    NEED_WORKLOAD_FN = 37
    PAUSE = 38
    UNKNOWN_STATE = 39
    PTHREAD = 40
    PIPE_EOF = 41
    QUEUE_ERROR = 42
    FLUSH_DATA = 43
    SEND_BUFFER_TOO_SMALL = 44
    IGNORE_PACKET = 45
    UNKNOWN_OPTION = 46
    TIMEOUT = 47
    ARGUMENT_TOO_LARGE = 48
    INVALID_ARGUMENT = 49
    IN_PROGRESS = 50
    INVALID_SERVER_OPTION = 51
    JOB_NOT_FOUND = 52
    MAX_RETURN = 53
    FAIL = 24
    FATAL = 24
    ERROR = 19

    @classmethod
    def _missing_(cls, value: object) -> ReturnCode:
        # A newer library may answer with a code that has no name here yet.
        return cls.MAX_RETURN


class ClientOption(IntFlag):
    """Options of a client: `gearman_client_options_t` without its prefix."""

    ALLOCATED = 1 << 0
    NON_BLOCKING = 1 << 1
    TASK_IN_USE = 1 << 2
    UNBUFFERED_RESULT = 1 << 3
    NO_NEW = 1 << 4
    FREE_TASKS = 1 << 5
    GENERATE_UNIQUE = 1 << 6
    EXCEPTION = 1 << 7
    SSL = 1 << 8
    STOP_WAIT_ON_SIGNAL = 1 << 10


class WorkerOption(IntFlag):
    """Options of a worker: `gearman_worker_options_t` without its prefix."""

    ALLOCATED = 1 << 0
    NON_BLOCKING = 1 << 1
    PACKET_INIT = 1 << 2
    GRAB_JOB_IN_USE = 1 << 3
    PRE_SLEEP_IN_USE = 1 << 4
    WORK_JOB_IN_USE = 1 << 5
    CHANGE = 1 << 6
    GRAB_UNIQ = 1 << 7
    TIMEOUT_RETURN = 1 << 8
    GRAB_ALL = 1 << 9
    SSL = 1 << 10
    IDENTIFIER = 1 << 11
    STOP_WAIT_ON_SIGNAL = 1 << 13


class Priority(IntEnum):
    """Order in which a job server hands out the jobs of one function."""

    HIGH = 0
    NORMAL = 1
    LOW = 2


class Verbose(IntEnum):
    """Level of a line that libgearman logs: `gearman_verbose_t`."""

    NEVER = 0
    FATAL = 1
    ERROR = 2
    INFO = 3
    DEBUG = 4
    CRAZY = 5


class TaskState(Enum):
    """How far a task has come."""

    WAITING = "waiting"
    """Queued in Python; no byte of it was sent."""
    SENT = "sent"
    """Handed to libgearman; bytes may have been sent."""
    CREATED = "created"
    """The job server has accepted it and given it a handle."""
    DONE = "done"
    """Its last packet was received; `return_code` tells how it ended."""
    ABANDONED = "abandoned"
    """Given up while its outcome was unknown; `error` tells why."""
