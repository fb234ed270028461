"""Systems that refuse executable memory: a clear error, and what works all the same.

The refusal is real: a seccomp filter in a process of its own turns down every executable
mapping, as SELinux and systemd can. Where cffi only pretends to be refused is in
`test_client_guards.py` and `test_worker_life.py`.
"""

from __future__ import annotations

import platform

import pytest

from pygearman_cffi import Client
from pygearman_cffi.testing import GearmanServer
from tests.isolated import run_isolated
from tests.programs import wait_for

# The numbers of mmap and mprotect, and what AUDIT_ARCH calls the machine.
MACHINES = {"x86_64": (9, 10, 0xC000003E), "aarch64": (222, 226, 0xC00000B7)}

HARDEN = """
import ctypes, os, struct, sys

def harden(mmap, mprotect, machine):
    # A seccomp filter: mmap and mprotect with PROT_EXEC fail with EACCES.
    load, equal, bit, answer = 0x20, 0x15, 0x45, 0x06
    program = [
        (load, 0, 0, 4), (equal, 0, 6, machine),
        (load, 0, 0, 0), (equal, 1, 0, mmap), (equal, 0, 3, mprotect),
        (load, 0, 0, 32), (bit, 0, 1, 4),
        (answer, 0, 0, 0x00050000 | 13), (answer, 0, 0, 0x7FFF0000),
    ]
    code = b"".join(struct.pack("HBBI", *line) for line in program)
    held = ctypes.create_string_buffer(code)
    whole = struct.pack("HxxxxxxP", len(program), ctypes.addressof(held))
    libc = ctypes.CDLL(None, use_errno=True)
    no_new_privileges, seccomp, filtering = 38, 22, 2
    for call in ((no_new_privileges, 1, 0), (seccomp, filtering, whole)):
        if libc.prctl(*call, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl")
"""


@pytest.fixture
def hardened() -> str:
    """The beginning of a script, which may call `harden_now()`."""
    numbers = MACHINES.get(platform.machine())
    if numbers is None:
        pytest.fail(f"give the system calls of {platform.machine()} in MACHINES")
    return f"{HARDEN}\ndef harden_now():\n    harden{numbers}\n"


SCRIPT = """
import mmap
import pygearman_cffi
from pygearman_cffi import *
address, name = sys.argv[1:]
# Libraries need such mappings too.
pygearman_cffi.lib.gearman_version()
"localhost".encode("idna")
harden_now()
try:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC)
except PermissionError:
    pass
else:
    raise SystemExit("nothing is refused")

def refused(call):
    try:
        call()
    except OutOfMemoryError as error:
        text = str(error)
        for word in ("executable memory", "SELinux (deny_execmem)", "pip",
                     "systemd (MemoryDenyWriteExecute=yes)", "callback"):
            assert word in text, text
        assert isinstance(error, MemoryError)
    else:
        raise SystemExit("not refused")

client, worker = Client(address, timeout=10), Worker(address, timeout=10)
task = client.add_task("f", b"x")
for _ in range(2):
    refused(lambda: client.do("f", b"x"))
    refused(lambda: client.do_background("f", b"x"))
    refused(client.run_tasks)
    refused(lambda: list(client.map("f", [b"x"])))
assert task.state is TaskState.WAITING
worker.add_function(name, lambda job: None)
refused(worker.work)
refused(worker.run)
# What needs no callback works.
assert not client.unique_status("x").known
worker.echo(b"x")
worker.unregister(name)
worker.register(name)
print("ready", flush=True)
while not (job := worker.grab_job()):
    pass
job.send_data(b"half ")
job.send_complete(job.workload.upper())
job.close()
worker.close()
client.close()
client.close()
"""


def test_executable_memory_is_refused(
    hardened: str, gearman_server: GearmanServer
) -> None:
    """Calls that need a callback name cause and cures; grab_job() and others work."""
    name = "hardened"
    with Client(gearman_server.address, timeout=10) as client:
        handle = client.do_background(name, b"abc")
        told = run_isolated(hardened + SCRIPT, gearman_server.address, name)
        assert told == "ready\n"
        wait_for(lambda: not client.job_status(handle).known)


def test_nothing_is_made_at_import(gearman_server: GearmanServer) -> None:
    """Neither import nor construction makes a callback, opens the library or a file."""
    script = """
        import cffi, os, sys
        made = []

        def files():
            return sorted(os.listdir("/proc/self/fd"))

        def mapped():
            with open("/proc/self/maps") as maps:
                return [line for line in maps if "x" in line.split()[1]]

        before = files()
        import pygearman_cffi
        from pygearman_cffi import Client, Worker, _callbacks, _library
        executable = mapped()
        assert files() == before
        client, worker = Client(sys.argv[1]), Worker(sys.argv[1])
        worker.add_function("f", print)
        client.add_task("f", b"x")
        worker.stop()
        assert _callbacks._made == {}
        assert mapped() == executable
        assert not any("libgearman" in line for line in executable)
        worker.close()
        client.close()
        assert files() == before
        # At first use, and only what is needed.
        with Client(sys.argv[1], timeout=10) as client:
            client.echo(b"x")
            assert "function" not in _callbacks._made and _callbacks._made
            assert "log" not in _callbacks._made
            kept = dict(_callbacks._made)
            client.do_background("f", b"x")
        with Client(sys.argv[1], timeout=10) as client:
            client.echo(b"x")
        assert all(_callbacks._made[key] is kept[key] for key in kept)
    """
    run_isolated(script, gearman_server.address)
