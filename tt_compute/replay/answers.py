"""Which recorded answers are the same, and which are right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from tt_compute.errors import InvalidRequestError
from tt_compute.profiles.schema import TaskKind
from tt_compute.replay.recording import Recording
from tt_compute.types import Message
from tt_compute.verify.base import Answer, Judgement
from tt_compute.verify.math_process import MathProcess
from tt_compute.verify.math_task import MathTask

__all__ = [
    "Equality",
    "Question",
    "RecordedTask",
    "RecordedVerifier",
    "VerifierSpec",
    "parse_verifier",
    "read_questions",
]

Equality = Literal["exact", "math"]


class _Mathematics:
    """Compares each pair of answers once, whatever question they are of."""

    def __init__(self, process: MathProcess) -> None:
        self.task: MathTask = MathTask(process)
        self._known: dict[frozenset[str], bool] = {}

    async def equal(self, first: Answer, second: Answer) -> bool:
        pair = frozenset((first.key, second.key))
        if pair not in self._known:
            self._known[pair] = await self.task.equivalent(first, second)
        return self._known[pair]


class RecordedTask:
    """Satisfies ``tt_compute.verify.base.Task``: texts are places in a recording.

    Args:
        answers: The answer in each recorded sample.
        math: Compares them; None = equal are those that are spelt alike.
    """

    kind: TaskKind = "open"

    def __init__(self, answers: Sequence[Answer | None], math: _Mathematics | None) -> None:
        self.answers = answers
        self._math = math

    def extract(self, text: str, *, truncated: bool) -> Answer | None:
        return None if truncated else self.answers[int(text)]

    async def equivalent(self, first: Answer, second: Answer) -> bool:
        if first.key == second.key:
            return True
        return self._math is not None and await self._math.equal(first, second)


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A recorded question, ready to be replayed."""

    recording: Recording
    task: RecordedTask
    right: tuple[bool, ...]
    """The verdict on each sample."""

    @property
    def answers(self) -> Sequence[Answer | None]:
        return self.task.answers


async def read_questions(
    recordings: Sequence[Recording], equality: Equality, process: MathProcess
) -> tuple[list[Question], list[str]]:
    """Read every answer once, and what should be warned of."""
    math = _Mathematics(process) if equality == "math" else None
    questions = [await _read(recording, math) for recording in recordings]
    return questions, [] if math is None else math.task.warnings


async def _read(recording: Recording, math: _Mathematics | None) -> Question:
    answers = [None if one is None else _answer(str(one), math) for one in recording.samples]
    task = RecordedTask(answers, math)
    if recording.correct is not None:
        right = tuple(map(bool, recording.correct))
    else:
        gold = _answer(str(recording.gold), math)
        right = tuple(
            [one is not None and await task.equivalent(gold, one) for one in task.answers]
        )
    return Question(recording=recording, task=task, right=right)


def _answer(text: str, math: _Mathematics | None) -> Answer:
    """A recorded answer is one, even where ``math`` cannot read it: then it equals its own spelling only."""
    read = None if math is None else math.task.read(text)
    return read or Answer(text=text, key=text if math is None else f'"{text}"', explicit=True)


class VerifierSpec(msgspec.Struct, frozen=True):
    """Who judges samples: the recorded verdicts, or the recorded rewards.

    Attributes:
        by_reward: Whether it is the rewards.
        accepts_at: The reward from which on a sample ends the run; infinite = none does.
    """

    by_reward: bool = False
    accepts_at: float = 1.0


def parse_verifier(text: str) -> VerifierSpec:
    """``exact``, ``reward`` or ``reward:0.85``.

    Raises:
        InvalidRequestError: It is none of these.
    """
    name, colon, parameter = text.partition(":")
    hint = "use exact, reward, or reward:0.85 to accept from a reward of 0.85 on"
    if name == "exact" and not colon:
        return VerifierSpec()
    if name != "reward":
        raise InvalidRequestError(f"a recording has no verifier {text!r}", hint=hint)
    try:
        accepts_at = float(parameter) if colon else float("inf")
    except ValueError as error:
        raise InvalidRequestError(f"{parameter!r} is no reward", hint=hint) from error
    if accepts_at != accepts_at:  # noqa: PLR0124 - NaN
        raise InvalidRequestError("NaN is no reward", hint=hint)
    return VerifierSpec(by_reward=True, accepts_at=accepts_at)


class RecordedVerifier:
    """Satisfies ``tt_compute.verify.base.Verifier``: says what was recorded of a sample."""

    name = "recorded"

    def __init__(self, question: Question, spec: VerifierSpec) -> None:
        self._question = question
        self._spec = spec
        self.accepts_at: float = spec.accepts_at

    async def judge(
        self,
        messages: Sequence[Message],  # noqa: ARG002 - the protocol's
        text: str,
        answer: Answer | None,  # noqa: ARG002 - the protocol's
    ) -> Judgement:
        place = int(text)
        if not self._spec.by_reward:
            return Judgement(score=float(self._question.right[place]))
        rewards = self._question.recording.reward
        assert rewards is not None, "checked before the replay"
        return Judgement(score=rewards[place])
