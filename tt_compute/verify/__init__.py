"""What judges answers. Names load when they are first used.

    from tt_compute.verify import AllOf, RegexVerifier

Specs such as ``code=tests.json`` are read by ``get_verifier``; what a verifier is says ``Verifier``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tt_compute.verify.base import Answer as Answer
    from tt_compute.verify.base import Equality as Equality
    from tt_compute.verify.base import Judgement as Judgement
    from tt_compute.verify.base import Verifier as Verifier
    from tt_compute.verify.code_tests import CodeTest as CodeTest
    from tt_compute.verify.code_tests import CodeTests as CodeTests
    from tt_compute.verify.code_verifier import CodeVerifier as CodeVerifier
    from tt_compute.verify.code_verifier import dual_agreement as dual_agreement
    from tt_compute.verify.combine import AllOf as AllOf
    from tt_compute.verify.combine import AnyOf as AnyOf
    from tt_compute.verify.combine import Weighted as Weighted
    from tt_compute.verify.judge import JudgeVerifier as JudgeVerifier
    from tt_compute.verify.numeric import NumericVerifier as NumericVerifier
    from tt_compute.verify.sandbox.plugins import get_sandbox as get_sandbox
    from tt_compute.verify.sandbox.types import Case as Case
    from tt_compute.verify.sandbox.types import Limits as Limits
    from tt_compute.verify.sandbox.types import Program as Program
    from tt_compute.verify.sandbox.types import Ran as Ran
    from tt_compute.verify.sandbox.types import Sandbox as Sandbox
    from tt_compute.verify.scorer import ScorerVerifier as ScorerVerifier
    from tt_compute.verify.specs import get_verifier as get_verifier
    from tt_compute.verify.tasks import get_task as get_task
    from tt_compute.verify.text_process import JsonSchemaVerifier as JsonSchemaVerifier
    from tt_compute.verify.text_process import RegexVerifier as RegexVerifier
    from tt_compute.verify.text_process import TextProcess as TextProcess
    from tt_compute.verify.verifiers import CallableVerifier as CallableVerifier
    from tt_compute.verify.verifiers import ExactVerifier as ExactVerifier

_HOMES = {
    "AllOf": "combine",
    "Answer": "base",
    "AnyOf": "combine",
    "CallableVerifier": "verifiers",
    "Case": "sandbox.types",
    "CodeTest": "code_tests",
    "CodeTests": "code_tests",
    "CodeVerifier": "code_verifier",
    "Equality": "base",
    "ExactVerifier": "verifiers",
    "Judgement": "base",
    "JsonSchemaVerifier": "text_process",
    "JudgeVerifier": "judge",
    "Limits": "sandbox.types",
    "NumericVerifier": "numeric",
    "Program": "sandbox.types",
    "Ran": "sandbox.types",
    "RegexVerifier": "text_process",
    "Sandbox": "sandbox.types",
    "ScorerVerifier": "scorer",
    "TextProcess": "text_process",
    "Verifier": "base",
    "Weighted": "combine",
    "dual_agreement": "code_verifier",
    "get_sandbox": "sandbox.plugins",
    "get_task": "tasks",
    "get_verifier": "specs",
}

__all__ = [
    "AllOf",
    "Answer",
    "AnyOf",
    "CallableVerifier",
    "Case",
    "CodeTest",
    "CodeTests",
    "CodeVerifier",
    "Equality",
    "ExactVerifier",
    "JsonSchemaVerifier",
    "JudgeVerifier",
    "Judgement",
    "Limits",
    "NumericVerifier",
    "Program",
    "Ran",
    "RegexVerifier",
    "Sandbox",
    "ScorerVerifier",
    "TextProcess",
    "Verifier",
    "Weighted",
    "dual_agreement",
    "get_sandbox",
    "get_task",
    "get_verifier",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'tt_compute.verify' has no attribute {name!r}")
    value = getattr(import_module(f"tt_compute.verify.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
