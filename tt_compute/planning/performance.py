"""How fast a deployment is, by wave width: as measured or published, else by the roofline.

Where both are known the stated number wins. What is stated for one wave width only is carried over to
others by the roofline's ratio; what can be had from neither is unknown, with the reason.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from tt_compute.planning.estimates import SPEED_PRIOR_SAMPLES, SpeedEvidence, blend
from tt_compute.planning.roofline import (
    Roofline,
    StepTime,
    UnknownFact,
    one_row_step,
    roofline_of,
)
from tt_compute.profiles.schema import DeploymentSpec, HardwareProfile, Speed
from tt_compute.types import Capabilities

__all__ = ["TTFT_P95_OVER_P50", "Pace", "Prefill", "rows_are_independent"]

TTFT_P95_OVER_P50 = 3.0
"""An unknown p95 counts as this many p50."""
_TYPICAL_CONTEXT_TOKENS = 512
"""At which the roofline's batch scaling is read."""


class Prefill(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds until the first token of a prompt that nothing of is cached yet."""

    least_p50_s: float = 0.0
    """Stated TTFT (queue, network and a short prompt), or the first step."""
    least_p95_s: float | None = None
    """None = as many times the median as an unknown TTFT's."""
    covered_tokens: float | None = None
    """Prompt tokens whose time is in the least; those beyond come on top of it. None = the larger of the least and
    the prompt's own time counts."""
    per_token_s: float = 0.0
    per_token_pair_s: float = 0.0

    def seconds(self, tokens: float) -> tuple[float, float]:
        """Of a prompt of ``tokens``: (p50, p95)."""
        least, covered = self.least_p50_s, self.covered_tokens
        if covered is None:
            p50 = max(least, self._own(tokens))
        else:
            p50 = least + max(0.0, self._own(tokens) - self._own(covered))
        slow = self.least_p95_s
        if slow is not None:
            return p50, p50 * slow / least if least else max(slow, p50 * TTFT_P95_OVER_P50)
        return p50, p50 * TTFT_P95_OVER_P50

    def _own(self, tokens: float) -> float:
        return tokens * (self.per_token_s + tokens * self.per_token_pair_s)


class Pace:
    """Speed of one deployment for one kind of task.

    Attributes:
        prefills: How often a run pays for its prompt: once where samples share it, else with each sample
            on one machine, and with each wave at a service, whose requests run side by side.
    """

    def __init__(
        self,
        spec: DeploymentSpec,
        capabilities: Capabilities | None,
        evidence: Sequence[SpeedEvidence] = (),
    ) -> None:
        self._spec = spec
        self._speed = spec.deployment.speed
        self._independent = rows_are_independent(spec.hardware)
        self._roofline = _try_roofline(spec)
        self._alone = None if isinstance(self._roofline, Roofline) else _try_one_row(spec)
        self._stated = _stated_rates(self._speed)
        self._evidence = [seen for seen in evidence if seen.n > 0 and seen.tokens_per_s > 0]
        shares = capabilities is not None and (capabilities.prefix_sharing or capabilities.native_n)
        self.prefills: Literal["once", "per_wave", "per_sample"] = (
            "per_wave" if self._independent else "once" if shares else "per_sample"
        )

    def step(self, rows: int) -> StepTime:
        """Decode step of a wave of ``rows`` samples.

        Past runs correct the prediction by the factor they differed at the nearest wave width, and stand
        alone where there is no prediction.

        Raises:
            UnknownFact: The speed at this width can be had from nowhere.
        """
        if not self._evidence:
            return self._predicted_step(rows)
        seen = min(self._evidence, key=lambda one: abs(math.log(one.wave / rows)))
        try:
            predicted = self._predicted_step(seen.wave)
        except UnknownFact:
            rates = {one.wave: one.tokens_per_s for one in self._evidence}
            return self._carried_step(rates, rows)
        at = predicted.at(_TYPICAL_CONTEXT_TOKENS)
        observed = seen.wave / seen.tokens_per_s
        factor = blend(at, observed, seen.n, SPEED_PRIOR_SAMPLES) / at
        step = self._predicted_step(rows)
        return StepTime(step.fixed_s * factor, step.per_context_token_s * factor)

    def tokens_per_s(self, rows: int) -> float:
        """Of a wave of ``rows`` samples together, at a typical context.

        Raises:
            UnknownFact: As ``step``.
        """
        return rows / self.step(rows).at(_TYPICAL_CONTEXT_TOKENS)

    def prefill(self) -> Prefill:
        """Time to first token.

        A stated TTFT holds for prompts of the length that it was measured with, and what is longer takes its
        own prefill besides; where that length is not stated, for prompts whose own prefill is shorter than it.
        Without one it is the prefill, at the stated rate or by the roofline, and the first step (TTFT = queue +
        network + prefill + first step; a local engine has neither queue nor network).

        Raises:
            UnknownFact: Neither TTFT, nor a prefill rate, nor the roofline is known.
        """
        ttft = self._speed.ttft_s
        per_token, per_pair = self._prefill_rates(required=ttft.p50 is None)
        if ttft.p50 is None:
            first = self.step(1).fixed_s
            return Prefill(
                least_p50_s=first,
                covered_tokens=0,
                per_token_s=per_token,
                per_token_pair_s=per_pair,
            )
        return Prefill(
            least_p50_s=ttft.p50,
            least_p95_s=ttft.p95,
            covered_tokens=self._speed.ttft_prompt_tokens.value,
            per_token_s=per_token,
            per_token_pair_s=per_pair,
        )

    def _prefill_rates(self, *, required: bool) -> tuple[float, float]:
        rate = self._speed.prefill_tokens_per_s.value
        if rate is not None:
            return 1 / rate, 0.0
        if isinstance(self._roofline, Roofline):
            return self._roofline.prefill_s_per_token, self._roofline.prefill_s_per_token_pair
        if required:
            raise UnknownFact(
                f"time to first token of {self._spec.id} (no speed.ttft_s, and {self._roofline})"
            )
        return 0.0, 0.0

    def _predicted_step(self, rows: int) -> StepTime:
        if self._stated:
            return self._carried_step(self._stated, rows)
        if isinstance(self._roofline, Roofline):
            return self._roofline.step(rows)
        if rows == 1 and self._alone is not None:
            return self._alone
        raise UnknownFact(
            f"decode speed of {self._spec.id} (no speed.decode_tokens_per_s, and {self._roofline})"
        )

    def _carried_step(self, rates: Mapping[int, float], rows: int) -> StepTime:
        """Step at ``rows`` from total tokens/s at some widths.

        Between two widths the rate is interpolated on logarithmic axes. Narrower than all: the narrowest
        one's step, which is at least as long. Wider: see ``_wider_step``.
        """
        widths = sorted(rates)
        if rows > widths[-1]:
            return self._wider_step(rates, rows)
        place = bisect_left(widths, rows)
        wide = widths[place]
        if wide == rows or place == 0:
            return StepTime(wide / rates[wide], 0.0)
        narrow = widths[place - 1]
        share = math.log(rows / narrow) / math.log(wide / narrow)
        rate = rates[narrow] ** (1 - share) * rates[wide] ** share
        return StepTime(rows / rate, 0.0)

    def _wider_step(self, rates: Mapping[int, float], rows: int) -> StepTime:
        """Step of a wave wider than any stated one.

        Independent rows keep their own speed. Else the roofline tells how the step grows; without one a
        curve of at least two widths is taken to have reached its highest total rate.
        """
        widest = max(rates)
        known = widest / rates[widest]
        if self._independent:
            return StepTime(known, 0.0)
        if isinstance(self._roofline, Roofline):
            context = _TYPICAL_CONTEXT_TOKENS
            growth = self._roofline.step(rows).at(context) / self._roofline.step(widest).at(context)
            return StepTime(known * growth, 0.0)
        if len(rates) > 1:
            return StepTime(rows / rates[widest], 0.0)
        raise UnknownFact(
            f"decode speed of {self._spec.id} beyond {widest} samples at once "
            f"(no speed.decode_tokens_per_s_by_wave, and {self._roofline})"
        )


def rows_are_independent(hardware: HardwareProfile) -> bool:
    """Whether samples in flight together leave each other's speed alone.

    Taken for granted of a service, which spreads requests over a fleet, and true of a mock.
    """
    return not hardware.local or hardware.device == "mock"


def _try_roofline(spec: DeploymentSpec) -> Roofline | str:
    """The roofline, or why there is none."""
    try:
        return roofline_of(spec)
    except UnknownFact as unknown:
        return unknown.reason


def _try_one_row(spec: DeploymentSpec) -> StepTime | None:
    try:
        return one_row_step(spec)
    except UnknownFact:
        return None


def _stated_rates(speed: Speed) -> dict[int, float]:
    rates: dict[int, float] = {}
    if speed.decode_tokens_per_s.value is not None:
        rates[1] = speed.decode_tokens_per_s.value
    for text, fact in speed.decode_tokens_per_s_by_wave.items():
        if fact.value is not None:
            rates[int(text)] = fact.value
    return rates
