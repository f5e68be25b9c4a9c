"""What a strategy is: it draws samples from an open generation until it has an answer.

A strategy knows nothing of backends, money or the store. It sees one ``Run`` and returns one ``Outcome``;
what was drawn, cancelled and failed on the way is booked by the dispatcher that lent the generation.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec

from tt_compute.backend import Generation
from tt_compute.results import StopReason
from tt_compute.types import Delta, Failed, Message, Sample
from tt_compute.verify.base import Answer, Task, Verifier

__all__ = ["Ended", "Observer", "Outcome", "Run", "Strategy"]


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """A sample that has ended, with what was read out of it."""

    event: Sample | Failed
    answer: Answer | None
    score: float | None = None

    @property
    def index(self) -> int:
        return self.event.index


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a strategy found."""

    answer: Answer | None
    text: str
    """Full text of the sample that stands for the answer; empty when there is none."""
    winner: int | None
    """Index of that sample."""
    tied: tuple[int, ...] = ()
    """Samples of the answers that stood equal, the winner's among them, where luck decided between several."""
    stop_reason: StopReason
    stop_posterior: float | None
    ended: tuple[Ended, ...]
    """Every sample that was drawn, by index."""
    votes: tuple[tuple[str, int], ...] = ()
    """Shown answer and number of votes, leader first."""
    verifier_tokens: int = 0
    warnings: tuple[str, ...] = ()


class Observer(Protocol):
    """Told what happens while a strategy runs; must not block."""

    def on_delta(self, delta: Delta) -> None: ...
    def on_drawn(self, indices: range) -> None: ...
    def on_ended(self, ended: Ended) -> None:
        """A sample has ended; told again, with its score, once it was judged."""
        ...

    def on_votes(self, votes: Sequence[tuple[str, int]], posterior: float | None) -> None: ...
    def on_stopping(self, indices: Sequence[int]) -> None: ...


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """All a strategy may use."""

    generation: Generation
    messages: tuple[Message, ...]
    task: Task
    max_samples: int
    wave: int
    """Most samples in flight at once."""
    stop_rule: str | None
    weight: str | None = None
    """What votes weigh by, as ``tt_compute.weights.parse_weight`` reads it; None = all alike."""
    verifier: Verifier | None
    rng: random.Random
    """Seeded from the request; breaks ties."""
    observer: Observer
    deadline_passed: Callable[[], bool]
    until_deadline: Callable[[], Awaitable[None]] | None = None
    """Returns once ``deadline_passed()`` is true; ends a wait that no sample's end would end. None = such
    a wait is not cut short."""


class Strategy(Protocol):
    """How samples become an answer."""

    @property
    def name(self) -> str: ...

    async def run(self, run: Run) -> Outcome:
        """Draw until the answer is settled, the budget is spent or the deadline has passed.

        Leaves nothing live: what it no longer needs it cancels, and it reads every index to its end.
        """
        ...
