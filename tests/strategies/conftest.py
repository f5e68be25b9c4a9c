"""A scripted generation, where the test decides what each sample says and which one ends next."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

import anyio
import anyio.lowlevel
import msgspec
import pytest

from tt_compute.errors import BackendError, EngineDied, TTComputeError, VerifierError
from tt_compute.profiles.schema import TaskKind
from tt_compute.strategies import get_strategy
from tt_compute.strategies.base import Ended, Outcome, Run
from tt_compute.types import (
    Delta,
    Event,
    Failed,
    FinishReason,
    Message,
    Sample,
    TokenLogprob,
    Usage,
)
from tt_compute.verify.base import Answer, Judgement

Line = str | None | BackendError | tuple[str, FinishReason]
"""What a sample says: an answer, nothing that holds one, a failure, or a text and how it ended."""


class ScriptedGeneration:
    """Ends one live sample per event, the one of the lowest rank first.

    Args:
        lines: What sample k says.
        ranks: The lower the rank of sample k, the earlier it ends. None = in order.
        deadline_after: Ends after which the deadline has passed: the rest of the live ends with
            ``deadline``.
        lost_after: Ends after which the generation is lost: the rest of the live fails.
        lost_with: The failure of those, and what the iterator raises then.
        late_cancel: A cancel comes too late: the sample is complete before it takes effect.
        silent: The generation, once lost, ends nothing any more.
        before_event: Awaited before each event.
        logprobs: Mean log-probability of sample k; None of one = it has none.
        certainties: Self-certainty of sample k.
    """

    def __init__(
        self,
        lines: Sequence[Line],
        *,
        ranks: Sequence[float] | None = None,
        deadline_after: int | None = None,
        lost_after: int | None = None,
        lost_with: BackendError | None = None,
        late_cancel: bool = False,
        silent: bool = False,
        before_event: Callable[[], Awaitable[None]] | None = None,
        logprobs: Sequence[float | None] = (),
        certainties: Sequence[float] = (),
    ) -> None:
        self.lines = lines
        self.logprobs = logprobs
        self.certainties = certainties
        self.ranks = ranks if ranks is not None else range(len(lines))
        self.deadline_after = deadline_after
        self.lost_after = lost_after
        self.lost_with = lost_with or EngineDied("the engine is gone")
        self.late_cancel = late_cancel
        self.silent = silent
        self.before_event = before_event or anyio.lowlevel.checkpoint
        self.drawn = 0
        self.live: list[int] = []
        self.cancelled: set[int] = set()
        self.ends = 0
        self.most_live = 0
        self.draws: list[tuple[int, int]] = []

    def draw(self, n: int = 1) -> range:
        self.draws.append((self.ends, n))
        indices = range(self.drawn, self.drawn + n)
        self.drawn += n
        self.live.extend(indices)
        self.most_live = max(self.most_live, len(self.live))
        return indices

    def cancel(self, index: int | None = None) -> None:
        self.cancelled.update(self.live if index is None else {index} & set(self.live))

    @property
    def deadline_passed(self) -> bool:
        return self.deadline_after is not None and self.ends >= self.deadline_after

    async def __aiter__(self) -> AsyncIterator[Event]:
        while self.live:
            await self.before_event()
            if self.lost_after is not None and self.ends >= self.lost_after:
                while self.live and not self.silent:
                    yield Failed(index=self.live.pop(), error=self.lost_with)
                raise self.lost_with
            index = self._next()
            yield Delta(index=index, text=f"delta of {index}")
            self.live.remove(index)
            event = self._end(index)
            self.ends += 1
            yield event

    def _next(self) -> int:
        stopped = [index for index in self.live if index in self.cancelled]
        return min(stopped or self.live, key=lambda index: self.ranks[index])

    def _end(self, index: int) -> Sample | Failed:
        line = self.lines[index]
        usage = Usage(output_tokens=7)
        if isinstance(line, BackendError):
            return Failed(index=index, error=line, usage=usage)
        text, reason = line if isinstance(line, tuple) else (line or "", "stop")
        if index in self.cancelled and not self.late_cancel:
            reason = "cancelled"
        elif self.deadline_passed:
            reason = "deadline"
        return Sample(
            index=index,
            text=text,
            finish_reason=reason,
            usage=usage,
            logprobs=self._logprobs(index),
            self_certainty=self.certainties[index] if self.certainties else None,
        )

    def _logprobs(self, index: int) -> tuple[TokenLogprob, ...]:
        logprob = self.logprobs[index] if self.logprobs else None
        return () if logprob is None else (TokenLogprob(token="t", logprob=logprob),)


class PlainTask:
    """The whole text is the answer; a trailing ``!`` marks it explicit; empty text holds none."""

    kind: TaskKind = "math"

    def __init__(self, same: Callable[[str, str], bool] | None = None) -> None:
        self._same = same or _same_but_for_case
        self.compared: list[tuple[str, str]] = []

    def extract(self, text: str, *, truncated: bool) -> Answer | None:
        explicit = text.endswith("!")
        key = text.removesuffix("!")
        if not key or (truncated and not explicit):
            return None
        return Answer(text=key, key=key, explicit=explicit)

    async def equivalent(self, first: Answer, second: Answer) -> bool:
        self.compared.append((first.key, second.key))
        await anyio.lowlevel.checkpoint()
        return self._same(first.key, second.key)


def _same_but_for_case(first: str, second: str) -> bool:
    return first.lower() == second.lower()


class ScriptedVerifier:
    """Gives each text its score; an error in place of a score is raised, ``slow`` ones never come."""

    name = "scripted"
    accepts_at = 1.0

    def __init__(self, scores: Mapping[str, float | TTComputeError], slow: Sequence[str]) -> None:
        self._scores = scores
        self._slow = slow
        self.judging = 0
        self.most_judging = 0
        self.judged: list[str] = []
        self.asked: list[tuple[str, str | None]] = []

    async def judge(
        self, messages: Sequence[Message], text: str, answer: Answer | None
    ) -> Judgement:
        self.asked.append((messages[0].text, None if answer is None else answer.text))
        self.judging += 1
        self.most_judging = max(self.most_judging, self.judging)
        try:
            await (anyio.sleep_forever() if text in self._slow else anyio.lowlevel.checkpoint())
        finally:
            self.judging -= 1
        self.judged.append(text)
        score = self._scores.get(text, VerifierError(f"never heard of {text!r}"))
        if isinstance(score, TTComputeError):
            raise score
        return Judgement(score=score, tokens=10)


class Notes:
    """An observer that writes everything down."""

    def __init__(self) -> None:
        self.deltas: list[Delta] = []
        self.drawn: list[int] = []
        self.ended: list[Ended] = []
        self.votes: list[tuple[tuple[tuple[str, int], ...], float | None]] = []
        self.stopping: list[int] = []

    def on_delta(self, delta: Delta) -> None:
        self.deltas.append(delta)

    def on_drawn(self, indices: range) -> None:
        self.drawn.extend(indices)

    def on_ended(self, ended: Ended) -> None:
        self.ended.append(ended)

    def on_votes(self, votes: Sequence[tuple[str, int]], posterior: float | None) -> None:
        self.votes.append((tuple(votes), posterior))

    def on_stopping(self, indices: Sequence[int]) -> None:
        self.stopping.extend(indices)


class Stage(msgspec.Struct, kw_only=True):
    """One scripted run; ``outcome`` once it was played."""

    generation: ScriptedGeneration
    notes: Notes
    verifier: ScriptedVerifier | None
    task: PlainTask
    run: Run
    strategy: str

    def adjust(self, **changes: object) -> None:
        """Change fields of the run."""
        self.run = msgspec.structs.replace(self.run, **changes)

    async def play(self, *, whole: bool = True) -> Outcome:
        """Run the strategy.

        Args:
            whole: Check that every sample that was drawn has ended and was told of.
        """
        outcome = await get_strategy(self.strategy).run(self.run)
        if whole:
            assert self.generation.live == []
            assert [ended.index for ended in outcome.ended] == list(range(self.generation.drawn))
            assert sorted({ended.index for ended in self.notes.ended}) == self.notes.drawn
        return outcome


def _stage(
    strategy: str,
    lines: Sequence[Line],
    *,
    max_samples: int | None = None,
    wave: int | None = None,
    stop_rule: str | None = "beta",
    weight: str | None = None,
    ahead: float = 1.0,
    scores: Mapping[str, float | TTComputeError] | None = None,
    slow: Sequence[str] = (),
    same: Callable[[str, str], bool] | None = None,
    seed: int = 0,
    until_deadline: Callable[[], Awaitable[None]] | None = None,
    **script: object,
) -> Stage:
    generation = ScriptedGeneration(lines, **script)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] - passed on as given
    budget = max_samples or len(lines)
    verifier = None if scores is None else ScriptedVerifier(scores, slow)
    notes = Notes()
    task = PlainTask(same)
    run = Run(
        generation=generation,
        messages=(Message(role="user", content="what?"),),
        task=task,
        max_samples=budget,
        wave=wave or budget,
        # A verifier's own word ends a contest, unless the test says otherwise.
        stop_rule=None if strategy == "best_of_n" and stop_rule == "beta" else stop_rule,
        weight=weight,
        ahead=ahead,
        verifier=verifier,
        rng=random.Random(seed),
        observer=notes,
        deadline_passed=lambda: generation.deadline_passed,
        until_deadline=until_deadline,
    )
    return Stage(
        generation=generation,
        notes=notes,
        verifier=verifier,
        task=task,
        run=run,
        strategy=strategy,
    )


@pytest.fixture(scope="session")
def stage() -> Callable[..., Stage]:
    """Sets up a run: ``stage("majority", ["4", "4", None, "5"], wave=2)``, then ``await it.play()``."""
    return _stage
