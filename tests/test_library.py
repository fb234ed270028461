"""Finding, opening and holding libgearman; the command line that tells of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import pygearman_cffi
from pygearman_cffi import LibraryNotFoundError, _library, ffi, lib
from tests.isolated import ROOT, run_isolated

NOWHERE = "/nonexistent/libgearman.so"

WITHOUT = """
    import sys
    import pygearman_cffi
    from pygearman_cffi import Client, LibraryNotFoundError, ReturnCode
    from pygearman_cffi import client, enums, errors, status, task, testing

    # What needs no C works.
    assert ReturnCode.SUCCESS == 0 and Client().servers
    for use in (
        lambda: pygearman_cffi.lib,
        lambda: pygearman_cffi.features,
        lambda: pygearman_cffi.libgearman_version,
        lambda: Client("127.0.0.1:1").do("f"),
        lambda: pygearman_cffi.lib,
    ):
        try:
            use()
        except LibraryNotFoundError as error:
            print(error)
        else:
            raise SystemExit("nothing was raised")
"""


def test_without_the_library() -> None:
    """Import needs no library; each first use says what was tried and what to do."""
    told = run_isolated(WITHOUT, PYGEARMAN_LIBGEARMAN=NOWHERE)
    assert told.count("libgearman could not be opened. Tried:") == 5
    # The loader's own words, for the name that was given and no other.
    assert told.count(f"  {NOWHERE}: ") == 5
    assert "No such file" in told
    assert "libgearman.so.8" not in told
    for command in ("apt-get install", "dnf install", "apk add", "brew install"):
        assert told.count(command) == 5
    assert "PYGEARMAN_LIBGEARMAN" in told


def test_each_name_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an override every usual name is tried, the search last."""
    names = list(_library._candidates())
    assert names[:2] == ["libgearman.so.8", "libgearman.so"]
    monkeypatch.setenv("PYGEARMAN_LIBGEARMAN", "/a/b.so")
    assert list(_library._candidates()) == ["/a/b.so"]


def test_every_failure_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error lists each name with the loader's message, in the order tried."""
    monkeypatch.setattr(_library, "_lib", None)
    monkeypatch.setattr(_library, "_candidates", lambda: iter(["x.so", NOWHERE]))
    with pytest.raises(LibraryNotFoundError) as caught:
        _library.load()
    first, second = str(caught.value).splitlines()[1:3]
    assert first.startswith("  x.so: ")
    assert second.startswith(f"  {NOWHERE}: ")
    assert isinstance(caught.value, ImportError)


@pytest.mark.parametrize("kind", ["text", "folder", "another library"])
def test_override_that_is_no_libgearman(tmp_path: Path, kind: str) -> None:
    """A file that is not libgearman is refused by name, never replaced silently."""
    path = tmp_path / "file.so"
    if kind == "text":
        path.write_text("no library")
    elif kind == "folder":
        path.mkdir()
    name = "libm.so.6" if kind == "another library" else str(path)
    script = """
        import pygearman_cffi
        try:
            pygearman_cffi.lib
        except pygearman_cffi.LibraryNotFoundError as error:
            print(error)
    """
    assert f"  {name}: " in run_isolated(script, PYGEARMAN_LIBGEARMAN=name)


def test_override_of_a_copy(tmp_path: Path) -> None:
    """$PYGEARMAN_LIBGEARMAN names the file that is opened, and `info` shows it."""
    copy = tmp_path / "libgearman-mine.so"
    copy.write_bytes(Path(_library.library_path()).read_bytes())
    done = info(PYGEARMAN_LIBGEARMAN=str(copy))
    assert done.returncode == 0, done.stderr
    assert f"file            {copy}" in done.stdout


