"""What the tests of the traps share: scripts for a process of their own.

A trap is a way to crash, hang or fool a program with libgearman itself. Each is tried on
the Python objects, in an interpreter whose exit status and standard error are looked at.
"""

from __future__ import annotations

import textwrap

from pygearman_cffi.testing import GearmanServer
from tests.isolated import run_isolated

PROLOGUE = """
import gc, math, os, signal, sys, threading, time
from pygearman_cffi import *

ADDRESS = sys.argv[1]

def expect(kind, text, call):
    # The call raises exactly this, and says so; the exception is returned.
    try:
        result = call()
    except BaseException as error:
        if type(error) is not kind or text not in str(error):
            raise
        return error
    raise SystemExit(f"no {kind.__name__} but {result!r}")

def once(error, call):
    # The call raises this very object, and nothing has been added to it.
    try:
        result = call()
    except BaseException as caught:
        if caught is not error or caught.__cause__ is not None:
            raise
    else:
        raise SystemExit(f"no error but {result!r}")

def fine(client):
    # The client is as good as new.
    for word in (b"abc", b"x" * 70000):
        got = client.do("reverse", word, timeout=10)
        assert got == word[::-1], got[:100]

def soon(condition):
    # It becomes true: another process has to notice something first.
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.002)

def cpu():
    times = os.times()
    return times.user + times.system
"""


def run_trap(script: str, *arguments: str, status: int = 0, **environment: str) -> str:
    """Run a script after the prologue; return what it printed."""
    source = PROLOGUE + textwrap.dedent(script)
    return run_isolated(source, *arguments, timeout=60.0, status=status, **environment)


# A worker's scripts: log lines are kept, and another thread is the client.
WORKER = """
import logging
lines = []
class Keep(logging.Handler):
    def emit(self, record):
        lines.append(record.getMessage())
logging.getLogger("pygearman_cffi").addHandler(Keep())
logging.getLogger("pygearman_cffi").propagate = False
name = sys.argv[2]

class Asked(threading.Thread):
    # One job, done beside the worker.
    def __init__(self, function, payload=b"", timeout=10, **options):
        super().__init__(daemon=True)
        self.arguments = function, payload
        self.options = {"timeout": timeout, **options}
        self.start()
    def run(self):
        with Client(ADDRESS) as client:
            task = client.add_task(*self.arguments)
            try:
                client.run_tasks(self.options["timeout"])
            except GearmanTimeoutError:
                pass
            self.task = task
    def end(self):
        self.join(20)
        return self.task

def serving(**functions):
    worker = Worker(ADDRESS, timeout=10)
    for key, fn in functions.items():
        worker.add_function(name + key, fn)
    return worker

def good(worker):
    # The worker is as good as new.
    worker.add_function(name + "good", lambda job: job.workload[::-1])
    asked = Asked(name + "good", b"abc")
    while not worker.work() or worker.return_code is not ReturnCode.SUCCESS:
        pass
    assert asked.end().result == b"cba"
"""


def run_worker_trap(script: str, server: GearmanServer, *arguments: str) -> str:
    """Run a script about a worker of this server; return what it printed."""
    source = WORKER + textwrap.dedent(script)
    return run_trap(source, server.address, *arguments)
