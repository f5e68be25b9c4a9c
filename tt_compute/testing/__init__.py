"""For tests: of programs that use tt_compute, and of backends that others write."""

from __future__ import annotations

from tt_compute.testing.conformance import RULES, ConformanceError, Report, check_backend
from tt_compute.testing.environment import backend_env, deployment_spec
from tt_compute.testing.subject import Subject
from tt_compute.testing.time import VirtualClock

__all__ = [
    "RULES",
    "ConformanceError",
    "Report",
    "Subject",
    "VirtualClock",
    "backend_env",
    "check_backend",
    "deployment_spec",
]
