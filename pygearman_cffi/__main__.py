"""Command line: `python -m pygearman_cffi info`."""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version

from . import __version__, _library
from .errors import LibraryNotFoundError

__all__ = ["main"]


def _info() -> int:
    """Print what a bug report needs; 1 where libgearman cannot be opened."""
    try:
        cffi = version("cffi")
    except PackageNotFoundError:  # PyPy has its own
        cffi = "built in"
    print(f"pygearman_cffi  {__version__}")
    print(f"Python          {platform.python_version()} ({platform.platform()})")
    print(f"cffi            {cffi}")
    try:
        path = _library.library_path()
    except LibraryNotFoundError as reason:
        print(f"libgearman      not found\n{reason}", file=sys.stderr)
        return 1
    print(f"libgearman      {_library.version_text()}")
    print(f"file            {path}")
    print("features")
    for name, value in asdict(_library.features()).items():
        print(f"  {name:<20} {'yes' if value else 'no'}")
    print("missing optional symbols")
    missing = _library.missing_symbols()
    for name in missing:
        print(f"  {name:<24} {_library.OPTIONAL_SYMBOLS[name]}")
    if not missing:
        print("  none")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m pygearman_cffi",
        description="Use the system's libgearman from Python.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("info", help="print path, versions and features of libgearman")
    parser.parse_args(arguments)
    return _info()


if __name__ == "__main__":
    sys.exit(main())
