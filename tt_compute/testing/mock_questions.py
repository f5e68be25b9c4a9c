"""Made-up questions whose right answers are known, and how good a mock is at each of them.

Every question has a success rate of its own, drawn from a stated distribution. All mocks find the same
questions hard: the lowest of a mock's rates goes to the hardest question, and so on, so that what one model
cannot answer a weaker one cannot either.
"""

from __future__ import annotations

import random
import re
from functools import lru_cache
from typing import NamedTuple

import msgspec

__all__ = [
    "AnswerCurve",
    "MockAbility",
    "Question",
    "QuestionSet",
    "Rates",
    "answer_curve",
    "number_of",
    "success_rates",
]

_ABSTENTION = "I am not sure."
_PROMPT = re.compile(r"\bQuestion (\d+): what is (\d+) plus (\d+)\?")
_MAX_COUNT = 100_000
_MAX_WRONG_ANSWERS = 20
_ALIKE = 1000.0
"""Concentration of rates that are the same on every question."""


class Question(NamedTuple):
    """A question and its right answer."""

    prompt: str
    gold: str


class QuestionSet(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Sums of two numbers, numbered from 0 on; other seeds give other numbers."""

    count: int
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.count <= _MAX_COUNT:
            raise ValueError(f"expected a count from 1 to {_MAX_COUNT}, got {self.count}")

    def question(self, number: int) -> Question:
        """Question ``number``, from 0 on.

        Raises:
            IndexError: There are not so many.
        """
        if not 0 <= number < self.count:
            raise IndexError(f"there is no question {number} among {self.count}")
        rng = random.Random(f"{self.seed}:question:{number}")  # noqa: S311 - a mock's dice
        first, second = rng.randint(100, 999), rng.randint(100, 999)
        return Question(f"Question {number}: what is {first} plus {second}?", str(first + second))

    def questions(self) -> tuple[Question, ...]:
        return tuple(map(self.question, range(self.count)))


class Rates(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Of success rates: Beta with ``mean`` m and ``concentration`` c, Beta(m*c, (1-m)*c), or uniform."""

    mean: float | None = None
    concentration: float | None = None
    min: float | None = None
    max: float | None = None

    def __post_init__(self) -> None:
        match (self.mean, self.concentration, self.min, self.max):
            case (float() | int() as mean, float() | int() as concentration, None, None):
                if not (0 < mean < 1 and concentration > 0):
                    raise ValueError(
                        "expected a mean between 0 and 1 and a concentration above 0, "
                        f"got {mean} and {concentration}"
                    )
            case (None, None, float() | int() as low, float() | int() as high):
                if not 0 <= low <= high <= 1:
                    raise ValueError(f"expected 0 <= min <= max <= 1, got {low} and {high}")
            case _:
                raise ValueError("expected mean and concentration, or min and max")

    def draw(self, rng: random.Random) -> float:
        if self.min is not None and self.max is not None:
            return rng.uniform(self.min, self.max)
        assert self.mean is not None
        assert self.concentration is not None
        return rng.betavariate(self.mean * self.concentration, (1 - self.mean) * self.concentration)

    def moments(self) -> tuple[float, float]:
        """Mean and concentration of the Beta with this mean and variance."""
        if self.mean is not None and self.concentration is not None:
            return self.mean, self.concentration
        assert self.min is not None
        assert self.max is not None
        mean = (self.min + self.max) / 2
        variance = (self.max - self.min) ** 2 / 12
        return mean, _ALIKE if variance == 0 else mean * (1 - mean) / variance - 1


class MockAbility(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """How good a mock is at a question set."""

    success_rate: float | Rates
    """P(a sample is right): of every question, or drawn for each."""
    wrong_answers: int = 3
    """Different wrong answers to a question."""
    wrong_agreement: float = 0.5
    """Share of the wrong samples that the commonest wrong answer takes; the others share the rest alike."""
    abstain_rate: float = 0.0
    """Share of all samples that hold no answer; of a question in proportion to the samples that are not right."""

    def __post_init__(self) -> None:
        mean = self.mean
        if not 0 <= mean <= 1:
            raise ValueError(f"expected a success_rate in [0, 1], got {mean}")
        if not 1 <= self.wrong_answers <= _MAX_WRONG_ANSWERS:
            raise ValueError(
                f"expected wrong_answers from 1 to {_MAX_WRONG_ANSWERS}, got {self.wrong_answers}"
            )
        if not 1 / self.wrong_answers <= self.wrong_agreement <= 1:
            raise ValueError(
                f"expected wrong_agreement from 1/wrong_answers to 1, got {self.wrong_agreement}"
            )
        if not 0 <= self.abstain_rate <= 1 - mean:
            raise ValueError(
                f"expected abstain_rate from 0 to 1 - success_rate, got {self.abstain_rate}"
            )

    @property
    def mean(self) -> float:
        """Success rate over all questions there could be."""
        return self.moments()[0]

    def moments(self) -> tuple[float, float]:
        """Mean and concentration of the success rates."""
        rate = self.success_rate
        return rate.moments() if isinstance(rate, Rates) else (rate, _ALIKE)


class AnswerCurve(msgspec.Struct, frozen=True):
    """What a mock's samples of one question are."""

    success_rate: float
    texts: tuple[str, ...]
    shares: tuple[float, ...]


@lru_cache(maxsize=64)
def success_rates(questions: QuestionSet, ability: MockAbility, dice: str) -> tuple[float, ...]:
    """P(right) of one sample, by question.

    Args:
        questions: Those asked.
        ability: Of the mock.
        dice: Tells mocks of one ability apart.
    """
    rates = ability.success_rate
    if not isinstance(rates, Rates):
        return (rates,) * questions.count
    rng = random.Random(f"{questions.seed}:{dice}:rates")  # noqa: S311 - a mock's dice
    drawn = sorted(rates.draw(rng) for _ in range(questions.count))
    order = list(range(questions.count))
    random.Random(f"{questions.seed}:hardest-first").shuffle(order)  # noqa: S311 - likewise
    by_question = dict(zip(order, drawn, strict=True))
    return tuple(by_question[number] for number in range(questions.count))


def answer_curve(
    questions: QuestionSet, ability: MockAbility, dice: str, number: int
) -> AnswerCurve:
    """What the samples of question ``number`` are; right first, no answer last."""
    gold = int(questions.question(number).gold)
    right = success_rates(questions, ability, dice)[number]
    missed = 1 - ability.mean
    abstains = ability.abstain_rate / missed * (1 - right) if missed > 0 else 0.0
    wrong = max(0.0, 1 - right - abstains)
    others = ability.wrong_answers - 1
    common = ability.wrong_agreement if others else 1.0
    rng = random.Random(f"{questions.seed}:wrong:{number}")  # noqa: S311 - a mock's dice
    offsets = rng.sample([*range(-50, 0), *range(1, 51)], ability.wrong_answers)
    texts = [f"The answer is {gold + offset}." for offset in (0, *offsets)]
    shares = (
        [right, wrong * common, *[wrong * (1 - common) / others] * others]
        if others
        else [right, wrong]
    )
    return AnswerCurve(right, (*texts, _ABSTENTION), (*shares, abstains))


def number_of(questions: QuestionSet, prompt: str) -> int | None:
    """Which question of the set a prompt holds; None = none of them."""
    for found in _PROMPT.finditer(prompt):
        number = int(found[1])
        if number < questions.count and questions.question(number).prompt == found[0]:
            return number
    return None
