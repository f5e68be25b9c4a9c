"""A vote across deployments: as many are asked as it takes until enough of them agree."""

from __future__ import annotations

import msgspec

from tt_compute.errors import InvalidRequestError
from tt_compute.results import StopReason
from tt_compute.stopping import fewest_to_agree
from tt_compute.strategies.base import Ended, Needs, Outcome, Run, check_ids
from tt_compute.strategies.collecting import finished
from tt_compute.strategies.drawing import Ask, Drawer
from tt_compute.strategies.settings import check_numbers
from tt_compute.strategies.voting import Ballot

__all__ = ["Panel"]

_FEWEST = 2
"""Deployments that can agree, and answers that do."""


class Panel(msgspec.Struct, frozen=True):
    """One sample of each deployment, until ``agree`` of them give the same answer.

    Different models err differently: where two of them agree, they are mostly right, and the better one need
    not be asked. As many are asked at once as could bring the leading answer to ``agree``; whoever fails, or has
    no answer, is replaced by the next in line. Of answers with equal votes that of the deployment asked last
    stands, so the best one is named last. The vote is over, too, when nobody left could change it.

    Agreement of weaker models as the reason not to ask a stronger one: Yue et al. 2023 (arXiv 2310.03094) for
    samples of one model, Chen et al. 2025 (ModelSwitch, arXiv 2504.00762) for several models.

    Args:
        deployments: Ids, in the order in which they are asked; one that is named twice gives two samples.
        agree: Equal answers that settle it.

    Raises:
        InvalidRequestError: There is no panel of so few, or it could never agree.
    """

    deployments: tuple[str, ...]
    agree: int = _FEWEST

    def __post_init__(self) -> None:
        """Refuse what no vote could use."""
        check_numbers(self)
        check_ids(self.deployments)
        if len(self.deployments) < _FEWEST:
            raise InvalidRequestError(
                f"a panel is of at least {_FEWEST} deployments, got {len(self.deployments)}",
                hint="name them: panel=CHEAP,OTHER,BEST, in the order in which they are asked",
            )
        if not _FEWEST <= self.agree <= len(self.deployments):
            raise InvalidRequestError(
                f"{self.agree} deployments are to agree, and the panel is of {len(self.deployments)}",
                hint=f"at least {_FEWEST}, and no more than the panel has",
            )

    @property
    def name(self) -> str:
        """As it can be given by, such as ``panel=a,b,c`` or, with ``agree``, ``panel:3=a,b,c``."""
        agree = "" if self.agree == _FEWEST else f":{self.agree}"
        return f"panel{agree}={','.join(self.deployments)}"

    @property
    def needs(self) -> Needs:
        """A model's likeliest answer is the one to compare, where it gives only one."""
        return Needs(
            deployments=self.deployments, temperature=0.0, most_samples=len(self.deployments)
        )

    async def run(self, run: Run) -> Outcome:
        """Ask until enough agree, everybody was asked or the deadline has passed.

        Raises:
            UsageError: No further prompts can be asked.
            TTComputeError: Every deployment failed.
        """
        # One sample of each is no more than each of them takes, whatever the first one's own wave.
        wide = msgspec.structs.replace(run, wave=len(self.deployments))
        return await _Vote(wide, self).hold()


class _Vote:
    def __init__(self, run: Run, settings: Panel) -> None:
        self._run = run
        self._settings = settings
        self._drawer = Drawer(run)
        self._ballot = Ballot(run.task)
        self._asked = 0
        self._came: list[tuple[int, Ended]] = []
        """Place in the panel and sample, in that order."""

    async def hold(self) -> Outcome:
        while (wanted := self._fewest()) and not self._late():
            await self._ask(wanted)
        return self._outcome()

    @property
    def _remaining(self) -> int:
        return min(len(self._settings.deployments) - self._asked, self._drawer.left)

    def _late(self) -> bool:
        return self._drawer.over() == "deadline"

    def _votes(self) -> list[int]:
        return [votes for _, votes in self._ballot.standing()]

    def _fewest(self) -> int:
        return fewest_to_agree(self._votes(), self._settings.agree, self._remaining)

    async def _ask(self, number: int) -> None:
        places = range(self._asked, self._asked + number)
        self._asked += number
        came = await self._drawer.draw(
            [Ask(messages=self._run.messages, rung=place) for place in places]
        )
        for place, samples in zip(places, came, strict=True):
            for ended in samples:
                self._came.append((place, ended))
                await self._ballot.add(ended)
        self._run.observer.on_votes(self._ballot.standing(self._leader()), None)

    def _leader(self) -> list[Ended] | None:
        """The voters of the leading answer; of equal ones those of the deployment asked last."""
        leaders = self._ballot.leaders()
        return max(leaders, key=lambda voters: self._place(voters[-1]), default=None)

    def _place(self, ended: Ended) -> int:
        return next(place for place, one in self._came if one is ended)

    def _reason(self) -> StopReason:
        agreed = max(self._votes(), default=0) >= self._settings.agree
        if agreed or (self._remaining and not self._fewest()):
            return "settled"
        return "deadline" if self._late() else "budget"

    def _outcome(self) -> Outcome:
        leader = self._leader()
        whole = [one for _, one in self._came if finished(one)]
        winner = leader[-1] if leader else next(reversed(whole), None)
        if winner is None:
            self._drawer.raise_if_nothing_came()
        return Outcome(
            answer=None if winner is None else winner.answer,
            text="" if winner is None else winner.event.text,
            winner=None if winner is None else winner.index,
            stop_reason=self._reason(),
            stop_posterior=None,
            ended=self._drawer.by_index(),
            votes=self._ballot.standing(leader),
            own_votes=self._own_votes(leader or []),
            by_rung=tuple(
                tuple(map(self._place, voters)) for voters in self._ballot.ranked(leader)
            ),
            warnings=self._drawer.warnings(),
        )

    def _own_votes(self, leader: list[Ended]) -> tuple[int, ...]:
        """What the first deployment said of the answer: all that its ability can be learned from."""
        first = next((one for place, one in self._came if place == 0), None)
        if first is None or first.answer is None:
            return ()
        return (1,) if first in leader else (0, 1)
