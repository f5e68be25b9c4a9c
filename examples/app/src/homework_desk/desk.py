"""The desk: a question goes in, a reply comes out, and the allowance pays for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import tt_compute as tt
from homework_desk.allowance import Allowance

__all__ = ["CONFIG_FILE", "Desk", "DeskClosed", "QuestionRefused", "Reply", "Rules"]

CONFIG_FILE = Path(__file__).with_name("ttc.yaml")
SYSTEM = "You help pupils with their homework. Explain each step, then state the answer."


class QuestionRefused(Exception):
    """What was asked is no question that the desk takes; the message says why."""


class DeskClosed(Exception):
    """No answer can be had just now; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What the desk promises."""

    quality: float = 0.9
    exam_quality: float = 0.95
    max_latency_s: float = 20.0
    max_cost_usd: float = 0.01
    """Of one question."""
    usd_per_day: float = 0.05
    """Of one pupil."""
    max_characters: int = 4000


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What the pupil gets."""

    answer: str | None
    text: str
    sure: bool
    """Whether the desk stands by it; if not, a teacher should look."""
    samples: int
    cost_usd: float | None


class Desk:
    """Answers questions.

    Args:
        client: Where they go.
        rules: What is promised.
        now: Seconds, for the allowance.
    """

    def __init__(
        self,
        client: tt.Client,
        rules: Rules | None = None,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self.rules = rules or Rules()
        self.allowance = Allowance(self.rules.usd_per_day, now)

    def plan(self, question: str, *, exam: bool = False, private: bool = False) -> tt.Plan:
        """How a question would be answered; costs nothing."""
        objective = self._objective(self.rules.max_cost_usd, exam=exam, private=private)
        return self._client.plan(self._checked(question), objective=objective, task="math")

    def answer(
        self, pupil: str, question: str, *, exam: bool = False, private: bool = False
    ) -> Reply:
        """Answer a pupil's question.

        Args:
            pupil: Whose allowance pays.
            question: In words.
            exam: More certainty is worth more money.
            private: The question must not leave this machine, even if the answer is worse.

        Raises:
            QuestionRefused: It is empty or too long.
            AllowanceSpent: The pupil has nothing left.
            DeskClosed: No answer in time, or nobody answers.
        """
        return self._reply(self.ask(pupil, question, exam=exam, private=private))

    def ask(
        self, pupil: str, question: str, *, exam: bool = False, private: bool = False
    ) -> tt.Result:
        """As ``answer``, with all that is known of how it came about."""
        question = self._checked(question)
        most_usd = min(self.rules.max_cost_usd, self.allowance.left_usd(pupil))
        objective = self._objective(most_usd, exam=exam, private=private)
        try:
            result = self._client.solve(question, objective=objective, task="math", system=SYSTEM)
        except tt.DeadlineExceeded as error:
            self._book(pupil, error.partial, most_usd)
            raise DeskClosed(f"no answer within {self.rules.max_latency_s:g} s") from error
        except tt.BackendError as error:
            self._book(pupil, error.partial, most_usd)
            raise DeskClosed("nobody answers just now") from error
        self._book(pupil, result, most_usd)
        return result

    def _reply(self, result: tt.Result) -> Reply:
        confidence = result.confidence
        sure = result.answer is not None and confidence is not None
        return Reply(
            answer=result.answer,
            text=result.text,
            sure=sure and confidence is not None and confidence >= self.rules.quality,
            samples=result.receipt.samples_drawn,
            cost_usd=result.receipt.cost_usd,
        )

    def _objective(self, most_usd: float, *, exam: bool, private: bool) -> tt.Objective:
        return tt.Objective(
            quality=self.rules.exam_quality if exam else self.rules.quality,
            max_latency_s=self.rules.max_latency_s,
            max_cost_usd=most_usd,
            locality="local" if private else "any",
            prefer="cost",
        )

    def _checked(self, question: str) -> str:
        question = question.strip()
        if not question:
            raise QuestionRefused("the question is empty")
        if len(question) > self.rules.max_characters:
            raise QuestionRefused(
                f"the question has {len(question)} characters, and {self.rules.max_characters} are allowed"
            )
        return question

    def _book(self, pupil: str, result: object, most_usd: float) -> None:
        """What a run took; the most that it may have taken where that is not known."""
        if isinstance(result, tt.Result):
            cost = result.receipt.cost_usd
            self.allowance.book(pupil, most_usd if cost is None else cost)
