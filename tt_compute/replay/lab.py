"""A policy over a recording, beside what it must be held against."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tt_compute.errors import UsageError
from tt_compute.replay.answers import Question
from tt_compute.replay.figures import Bill, Figures, figures_of
from tt_compute.replay.play import Course, Orders, Policy, orders_of, play_all, play_single
from tt_compute.replay.recording import Recording
from tt_compute.weights import parse_weight

__all__ = ["Baselines", "Lab", "Report", "check_budget", "check_recorded", "fixed", "pass_at"]


class Baselines(msgspec.Struct, frozen=True, kw_only=True):
    """What any policy must be held against."""

    single: Figures
    """One sample: the mean over all that were recorded."""
    fixed_n: Figures
    """A vote over the whole budget, drawn in one wave."""
    oracle: Figures
    """The same samples, where one right one among them is enough: pass@budget."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of a policy, and its baselines."""

    questions: int
    figures: Figures
    baselines: Baselines

    def document(self) -> dict[str, object]:
        """For programs: the policy's figures stand beside ``questions`` and ``baselines``."""
        return {
            "questions": self.questions,
            **msgspec.structs.asdict(self.figures),
            "baselines": self.baselines,
        }


class Lab:
    """Recorded questions, each with the orders in which its samples are drawn by every policy.

    Args:
        questions: What was recorded.
        seed: Of the orders.
        shuffles: Orders of each question.
        bill: Where runs are put to seconds and dollars; None = nowhere.
    """

    def __init__(
        self, questions: Sequence[Question], *, seed: int, shuffles: int, bill: Bill | None
    ) -> None:
        self.questions = questions
        self.timed: bool = all(question.recording.tokens is not None for question in questions)
        self._orders: Orders = orders_of(questions, seed, shuffles)
        self._shuffles = shuffles
        self._bill = bill

    async def figures(self, policy: Policy) -> Figures:
        """Of one policy."""
        courses = await play_all(self.questions, self._orders, policy)
        size = self._shuffles
        return self._mean([courses[at : at + size] for at in range(0, len(courses), size)])

    async def report(self, policy: Policy) -> Report:
        """A policy with its baselines."""
        return Report(
            questions=len(self.questions),
            figures=await self.figures(policy),
            baselines=await self.baselines(policy.budget),
        )

    async def baselines(self, budget: int) -> Baselines:
        """What a policy of this budget must be held against."""
        fixed_n = await self.figures(fixed(budget))
        return Baselines(
            single=self._mean([play_single(question) for question in self.questions]),
            fixed_n=fixed_n,
            oracle=self._oracle(fixed_n, budget),
        )

    def _oracle(self, fixed_n: Figures, budget: int) -> Figures:
        """What ``fixed_n`` takes, with the accuracy of whoever knows."""
        chances = [pass_at(question.right, budget) for question in self.questions]
        known = self._mean([[_known(chance)] for chance in chances])
        return msgspec.structs.replace(
            fixed_n, accuracy=known.accuracy, accuracy_ci95=known.accuracy_ci95
        )

    def _mean(self, courses: Sequence[Sequence[Course]]) -> Figures:
        return figures_of(courses, timed=self.timed, bill=self._bill)


def fixed(budget: int) -> Policy:
    """A vote over the whole budget, drawn at once."""
    return Policy(strategy="majority", stop_rule=None, budget=budget, wave=budget)


def pass_at(right: Sequence[bool], budget: int) -> float:
    """P(one of ``budget`` samples picked from these is right) = 1 - C(n - c, k) / C(n, k) (Chen et al. 2021)."""
    n, c = len(right), sum(right)
    return 1 - math.comb(n - c, budget) / math.comb(n, budget)


def check_budget(file: Path, recordings: Sequence[Recording], budget: int | None) -> int:
    """The budget; None = as many samples as every question has.

    Raises:
        UsageError: A question has fewer.
    """
    fewest = min(recordings, key=lambda one: len(one.samples))
    held = len(fewest.samples)
    if budget is not None and budget > held:
        raise UsageError(
            f"{file}: question {str(fewest.question_id)!r} has {held} samples, "
            f"fewer than the budget of {budget}",
            hint=f"give --budget {held} or less",
        )
    return held if budget is None else budget


def check_recorded(file: Path, recordings: Sequence[Recording], policy: Policy) -> None:
    """Refuse a policy that reads what was not recorded.

    Raises:
        UsageError: A question has no rewards, or no log-probabilities.
    """
    rewards = policy.verifier is not None and policy.verifier.by_reward
    weighting = None if policy.weight is None else parse_weight(policy.weight)
    for one in recordings:
        if rewards and one.reward is None:
            raise _missing(
                file, one, "reward", "the verifier 'exact', which takes the recorded verdicts"
            )
        if weighting is not None and not weighting.judged and one.logprob is None:
            raise _missing(
                file, one, "logprob", "the weight 'verifier', which takes recorded rewards"
            )


def _missing(file: Path, one: Recording, field: str, instead: str) -> UsageError:
    return UsageError(
        f"{file}: question {str(one.question_id)!r} has no `{field}`", hint=f"use {instead}"
    )


def _known(chance: float) -> Course:
    return Course(
        right=chance,
        abstained=0.0,
        samples=1,
        output_tokens=0,
        cancelled_tokens=0,
        waves=1,
        steps=0,
        widths=(),
    )
