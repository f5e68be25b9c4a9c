"""The files that a sandboxed program sees: a Python interpreter, its standard library, and system libraries."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from tt_compute.errors import VerifierError

__all__ = ["Runtime", "find_runtime"]

_LIBRARIES = ("/usr/lib", "/usr/lib32", "/usr/lib64", "/lib", "/lib32", "/lib64")
_SYSTEM_PYTHON = Path("/usr/bin/python3")


class Runtime(msgspec.Struct, frozen=True, kw_only=True):
    """An interpreter, and what has to be bound read-only for it to run."""

    python: Path
    """The real file, no link."""
    folders: tuple[Path, ...]
    """Beside the system's libraries."""
    hidden: tuple[Path, ...] = ()
    """Packages in the middle of those folders, which are not part of the standard library."""

    def arguments(self) -> list[str]:
        """For bwrap."""
        found: list[str] = []
        for library in map(Path, _LIBRARIES):
            if library.is_symlink():
                found += ["--symlink", str(library.readlink()), str(library)]
            elif library.is_dir():
                found += ["--ro-bind", str(library), str(library)]
        for path in (*self.folders, self.python):
            found += ["--ro-bind", str(path), str(path)]
        for path in self.hidden:
            found += ["--tmpfs", str(path), "--remount-ro", str(path)]
        return found


def find_runtime(system: Path = _SYSTEM_PYTHON) -> Runtime:
    """The Python that this is, where it is the system's; else the system's; else this one all the same.

    Raises:
        VerifierError: There is none.
    """
    prefix = Path(sys.base_prefix)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    own = prefix / "bin" / version
    if prefix != Path("/usr") and system.exists():
        return Runtime(python=system.resolve(), folders=())
    if not own.exists():
        raise VerifierError(
            f"there is no Python for the sandbox: neither {own} nor {system}",
            hint="install the system's python3",
        )
    if prefix == Path("/usr"):
        return Runtime(python=own.resolve(), folders=())
    library = prefix / "lib" / version
    shared = tuple(sorted((prefix / "lib").glob("libpython*.so*")))
    packages = library / "site-packages"
    return Runtime(
        python=own.resolve(),
        folders=(library, *shared),
        hidden=(packages,) if packages.is_dir() else (),
    )
