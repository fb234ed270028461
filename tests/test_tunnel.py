"""The recipe of TLS.md, run end to end with certificates of its own."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from pygearman_cffi import Client, CouldNotConnectError, Worker
from pygearman_cffi._testprocess import pick_port
from pygearman_cffi.testing import GearmanServer, WorkerThread
from tests.programs import is_listening, wait_for

ROOT = Path(__file__).parent.parent
RECIPES = re.findall(
    r"```ini\n(.*?)```", (ROOT / "TLS.md").read_text(encoding="utf-8"), re.DOTALL
)
HOST = "jobs.example"


def openssl(folder: Path, *arguments: str) -> None:
    """Run openssl in a folder."""
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def authority(folder: Path) -> None:
    """Make an authority."""
    folder.mkdir()
    openssl(
        folder,
        *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
        *("-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem"),
    )


def certify(folder: Path, name: str, host: str) -> None:
    """Make a certificate for a host, signed by the folder's authority."""
    openssl(
        folder,
        *("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={host}"),
        *("-addext", f"subjectAltName=DNS:{host}"),
        *("-keyout", f"{name}.key", "-out", f"{name}.csr"),
    )
    openssl(
        folder,
        *("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key"),
        *("-days", "2", "-copy_extensions", "copy", "-out", f"{name}.pem"),
    )


@contextmanager
def stunnel(recipe: str, folder: Path, accept: int, connect: int) -> Iterator[int]:
    """Run one end of the tunnel as TLS.md has it, with other ports and files."""
    text = re.sub(r"(?m)^accept = .*$", f"accept = 127.0.0.1:{accept}", recipe)
    text = re.sub(r"(?m)^connect = .*$", f"connect = 127.0.0.1:{connect}", text)
    text = "pid =\n" + text.replace("/etc/gearman", str(folder))
    end = subprocess.Popen(
        ["stunnel", "-fd", "0"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert end.stdin is not None
        end.stdin.write(text)
        end.stdin.close()
        wait_for(lambda: is_listening(accept))
        yield accept
    finally:
        end.terminate()
        end.wait(10)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two authorities with certificates, and one whose server has another name."""
    base = tmp_path_factory.mktemp("keys")
    folders = {}
    for name, host in (("ours", HOST), ("foreign", HOST), ("other host", "a.example")):
        folders[name] = folder = base / name.replace(" ", "-")
        authority(folder)
        certify(folder, "server", host)
        certify(folder, "client", "client.example")
    return folders


@contextmanager
def tunnel(server: GearmanServer, near: Path, far: Path) -> Iterator[str]:
    """Both ends before a job server; return the address for clients and workers."""
    with ExitStack() as stack:
        outside = stack.enter_context(
            stunnel(RECIPES[0], far, pick_port(), server.port)
        )
        inside = stack.enter_context(stunnel(RECIPES[1], near, pick_port(), outside))
        yield f"127.0.0.1:{inside}"


def test_through_the_tunnel(keys: dict[str, Path]) -> None:
    """A client and a worker work through the tunnel, with large payloads too."""
    payload = bytes(range(256)) * 4096
    with (
        GearmanServer() as server,
        tunnel(server, keys["ours"], keys["ours"]) as address,
        Worker(address) as worker,
        Client(address, timeout=30) as client,
    ):
        worker.add_function("reverse", lambda job: job.workload[::-1])
        with WorkerThread(worker):
            assert client.do("reverse", b"Hello!") == b"!olleH"
            assert client.do("reverse", payload) == payload[::-1]


@pytest.mark.parametrize(
    ("near", "far"),
    [("ours", "foreign"), ("foreign", "ours"), ("other host", "other host")],
    ids=["foreign server", "foreign client", "other host"],
)
def test_who_is_not_verified_is_not_connected(
    keys: dict[str, Path], near: str, far: str
) -> None:
    """A server or client of another authority, or another host, gets no further."""
    with (
        GearmanServer() as server,
        tunnel(server, keys[near], keys[far]) as address,
        Client(address, timeout=30) as client,
        pytest.raises(CouldNotConnectError),
    ):
        client.echo(b"x")
