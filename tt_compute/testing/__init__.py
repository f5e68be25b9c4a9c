"""For tests: of programs that use tt_compute, and of backends that others write.

Names load when they are first used: the mock backend takes its options from here and needs nothing else, and the
pytest plugin is loaded in every test run.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tt_compute.testing.assertions import assert_cost_at_most as assert_cost_at_most
    from tt_compute.testing.assertions import assert_fell_back as assert_fell_back
    from tt_compute.testing.assertions import assert_no_fallback as assert_no_fallback
    from tt_compute.testing.assertions import assert_plan as assert_plan
    from tt_compute.testing.assertions import assert_rejected as assert_rejected
    from tt_compute.testing.assertions import assert_samples as assert_samples
    from tt_compute.testing.assertions import assert_stopped_early as assert_stopped_early
    from tt_compute.testing.backend_conformance import BackendConformance as BackendConformance
    from tt_compute.testing.bench import MockAsyncClient as MockAsyncClient
    from tt_compute.testing.bench import MockClient as MockClient
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
    from tt_compute.testing.mocking import Faults as Faults
    from tt_compute.testing.mocking import MockBuilder as MockBuilder
    from tt_compute.testing.scenario import Scenario as Scenario
    from tt_compute.testing.scenario_deployment import MockDeployment as MockDeployment
    from tt_compute.testing.scenario_deployment import UsdPerMtok as UsdPerMtok
    from tt_compute.testing.snapshot import Snapshots as Snapshots
    from tt_compute.testing.snapshot import plan_snapshot as plan_snapshot
    from tt_compute.testing.subject import Subject as Subject
    from tt_compute.testing.time import VirtualClock as VirtualClock

_HOMES = {
    "Answer": "mock_answers",
    "BackendConformance": "backend_conformance",
    "ConformanceError": "conformance",
    "Distribution": "mock_quantities",
    "Fault": "mock_faults",
    "Faults": "mocking",
    "Latency": "mock_options",
    "MockAbility": "mock_questions",
    "MockAsyncClient": "bench",
    "MockBuilder": "mocking",
    "MockClient": "bench",
    "MockDeployment": "scenario_deployment",
    "MockLimits": "mock_limits",
    "Question": "mock_questions",
    "QuestionSet": "mock_questions",
    "RULES": "conformance",
    "Rates": "mock_questions",
    "Report": "conformance",
    "Rule": "mock_answers",
    "Scenario": "scenario",
    "Snapshots": "snapshot",
    "Subject": "subject",
    "UsdPerMtok": "scenario_deployment",
    "VirtualClock": "time",
    "assert_cost_at_most": "assertions",
    "assert_fell_back": "assertions",
    "assert_no_fallback": "assertions",
    "assert_plan": "assertions",
    "assert_rejected": "assertions",
    "assert_samples": "assertions",
    "assert_stopped_early": "assertions",
    "backend_env": "environment",
    "check_backend": "conformance",
    "deployment_spec": "environment",
    "plan_snapshot": "snapshot",
}

__all__ = [
    "RULES",
    "Answer",
    "BackendConformance",
    "ConformanceError",
    "Distribution",
    "Fault",
    "Faults",
    "Latency",
    "MockAbility",
    "MockAsyncClient",
    "MockBuilder",
    "MockClient",
    "MockDeployment",
    "MockLimits",
    "Question",
    "QuestionSet",
    "Rates",
    "Report",
    "Rule",
    "Scenario",
    "Snapshots",
    "Subject",
    "UsdPerMtok",
    "VirtualClock",
    "assert_cost_at_most",
    "assert_fell_back",
    "assert_no_fallback",
    "assert_plan",
    "assert_rejected",
    "assert_samples",
    "assert_stopped_early",
    "backend_env",
    "check_backend",
    "deployment_spec",
    "plan_snapshot",
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
