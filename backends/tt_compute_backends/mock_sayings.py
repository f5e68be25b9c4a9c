"""What a mock may say to a prompt: texts with their shares, or a script."""

from __future__ import annotations

import msgspec

from tt_compute.testing.mock_answers import DEFAULT_ANSWERS, Answer, weights
from tt_compute.testing.mock_options import MockOptions
from tt_compute.testing.mock_questions import answer_curve, number_of
from tt_compute.types import GenerateRequest
from tt_compute_backends.mock_text import Dice

__all__ = ["Sayings", "question_of", "sayings_to"]


class Sayings(msgspec.Struct, frozen=True, kw_only=True):
    """All texts that a sample of one prompt may be."""

    texts: tuple[str, ...]
    shares: tuple[float, ...] | None
    """Probabilities; None = a script: sample k is text k."""

    def say(self, index: int, dice: Dice, *, greedy: bool) -> str | None:
        """What sample ``index`` says; None = the script has ended."""
        if self.shares is None:
            return self.texts[index] if index < len(self.texts) else None
        if greedy:
            return self.texts[self.shares.index(max(self.shares))]
        return dice.roll("answer").choices(self.texts, self.shares)[0]


def question_of(request: GenerateRequest) -> str:
    """The last user message, which rules and faults go by; empty without one."""
    asked = [message.text for message in request.messages if message.role == "user"]
    return asked[-1] if asked else ""


def sayings_to(question: str, options: MockOptions) -> Sayings:
    """By the first rule that holds, else by the question set, else by the answers for all prompts."""
    rule = next((rule for rule in options.rules if rule.holds(question)), None)
    if rule is not None:
        return _stated(rule.answers, rule.script)
    if options.questions is not None and options.ability is not None:
        number = number_of(options.questions, question)
        if number is not None:
            curve = answer_curve(options.questions, options.ability, options.dice, number)
            return Sayings(texts=curve.texts, shares=curve.shares)
    return _stated(options.answers or DEFAULT_ANSWERS, options.script)


def _stated(answers: tuple[str | Answer, ...], script: tuple[str, ...] | None) -> Sayings:
    if script is not None:
        return Sayings(texts=script, shares=None)
    texts = (answer.text if isinstance(answer, Answer) else answer for answer in answers)
    return Sayings(texts=tuple(texts), shares=tuple(weights(answers)))
