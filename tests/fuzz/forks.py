"""Forked children: what they inherit refuses them, and is left as it was."""

from __future__ import annotations

import gc
import os
import signal
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pygearman_cffi import (
    Client,
    ClientOption,
    ClosedError,
    ForkedError,
    GearmanError,
    Job,
    Task,
    UnsupportedError,
    Worker,
)

PATIENCE = 20
"""Seconds after which a child is taken for hung, and is ended."""
CHILD = 1.0
"""Seconds for a child that does as it should."""
AT_ONCE = 1.0
"""Seconds in which a call must be refused."""


def fork(touch: Callable[[], str]) -> str:
    """Run a function in a forked child.

    Returns:
        What the function has found wrong, or what was wrong with the child.
    """
    read, write = os.pipe()
    child = os.fork()
    if not child:
        _be_child(touch, write)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        told = pipe.read().decode()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return told if told or not code else f"the child ended with {code}"


def _be_child(touch: Callable[[], str], write: int) -> None:
    """Tell what the function finds, and end without the parent's handlers."""
    code = 1
    try:
        # Its default action ends the child, also inside C.
        signal.alarm(PATIENCE)
        try:
            told = touch()
        except BaseException as error:  # noqa: BLE001
            told = "".join(traceback.format_exception(error))
        os.write(write, told.encode()[-4000:])
        code = 0
    finally:
        os._exit(code)


@dataclass
class Inheritance:
    """Objects of a parent, in the hands of its child."""

    client: Client | None = None
    worker: Worker | None = None
    job: Job | None = None
    tasks: Sequence[Task] = ()
    results: Any = None
    closed: bool = False

    def use(self) -> str:
        """Call everything; return which calls were not refused."""
        wrong = [
            complaint
            for thing, calls in (
                (self.client, self._client_calls),
                (self.worker, self._worker_calls),
                (self.job, self._job_calls),
                (self.results, self._result_calls),
            )
            if thing is not None
            for name, call in calls().items()
            if (complaint := _refused(name, call, self._reasons(thing)))
        ]
        self._look()
        return "\n".join(wrong)

    def close(self) -> str:
        """Close everything, which closes nothing of the parent's, then use it."""
        for thing in (self.job, self.results, self.client, self.worker):
            try:
                if thing is not None:
                    thing.close()
            except ForkedError:
                if thing in {self.client, self.worker}:
                    raise
        if self.worker is not None:
            self.worker.stop()
        self.closed = True
        return self.use()

    def drop(self) -> str:
        """Finalise every client and worker of the process, as at its end."""
        for thing in gc.get_objects():
            if type(thing) in {Client, Worker}:
                thing.__del__()
        gc.collect()
        return ""

    def _reasons(self, thing: Any) -> tuple[type[Exception], ...]:
        """Return the errors by which a thing may refuse to be used."""
        reasons: tuple[type[Exception], ...] = (ForkedError,)
        if self.closed or getattr(thing, "closed", False):
            # A closed iterator has ended, here as everywhere.
            reasons = (ClosedError, StopIteration)
        if isinstance(thing, Client) and thing.has_option(ClientOption.NON_BLOCKING):
            reasons += (UnsupportedError,)
        return reasons

    def _look(self) -> None:
        """Read what needs no connection: it may be refused, but in our words."""
        for thing in (self.client, self.worker, self.job, self.results, *self.tasks):
            repr(thing)
        for task in self.tasks:
            repr((task.state, task.error, task.job_handle, task.warnings))
            try:
                _ = task.result
            except GearmanError:
                pass

    def _client_calls(self) -> dict[str, Callable[[], object]]:
        client = self.client
        assert client is not None
        return {
            "do": lambda: client.do("f", b"x"),
            "do_background": lambda: client.do_background("f", b"x"),
            "execute": lambda: client.execute("f", b"x"),
            "execute_by_partition": lambda: client.execute_by_partition("p", "f", b"x"),
            "map": lambda: next(client.map("f", [b"x"])),
            "add_task": lambda: client.add_task("f", b"x"),
            "run_tasks": client.run_tasks,
            "wait": client.wait,
            "echo": lambda: client.echo(b"x"),
            "job_status": lambda: client.job_status("H:nowhere:1"),
            "unique_status": lambda: client.unique_status("u1"),
            "set_server_option": lambda: client.set_server_option("exceptions"),
            "remove_servers": client.remove_servers,
            "clone": client.clone,
        }

    def _worker_calls(self) -> dict[str, Callable[[], object]]:
        worker = self.worker
        assert worker is not None
        return {
            "Worker.work": worker.work,
            "Worker.run": lambda: worker.run(max_seconds=0.01),
            "Worker.wait": worker.wait,
            "Worker.grab_job": worker.grab_job,
            "Worker.echo": lambda: worker.echo(b"x"),
            "Worker.add_function": lambda: worker.add_function("other", print),
            "Worker.define_partition": lambda: worker.define_partition(
                "other", lambda _job: None, b"".join
            ),
            "Worker.unregister_all": worker.unregister_all,
            "Worker.remove_servers": worker.remove_servers,
            "Worker.clone": worker.clone,
        }

    def _job_calls(self) -> dict[str, Callable[[], object]]:
        job = self.job
        assert job is not None
        return {
            "Job.send_data": lambda: job.send_data(b"x"),
            "Job.send_status": lambda: job.send_status(1, 2),
            "Job.send_warning": lambda: job.send_warning(b"x"),
            "Job.send_complete": lambda: job.send_complete(b"x"),
            "Job.send_fail": job.send_fail,
        }

    def _result_calls(self) -> dict[str, Callable[[], object]]:
        return {"map.next": lambda: next(self.results)}


def _refused(
    name: str, call: Callable[[], object], reasons: tuple[type[Exception], ...]
) -> str:
    """Return what is wrong unless a call is refused at once, for one of the reasons."""
    began = time.monotonic()
    try:
        outcome: object = call()
    except reasons:
        pass
    except BaseException as error:  # noqa: BLE001
        return f"{name} in a child raised {error!r}"
    else:
        return f"{name} in a child was let in: {outcome!r}"
    took = time.monotonic() - began
    return "" if took < AT_ONCE else f"{name} in a child took {took:.3f} s"
