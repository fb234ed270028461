"""The shape of the package: who may import whom, and what may stand where."""

from __future__ import annotations

import ast
import importlib
import io
import json
import os
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import pygearman_cffi

PACKAGE = "pygearman_cffi"
FOLDER = Path(pygearman_cffi.__file__).parent

# From the ground up: a module imports only from lines above its own. A new module
# takes the lowest place at which its imports still stand above it.
LAYERS = (
    "enums",
    "errors",
    "status",
    "_libgearman",
    "_library",
    "_addresses",
    "_convert",
    "_raw",
    "_sockets",
    "_descriptor",
    "_handle",
    "_wakeup",
    "_frames",
    "_callbacks",
    "_config",
    "_set_up",
    "_unique",
    "_kind",
    "task",
    "_requests",
    "_connection",
    "_session",
    "_lanes",
    "_questions",
    "_feeding",
    "_engine",
    "_submit",
    "_map",
    "_partition",
    "_tasks",
    "_runs",
    "client",
    "_words",
    "_lent",
    "job",
    "_registry",
    "_probe",
    "_roster",
    "_dividing",
    "_cworker",
    "_handling",
    "_steps",
    "_service",
    "_functions",
    "_inquiries",
    "worker",
    "_testprocess",
    "_testserver",
    "testing",
    "pytest_plugin",
    "__init__",
    "__main__",
)

# The two faces: neither imports the other, in either direction.
STRANGERS = ("client", "worker")

# Imports inside functions hide cycles and cost at an unforeseen time; these are the
# exceptions, (module, imported), each with its reason.
LATE_IMPORTS = {
    # The last resort of the search for the library; slow, and not wanted at import.
    ("_library", "ctypes.util"),
    # Absent on some Pythons, and needed only when the first trampoline is made.
    ("_callbacks", "ctypes"),
    # `lib` is opened at first use, not at import.
    ("__init__", "_library"),
}

GENERATED = {"_libgearman"}
LONGEST = 350  # lines

# What only certain rooms may do.
OPENS_LIBRARY = {"_library"}
MAKES_CALLBACKS = {"_callbacks"}
CATCHES_EVERYTHING = {
    "_callbacks",  # no exception may enter C
    "testing",  # hands a thread's exception to the test
}
USES_SOCKETS = {
    "_sockets",
    "_descriptor",  # C's own sockets
    "_probe",  # a pre-flight in small steps
    "_testprocess",  # looks for a free port
    "_testserver",  # asks the server under test whether it answers
}

every_module = pytest.mark.parametrize("module", LAYERS)
every_written_module = pytest.mark.parametrize(
    "module", [layer for layer in LAYERS if layer not in GENERATED]
)


@cache
def source(module: str) -> str:
    """The text of a module."""
    return (FOLDER / f"{module}.py").read_text(encoding="utf-8")


@cache
def tree(module: str) -> ast.Module:
    """A module's syntax tree, without what only a type checker sees."""
    return ast.parse(source(module))


def is_for_type_checkers(node: ast.AST) -> bool:
    """Whether this is an ``if TYPE_CHECKING:``."""
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def nodes(node: ast.AST, *, functions: bool = True) -> Iterator[ast.AST]:
    """Every node that runs; without ``functions``, only what runs at import."""
    yield node
    for child in ast.iter_child_nodes(node):
        if is_for_type_checkers(child):
            continue
        if functions or not isinstance(
            child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
        ):
            yield from nodes(child, functions=functions)


