"""Many requests under one budget: planned together, run one by one, planned again as the bills come in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import anyio
import anyio.lowlevel
import msgspec

from tt_compute.dispatch.spend import cost_usd
from tt_compute.errors import (
    InfeasibleError,
    InvalidRequestError,
    SpendCapReached,
    TTComputeError,
)
from tt_compute.foresight import most_drawn
from tt_compute.options import SolveOptions
from tt_compute.planning.batch import Budget, Way, allocate
from tt_compute.planning.types import Candidate
from tt_compute.prompts import Prompt, estimate_tokens
from tt_compute.purse import Purse, Share, within
from tt_compute.requests import Prepared
from tt_compute.results import Result
from tt_compute.types import DeploymentSpec, Usage

__all__ = ["Batch", "Desk"]

_REPLANS = 20
"""How often a batch is planned again: each time that this share of its items has ended."""
_FIGURES = {"max_cost_usd": "cost_usd", "max_samples": "samples_mean", "max_energy_j": "energy_j"}
"""Limit -> figure of a prediction."""
_UNITS = {"max_cost_usd": "USD", "max_samples": "samples", "max_energy_j": "J"}

Split = Callable[[], tuple[Prompt, SolveOptions]]
"""An item's prompt and options; raises where it has none."""


class Desk(Protocol):
    """The part of a client that a batch needs."""

    def spec(self, deployment: str) -> DeploymentSpec: ...

    async def prepare(self, prompt: Prompt, options: SolveOptions) -> Prepared: ...

    async def run(self, prepared: Prepared) -> Result: ...


