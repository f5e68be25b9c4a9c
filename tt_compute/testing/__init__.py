"""For tests: of programs that use tt_compute, and of backends that others write."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tt_compute.testing.conformance import RULES, ConformanceError, Report, check_backend
from tt_compute.testing.environment import backend_env, deployment_spec
from tt_compute.testing.subject import Subject
from tt_compute.testing.time import VirtualClock

if TYPE_CHECKING:
    from tt_compute.testing.backend_conformance import BackendConformance

__all__ = [
    "RULES",
    "BackendConformance",
    "ConformanceError",
    "Report",
    "Subject",
    "VirtualClock",
    "backend_env",
    "check_backend",
    "deployment_spec",
]


def __getattr__(name: str) -> object:
    # The only name that needs pytest, which programs that use the others may not have.
    if name == "BackendConformance":
        from tt_compute.testing.backend_conformance import BackendConformance  # noqa: PLC0415

        return BackendConformance
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
