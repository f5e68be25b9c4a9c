"""Which answers vote together: spelt alike, equal as numbers or as mathematics, close in meaning, or as a user says."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from typing import cast

from tt_compute.errors import InvalidRequestError, TTComputeError, UnknownNameError, VerifierError
from tt_compute.types import Message
from tt_compute.verify.base import Answer, Equality, EqualityCallable
from tt_compute.verify.calling import call_user, load_function, name_of
from tt_compute.verify.math_process import MathProcess
from tt_compute.verify.math_task import MathTask
from tt_compute.verify.rational import read_number, same_number

__all__ = [
    "EQUALITIES",
    "Embed",
    "SameKey",
    "SameMathematics",
    "SameMeaning",
    "SameNumber",
    "SaysUser",
    "get_equality",
]

EQUALITIES = (
    "use exact, numeric, math, semantic=DEPLOYMENT,THRESHOLD, or module:function for a function "
    "(answer, answer) -> bool"
)
Embed = Callable[[Sequence[str]], Awaitable[Sequence[Sequence[float]]]]
"""One vector per text; without texts it only finds out whether it could."""


class SameKey:
    """Nothing but what the task reads as one answer anyway: 0.5 and 1/2 in mathematics, ``A`` and ``a`` in a text."""

    async def same(self, first: Answer, second: Answer) -> bool:
        return first.key == second.key


class SameNumber:
    """Equal numbers, computed exactly; what is no number equals its own spelling only."""

    async def same(self, first: Answer, second: Answer) -> bool:
        numbers = read_number(first.text), read_number(second.text)
        if numbers[0] is None or numbers[1] is None:
            return first.key == second.key
        return same_number(numbers[0], numbers[1])


class SameMathematics:
    """Equal as the task ``math`` compares: numbers exactly, expressions by math-verify."""

    def __init__(self, process: MathProcess) -> None:
        self._task = MathTask(process)

    async def same(self, first: Answer, second: Answer) -> bool:
        read = self._task.read(first.text), self._task.read(second.text)
        if read[0] is None or read[1] is None:
            return first.key == second.key
        return await self._task.compare(read[0], read[1])


class SameMeaning:
    """Vectors whose cosine is at least a threshold.

    Args:
        embed: Makes the vectors; asked once about each text.
        threshold: In (0, 1]; which one tells meanings apart depends on the embedding model.
    """

    def __init__(self, embed: Embed, threshold: float) -> None:
        if not 0 < threshold <= 1:
            raise InvalidRequestError(
                f"a threshold of the cosine lies above 0 and is at most 1, got {threshold}"
            )
        self._embed = embed
        self._threshold = threshold
        self._known: dict[str, Sequence[float]] = {}

    async def same(self, first: Answer, second: Answer) -> bool:
        return _cosine(await self._vector(first), await self._vector(second)) >= self._threshold

    async def ready(self, messages: Sequence[Message]) -> None:  # noqa: ARG002 - the protocol's
        """Find out whether the deployment embeds.

        Raises:
            VerifierError: It does not, or its backend cannot be made.
        """
        await self._vectors(())

    async def _vector(self, answer: Answer) -> Sequence[float]:
        if answer.text not in self._known:
            (self._known[answer.text],) = await self._vectors((answer.text,))
        return self._known[answer.text]

    async def _vectors(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        try:
            vectors = await self._embed(texts)
        except TTComputeError as error:
            raise VerifierError(
                f"answers cannot be embedded: {error.message}", hint=error.hint
            ) from error
        if len(vectors) != len(texts):
            raise VerifierError(f"{len(texts)} answers were given {len(vectors)} vectors")
        return vectors


class SaysUser:
    """A user's own function of two answers."""

    def __init__(self, function: EqualityCallable, name: str | None = None) -> None:
        self._function = function
        self.name: str = name or name_of(function)

    async def same(self, first: Answer, second: Answer) -> bool:
        try:
            verdict = await call_user(self._function, first.text, second.text)
        except Exception as error:
            # The boundary to code that is not ours: whatever it raises is its failure.
            raise VerifierError(f"{self.name!r} raised {type(error).__name__}: {error}") from error
        if not isinstance(verdict, bool):
            raise VerifierError(
                f"{self.name!r} returned {verdict!r:.80}, not a bool", hint="return True or False"
            )
        return verdict


def get_equality(
    spec: str | EqualityCallable,
    *,
    process: MathProcess,
    embedder: Callable[[str], Embed] | None = None,
) -> Equality:
    """The equality that ``spec`` names, or a user's.

    Args:
        spec: See ``EQUALITIES``; or a callable.
        process: Where expressions are compared; closed by the caller.
        embedder: How the deployment of an id embeds; raises UsageError where it cannot. None = there are none.

    Raises:
        UnknownNameError: Nothing answers to the name.
        InvalidRequestError: A value is missing or cannot be used.
        VerifierError: The user's module raised when it was imported.
    """
    if not isinstance(spec, str):
        return SaysUser(_callable(spec))
    name, given, value = spec.partition("=")
    if name == "semantic":
        return _semantic(value, embedder)
    if spec == "exact":
        return SameKey()
    if spec == "numeric":
        return SameNumber()
    if spec == "math":
        return SameMathematics(process)
    function = None if given else load_function(spec)
    if function is None:
        raise UnknownNameError(f"there is no equality {spec!r}", hint=EQUALITIES)
    return SaysUser(function, spec)


def _callable(spec: object) -> EqualityCallable:
    if not callable(spec):
        raise InvalidRequestError(f"an equality is no {type(spec).__name__}", hint=EQUALITIES)
    return cast("EqualityCallable", spec)


def _semantic(value: str, embedder: Callable[[str], Embed] | None) -> Equality:
    deployment, _, text = value.rpartition(",")
    try:
        threshold = float(text)
    except ValueError:
        threshold = math.nan
    if not deployment or math.isnan(threshold):
        raise InvalidRequestError(
            f"`semantic` needs a deployment that embeds and a threshold of the cosine, got {value!r}",
            hint="such as semantic=DEPLOYMENT,0.85",
        )
    if embedder is None:
        raise InvalidRequestError("there are no deployments here that could embed")
    return SameMeaning(embedder(deployment), threshold)


def _cosine(first: Sequence[float], second: Sequence[float]) -> float:
    lengths = math.hypot(*first) * math.hypot(*second)
    return (
        math.fsum(a * b for a, b in zip(first, second, strict=True)) / lengths if lengths else 0.0
    )
