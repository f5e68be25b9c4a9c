"""Verifiers: a gold answer, or a callable of the user's."""

from __future__ import annotations

import importlib
import inspect
import math
import numbers
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeGuard, cast

import anyio.to_thread
import msgspec

from tt_compute.errors import InvalidRequestError, UnknownNameError, VerifierError
from tt_compute.types import Message, Reliability
from tt_compute.verify.answer_task import AnswerTask
from tt_compute.verify.base import Answer, Fallible, Judgement, Verifier, VerifierCallable

__all__ = [
    "CallableVerifier",
    "ExactVerifier",
    "as_verifier",
    "load_callable",
    "reliability_of",
]


class ExactVerifier:
    """Accepts a sample whose answer equals a given one, in the sense of the task.

    Raises:
        InvalidRequestError: ``gold`` cannot be read as an answer of this kind of task.
    """

    accepts_at: float = 1.0

    def __init__(self, task: AnswerTask, gold: str, name: str = "exact") -> None:
        self.name = name
        answer = task.read(gold)
        if answer is None:
            raise InvalidRequestError(
                f"the gold answer {gold[:80]!r} cannot be read as an answer of kind {task.kind!r}",
                hint="; ".join(task.warnings) or None,
            )
        self._task = task
        self._gold = answer

    async def judge(
        self,
        messages: Sequence[Message],  # noqa: ARG002 - the protocol's
        text: str,  # noqa: ARG002 - the protocol's
        answer: Answer | None,
    ) -> Judgement:
        """1.0 for the gold answer, 0.0 for another one or none."""
        same = answer is not None and await self._task.compare(self._gold, answer)
        return Judgement(score=1.0 if same else 0.0)


class CallableVerifier:
    """A user's own function; a plain one runs in a worker thread, which is left behind on cancellation.

    Args:
        function: Gets the last user message and the sample's text; returns a finite score, a verdict
            that counts as 1.0 or 0.0, or a ``Judgement``, which can say why. Its attribute ``reliability`` tells how far it can be trusted.
        name: Shown in receipts and errors; None = the function's own.
    """

    accepts_at: float = 1.0

    def __init__(self, function: VerifierCallable, name: str | None = None) -> None:
        self._function = function
        self.reliability: Reliability | None = reliability_of(function)
        own = getattr(function, "__qualname__", None) or type(function).__qualname__
        self.name: str = name or str(own)

    async def judge(
        self,
        messages: Sequence[Message],
        text: str,
        answer: Answer | None,  # noqa: ARG002 - the protocol's
    ) -> Judgement:
        prompt = next(
            (message.text for message in reversed(messages) if message.role == "user"), ""
        )
        try:
            verdict = await self._call(prompt, text)
        except Exception as error:
            # The boundary to code that is not ours: whatever it raises is the verifier's failure.
            raise VerifierError(
                f"the verifier {self.name!r} raised {type(error).__name__}: {error}"
            ) from error
        if isinstance(verdict, Judgement):
            return msgspec.structs.replace(verdict, score=self._score(verdict.score))
        return Judgement(score=self._score(verdict))

    async def _call(self, prompt: str, text: str) -> object:
        function = self._function
        if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
            getattr(function, "__call__", None)  # noqa: B004 - asks how it is defined, not whether
        ):
            return await function(prompt, text)  # type: ignore[misc]
        verdict: object = await anyio.to_thread.run_sync(
            function, prompt, text, abandon_on_cancel=True
        )
        return await verdict if inspect.isawaitable(verdict) else verdict

    def _score(self, verdict: object) -> float:
        if not isinstance(verdict, numbers.Real):
            raise VerifierError(
                f"the verifier {self.name!r} returned {verdict!r:.80}, not a number or a bool",
                hint="return a finite score, True or False, or a Judgement",
            )
        score = float(verdict)
        if not math.isfinite(score):
            raise VerifierError(f"the verifier {self.name!r} returned {score}, not a finite score")
        return score


def reliability_of(judge: object) -> Reliability | None:
    """How far a verifier can be trusted; one that does not say counts as exact. None = it does not know."""
    return judge.reliability if isinstance(judge, Fallible) else Reliability()


def as_verifier(given: Verifier | VerifierCallable) -> Verifier:
    """A verifier as it is, a callable as ``CallableVerifier``."""
    return given if _is_verifier(given) else CallableVerifier(cast("VerifierCallable", given))


def _is_verifier(spec: Verifier | VerifierCallable) -> TypeGuard[Verifier]:
    return all(hasattr(spec, name) for name in ("name", "accepts_at", "judge"))


def load_callable(module_name: str, name: str) -> VerifierCallable:
    """A function of the user's, with the current directory on the import path.

    Raises:
        UnknownNameError: There is none.
        VerifierError: The module raised when it was imported.
    """
    found: Any
    directory = str(Path.cwd())
    if directory not in sys.path:
        # Stays there, so that the user's module can import its neighbours later on.
        sys.path.insert(0, directory)
    try:
        found = importlib.import_module(module_name)
        for part in name.split("."):
            found = getattr(found, part)
    except (ModuleNotFoundError, AttributeError) as error:
        raise UnknownNameError(
            f"the verifier {module_name}:{name} cannot be found: {error}"
        ) from error
    except Exception as error:
        # The boundary to code that is not ours, which may raise anything on import.
        raise VerifierError(
            f"importing {module_name!r} raised {type(error).__name__}: {error}"
        ) from error
    if not callable(found):
        raise UnknownNameError(f"the verifier {module_name}:{name} is not a function")
    return cast("VerifierCallable", found)
