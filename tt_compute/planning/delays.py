"""What the present state of a deployment adds to the time of a plan.

A run is held back by the longest of what passes at the same time: loading the model, the rest that the service
asked for, its limits, a queue for places. While it decodes, other rows make every step longer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tt_compute.conditions import UNKNOWN, Allowance, Conditions
from tt_compute.planning.economics import HourlyPrice
from tt_compute.planning.figures import Line
from tt_compute.planning.menu import Offer, Option
from tt_compute.planning.runs import Load

__all__ = ["Delay", "delays"]

_TOLD_S = 0.001
"""Less is not worth a word."""


class Delay:
    """What adds to the runs of one offer.

    Args:
        offer: The offer.
        now: The state of its deployment.
        allowances: Those that a run may use up.
        tokens: Of the prompt.
        ttft: (p50, p95) seconds to its first token.
    """

    def __init__(
        self,
        offer: Offer,
        now: Conditions,
        allowances: tuple[Allowance, ...],
        tokens: int,
        ttft: tuple[float, float],
    ) -> None:
        price = offer.meter.price
        self.usd_per_s: float = price.usd_per_s if isinstance(price, HourlyPrice) else 0.0
        self._offer = offer
        self._now = now
        self._allowances = allowances
        self._tokens = tokens
        self._ttft = ttft
        self._mean_tokens = tokens + (offer.tokens_mean or 0.0)
        self._most_tokens = offer.most_tokens(tokens)
        self._load_s = 0.0 if now.loaded is not False else now.load_s or 0.0
        self._rest_s = now.wait_s or 0.0
        self._start_s = max(self._load_s, self._rest_s)
        self._free_samples = min(
            (
                one.left if one.axis == "requests" else one.left / self._most_tokens
                for one in allowances
            ),
            default=math.inf,
        )
        """No limit holds back a run of so many."""
        self._slowdowns: dict[int, float] = {}

    def p50_s(self, option: Option) -> float:
        """What is added to the median."""
        return self._seconds(option, option.p50, option.figures.latency_p50_s)

    def p95_s(self, option: Option) -> float:
        """What is added to the 95th percentile."""
        return self._seconds(option, option.p95, option.figures.latency_p95_s)

    def usd(self, option: Option) -> float:
        """What is added to the cost: a rented machine is paid for while it waits. The mean is taken to be the median."""
        return self.usd_per_s * self.p50_s(option) if self.usd_per_s else 0.0

    def told(self, option: Option | None) -> str:
        """What latencies hold of it, in a sentence; empty for nothing.

        Args:
            option: The one that was chosen; None = another deployment's was, so that only the first sample
                is spoken of.
        """
        where = self._offer.spec.id
        if option is not None and self._now.loaded is False and self._now.load_s is None:
            return (
                f"The model of {where} is not loaded yet; how long that takes is unknown and not "
                "part of its latencies."
            )
        causes = {"to load its model": self._load_s, "of rest that it asked for": self._rest_s}
        total_s = max(self._start_s, self._allowed_s(1, 1))
        causes["of waiting for its limits"] = self._allowed_s(1, 1)
        if option is not None and option.p95 is not None:
            total_s = self.p95_s(option)
            limits_s = self._limits_s(option, option.p95, option.figures.latency_p95_s)
            causes["of waiting for its limits"] = limits_s
            causes["of waiting for a place"] = self._places_s(option.wave)
        cause = max(causes, key=causes.__getitem__)
        if not causes[cause]:
            cause = "because of other requests there"
        return (
            f"Latencies at {where} include {total_s:.3g} s {cause}." if total_s >= _TOLD_S else ""
        )

    def _seconds(self, option: Option, load: Load | None, line: Line) -> float:
        if load is None or line.fixed == math.inf:
            return 0.0
        held_s = self._start_s
        if load.samples > self._free_samples:
            held_s = max(held_s, self._limits_s(option, load, line))
        if not self._now.live_rows:
            return held_s
        slowdown = self._slowdowns.get(option.wave)
        if slowdown is None:
            slowdown = self._slowdowns[option.wave] = self._slowdown(option.wave)
        decode_s = line.fixed + line.per_token * self._tokens
        return max(held_s, self._places_s(option.wave)) + (slowdown - 1) * decode_s

    def _limits_s(self, option: Option, load: Load, line: Line) -> float:
        """How much later the limits let the first wave go, or the last one than it would go by itself.

        The last of k waves goes by itself at (k - 1) / k of the run.
        """
        last_s = self._allowed_s(load.samples, option.wave)
        if last_s == 0 or load.waves <= 1:
            return last_s
        by_itself_s = line.at(self._tokens, self._ttft) * (load.waves - 1) / load.waves
        if last_s <= by_itself_s and option.wave <= self._free_samples:
            return 0.0
        first_s = self._allowed_s(min(option.wave, load.samples), option.wave)
        return max(first_s, last_s - by_itself_s)

    def _allowed_s(self, samples: float, wave: int) -> float:
        """Until the limits let the last of ``samples`` go.

        Samples in flight have reserved the most that they may take, ended ones have taken the mean.
        """
        longest_s = 0.0
        for one in self._allowances:
            cost = samples
            if one.axis == "tokens":
                flying = min(samples, wave)
                cost = (samples - flying) * self._mean_tokens + flying * self._most_tokens
            if cost > one.left:
                longest_s = max(longest_s, one.wait_s(cost))
        return longest_s

    def _places_s(self, wave: int) -> float:
        """The mean time that a place is kept x what is too many for the places / places.

        The order in which a queue is served changes nothing about its mean wait.
        """
        places, now = self._offer.spec.deployment.limits.max_concurrency, self._now
        if places is None or now.place_s is None:
            return 0.0
        over = (now.live_rows or 0) + (now.queued_rows or 0) + wave - places
        return max(0, over) * now.place_s / places

    def _slowdown(self, wave: int) -> float:
        """Step of the wave and the live rows / step of the wave alone; rows beyond a full batch take turns."""
        live, deployment = self._now.live_rows or 0, self._offer.spec.deployment
        rows = wave + live
        if deployment.limits.max_concurrency is not None:
            rows = max(wave, min(rows, deployment.limits.max_concurrency))
        batch = min(rows, deployment.placement.max_sequences or rows)
        alone, together = self._offer.meter.step(wave), self._offer.meter.step(batch)
        if alone is None or together is None:
            return 1.0
        context = self._tokens + (self._offer.tokens_mean or 0.0) / 2
        return max(1.0, together.at(context) / alone.at(context) * rows / batch)


def delays(
    offers: Sequence[Offer],
    conditions: Mapping[str, Conditions],
    tokens: int,
    ttfts: Sequence[tuple[float, float]],
) -> dict[int, Delay]:
    """By position: what adds to the runs of an offer for a prompt of ``tokens``."""
    found: dict[int, Delay] = {}
    for place, offer in enumerate(offers):
        now = conditions.get(offer.spec.id, UNKNOWN)
        if now is UNKNOWN and not offer.allowances:
            continue
        delay = _delay(offer, now, tokens, ttfts[place])
        if delay is not None:
            found[place] = delay
    return found


def _delay(offer: Offer, now: Conditions, tokens: int, ttft: tuple[float, float]) -> Delay | None:
    allowances = offer.allowances if now.allowances is None else now.allowances
    if allowances:
        samples, most = offer.most_samples, offer.most_tokens(tokens)
        allowances = tuple(
            one
            for one in allowances
            if one.left < (samples if one.axis == "requests" else samples * most)
        )
    if allowances or now.wait_s or now.live_rows or now.loaded is False:
        return Delay(offer, now, allowances, tokens, ttft)
    return None