def info(**environment: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m pygearman_cffi info`."""
    return subprocess.run(
        [sys.executable, "-m", "pygearman_cffi", "info"],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_info() -> None:
    """`info` prints versions, the file, the features and what the library lacks."""
    done = info()
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split(None, 1) for line in done.stdout.splitlines()]
    told = {line[0]: line[1] for line in lines if len(line) == 2}
    assert told["pygearman_cffi"] == pygearman_cffi.__version__
    assert told["libgearman"] == _library.version_text()
    assert told["Python"].startswith(sys.version.split()[0])
    assert "libgearman" in told["file"]
    assert told["loose_replies"] in {"yes", "no"}
    for name in _library.missing_symbols():
        assert told[name] == _library.OPTIONAL_SYMBOLS[name]


def test_info_without_the_library() -> None:
    """`info` ends with 1 and says why, on standard error, where nothing is found."""
    done = info(PYGEARMAN_LIBGEARMAN=NOWHERE)
    assert done.returncode == 1
    assert NOWHERE in done.stderr
    assert pygearman_cffi.__version__ in done.stdout


def test_raw_layer() -> None:
    """`ffi` and `lib` are C's own functions and constants, under their own names."""
    assert ffi.string(lib.gearman_version()) == _library.version_text().encode()
    assert lib.GEARMAN_SUCCESS == 0
    client = lib.gearman_client_create(ffi.NULL)
    code = lib.gearman_client_add_server(client, b"127.0.0.1", 4730)
    assert pygearman_cffi.gearman_success(code)
    lib.gearman_client_free(client)
    assert pygearman_cffi.lib is lib
    with pytest.raises(AttributeError):
        getattr(pygearman_cffi, "nothing_of_ours")  # noqa: B009  mypy knows


def test_inline_helpers() -> None:
    """What C defines inline does here what it does in C."""
    assert pygearman_cffi.gearman_failed(lib.GEARMAN_TIMEOUT)
    assert not pygearman_cffi.gearman_failed(lib.GEARMAN_SUCCESS)
    for code in ("IO_WAIT", "IN_PROGRESS", "PAUSE", "JOB_EXISTS"):
        assert pygearman_cffi.gearman_continue(getattr(lib, f"GEARMAN_{code}"))
    assert not pygearman_cffi.gearman_continue(lib.GEARMAN_SUCCESS)
    assert pygearman_cffi.gearman_literal_param(b"a\0b") == (b"a\0b", 3)
    assert pygearman_cffi.take_bytes(ffi.NULL, 5) == b""
    memory = lib.malloc(3)
    ffi.memmove(memory, b"a\0b", 3)
    assert pygearman_cffi.take_bytes(memory, 3) == b"a\0b"


def test_version_and_features() -> None:
    """The version is numbers; features follow from it and from the symbols."""
    version = pygearman_cffi.libgearman_version
    assert version >= (1, 1, 18)
    assert _library.version_text().startswith(".".join(map(str, version)))
    features = pygearman_cffi.features
    assert features.loose_replies == (version >= (2,))
    assert features.ssl == _library.has_symbol("SSL_CTX_new")
    assert not _library.has_symbol("gearman_no_such_function")


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("1.1.20+ds", (1, 1, 20)), ("1.1.19.1", (1, 1, 19, 1)), ("2.0.0", (2, 0, 0))]
    + [("unknown", ())],
)
def test_versions_of_distributions(
    monkeypatch: pytest.MonkeyPatch, text: str, numbers: tuple[int, ...]
) -> None:
    """Letters that a distribution adds to the version are dropped."""
    monkeypatch.setattr(_library, "version_text", lambda: text)
    assert _library.version() == numbers


SERVERS = """
    import os
    from pygearman_cffi import Client, InvalidArgumentError, ffi, lib
    from pygearman_cffi._library import new_client, new_worker

    for make, has in ((new_client, "client"), (new_worker, "worker")):
        made = make()
        getattr(lib, f"gearman_{has}_free")(made)
    assert os.environ["GEARMAN_SERVERS"] == os.environ["EXPECTED"]
    assert Client("a:1").servers == (("a", 1),)
    try:
        print(Client().servers)
    except InvalidArgumentError as error:
        print(error)
"""


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("one:5000,two", "(('one', 5000), ('two', 4730))"),
        ("no host at all:x", "$GEARMAN_SERVERS"),
        ("", "(('localhost', 4730),)"),
    ],
)
def test_servers_variable(value: str, told: str) -> None:
    """$GEARMAN_SERVERS is the default server list, and no trap for C's create."""
    assert told in run_isolated(SERVERS, GEARMAN_SERVERS=value, EXPECTED=value)


def test_the_library_is_never_unmapped() -> None:
    """The library stays mapped when its handle is closed: threads may be inside."""
    script = """
        from pathlib import Path
        from pygearman_cffi import _library, ffi
        ffi.dlclose(_library.load())
        assert "libgearman" in Path("/proc/self/maps").read_text()
    """
    run_isolated(script)


def test_first_use_in_many_threads() -> None:
    """Threads that all come first open the library once."""
    script = """
        import threading
        from pygearman_cffi import _library
        barrier = threading.Barrier(16)
        found = []
        def use():
            barrier.wait()
            found.append((_library.load(), _library.new_client()))
        threads = [threading.Thread(target=use) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({id(library) for library, _ in found}) == 1
        assert len(found) == 16
    """
    run_isolated(script)
