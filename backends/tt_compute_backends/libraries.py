"""Whether the libraries that a backend needs are here, told from metadata alone."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterable
from typing import Final

import msgspec

from tt_compute.errors import BackendUnavailable
from tt_compute.types import Probe

__all__ = ["LOOP_LIBRARIES", "Library", "probe_libraries", "require"]


class Library(msgspec.Struct, frozen=True, kw_only=True):
    """A distribution that must be installed."""

    distribution: str
    least_version: tuple[int, ...] = ()


LOOP_LIBRARIES: Final = (
    Library(distribution="tokenizers", least_version=(0, 21)),
    Library(distribution="jinja2", least_version=(3, 1)),
    Library(distribution="llguidance", least_version=(1, 0)),
    Library(distribution="gguf", least_version=(0, 17)),
    Library(distribution="safetensors", least_version=(0, 5)),
)
"""Of our own decode loop, beside the one that computes: text, grammars and files of weights."""


def probe_libraries(libraries: Iterable[Library], install: str) -> Probe:
    """Look for all of them without importing any; the version is the first one's.

    Args:
        libraries: At least one.
        install: The line that would bring those that are missing.
    """
    versions: list[str] = []
    for library in libraries:
        try:
            version = importlib.metadata.version(library.distribution)
        except importlib.metadata.PackageNotFoundError:
            reason = f"{library.distribution} is not installed"
            return Probe(available=False, reason=reason, install=install)
        if _release(version, len(library.least_version)) < library.least_version:
            least = ".".join(map(str, library.least_version))
            return Probe(
                available=False,
                reason=f"{library.distribution} {version} is too old, {least} is needed",
                install=install,
                version=version,
            )
        versions.append(version)
    return Probe(available=True, version=versions[0])


def require(probe: Probe, *, backend: str, deployment: str) -> None:
    """Go on only where the backend can run.

    Raises:
        BackendUnavailable: A library is missing or too old.
    """
    if not probe.available:
        raise BackendUnavailable(
            probe.reason, backend=backend, deployment=deployment, hint=probe.install
        )


def _release(version: str, parts: int) -> tuple[int, ...]:
    """The first numbers of a version such as ``2026.4.1.0`` or ``2.13.0+cpu``."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:parts])
