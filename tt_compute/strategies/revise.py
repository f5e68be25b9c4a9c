"""Sequential revisions: the model sees its previous attempts and tries again.

Snell et al. 2024, https://arxiv.org/abs/2408.03314, section 6. Their model was trained to revise; others may
gain less, or nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tt_compute.errors import InvalidRequestError
from tt_compute.strategies.attempts import Attempts
from tt_compute.strategies.base import Ended, Needs, Outcome, Run
from tt_compute.strategies.collecting import finished
from tt_compute.strategies.drawing import Ask, Drawer
from tt_compute.strategies.settings import check_numbers
from tt_compute.types import Message
from tt_compute.verify.marks import visible

__all__ = ["Revise"]

INSTRUCTION = (
    "Check your answer above step by step. If there is a mistake, correct it. Then give your complete, "
    "revised answer, in the same form as before."
)


class Revise(msgspec.Struct, frozen=True, kw_only=True):
    """Grows ``chains`` of attempts, each one made in sight of those before it.

    With a verifier the run ends at the first attempt that it accepts, else the best verdict answers, the
    earliest among equals: a revision that is no better never takes the place of what it revised. Without
    one all attempts vote. An attempt that fails is left out of its chain.

    Raises:
        InvalidRequestError: A value is out of range.
    """

    chains: int = 1
    """Attempts beside each other: the papers' parallel budget."""
    revisions: int | None = None
    """Of each chain at most; None = as many as the budget allows."""
    context: int = 4
    """Previous attempts in sight, the last ones."""
    instruction: str = INSTRUCTION
    """Follows each attempt, as the user's turn."""

    def __post_init__(self) -> None:
        """Refuse what no run could use."""
        check_numbers(self)
        for name, least in (("chains", 1), ("revisions", 0), ("context", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise InvalidRequestError(f"{name} must be at least {least}, got {value}")
        if not self.instruction.strip():
            raise InvalidRequestError("instruction is empty: nothing would ask for a revision")

    @property
    def name(self) -> str:
        return "revise"

    @property
    def needs(self) -> Needs:
        """Nothing of a deployment."""
        return Needs(unforeseen="how long an attempt is in sight of others is unknown")

    async def run(self, run: Run) -> Outcome:
        """Revise until the verifier accepts, the budget is spent or the deadline has passed.

        Raises:
            UsageError: No further prompts can be asked.
            TTComputeError: Every sample failed.
        """
        drawer = Drawer(run)
        attempts = Attempts(run, drawer)
        chains: list[list[Ended]] = [[] for _ in range(self.chains)]
        rounds = 0
        while drawer.over() is None and attempts.accepted is None and self._more(rounds):
            came = await drawer.draw([self._ask(run, chain) for chain in chains])
            for chain, samples in zip(chains, came, strict=True):
                chain.extend(one for one in samples if finished(one) and _shown(one))
            await attempts.add([one for samples in came for one in samples])
            rounds += 1
        return await attempts.outcome("budget", vote=True)

    def _more(self, rounds: int) -> bool:
        return self.revisions is None or rounds <= self.revisions

    def _ask(self, run: Run, chain: Sequence[Ended]) -> Ask:
        messages = list(run.messages)
        for attempt in chain[-self.context :]:
            messages.append(Message(role="assistant", content=_shown(attempt)))
            messages.append(Message(role="user", content=self.instruction))
        return Ask(messages=tuple(messages))


def _shown(attempt: Ended) -> str:
    return visible(attempt.event.text).strip()
