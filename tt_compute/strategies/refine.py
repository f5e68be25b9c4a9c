"""Self-Refine: feedback on the last attempt, then another attempt in sight of it.

Madaan et al. 2023, https://arxiv.org/abs/2303.17651, algorithm 1.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from tt_compute.errors import InvalidRequestError
from tt_compute.results import StopReason
from tt_compute.strategies.attempts import Attempts
from tt_compute.strategies.base import Ended, Needs, Outcome, Run
from tt_compute.strategies.collecting import finished
from tt_compute.strategies.drawing import Ask, Drawer
from tt_compute.strategies.settings import check_numbers
from tt_compute.types import Message
from tt_compute.verify.base import Judgement
from tt_compute.verify.marks import visible

__all__ = ["Refine"]

CRITIQUE = (
    "Review your answer above. Name each mistake in it and how to mend it, briefly; do not write a new answer. "
    "If there is nothing to mend, reply with NO MISTAKES and nothing else."
)
INSTRUCTION = (
    "Now give your complete answer again, with these mistakes mended, in the same form as before."
)
_CONTENT = re.compile(r"\W*no mistakes\W*", re.IGNORECASE)


class Refine(msgspec.Struct, frozen=True, kw_only=True):
    """Attempt, feedback, attempt, and so on, all of it in the model's sight.

    Feedback is the verifier's reason, where it has refused the attempt and says why, such as a test that
    failed; else the model's own, which takes a sample of the budget. The run ends when the verifier accepts,
    or when the model finds no mistake and no verifier knows better (``settled``). Of judged attempts
    the best one answers, the earliest among equals; without a verifier the last one does.

    Raises:
        InvalidRequestError: A value is out of range.
    """

    rounds: int | None = None
    """Refinements at most; None = as many as the budget allows."""
    feedback: Literal["any", "model", "verifier"] = "any"
    """Whose; with ``verifier`` an attempt that it says nothing about is simply made again."""
    critique: str = CRITIQUE
    """Asks the model for feedback. A reply of NO MISTAKES says that there is none to give."""
    instruction: str = INSTRUCTION
    """Follows the feedback."""

    def __post_init__(self) -> None:
        """Refuse what no run could use."""
        check_numbers(self)
        if self.rounds is not None and self.rounds < 0:
            raise InvalidRequestError(f"rounds must be at least 0, got {self.rounds}")
        if self.feedback not in ("any", "model", "verifier"):
            raise InvalidRequestError(
                f"feedback must be 'any', 'model' or 'verifier', got {self.feedback!r}"
            )
        for name in ("critique", "instruction"):
            if not getattr(self, name).strip():
                raise InvalidRequestError(f"{name} is empty")

    @property
    def name(self) -> str:
        return "refine"

    @property
    def needs(self) -> Needs:
        """Nothing of a deployment."""
        return Needs(unforeseen="how often there is something to mend is unknown")

    async def run(self, run: Run) -> Outcome:
        """Refine until there is nothing to mend, the budget is spent or the deadline has passed.

        Raises:
            UsageError: No further prompts can be asked.
            TTComputeError: Every sample failed.
        """
        return await _Refining(run, self).hold()


class _Refining:
    def __init__(self, run: Run, settings: Refine) -> None:
        self._run = run
        self._settings = settings
        self._drawer = Drawer(run)
        self._attempts = Attempts(run, self._drawer)
        self._messages = run.messages

    async def hold(self) -> Outcome:
        reason: StopReason = "budget"
        made = 0
        while self._drawer.over() is None and self._more(made):
            attempt, verdict = await self._attempt()
            made += 1
            if self._attempts.accepted is not None:
                break
            if attempt is None or self._drawer.over() is not None or not self._more(made):
                continue
            if self._drawer.left <= 1 and not self._told(verdict):
                # Feedback that no attempt could follow would be a waste.
                break
            feedback = await self._feedback(attempt, verdict)
            if feedback == "":
                reason = "settled"
                break
            self._remember(attempt, feedback)
        return await self._attempts.outcome(reason, vote=False)

    def _more(self, made: int) -> bool:
        return self._settings.rounds is None or made <= self._settings.rounds

    async def _attempt(self) -> tuple[str | None, Judgement | None]:
        """What the model shows of its next attempt, None when there is none; and the verdict on it."""
        samples = (await self._drawer.draw([Ask(messages=self._messages)]))[0]
        verdicts = await self._attempts.add(samples)
        if not samples or not finished(samples[0]):
            return None, None
        return _shown(samples[0]) or None, verdicts[0]

    def _told(self, verdict: Judgement | None) -> str | None:
        """The verifier's reason, if it is wanted and there is one."""
        if verdict is None or self._settings.feedback == "model":
            return None
        return verdict.reason or None

    async def _feedback(self, attempt: str, verdict: Judgement | None) -> str | None:
        """None = nobody says anything; empty = there is nothing to mend."""
        if (reason := self._told(verdict)) or self._settings.feedback == "verifier":
            return reason
        asked = (*self._messages, _said(attempt), _told(self._settings.critique))
        samples = (await self._drawer.draw([Ask(messages=asked, answers=False)]))[0]
        said = _shown(samples[0]) if samples and finished(samples[0]) else ""
        if not said:
            return None
        if _CONTENT.fullmatch(said):
            # The verifier has refused what the model finds nothing wrong with.
            return "" if verdict is None else None
        return said

    def _remember(self, attempt: str, feedback: str | None) -> None:
        if feedback is not None:
            asked = f"{feedback}\n\n{self._settings.instruction}"
            self._messages = (*self._messages, _said(attempt), _told(asked))


def _said(text: str) -> Message:
    return Message(role="assistant", content=text)


def _told(text: str) -> Message:
    return Message(role="user", content=text)


def _shown(ended: Ended) -> str:
    return visible(ended.event.text).strip()
