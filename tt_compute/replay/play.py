"""One strategy over recorded questions, as it would run live."""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec

from tt_compute.replay.answers import Question, RecordedVerifier, VerifierSpec
from tt_compute.replay.generation import RecordedGeneration
from tt_compute.strategies import get_strategy
from tt_compute.strategies.base import Ended, Outcome, Run
from tt_compute.types import Delta, Failed

__all__ = ["Course", "Policy", "orders_of", "play", "play_all", "play_single"]

Orders = Sequence[Sequence[Sequence[int]]]
"""Of each question, of each of its runs: the places of its samples in the order of drawing."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What is replayed."""

    strategy: str
    stop_rule: str | None
    budget: int
    wave: int
    """Most samples in flight at once."""
    verifier: VerifierSpec | None = None
    weight: str | None = None
    """What votes weigh by."""
    ahead: float = 1.0
    """As ``Run.ahead``."""


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one run."""

    right: float
    """1 or 0; between them where luck decided between equal votes: the share of the luck that is right."""
    abstained: float
    samples: int
    output_tokens: int
    """Of all samples, cancelled ones as far as they came."""
    cancelled_tokens: int
    waves: int
    """Samples that followed one upon the other."""
    steps: int
    """Decode steps until the answer."""
    widths: tuple[tuple[int, int], ...]
    """(samples in flight, decode steps with so many), as ``planning.runs.Load`` has them."""


def orders_of(questions: Sequence[Question], seed: int, shuffles: int) -> Orders:
    """``shuffles`` random orders of each question's samples."""
    rng = random.Random(seed)  # noqa: S311 - shuffles, guards nothing
    counts = [len(question.right) for question in questions]
    return [[rng.sample(range(count), count) for _ in range(shuffles)] for count in counts]


async def play_all(questions: Sequence[Question], orders: Orders, policy: Policy) -> list[Course]:
    """Every question in each of its orders."""
    return [
        await play(question, order, policy)
        for question, own in zip(questions, orders, strict=True)
        for order in own
    ]


async def play(question: Question, order: Sequence[int], policy: Policy) -> Course:
    """One question in one order."""
    generation = RecordedGeneration(question.recording, order)
    outcome = await get_strategy(policy.strategy).run(
        Run(
            generation=generation,
            messages=(),
            task=question.task,
            max_samples=policy.budget,
            wave=policy.wave,
            stop_rule=policy.stop_rule,
            weight=policy.weight,
            ahead=policy.ahead,
            verifier=_verifier(question, policy),
            rng=random.Random(0),  # noqa: S311 - whatever it decides, all that it could have is averaged
            observer=_NOBODY,
            deadline_passed=_never,
        )
    )
    return Course(
        right=_right(question, order, outcome),
        abstained=float(outcome.answer is None),
        samples=len(outcome.ended),
        output_tokens=sum(one.event.usage.output_tokens for one in outcome.ended),
        cancelled_tokens=sum(
            one.event.usage.output_tokens for one in outcome.ended if _cancelled(one)
        ),
        waves=generation.waves,
        steps=generation.steps,
        widths=tuple(generation.widths.items()),
    )


def play_single(question: Question) -> list[Course]:
    """What the strategy ``single`` makes of each of the samples."""
    recording = question.recording
    tokens = recording.tokens or (1,) * len(recording.samples)
    return [
        Course(
            right=float(right),
            abstained=float(answer is None),
            samples=1,
            output_tokens=length,
            cancelled_tokens=0,
            waves=1,
            steps=length,
            widths=((1, max(0, length - 1)),),
        )
        for right, answer, length in zip(question.right, question.answers, tokens, strict=True)
    ]


class _Nobody:
    """Satisfies ``tt_compute.strategies.base.Observer``."""

    def on_delta(self, delta: Delta) -> None: ...
    def on_drawn(self, indices: range) -> None: ...
    def on_ended(self, ended: Ended) -> None: ...
    def on_votes(self, votes: Sequence[tuple[str, int]], posterior: float | None) -> None: ...
    def on_stopping(self, indices: Sequence[int]) -> None: ...


_NOBODY = _Nobody()


def _never() -> bool:
    return False


def _verifier(question: Question, policy: Policy) -> RecordedVerifier | None:
    return None if policy.verifier is None else RecordedVerifier(question, policy.verifier)


def _cancelled(ended: Ended) -> bool:
    return isinstance(ended.event, Failed) or ended.event.finish_reason == "cancelled"


def _right(question: Question, order: Sequence[int], outcome: Outcome) -> float:
    """The verdict on the winner; of winners by luck the mean over all that could have been."""
    if outcome.winner is None:
        return 0.0
    leaders = outcome.tied or (outcome.winner,)
    return sum(question.right[order[leader]] for leader in leaders) / len(leaders)
