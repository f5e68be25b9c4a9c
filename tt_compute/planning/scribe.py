"""Writing out what was weighed: candidates with their predictions, and what the nearest one misses."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from tt_compute.planning.choice import Board, Entry, Prompt, Violation, Weighed, value, violations
from tt_compute.planning.drawing import sampling_for
from tt_compute.planning.menu import Offer, Then
from tt_compute.planning.request import PlanRequest
from tt_compute.planning.types import Candidate, Objective, Prediction, Stage

__all__ = ["Scribe"]


class Scribe:
    """Writes out what was weighed."""

    def __init__(
        self,
        offers: Sequence[Offer],
        board: Board,
        request: PlanRequest,
        objective: Objective,
        prompt: Prompt,
    ) -> None:
        self._offers = offers
        self._board = board
        self._request = request
        self._objective = objective
        self._prompt = prompt

    def candidate(self, place: int) -> Candidate:
        weighed = self._board.weigh(place, self._prompt)
        request, entry = self._request, weighed.entry
        option, offer = entry.option, self._offers[entry.offer]
        missed = violations(weighed, self._objective)
        return Candidate(
            deployment=entry.deployment,
            backend=offer.spec.backend,
            model=offer.spec.model.id,
            strategy=option.strategy,
            stop_rule=option.stop_rule,
            max_samples=option.max_samples,
            wave=option.wave,
            weight=option.weight,
            ahead=option.ahead,
            feasible=not missed,
            violates=tuple(map(str, missed)),
            predicted=self._prediction(weighed),
            sampling=sampling_for(option.own.strategy, request.sampling, self._max_tokens(offer)),
            then=None if option.then is None else self._stage(option.then, option.then.share),
            members=tuple(map(self._stage, option.members)),
        )

    def _stage(self, then: Then, share: float | None = None) -> Stage:
        offer, option = self._offers[then.offer], then.option
        return Stage(
            deployment=offer.spec.id,
            backend=offer.spec.backend,
            model=offer.spec.model.id,
            strategy=option.strategy,
            stop_rule=option.stop_rule,
            max_samples=option.max_samples,
            wave=option.wave,
            share=share,
            sampling=sampling_for(option.strategy, self._request.sampling, self._max_tokens(offer)),
        )

    def advice(self, nearest: Weighed) -> str:
        """Each constraint that the nearest candidate misses, and what it would take."""
        option = nearest.entry.option
        where = "" if option.members else f"{nearest.entry.deployment}, "
        plan = f"{where}{option.strategy}"
        if option.max_samples > 1:
            plan += f" of up to {option.max_samples}"
        missed = violations(nearest, self._objective)
        lines = [self._missed(violation, nearest.entry) for violation in missed]
        return f"{'; '.join(lines)} (nearest plan: {plan})"

    def delays(self, best: Entry, out: Collection[int]) -> tuple[str, ...]:
        """What latencies hold besides the work itself, in a sentence for each deployment."""
        chosen = {best.offer: best.option.own} | {
            one.offer: one.option for one in best.option.members
        }
        told = (
            delay.told(chosen.get(offer))
            for offer, delay in self._prompt.delays.items()
            if offer not in out
        )
        return tuple(filter(None, told))

    def _missed(self, violation: Violation, entry: Entry) -> str:
        if math.isinf(violation.found):
            figure = violation.name.removeprefix("max_")
            return f"{violation} ({self._why_unknown(entry, figure)})"
        unit = {"max_cost_usd": " USD", "max_latency_s": " s", "max_energy_j": " J"}
        suffix = unit.get(violation.name, "")
        verb = "reaches" if violation.name == "quality" else "needs"
        return (
            f"{violation.name}: {violation.wanted:.4g}{suffix} wanted, "
            f"the nearest plan {verb} {violation.found:.4g}{suffix}"
        )

    def _why_unknown(self, entry: Entry, figure: str) -> str:
        """Of a panel, of whichever member it is."""
        offers = [self._offers[one.offer] for one in entry.option.members]
        reasons = dict.fromkeys(one.why_unknown(figure) for one in offers if one.unknown[figure])
        return "; ".join(reasons) or self._offers[entry.offer].why_unknown(figure)

    def _prediction(self, weighed: Weighed) -> Prediction:
        entry = weighed.entry
        p50 = value(entry, "latency_p50_s", self._prompt)
        return Prediction(
            quality=entry.option.quality,
            latency_p50_s=_known(p50),
            latency_p95_s=_known(weighed.latency_p95_s),
            cost_usd=_known(weighed.cost_usd),
            energy_j=_known(weighed.energy_j),
            samples_mean=entry.option.samples_mean,
        )

    def _max_tokens(self, offer: Offer) -> int:
        context = offer.spec.max_context_tokens
        if context is None:
            return offer.max_tokens
        return min(offer.max_tokens, context - self._request.input_tokens)


def _known(value: float) -> float | None:
    return None if math.isinf(value) else value
