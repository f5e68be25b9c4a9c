"""Answers, how they are found in a text, and what a verifier is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, runtime_checkable

import msgspec

from tt_compute.profiles.schema import TaskKind
from tt_compute.types import Message, Reliability, Sample

__all__ = [
    "Answer",
    "Asking",
    "Equality",
    "EqualityCallable",
    "Fallible",
    "Judgement",
    "Readied",
    "Task",
    "Verifier",
    "VerifierCallable",
]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer found in a sample."""

    text: str
    """As it is shown to the user."""
    key: str
    """Canonical form: equal keys are equal answers; unequal keys may still be equivalent."""
    explicit: bool
    """Found behind a mark (boxed, "the answer is"), not guessed from the last number."""


class Task(Protocol):
    """A kind of task: how an answer is found and when two answers are the same one."""

    @property
    def kind(self) -> TaskKind: ...

    def extract(self, text: str, *, truncated: bool) -> Answer | None:
        """The answer in ``text``; None abstains.

        Args:
            text: A sample's whole text.
            truncated: The sample was cut (``length``, cancelled, deadline): only an explicit answer
                counts then.
        """
        ...

    async def equivalent(self, first: Answer, second: Answer) -> bool:
        """Whether both are the same answer; symmetric."""
        ...


class Equality(Protocol):
    """Tells which answers vote together. Those with equal keys do so unasked."""

    async def same(self, first: Answer, second: Answer) -> bool:
        """Whether both are the same answer.

        Raises:
            VerifierError: It could not be found out; for a vote that is "no", with a warning.
        """
        ...


EqualityCallable = Callable[[str, str], bool | Awaitable[bool]]
"""A user's own: (answer, answer) -> whether they are the same; a plain function runs in a worker thread."""


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """What a verifier says of one sample."""

    score: float
    """Higher is better; 1.0 is accepted, 0.0 refused, for verifiers that accept or refuse."""
    tokens: int = 0
    """Tokens that judging took, when a model judged."""
    reason: str = ""
    """What is wrong, in words for whoever tries again; empty = it does not say. Never the right answer."""


class Verifier(Protocol):
    """Judges a sample. It raises ``VerifierError`` when it cannot; it never guesses."""

    @property
    def name(self) -> str: ...

    @property
    def accepts_at(self) -> float:
        """The score from which on a sample is good enough to end the run."""
        ...

    async def judge(
        self, messages: Sequence[Message], text: str, answer: Answer | None
    ) -> Judgement: ...


@runtime_checkable
class Fallible(Protocol):
    """Optional ability of a verifier: to say how far it can be trusted. One that does not counts as exact."""

    @property
    def reliability(self) -> Reliability | None:
        """None = unknown; nothing is predicted of what it picks then, and nothing learned from it."""
        ...


@runtime_checkable
class Asking(Protocol):
    """Optional ability of a verifier: to put any other question to the model that judges."""

    async def ask(self, messages: tuple[Message, ...]) -> Sample:
        """The model's one completion, drawn greedily.

        Raises:
            VerifierError: It could not be asked.
        """
        ...


@runtime_checkable
class Readied(Protocol):
    """Optional ability of a verifier or an equality: to find out before a sample is drawn whether it can judge at all."""

    async def ready(self, messages: Sequence[Message]) -> None:
        """Make ready what judging needs.

        Args:
            messages: The prompt of what will be judged.

        Raises:
            VerifierError: It cannot judge here.
        """
        ...


Verdict = float | bool | Judgement
VerifierCallable = Callable[[str, str], Verdict | Awaitable[Verdict]]
"""A user's own: (prompt, text) -> score, verdict, or score and reason; a plain function runs in a worker thread."""
