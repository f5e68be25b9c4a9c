"""What a mock says: texts with probabilities, for all prompts or for some."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

__all__ = ["DEFAULT_ANSWERS", "Answer", "Rule", "check_answers", "check_pattern", "weights"]

_ROUNDING = 1e-9


class Answer(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """One text a sample may be."""

    text: str
    probability: float | None = None
    """In [0, 1]; answers without one share what the others leave."""

    def __post_init__(self) -> None:
        if self.probability is not None and not 0 <= self.probability <= 1:
            raise ValueError(f"expected a probability in [0, 1], got {self.probability}")


DEFAULT_ANSWERS: tuple[str | Answer, ...] = (
    Answer(text="The answer is 42.", probability=0.6),
    Answer(text="The answer is 41.", probability=0.2),
    Answer(text="The answer is 24.", probability=0.1),
    Answer(text="I am not sure.", probability=0.1),
)
"""A model that is right more often than not, agrees on a wrong answer at times, and may abstain."""


class Rule(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Answers for certain prompts, by their last user message; the first rule that holds counts.

    Either ``prompt`` or ``pattern`` says for which, either ``answers`` or ``script`` what.
    """

    pattern: str | None = None
    """Regular expression, searched for anywhere in the text."""
    prompt: str | None = None
    """The whole text, but for white space around it."""
    answers: tuple[str | Answer, ...] = ()
    script: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if (self.pattern is None) == (self.prompt is None):
            raise ValueError("a rule needs either a `prompt` or a `pattern`")
        check_pattern(self.pattern or "")
        check_answers(self.answers, self.script)
        if not self.answers and self.script is None:
            raise ValueError("a rule needs `answers` or a `script`")

    def holds(self, question: str) -> bool:
        """Whether it is for this last user message."""
        if self.pattern is not None:
            return re.search(self.pattern, question) is not None
        assert self.prompt is not None
        return question.strip() == self.prompt.strip()


def check_pattern(pattern: str) -> None:
    """Refuse what is no regular expression."""
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as exc:
        raise ValueError(f"pattern {pattern!r} is no regular expression: {exc}") from exc


def check_answers(answers: Sequence[str | Answer], script: tuple[str, ...] | None) -> None:
    """Refuse answers beside a script, and probabilities that do not add up."""
    if answers and script is not None:
        raise ValueError("`answers` and `script` exclude each other")
    weights(answers)


def weights(answers: Sequence[str | Answer]) -> list[float]:
    """Probability of each answer.

    Raises:
        ValueError: They do not sum to 1.
    """
    stated = [answer.probability if isinstance(answer, Answer) else None for answer in answers]
    total = sum(value for value in stated if value is not None)
    open_shares = stated.count(None)
    if total > 1 + _ROUNDING or (answers and not open_shares and total < 1 - _ROUNDING):
        raise ValueError(f"the probabilities of the answers sum to {total:g}, not to 1")
    share = max(0.0, 1 - total) / open_shares if open_shares else 0.0
    return [share if value is None else value for value in stated]