class Batch:
    """Made by ``open``; then ``solve`` each item once, in any order and number at a time.

    Args:
        desk: Where requests are prepared and run.
        budget: What all items may take together.
        items: All of them.
    """

    def __init__(self, desk: Desk, budget: Budget, items: Sequence[Split]) -> None:
        self._desk = desk
        self._budget = budget
        self._items = items
        self._purse = Purse(budget.limits)
        self._open: dict[int, list[Share]] = {}
        """The items that have not begun, and their ways."""
        self._kept = [0.0] * len(budget.limits)
        """Of each limit, what the cheapest ways of all items that have not begun are expected to take."""
        self._picks: dict[int, Share] = {}
        self._refused: dict[int, TTComputeError] = {}
        self._done = 0
        self._every = max(1, -(-len(items) // _REPLANS))
        self._queue = anyio.Lock()
        self._ended = anyio.Event()

    async def open(self, *, refuse: bool) -> None:
        """Plan every item, and share the budget out; nothing runs yet.

        Args:
            refuse: Raise the first item's error, instead of keeping it for its turn.

        Raises:
            InfeasibleError: The budget does not cover the cheapest way for every item.
            TTComputeError: An item cannot be planned.
        """
        for place in range(len(self._items)):
            try:
                self._open[place] = self._ways(await self._prepare(place))
                self._keep(place, 1.0)
            except TTComputeError as error:
                if refuse:
                    raise
                self._refused[place] = error
            await anyio.lowlevel.checkpoint()
        if not self._share_out():
            raise self._too_little()

    async def solve(self, place: int) -> Result:
        """Run an item on its share, as soon as the most that it can take is free.

        Raises:
            SpendCapReached: What is left of the budget does not cover it any more.
            TTComputeError: As of a request by itself.
        """
        if place in self._refused:
            raise self._refused[place]
        prepared = await self._prepare(place)
        share = await self._turn(place)
        try:
            result = await self._desk.run(self._funded(prepared, share))
        except TTComputeError as error:
            self._settle(share, error.partial)
            raise
        self._settle(share, result)
        return result

    async def _prepare(self, place: int) -> Prepared:
        prompt, options = self._items[place]()
        if options.get("plan") is not None:
            raise InvalidRequestError(
                "a plan cannot be given beside a budget, which decides it", hint="leave one out"
            )
        return await self._desk.prepare(prompt, options)

    async def _turn(self, place: int) -> Share:
        # One waits at a time, in the order of the items: none is overtaken until nothing is left for it.
        async with self._queue:
            self._keep(place, -1.0)
            while not self._fits(self._picks[place]):
                if self._purse.idle:
                    self._picks[place] = self._last_resort(place)
                    break
                await self._ended.wait()
            del self._open[place]
            share = self._picks.pop(place)
            self._purse.hold(share)
            return share

    def _keep(self, place: int, sign: float) -> None:
        least = min(self._open[place], key=_size).means
        self._kept = [kept + sign * mean for kept, mean in zip(self._kept, least, strict=True)]

    def _fits(self, share: Share) -> bool:
        """Whether what is free covers the most that it can take, and leaves the others their cheapest ways."""
        free = [have - kept for have, kept in zip(self._purse.free, self._kept, strict=True)]
        return within(share.ceilings, free)

    def _last_resort(self, place: int) -> Share:
        """The best way that what is left surely covers."""
        ways = self._open[place]
        fitting = [share for share in ways if self._fits(share)]
        fitting = fitting or [share for share in ways if self._purse.fits(share)]
        if not fitting:
            left = _amounts(self._budget, self._purse.unspent)
            raise SpendCapReached(
                f"{left} are left of the budget, and item {place} could take more",
                hint="raise the budget, lower max_tokens, or add a cheaper deployment",
            )
        return max(fitting, key=lambda share: share.quality)

    def _funded(self, prepared: Prepared, share: Share) -> Prepared:
        """The request as it was planned in the batch; its cap is what was set aside for it."""
        objective = prepared.plan.objective
        if self._budget.max_cost_usd is not None:
            cap = share.ceilings[self._budget.names.index("max_cost_usd")]
            if objective.max_cost_usd is not None:
                cap = min(cap, objective.max_cost_usd)
            objective = msgspec.structs.replace(objective, max_cost_usd=cap)
        plan = msgspec.structs.replace(prepared.plan, chosen=share.candidate, objective=objective)
        return msgspec.structs.replace(prepared, plan=plan)

    def _settle(self, share: Share, result: object) -> None:
        spent = [0.0] * len(share.means)
        if isinstance(result, Result):
            spent = [
                _spent(name, result, share, place) for place, name in enumerate(self._budget.names)
            ]
        self._purse.settle(share, spent)
        self._done += 1
        if self._done % self._every == 0:
            self._share_out()
        self._ended.set()
        self._ended = anyio.Event()

    def _share_out(self) -> bool:
        """Allocate what is left to the items that have not begun; whether it covers them all."""
        reserve = self._reserve()
        unspent = self._purse.unspent
        limits = [have - kept for have, kept in zip(self._purse.expected, reserve, strict=True)]
        # What could take more than there is would never be let begin.
        ways = {
            place: [share for share in shares if within(share.ceilings, unspent)]
            for place, shares in self._open.items()
        }
        found = None
        if all(ways.values()):
            items = [[Way(share.quality, share.means) for share in one] for one in ways.values()]
            found = allocate(items, limits)
        if found is None:
            self._picks = {place: min(shares, key=_size) for place, shares in self._open.items()}
            return False
        self._picks = {
            place: shares[pick]
            for (place, shares), pick in zip(ways.items(), found.picks, strict=True)
        }
        return True

    def _reserve(self) -> list[float]:
        """What an item may need to begin beyond what it is expected to take, for the one that begins last."""
        overs = (min((_over(share) for share in shares), key=sum) for shares in self._open.values())
        return [max(column) for column in zip(*overs, strict=True)] or [0.0] * len(
            self._budget.limits
        )

    def _ways(self, prepared: Prepared) -> list[Share]:
        """What the item's plan offers and the budget can be held against.

        Raises:
            InfeasibleError: There is nothing.
        """
        plan = prepared.plan
        if plan.chosen is None:
            raise InfeasibleError(plan.advice or "no plan meets the objective")
        names = self._budget.names
        offered = [one for one in plan.candidates if one.feasible] or [plan.chosen]
        priced = [one for one in offered if all(_expected(one, name) is not None for name in names)]
        if not priced:
            figures = ", ".join(_FIGURES[name] for name in names if name != "max_samples")
            raise InfeasibleError(
                f"no plan is known to take how much ({figures}), so no budget can hold",
                hint="state prices, speeds or abilities in the profiles, or limit something else, such as max_samples",
            )
        # Where no quality is known nothing tells that more pays: the cheapest way is picked.
        known = [one for one in priced if one.predicted.quality is not None] or priced
        tokens = estimate_tokens(prepared.messages)
        return _undominated([self._share(one, tokens) for one in known])

    def _share(self, candidate: Candidate, input_tokens: int) -> Share:
        predicted, names = candidate.predicted, self._budget.names
        means = tuple(float(_expected(candidate, name) or 0.0) for name in names)
        most: dict[str, float] = {"max_samples": candidate.max_samples}
        if "max_cost_usd" in names:
            most["max_cost_usd"] = self._most_usd(candidate, input_tokens)
        ceilings = tuple(
            max(mean, most.get(name, mean)) for name, mean in zip(names, means, strict=True)
        )
        return Share(
            candidate=candidate,
            quality=predicted.quality or 0.0,
            means=means,
            ceilings=ceilings,
        )

    def _most_usd(self, candidate: Candidate, input_tokens: int) -> float:
        """Of every sample that it may draw, where each may be drawn."""
        total = 0.0
        for one in most_drawn(candidate, input_tokens):
            usage = Usage(input_tokens=one.input_tokens, output_tokens=one.sampling.max_tokens or 0)
            total += one.number * (cost_usd(self._desk.spec(one.deployment), usage) or 0.0)
        return total

    def _too_little(self) -> InfeasibleError:
        least = [
            sum(min(share.means[place] for share in shares) for shares in self._open.values())
            + more
            for place, more in enumerate(self._reserve())
        ]
        needed = _amounts(self._budget, least)
        return InfeasibleError(
            f"{len(self._open)} items take at least {needed}, with what the last one must set aside, "
            f"and the budget is {_amounts(self._budget, self._budget.limits)}",
            hint="raise the budget, lower max_tokens, or add a cheaper deployment",
        )


def _over(share: Share) -> list[float]:
    return [most - mean for most, mean in zip(share.ceilings, share.means, strict=True)]


def _size(share: Share) -> tuple[float, ...]:
    return share.ceilings


def _undominated(shares: list[Share]) -> list[Share]:
    """Those that no other one beats in quality and every amount; of equals the first."""
    kept: list[Share] = []
    for share in sorted(shares, key=lambda one: (-one.quality, one.means, one.ceilings)):
        amounts = (*share.means, *share.ceilings)
        if not any(within((*one.means, *one.ceilings), amounts) for one in kept):
            kept.append(share)
    return kept


def _expected(candidate: Candidate, name: str) -> float | None:
    """What it is expected to take of a limit; where nobody knows of how many samples, all that it may draw."""
    figure: float | None = getattr(candidate.predicted, _FIGURES[name])
    return candidate.max_samples if figure is None and name == "max_samples" else figure


def _spent(name: str, result: Result, share: Share, place: int) -> float:
    """Of one limit; where the receipt does not tell, the most it can be, and of energy what was predicted."""
    receipt = result.receipt
    told = {
        "max_cost_usd": receipt.cost_usd,
        "max_samples": float(receipt.samples_drawn),
        "max_energy_j": receipt.energy_j,
    }[name]
    return share.ceilings[place] if told is None else told


def _amounts(budget: Budget, amounts: Iterable[float]) -> str:
    return ", ".join(
        f"{max(0.0, amount):.4g} {_UNITS[name]}"
        for name, amount in zip(budget.names, amounts, strict=True)
    )