def imported(node: ast.AST) -> list[str]:
    """The modules an import statement names; our own without the package's name."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif not isinstance(node, ast.ImportFrom):
        names = []
    elif node.module in {None, PACKAGE}:  # from . import _library, Client
        return [a.name if a.name in LAYERS else "__init__" for a in node.names]
    elif node.level:
        return [str(node.module)]
    else:
        names = [str(node.module)]
    ours = {PACKAGE: "__init__"}
    return [ours.get(name, name.removeprefix(f"{PACKAGE}.")) for name in names]


def imports(module: str, *, functions: bool = True) -> list[str]:
    """Every module that a module imports."""
    found = (imported(node) for node in nodes(tree(module), functions=functions))
    return [name for names in found for name in names]


def words(module: str) -> set[str]:
    """The names that a module uses, outside its strings and comments."""
    tokens = tokenize.generate_tokens(io.StringIO(source(module)).readline)
    return {token.string for token in tokens if token.type == tokenize.NAME}


def test_every_module_has_a_layer() -> None:
    """Every module of the package stands in the list of layers, exactly once."""
    assert sorted(path.stem for path in FOLDER.glob("*.py")) == sorted(LAYERS)


@every_module
def test_imports_point_downwards(module: str) -> None:
    """A module imports only modules of lower layers, from functions too."""
    below = LAYERS[: LAYERS.index(module)]
    ours = {name for name in imports(module) if name in LAYERS}
    assert sorted(ours - set(below)) == []


def test_client_and_worker_are_strangers() -> None:
    """The client does not import the worker, nor the worker the client."""
    for module in STRANGERS:
        assert set(STRANGERS).isdisjoint(imports(module))


@every_module
def test_imports_stand_at_the_top(module: str) -> None:
    """An import inside a function needs a reason, given in the list of them."""
    at_import = imports(module, functions=False)
    late = set(imports(module)) - set(at_import)
    assert {(module, name) for name in late} <= LATE_IMPORTS


def test_only_one_module_opens_the_library() -> None:
    """``dlopen`` is said in ``_library.py`` only."""
    assert {m for m in LAYERS if "dlopen" in words(m)} == OPENS_LIBRARY


def test_only_one_module_makes_callbacks() -> None:
    """``ffi.callback`` is said in ``_callbacks.py`` only."""
    makers = {
        module
        for module in LAYERS
        for node in nodes(tree(module))
        if isinstance(node, ast.Attribute)
        and node.attr == "callback"
        and ast.unparse(node.value).endswith("ffi")
    }
    assert makers == MAKES_CALLBACKS


def swallows_everything(node: ast.AST) -> bool:
    """Whether this catches even KeyboardInterrupt, and does not end by raising it."""
    return (
        isinstance(node, ast.ExceptHandler)
        and (node.type is None or "BaseException" in ast.unparse(node.type))
        and not (isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None)
    )


def test_nobody_else_swallows_everything() -> None:
    """``except BaseException`` without ``raise`` stands only where C is the caller."""
    found = {m for m in LAYERS if any(map(swallows_everything, nodes(tree(m))))}
    assert found <= CATCHES_EVERYTHING


def test_only_one_module_talks_to_the_network() -> None:
    """``socket`` is imported by ``_sockets.py`` (and the test server) only."""
    assert {m for m in LAYERS if "socket" in imports(m)} <= USES_SOCKETS


@every_written_module
def test_files_are_short(module: str) -> None:
    """A module that outgrows 350 lines is divided by subject."""
    assert len(source(module).splitlines()) <= LONGEST


def exported(module: str) -> list[str] | None:
    """A module's ``__all__``, None if it has none."""
    name = PACKAGE if module == "__init__" else f"{PACKAGE}.{module}"
    return getattr(importlib.import_module(name), "__all__", None)


def order(name: str) -> tuple[int, str]:
    """The order of names in ``__all__``: CONSTANTS, Classes, the others."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


@pytest.mark.parametrize(
    "module",
    [m for m in LAYERS if m == "__init__" or not m.startswith("_")],
)
def test_public_modules_say_what_is_public(module: str) -> None:
    """A public module has an ``__all__``, sorted, and each name in it exists."""
    names = exported(module)
    assert names is not None
    assert names == sorted(names, key=order)
    found = importlib.import_module(f"{PACKAGE}.{module}".removesuffix(".__init__"))
    assert [name for name in names if not hasattr(found, name)] == []


def bound(node: ast.AST) -> list[str]:
    """The names of ours that a statement of the package root binds."""
    if isinstance(node, ast.ImportFrom) and (node.level or node.module == PACKAGE):
        return [alias.asname or alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and str(node.module).startswith(f"{PACKAGE}."):
        return [alias.asname or alias.name for alias in node.names]
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [t.id for t in node.targets if isinstance(t, ast.Name)]
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return [node.target.id]
    return []


def test_the_root_exports_what_it_binds() -> None:
    """Every public name of the package root is in its ``__all__``, and listed."""
    names = [name for node in tree("__init__").body for name in bound(node)]
    public = {name for name in names if not name.startswith("_")} - {"TYPE_CHECKING"}
    assert sorted(public - set(pygearman_cffi.__all__)) == []
    assert set(pygearman_cffi.__all__) <= set(dir(pygearman_cffi))


IMPORT_ALONE = """
import json, sys
import pygearman_cffi
try:
    with open("/proc/self/maps") as maps:
        opened = "libgearman.so" in maps.read()
except FileNotFoundError:
    opened = None
slow = {"pycparser", "cffi", "ctypes.util"} & set(sys.modules)
print(json.dumps({"opened": opened, "slow": sorted(slow)}))
"""


def test_import_is_light() -> None:
    """Importing neither parses C, nor searches for the library, nor opens it."""
    # A path that does not exist: the import must not even look.
    environment = {**os.environ, "PYGEARMAN_LIBGEARMAN": "/nonexistent/libgearman.so"}
    answer = subprocess.run(
        [sys.executable, "-c", IMPORT_ALONE],
        cwd=FOLDER.parent,
        env=environment,
        stdout=subprocess.PIPE,
        check=True,
    )
    told = json.loads(answer.stdout)
    assert told["slow"] == []
    assert told["opened"] in {False, None}
