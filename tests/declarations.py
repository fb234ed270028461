"""The checker of cdef/*.h: compares declarations with the installed C headers.

``disagreements`` is the whole of it. C itself does the comparing: it compiles a file
in which every prototype, typedef and field type of ours meets the real one, and runs a
program that prints the real numbers for us to compare with cffi's.
"""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from pycparser import c_ast, c_generator  # type: ignore[import-untyped]

import build_ffi
from tests import c_compiler

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from _cffi_backend import FFI

INCLUDES = "#include <libgearman/gearman.h>\n#include <stdio.h>\n#include <stdlib.h>\n"


class Field(NamedTuple):
    """A member of a struct, also one that sits in a nameless struct inside it."""

    struct: str  # "struct gearman_task_attr_t"
    path: tuple[str, ...]  # ("options", "epoch")
    declaration: Any


def load(headers: dict[str, str]) -> FFI:
    """Return the ffi object that build_ffi.py makes of cdef texts."""
    namespace: dict[str, FFI] = {}
    exec(build_ffi.generate_module(headers), namespace)
    return namespace["ffi"]


def enumerators(node: Any) -> list[str]:
    """Return the names an enum declares, [] for anything else."""
    inner = node.type.type if isinstance(node, c_ast.Typedef) else node.type
    if isinstance(inner, c_ast.Enum) and inner.values:
        return [value.name for value in inner.values.enumerators]
    return []


def fields(node: Any) -> list[Any]:
    """Return the members a struct declares, [] for anything else."""
    is_struct = isinstance(node.type, (c_ast.Struct, c_ast.Union))
    return list(node.type.decls or []) if is_struct else []


def names(node: Any) -> list[str]:
    """Return everything that one declaration declares, each name with its kind."""
    if isinstance(node, c_ast.FuncDef):
        return [f"inline function {node.decl.name}"]
    constants, members = enumerators(node), fields(node)
    if isinstance(node, c_ast.Typedef):
        own = [f"typedef {node.name}"]
    elif constants:
        own = [f"enum {node.type.name}"]
    elif members:
        own = [f"struct {node.type.name}"]
    elif isinstance(node.type, c_ast.FuncDecl):
        own = [f"function {node.name}"]
    else:
        own = []  # struct name; and nothing more
    own += [f"constant {name}" for name in constants]
    return own + [f"field {node.type.name}.{member.name}" for member in members]


def names_by_header(text: str) -> dict[str, list[str]]:
    """Return what each header declares: what comes in order, then its macros.

    Line markers (``# 1 "client.h"``) in the text say which header a line is from.
    """
    result: dict[str, list[str]] = {}
    for node in build_ffi.parse(text):
        result.setdefault(node.coord.file, []).extend(names(node))
    _, *parts = re.split(r'^# \d+ "(.*)".*\n', text, flags=re.MULTILINE)
    for header, part in zip(parts[::2], parts[1::2], strict=True):
        macros = [f"macro {name}" for name in build_ffi.find_macros(part)]
        result.setdefault(header, []).extend(macros)
    return result


def upstream_names() -> dict[str, list[str]]:
    """Return what each installed header declares; see ``names_by_header``."""
    lines, inside = ['# 1 "system"', "typedef int in_port_t, time_t;"], False
    for line in c_compiler.preprocess(INCLUDES).splitlines():
        marker = re.match(r'# (\d+) ".*/libgearman-1\.0/(.*)"', line)
        if line.startswith("# "):
            inside = marker is not None
        if marker:
            lines.append(f'# {marker[1]} "{marker[2]}"')
        elif inside:
            lines.append(line)
    result = names_by_header("\n".join(lines) + "\n")
    del result["system"]
    return result


def our_names(headers: dict[str, str]) -> dict[str, list[str]]:
    """Return what each cdef file declares; see ``names_by_header``."""
    return names_by_header(
        "".join(f'# 1 "{name}"\n{text}\n' for name, text in headers.items())
    )


def all_fields(text: str) -> Iterator[Field]:
    """Yield every field of every struct, those of nameless structs by their path."""

    def walk(struct: str, path: tuple[str, ...], members: list[Any]) -> Iterator[Field]:
        for member in members:
            here = (*path, member.name)
            yield Field(struct, here, member)
            inner = getattr(member.type, "type", None)
            if isinstance(inner, c_ast.Struct) and inner.name is None:
                yield from walk(struct, here, inner.decls)

    for node in build_ffi.parse(text):
        yield from walk(f"struct {getattr(node.type, 'name', '')}", (), fields(node))


