"""Budget forcing: a model that thinks before it answers is made to think longer, or to stop thinking.

Muennighoff et al. 2025, "s1: Simple test-time scaling", https://arxiv.org/abs/2501.19393, section 3.1.
"""

from __future__ import annotations

import msgspec

from tt_compute.errors import InvalidRequestError, UnsupportedError
from tt_compute.results import StopReason
from tt_compute.strategies.base import Ended, Needs, Outcome, Run
from tt_compute.strategies.drawing import Drawer, going_on
from tt_compute.strategies.settings import check_numbers
from tt_compute.strategies.thinking import Marks, Thought
from tt_compute.strategies.verdicts import Bench
from tt_compute.types import Sample

__all__ = ["BudgetForcing"]


class BudgetForcing(msgspec.Struct, frozen=True, kw_only=True):
    """Lets the model think and answer, then has it go on thinking where it had stopped, ``waits`` times.

    Each round ends in an answer, so that there is one at any time; what of it stands behind the thinking is
    left out when the thinking goes on. Thinking that ``thinking_tokens`` cuts is ended for the model, which
    must then answer. With a verifier, an answer that it accepts ends the run, and the best verdict
    wins, the earliest among equals; without one the last answer stands.

    Needs a model that shows its thinking, between tags in its text or apart from it, and whose chat template
    keeps the thinking of an answer that is to be continued.

    Raises:
        InvalidRequestError: A value is out of range.
    """

    waits: int = 1
    """Times that thinking is made to go on, as far as the budget of samples reaches."""
    wait: str = "\n\nWait"
    """Put where the model had stopped thinking."""
    thinking_tokens: int | None = None
    """Longest thinking of each round; None = the plan's ``max_tokens``, which then holds the answer too."""
    final: str = "\n\nFinal Answer:"
    """Put behind thinking that was ended for the model."""
    marks: Marks = Marks()
    """What stands around thinking."""

    def __post_init__(self) -> None:
        """Refuse what no run could use."""
        check_numbers(self)
        if self.waits < 0:
            raise InvalidRequestError(f"waits must be at least 0, got {self.waits}")
        if self.thinking_tokens is not None and self.thinking_tokens < 1:
            raise InvalidRequestError(
                f"thinking_tokens must be at least 1, got {self.thinking_tokens}"
            )
        if self.waits and not self.wait.strip():
            raise InvalidRequestError("wait is empty: nothing would make the model go on")

    @property
    def name(self) -> str:
        return "budget_forcing"

    @property
    def needs(self) -> Needs:
        """Of a deployment."""
        return Needs(
            continue_assistant=True,
            unforeseen="how long the model thinks when it is made to go on is unknown",
        )

    async def run(self, run: Run) -> Outcome:
        """Think until the waits or the budget are spent, the verifier accepts or the deadline has passed.

        Raises:
            UsageError: No further prompts can be asked.
            UnsupportedError: The model shows no thinking.
            TTComputeError: Every sample failed.
        """
        return await _Forcing(run, self).hold()


class _Answered(msgspec.Struct, frozen=True, kw_only=True):
    """One round's answer."""

    ended: Ended
    text: str
    score: float | None = None


class _Forcing:
    def __init__(self, run: Run, settings: BudgetForcing) -> None:
        self._run = run
        self._settings = settings
        self._drawer = Drawer(run)
        self._bench = None if run.verifier is None else Bench(run, self._drawer, run.verifier)
        self._answers: list[_Answered] = []
        self._accepted = False

    async def hold(self) -> Outcome:
        thought = Thought()
        for round_ in range(self._settings.waits + 1):
            if self._drawer.over() is not None:
                break
            if round_:
                thought = thought.going_on(self._settings.wait)
            grown = await self._think(thought)
            if grown is None:
                break
            thought = grown
            if self._accepted:
                break
        self._drawer.raise_if_nothing_came()
        return self._outcome()

    async def _think(self, thought: Thought) -> Thought | None:
        """One round: more thinking, and an answer; None when nothing came."""
        marks, limit = self._settings.marks, self._settings.thinking_tokens
        grown = await self._draw(thought, limit)
        if grown is None:
            return None
        if not grown.seen:
            raise UnsupportedError(
                "the model shows no thinking that could be made longer or shorter",
                hint=f"use a model that thinks between {marks.opens} and {marks.closes}, or 'revise'",
            )
        if (grown.cut or not grown.closed) and self._drawer.over() is None:
            if not grown.closed:
                grown = grown.ended(self._settings.final)
            grown = await self._draw(grown, None) or grown
        return grown

    async def _draw(self, thought: Thought, limit: int | None) -> Thought | None:
        sampling = self._run.sampling
        if limit is not None:
            sampling = msgspec.structs.replace(sampling, max_tokens=limit)
        begun = thought.text(self._settings.marks)
        samples = (await self._drawer.draw([going_on(self._run, begun, sampling=sampling)]))[0]
        event = samples[0].event if samples else None
        if not isinstance(event, Sample) or event.finish_reason == "cancelled":
            return None
        grown = thought.with_sample(event, self._settings.marks)
        await self._read(grown, samples[0], event)
        return grown

    async def _read(self, thought: Thought, ended: Ended, event: Sample) -> None:
        """Take up what the text says by now, if it says an answer."""
        text = thought.text(self._settings.marks)
        whole = event.finish_reason in ("stop", "tool_calls")
        answer = self._run.task.extract(text, truncated=not whole)
        if event.finish_reason == "deadline" and answer is None:
            return
        verdict = None
        if self._bench is not None and thought.closed:
            verdict = await self._bench.judge(text, answer)
        score = None if verdict is None else verdict.score
        ended = msgspec.structs.replace(ended, answer=answer, score=score)
        self._drawer.tell(ended)
        self._answers.append(_Answered(ended=ended, text=text, score=score))
        self._accepted = self._bench is not None and self._bench.accepts(verdict)

    def _outcome(self) -> Outcome:
        winner = self._winner()
        reason: StopReason = "verifier" if self._accepted else "budget"
        if not self._accepted and self._drawer.over() == "deadline":
            reason = "deadline"
        return Outcome(
            answer=None if winner is None else winner.ended.answer,
            text="" if winner is None else winner.text,
            winner=None if winner is None else winner.ended.index,
            stop_reason=reason,
            stop_posterior=None,
            ended=self._drawer.by_index(),
            verifier_tokens=self._drawer.verifier_tokens,
            warnings=self._drawer.warnings(),
        )

    def _winner(self) -> _Answered | None:
        judged = [one for one in self._answers if one.score is not None]
        if judged:
            return min(judged, key=lambda one: (-(one.score or 0.0), one.ended.index))
        answered = [one for one in self._answers if one.ended.answer is not None]
        return next(reversed(answered or self._answers), None)
