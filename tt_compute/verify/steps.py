"""Judging a text by its steps: what process reward models do."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, Literal

from tt_compute.errors import InvalidRequestError, VerifierError
from tt_compute.types import Message
from tt_compute.verify.scorer import Score

__all__ = [
    "AGGREGATES",
    "STEP_END",
    "Aggregate",
    "AggregateName",
    "ScoreSteps",
    "aggregate_of",
    "made_one",
    "split_steps",
    "told_steps",
    "whole_by_steps",
]

ScoreSteps = Callable[
    [Sequence[Message], Sequence[Sequence[str]]], Awaitable[Sequence[Sequence[float]]]
]
"""One score per step of each completion of the messages; without completions it only finds out whether it could, with
them."""
Aggregate = Callable[[Sequence[float]], float]
AggregateName = Literal["last", "min", "prod"]

STEP_END: Final = "\n\n"
"""What ends a step, where nobody says otherwise."""


def _last(scores: Sequence[float]) -> float:
    return scores[-1]


AGGREGATES: Mapping[str, Aggregate] = MappingProxyType(
    {"last": _last, "min": min, "prod": math.prod}
)
"""How the scores of all steps become the one of a text: Lightman et al. 2023 (https://arxiv.org/abs/2305.20050),
section 2.6 and appendix F; Snell et al. 2024 (https://arxiv.org/abs/2408.03314), section 5.1 and appendix E."""


def split_steps(text: str, end: str = STEP_END) -> tuple[str, ...]:
    """The steps of a whole text, as step-wise search draws them: each up to what ends it, blank ones left out."""
    return told_steps(text.split(end))


def told_steps(steps: Sequence[str]) -> tuple[str, ...]:
    """Those in which something is said."""
    return tuple(step for step in steps if step.strip())


def aggregate_of(name: str) -> Aggregate:
    """The aggregate of that name.

    Raises:
        InvalidRequestError: There is none.
    """
    if name not in AGGREGATES:
        raise InvalidRequestError(
            f"step scores cannot be made one by {name!r}",
            hint=f"aggregate: {', '.join(AGGREGATES)}",
        )
    return AGGREGATES[name]


def made_one(
    rows: Sequence[Sequence[float]], steps: Sequence[Sequence[str]], aggregate: Aggregate
) -> list[float]:
    """The score of each text, from those of its steps.

    Raises:
        VerifierError: There is not one for each step, or they are not numbers.
    """
    given, wanted = [len(row) for row in rows], [len(one) for one in steps]
    if given != wanted:
        raise VerifierError(
            f"the process scorer gave {given} scores for texts of {wanted} steps, and not one for each"
        )
    scores = [float(aggregate(row)) for row in rows]
    if any(map(math.isnan, scores)):
        raise VerifierError("the process scorer gave scores that are not numbers")
    return scores


def whole_by_steps(score_steps: ScoreSteps, aggregate: Aggregate) -> Score:
    """Scores whole texts by what a process reward model says of their steps."""

    async def score(messages: Sequence[Message], texts: Sequence[str]) -> Sequence[float]:
        steps = [split_steps(text) for text in texts]
        if not all(steps):
            raise VerifierError("a text in which nothing is said has no steps to be scored")
        return made_one(await score_steps(messages, steps), steps, aggregate)

    return score
