"""What a strategy is: it draws samples from an open generation until it has an answer.

A strategy knows nothing of backends, money or the store. It sees one ``Run`` and returns one ``Outcome``;
what was drawn, cancelled and failed on the way is booked by the dispatcher that lent the generation.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol, cast, get_args, runtime_checkable

import msgspec

from tt_compute.backend import Generation
from tt_compute.errors import InvalidRequestError
from tt_compute.results import StopReason
from tt_compute.types import Delta, Deltas, Failed, Message, Sample, SamplingParams
from tt_compute.verify.base import Answer, Task, Verifier
from tt_compute.verify.steps import ScoreSteps

__all__ = [
    "Ended",
    "Leg",
    "Needs",
    "Observer",
    "Opener",
    "Outcome",
    "Run",
    "Strategy",
    "StrategyWithNeeds",
    "check_ids",
    "check_outcome",
    "needs_of",
]


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
    """Index of that sample; None when there is none, or the text is that of no sample."""
    tied: tuple[int, ...] = ()
    """Samples of the answers that stood equal, the winner's among them, where luck decided between several."""
    stop_reason: StopReason
    stop_posterior: float | None
    ended: tuple[Ended, ...]
    """Every sample that was drawn, by index."""
    votes: tuple[tuple[str, int], ...] = ()
    """Shown answer and number of votes, leader first."""
    stage: int = 0
    """Which of the plan's deployments answered; ``votes`` are its own."""
    own_votes: tuple[int, ...] | None = None
    """Votes of the first deployment where another one answered, those for the answer first; None = ``votes``."""
    by_rung: tuple[tuple[int, ...], ...] = ()
    """Where one sample came from each: the rungs that gave each answer, in the order of ``votes``."""
    uncounted: frozenset[int] = frozenset()
    """Samples that a vote drew ahead and ended without, by index: what came of those that had ended by then says
    nothing of samples in general, since short ones end first."""
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


class Opener(Protocol):
    """Opens a further prompt within the run."""

    def __call__(
        self,
        messages: tuple[Message, ...],
        *,
        rung: int = 0,
        sampling: SamplingParams | None = None,
        continue_assistant: bool = False,
        deltas: Deltas = "none",
    ) -> AbstractAsyncContextManager[Generation]:
        """A live prompt whose samples are numbered and booked with the run's others.

        The deadline, the spend cap and what interrupts the run hold here too. The seed differs from that of
        every other prompt of the run.

        Args:
            messages: What to ask.
            rung: Which of the plan's deployments, 0 is the one of ``Run.generation``.
            sampling: None = as the plan has it for that deployment.
            continue_assistant: Go on from the unfinished last message.
            deltas: What to show of samples before they end.

        Raises:
            TTComputeError: On entering: the prompt cannot be opened.
        """
        ...


