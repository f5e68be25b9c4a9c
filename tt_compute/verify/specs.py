"""Verifiers by name, as the command line and ``verifier=`` write them: ``NAME``, ``NAME=VALUE``, ``module:function``."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import msgspec

from tt_compute.errors import InvalidRequestError, UnknownNameError
from tt_compute.profiles.schema import TaskKind
from tt_compute.types import JsonSchemaFormat, Reliability
from tt_compute.verify.answer_task import AnswerTask
from tt_compute.verify.base import Verifier, VerifierCallable
from tt_compute.verify.calling import load_function
from tt_compute.verify.code_tests import load_tests, read_text
from tt_compute.verify.code_verifier import CodeVerifier
from tt_compute.verify.judge import Ask, JudgeVerifier
from tt_compute.verify.numeric import NumericVerifier
from tt_compute.verify.sandbox.plugins import get_sandbox
from tt_compute.verify.sandbox.types import Sandbox
from tt_compute.verify.scorer import Score, ScorerVerifier
from tt_compute.verify.steps import AGGREGATES, ScoreSteps, aggregate_of, whole_by_steps
from tt_compute.verify.text_process import JsonSchemaVerifier, RegexVerifier, TextProcess
from tt_compute.verify.verifiers import (
    CallableVerifier,
    ExactVerifier,
    as_verifier,
)

__all__ = ["SYNTAX", "VerifierTools", "get_verifier", "task_of_verifier"]

SYNTAX = (
    "use exact=ANSWER, numeric=NUMBER[,TOLERANCE], math=ANSWER, choice=LETTER, regex=PATTERN, "
    "json-schema=FILE, code=FILE, judge=DEPLOYMENT[,TPR,FPR], scorer=DEPLOYMENT[,ACCEPTS_AT], "
    "steps=DEPLOYMENT[,AGGREGATE][,ACCEPTS_AT], or module:function for a function (prompt, text) -> score"
)
_TASKS: Mapping[str, TaskKind] = MappingProxyType(
    {
        "numeric": "math",
        "math": "math",
        "choice": "choice",
        "json-schema": "json",
        "code": "code",
    }
)
"""Verifiers that judge answers of one kind of task only."""
_AGGREGATE = "prod"
"""Of whole texts: that every step is right, as Lightman et al. 2023 (https://arxiv.org/abs/2305.20050, section 2.6) and
Zhang et al. 2025 (https://arxiv.org/abs/2501.07301, section 2.2) have it."""


class VerifierTools(msgspec.Struct, frozen=True, kw_only=True):
    """What verifiers share and somebody else closes."""

    text: TextProcess
    sandbox: Callable[[], Sandbox] = get_sandbox
    judge: Callable[[str], Ask] | None = None
    """How the deployment of an id is asked; raises UsageError where it cannot. None = there are no deployments."""
    scorer: Callable[[str], Score] | None = None
    """How the deployment of an id scores completions, likewise."""
    steps: Callable[[str], ScoreSteps] | None = None
    """How the deployment of an id scores their steps, likewise."""
    response_format: JsonSchemaFormat | None = None
    """Of the request."""


class _Wanted(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    value: str | None
    """Behind the ``=``; None without one."""
    task: AnswerTask
    tools: VerifierTools

    def needed(self) -> str:
        if not self.value:
            raise InvalidRequestError(
                f"the verifier {self.name!r} needs a value: {self.name}=...", hint=SYNTAX
            )
        return self.value


def task_of_verifier(spec: object) -> TaskKind | None:
    """The kind of task that a verifier's name asks for; None for one that judges any."""
    return _TASKS.get(spec.partition("=")[0]) if isinstance(spec, str) else None


def get_verifier(
    spec: str | Verifier | VerifierCallable,
    task: AnswerTask,
    gold: str | None = None,
    *,
    tools: VerifierTools | None = None,
) -> Verifier:
    """The verifier that ``spec`` names or is.

    Args:
        spec: See ``SYNTAX``; ``module:function`` is imported with the current directory on the import
            path; a callable; or a verifier, which is returned as it is.
        task: The kind of task whose answers are judged.
        gold: The right answer, for a name without a value.
        tools: What verifiers work with; None = their own.

    Raises:
        UnknownNameError: Nothing answers to the name.
        InvalidRequestError: The value is missing or cannot be used, or the task is of another kind.
        VerifierError: The user's module raised when it was imported.
    """
    if not isinstance(spec, str):
        return as_verifier(spec)
    name, given, value = spec.partition("=")
    make = _MAKERS.get(name)
    if make is not None:
        _check_task(name, task)
        tools = tools or VerifierTools(text=TextProcess())
        return make(_Wanted(name=name, value=value if given else gold, task=task, tools=tools))
    function = None if given else load_function(spec)
    if function is None:
        raise UnknownNameError(f"there is no verifier {spec!r}", hint=SYNTAX)
    return CallableVerifier(function, spec)


def _check_task(name: str, task: AnswerTask) -> None:
    kind = _TASKS.get(name, task.kind)
    if task.kind != kind:
        raise InvalidRequestError(
            f"the verifier {name!r} judges answers of kind {kind!r}, and the task is {task.kind!r}",
            hint=f"leave the task out, or say {kind!r}",
        )


def _exact(wanted: _Wanted) -> Verifier:
    if wanted.value is None:
        raise InvalidRequestError(
            f"the verifier {wanted.name!r} needs the right answer", hint=SYNTAX
        )
    return ExactVerifier(wanted.task, wanted.value, wanted.name)


def _numeric(wanted: _Wanted) -> Verifier:
    return NumericVerifier.parse(wanted.needed())


def _regex(wanted: _Wanted) -> Verifier:
    return RegexVerifier(wanted.needed(), wanted.tools.text)


def _json_schema(wanted: _Wanted) -> Verifier:
    stated = wanted.tools.response_format
    if wanted.value is None and stated is not None:
        return JsonSchemaVerifier(stated.schema, wanted.tools.text)
    file = Path(wanted.needed())
    schema = _load_schema(file)
    try:
        return JsonSchemaVerifier(schema, wanted.tools.text)
    except InvalidRequestError as error:
        raise InvalidRequestError(f"{file}: {error.message}", hint=error.hint) from error


def _load_schema(file: Path) -> dict[str, object]:
    try:
        return msgspec.convert(json.loads(read_text(file)), dict[str, object])
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError(f"{file}: is no JSON schema: {error}") from error


def _code(wanted: _Wanted) -> Verifier:
    return CodeVerifier(load_tests(Path(wanted.needed())), wanted.tools.sandbox())


def _judge(wanted: _Wanted) -> Verifier:
    deployment, *rates = wanted.needed().split(",")
    if wanted.tools.judge is None:
        raise InvalidRequestError("there are no deployments here that a judge could be")
    return JudgeVerifier(wanted.tools.judge(deployment), deployment, _reliability(rates))


def _scorer(wanted: _Wanted) -> Verifier:
    deployment, *rest = wanted.needed().split(",")
    if wanted.tools.scorer is None:
        raise InvalidRequestError("there are no deployments here that could score")
    accepts_at = _accepts_at(rest, "scorer=DEPLOYMENT,0.9")
    return ScorerVerifier(wanted.tools.scorer(deployment), f"scorer={deployment}", accepts_at)


def _steps(wanted: _Wanted) -> Verifier:
    deployment, *rest = wanted.needed().split(",")
    if wanted.tools.steps is None:
        raise InvalidRequestError("there are no deployments here that could score steps")
    named = rest[:1] and not _is_number(rest[0])
    aggregate = aggregate_of(rest[0]) if named else AGGREGATES[_AGGREGATE]
    accepts_at = _accepts_at(rest[1:] if named else rest, "steps=DEPLOYMENT,min,0.9")
    score = whole_by_steps(wanted.tools.steps(deployment), aggregate)
    return ScorerVerifier(score, f"steps={deployment}", accepts_at)


def _accepts_at(given: list[str], example: str) -> float:
    if not given:
        return math.inf
    if len(given) > 1 or not _is_number(given[0]):
        raise InvalidRequestError(
            f"a scorer accepts from a number on, got {','.join(given)!r}", hint=f"such as {example}"
        )
    return float(given[0])


def _is_number(text: str) -> bool:
    try:
        return not math.isnan(float(text))
    except ValueError:
        return False


def _reliability(rates: list[str]) -> Reliability | None:
    if not rates:
        return None
    try:
        accepted_right, accepted_wrong = map(float, rates)
    except ValueError as error:
        raise InvalidRequestError(
            f"a judge's rates are two numbers, got {','.join(rates)!r}",
            hint="judge=DEPLOYMENT,0.9,0.2: accepts 90 % of the right answers and 20 % of the wrong ones",
        ) from error
    return Reliability(true_positive_rate=accepted_right, false_positive_rate=accepted_wrong)


_MAKERS: Mapping[str, Callable[[_Wanted], Verifier]] = MappingProxyType(
    {
        "exact": _exact,
        "numeric": _numeric,
        "math": _exact,
        "choice": _exact,
        "regex": _regex,
        "json-schema": _json_schema,
        "code": _code,
        "judge": _judge,
        "scorer": _scorer,
        "steps": _steps,
    }
)
