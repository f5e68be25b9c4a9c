"""From a run's work to seconds, dollars and joules on one deployment.

A figure is linear in the prompt: a ``Line`` holds its coefficients, made once for a kind of request and then
only multiplied out for each request.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from tt_compute.planning.economics import HourlyPrice, TokenPrice, power_of, price_of
from tt_compute.planning.estimates import SpeedEvidence
from tt_compute.planning.performance import Pace, Prefill
from tt_compute.planning.roofline import StepTime, UnknownFact
from tt_compute.planning.runs import Load, RunShape
from tt_compute.planning.types import Prediction
from tt_compute.profiles.schema import DeploymentSpec
from tt_compute.types import Capabilities

__all__ = ["UNKNOWN", "Figures", "Line", "Meter", "figures_of"]

T = TypeVar("T")


class Line(NamedTuple):
    """A figure as a function of the prompt; an infinite one is unknown."""

    fixed: float
    per_token: float = 0.0
    """For each prompt token."""
    per_ttft_p50: float = 0.0
    """For each second of the median time to first token."""
    per_ttft_p95: float = 0.0

    def at(self, tokens: int, ttft: tuple[float, float]) -> float:
        return (
            self.fixed
            + self.per_token * tokens
            + self.per_ttft_p50 * ttft[0]
            + self.per_ttft_p95 * ttft[1]
        )

    def times(self, share: float) -> Line:
        """The mean over all runs, of which a share takes this."""
        return Line(*(value * share for value in self)) if share else Line(0.0)


UNKNOWN = Line(math.inf)
_NOTHING = Line(0.0)


class Figures(NamedTuple):
    """What a run takes on a deployment."""

    latency_p50_s: Line
    latency_p95_s: Line
    cost_usd: Line
    energy_j: Line


def figures_of(known: Prediction) -> Figures:
    """Those of a prediction that was made elsewhere, for one prompt."""
    return Figures(
        *(
            UNKNOWN if value is None else Line(value)
            for value in (
                known.latency_p50_s,
                known.latency_p95_s,
                known.cost_usd,
                known.energy_j,
            )
        )
    )


class Meter:
    """One deployment's speed, price and power.

    Attributes:
        unknown: Why "speed", "price" or "power" is unknown, as far as they were asked for.
        prefill: Time to first token; zero when unknown, and every latency is unknown then.
        price: None when unknown.
    """

    def __init__(
        self,
        spec: DeploymentSpec,
        capabilities: Capabilities | None,
        evidence: Sequence[SpeedEvidence],
    ) -> None:
        self.unknown: dict[str, list[str]] = {"speed": [], "price": [], "power": []}
        self._pace = Pace(spec, capabilities, evidence)
        self._steps: dict[int, StepTime | None] = {}
        prefill = self._try("speed", self._pace.prefill)
        self._timed = prefill is not None
        self.prefill: Prefill = prefill or Prefill()
        self.price: TokenPrice | HourlyPrice | None = self._try(
            "price", lambda: price_of(spec, capabilities)
        )
        self._power = self._try("power", lambda: power_of(spec))

    def step(self, rows: int) -> StepTime | None:
        """Decode step of ``rows`` samples; None when unknown."""
        if rows not in self._steps:
            self._steps[rows] = self._try("speed", lambda: self._pace.step(rows))
        return self._steps[rows]

    def figures(
        self, shape: RunShape, tokens_mean: float | None, *, slow_start: bool = True
    ) -> Figures:
        """Put a run on the meter.

        Args:
            shape: The run.
            tokens_mean: Mean completion tokens of one sample, half of which is a row's mean context
                besides its prompt.
            slow_start: The 95th percentile takes the first prefill at its own.
        """
        context = (tokens_mean or 0.0) / 2
        duration = self._seconds(shape.mean, context)
        return Figures(
            latency_p50_s=self._seconds(shape.p50, context),
            latency_p95_s=self._seconds(shape.p95, context, slow_start=slow_start),
            cost_usd=self._cost(shape, duration),
            energy_j=self._energy(shape.mean, context),
        )

    def unknown_by_figure(self, lengths: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Why each figure is, or may be, unknown; ``lengths`` is what is missing of the lengths."""
        speed = (*lengths, *self.unknown["speed"])
        hourly = isinstance(self.price, HourlyPrice)
        return {
            "latency_s": speed,
            "cost_usd": (*(speed if hourly else lengths), *self.unknown["price"]),
            "energy_j": (*speed, *self.unknown["power"]),
        }

    def _try(self, what: str, find: Callable[[], T]) -> T | None:
        try:
            return find()
        except UnknownFact as unknown:
            if unknown.reason not in self.unknown[what]:
                self.unknown[what].append(unknown.reason)
            return None

    def _prefills(self, load: Load) -> float:
        """How often the run waits for, or computes, its prompt."""
        counts = {"once": 1.0, "per_wave": load.waves, "per_sample": load.samples}
        return counts[self._pace.prefills]

    def _seconds(self, load: Load | None, context: float, *, slow_start: bool = False) -> Line:
        """Prefills and decode steps; ``slow_start`` takes the first prefill at its p95."""
        if load is None or not self._timed:
            return UNKNOWN
        fixed, per_token = 0.0, 0.0
        for rows, steps in load.steps:
            step = self.step(rows)
            if step is None:
                return UNKNOWN
            fixed += steps * step.at(context)
            per_token += steps * step.per_context_token_s
        slow = 1.0 if slow_start else 0.0
        return Line(fixed, per_token, self._prefills(load) - slow, slow)

    def _cost(self, shape: RunShape, duration: Line) -> Line:
        if self.price is None:
            return UNKNOWN
        if isinstance(self.price, HourlyPrice):
            rate = self.price.usd_per_s
            return Line(*(value * rate for value in duration)) if rate else _NOTHING
        return _token_cost(self.price, shape)

    def _energy(self, load: Load | None, context: float) -> Line:
        """Peak power while a prompt is computed, ``Power.decode_j`` per decode step."""
        power = self._power
        if load is None or power is None or not self._timed:
            return UNKNOWN
        fixed, per_token = 0.0, 0.0
        for rows, steps in load.steps:
            step = self.step(rows)
            if step is None:
                return UNKNOWN
            fixed += steps * power.decode_j(step.at(context))
            per_token += steps * step.per_context_token_s * power.peak_w
        return Line(fixed, per_token, self._prefills(load) * power.peak_w)


def _token_cost(price: TokenPrice, shape: RunShape) -> Line:
    if not any((price.input, price.output)):
        return _NOTHING
    if shape.mean is None or shape.tokens_mean is None:
        return UNKNOWN
    prompts = price.prompts_usd(shape.mean.waves, shape.mean.samples)
    return Line(shape.tokens_mean * price.output, prompts)