def render(node: Any, name: str, *, pointer: bool) -> str:
    """Return the C text that declares ``name`` with a declaration's type."""
    node = copy.deepcopy(node)
    innermost = node.type
    while not isinstance(innermost, c_ast.TypeDecl):
        innermost = innermost.type
    innermost.declname = name
    node.type = c_ast.PtrDecl([], node.type) if pointer else node.type
    node.storage = []
    node.name = name
    return str(c_generator.CGenerator().visit(node))


def comparison(text: str, absent: set[str]) -> str:
    """Return a C file that compiles only if every type of ours is C's own."""
    lines = [INCLUDES]
    for node in build_ffi.parse(text):
        if isinstance(node, c_ast.Typedef) and not enumerators(node):
            check = render(node, f"typedef_{node.name}", pointer=True)
            lines.append(f"{check} = ({node.name} *)0;")
        elif isinstance(node.type, c_ast.FuncDecl) and node.name not in absent:
            check = render(node, f"function_{node.name}", pointer=True)
            lines.append(f"{check} = {node.name};")
    for number, field in enumerate(all_fields(text)):
        inner = getattr(field.declaration.type, "type", None)
        if isinstance(inner, c_ast.Struct) and inner.name is None:
            continue  # a union in C; its member is compared
        ours = render(field.declaration, f"field_{number}", pointer=False)
        where = f"(({field.struct} *)0)->{'.'.join(field.path)}"
        same = f"__typeof__(field_{number}), __typeof__({where})"
        lines.append(f"extern {ours};")
        lines.append(
            f"_Static_assert(__builtin_types_compatible_p({same}), "
            f'"{field.struct} {".".join(field.path)}");'
        )
    return "\n".join(lines) + "\n"


def has_size(declared: Any) -> bool:
    """Say whether a typedef has a size of its own: no struct, no function."""
    is_struct = isinstance(getattr(declared, "type", None), c_ast.Struct)
    return not is_struct and not isinstance(declared, c_ast.FuncDecl)


def numbers(text: str, ffi: FFI, absent: set[str]) -> dict[str, tuple[str, int]]:
    """Return what to compare: a label -> (the expression in C, the number in cffi)."""
    result: dict[str, tuple[str, int]] = {}

    def measure(kind: str) -> None:
        result[f"sizeof {kind}"] = f"sizeof({kind})", ffi.sizeof(kind)
        result[f"alignof {kind}"] = f"_Alignof({kind})", ffi.alignof(kind)

    constants = list(build_ffi.find_macros(text))
    for node in build_ffi.parse(text):
        constants += enumerators(node)
        if enumerators(node):
            is_typedef = isinstance(node, c_ast.Typedef)
            kind = node.name if is_typedef else f"enum {node.type.name}"
            measure(kind)
            negative = int(ffi.cast(kind, -1)) < 0
            result[f"signed {kind}"] = f"({kind})-1 < 0", negative
        elif fields(node):
            measure(f"struct {node.type.name}")
        elif isinstance(node, c_ast.Typedef) and has_size(node.type):
            measure(node.name)
    for name in constants:
        if name not in absent:
            result[f"constant {name}"] = name, ffi.integer_const(name)
    for struct, path, _ in all_fields(text):
        member = ".".join(path)
        offset = ffi.offsetof(struct, *path)
        result[f"offsetof {struct} {member}"] = f"offsetof({struct}, {member})", offset
        size = ffi.sizeof(field_type(ffi, struct, path))
        result[f"sizeof {struct} {member}"] = f"sizeof((({struct} *)0)->{member})", size
    return result


def field_type(ffi: FFI, struct: str, path: tuple[str, ...]) -> FFI.CType:
    """Return cffi's type of a field."""
    ctype = ffi.typeof(struct)
    for name in path:
        ctype = dict(ctype.fields)[name].type
    return ctype


def disagreements(headers: dict[str, str], absent: set[str], folder: Path) -> list[str]:
    """Return what C says against cdef texts, [] when every declaration is true.

    ``absent`` are the functions and constants that the installed headers do not have.
    """
    text = "\n".join(headers.values())
    complaints = c_compiler.compile_object(comparison(text, absent), folder)
    if complaints:
        return complaints.splitlines()
    expected = numbers(text, load(headers), absent)
    printing = "".join(
        f'printf("%s=%lld\\n", "{label}", (long long)({expression}));\n'
        for label, (expression, _) in expected.items()
    )
    source = f"{INCLUDES}int main(void) {{\n{printing}return 0;\n}}\n"
    printed = c_compiler.build_and_run(source, folder)
    actual = dict(line.rsplit("=", 1) for line in printed.splitlines())
    assert actual.keys() == expected.keys()
    return [
        f"{label}: {ours} in cffi, {actual[label]} in C"
        for label, (_, ours) in expected.items()
        if ours != int(actual[label])
    ]