class Leg(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan has a further deployment do."""

    strategy: str
    stop_rule: str | None
    max_samples: int
    wave: int


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """All a strategy may use."""

    generation: Generation
    """The request's own prompt."""
    messages: tuple[Message, ...]
    task: Task
    max_samples: int
    wave: int
    """Most samples in flight at once."""
    stop_rule: str | None
    weight: str | None = None
    """What votes weigh by, as ``tt_compute.weights.parse_weight`` reads it; None = all alike."""
    ahead: float = 1.0
    """Least chance at which a vote draws a sample before it is sure to need it, as ``stopping.worth_drawing``
    takes it; 1 = it never does."""
    verifier: Verifier | None
    rng: random.Random
    """Seeded from the request; breaks ties."""
    observer: Observer
    deadline_passed: Callable[[], bool]
    until_deadline: Callable[[], Awaitable[None]] | None = None
    """Returns once ``deadline_passed()`` is true; ends a wait that no sample's end would end. None = such
    a wait is not cut short."""
    sampling: SamplingParams = SamplingParams()
    """How samples of ``generation`` are drawn."""
    open: Opener | None = None
    """None = recorded samples, or others that no further prompt can be put to."""
    legs: tuple[Leg, ...] = ()
    """What the plan has its further deployments do; ``rung=1`` of ``open`` is the first of them."""
    score_steps: ScoreSteps | None = None
    """How the deployment that ``Needs.step_scorer`` names scores steps; None = none is named."""


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """What a strategy cannot run without, most of it abilities of a deployment."""

    logprobs: int = 0
    """Alternatives per token; 1 = the token's own."""
    continue_assistant: bool = False
    verifier: bool = False
    """Not of the deployment: something has to judge samples."""
    deployments: tuple[str, ...] = ()
    """Ids of those that the run needs: the first is where the request goes, and ``rung=k`` of ``Run.open`` is the
    k-th after it. Empty = whatever the plan chooses."""
    step_scorer: str | None = None
    """Id of the deployment that scores the steps of texts: ``Run.score_steps`` asks it. Nothing is drawn there."""
    temperature: float | None = None
    """Of samples, where the caller wishes for none; None = as the plan has it."""
    draws_all: bool = False
    """The whole budget is drawn of the run's own prompt, and nothing else is asked: plans predict what that takes."""
    unforeseen: str = ""
    """Why plans do not predict what it takes, in words; empty = they do, or nobody says why not."""
    most_samples: int | None = None
    """No run draws more, so that no more is planned and set aside; None = as many as it may."""

    def __post_init__(self) -> None:
        """Refuse deployments that are none, and a number of samples that is."""
        check_ids(self.deployments)
        if self.most_samples is not None and self.most_samples < 1:
            raise InvalidRequestError(f"most_samples must be at least 1, got {self.most_samples}")


def check_ids(deployments: object) -> None:
    """Refuse what no type checker saw: the letters of a text would be taken for ids.

    Raises:
        InvalidRequestError: They are no ids of deployments.
    """
    listed = (
        cast("Sequence[object]", deployments) if isinstance(deployments, tuple | list) else None
    )
    if listed is None or not all(isinstance(one, str) for one in listed):
        raise InvalidRequestError(
            f"deployments are a tuple of their ids, got {deployments!r:.80}",
            hint="such as ('groq/gpt-oss-20b', 'groq/gpt-oss-120b')",
        )


@runtime_checkable
class Strategy(Protocol):
    """How samples become an answer.

    Names of one's own must differ from the built-in ones.
    """

    @property
    def name(self) -> str: ...

    async def run(self, run: Run) -> Outcome:
        """Draw until the answer is settled, the budget is spent or the deadline has passed.

        Leaves nothing live: what it no longer needs it cancels, and it reads every index to its end.
        """
        ...


def needs_of(strategy: Strategy | None) -> Needs:
    """What a strategy cannot run without; nothing, where it does not say.

    Raises:
        InvalidRequestError: It says so by something else than ``Needs``, which no type checker saw.
    """
    return (
        _checked(strategy, strategy.needs) if isinstance(strategy, StrategyWithNeeds) else Needs()
    )


def _checked(strategy: Strategy, needs: object) -> Needs:
    if isinstance(needs, Needs):
        return needs
    raise InvalidRequestError(
        f"`needs` of the strategy {strategy.name!r} is {type(needs).__name__}, not Needs",
        hint="leave it out where it needs nothing",
    )


@runtime_checkable
class StrategyWithNeeds(Strategy, Protocol):
    """One that not every deployment can serve; the plan leaves the others out."""

    @property
    def needs(self) -> Needs: ...


def check_outcome(strategy: Strategy, outcome: object) -> None:
    """Refuse what a strategy of somebody else's may return and no type checker saw.

    Raises:
        InvalidRequestError: It is no ``Outcome``, or one of values that none has.
    """
    if not isinstance(outcome, Outcome):
        wrong = f"{type(outcome).__name__}, not an Outcome"
    elif not _is_answer(outcome.answer):
        wrong = f"an answer that is {type(outcome.answer).__name__}, not an Answer or None"
    elif outcome.stop_reason not in get_args(StopReason):
        wrong = (
            f"the stop reason {outcome.stop_reason!r}, not one of {', '.join(get_args(StopReason))}"
        )
    elif outcome.winner not in {None, *(one.index for one in outcome.ended)}:
        wrong = f"the winner {outcome.winner!r}, which is not among the samples that ended"
    else:
        return
    raise InvalidRequestError(f"strategy {strategy.name!r} returned {wrong}")


def _is_answer(value: object) -> bool:
    # Structs do not check what they are given, so the type of the field promises nothing here.
    return value is None or isinstance(value, Answer)
