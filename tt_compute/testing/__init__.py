"""For tests: of programs that use tt_compute, and of backends that others write.

Names load when they are first used: the mock backend takes its options from here and needs nothing else.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tt_compute.testing.backend_conformance import BackendConformance as BackendConformance
    from tt_compute.testing.conformance import RULES as RULES
    from tt_compute.testing.conformance import ConformanceError as ConformanceError
    from tt_compute.testing.conformance import Report as Report
    from tt_compute.testing.conformance import check_backend as check_backend
    from tt_compute.testing.environment import backend_env as backend_env
    from tt_compute.testing.environment import deployment_spec as deployment_spec
    from tt_compute.testing.mock_answers import Answer as Answer
    from tt_compute.testing.mock_answers import Rule as Rule
    from tt_compute.testing.mock_faults import Fault as Fault
    from tt_compute.testing.mock_limits import MockLimits as MockLimits
    from tt_compute.testing.mock_options import Latency as Latency
    from tt_compute.testing.mock_quantities import Distribution as Distribution
    from tt_compute.testing.mock_questions import MockAbility as MockAbility
    from tt_compute.testing.mock_questions import Question as Question
    from tt_compute.testing.mock_questions import QuestionSet as QuestionSet
    from tt_compute.testing.mock_questions import Rates as Rates
    from tt_compute.testing.scenario import Scenario as Scenario
    from tt_compute.testing.scenario_deployment import MockDeployment as MockDeployment
    from tt_compute.testing.scenario_deployment import UsdPerMtok as UsdPerMtok
    from tt_compute.testing.subject import Subject as Subject
    from tt_compute.testing.time import VirtualClock as VirtualClock

_HOMES = {
    "RULES": "conformance",
    "Answer": "mock_answers",
    "BackendConformance": "backend_conformance",
    "ConformanceError": "conformance",
    "Distribution": "mock_quantities",
    "Fault": "mock_faults",
    "Latency": "mock_options",
    "MockAbility": "mock_questions",
    "MockDeployment": "scenario_deployment",
    "MockLimits": "mock_limits",
    "Question": "mock_questions",
    "QuestionSet": "mock_questions",
    "Rates": "mock_questions",
    "Report": "conformance",
    "Rule": "mock_answers",
    "Scenario": "scenario",
    "Subject": "subject",
    "UsdPerMtok": "scenario_deployment",
    "VirtualClock": "time",
    "backend_env": "environment",
    "check_backend": "conformance",
    "deployment_spec": "environment",
}

__all__ = [
    "RULES",
    "Answer",
    "BackendConformance",
    "ConformanceError",
    "Distribution",
    "Fault",
    "Latency",
    "MockAbility",
    "MockDeployment",
    "MockLimits",
    "Question",
    "QuestionSet",
    "Rates",
    "Report",
    "Rule",
    "Scenario",
    "Subject",
    "UsdPerMtok",
    "VirtualClock",
    "backend_env",
    "check_backend",
    "deployment_spec",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'tt_compute.testing' has no attribute {name!r}")
    value = getattr(import_module(f"tt_compute.testing.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
