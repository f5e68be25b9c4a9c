"""What a run took: every token and attempt of every sample, however it ended."""

from __future__ import annotations

from datetime import date
from typing import Literal

from tt_compute.dispatch.spend import cost_usd, price_is_stale
from tt_compute.profiles.schema import DeploymentSpec
from tt_compute.profiles.validation import MAX_AGE_DAYS
from tt_compute.results import Attempt
from tt_compute.types import Failed, Sample, Usage

__all__ = ["Ledger"]

_SECONDS_PER_HOUR = 3600.0


class Ledger:
    """The account of one run. Cancelled and failed samples are booked like any other.

    Args:
        started: When the caller asked, on the clock that also stamps the draws.
        today: Prices are held against it; None = whatever their age.
        within: The run's, where this is the account of one of its prompts; all but ``served_by``, as each
            prompt numbers its own samples, is booked there as well.
    """

    def __init__(
        self, started: float, *, today: date | None = None, within: Ledger | None = None
    ) -> None:
        self._started = started
        self._today = today
        self._within = within
        self.samples_finished: int = 0
        self.samples_cancelled: int = 0
        self.samples_failed: int = 0
        self.cancelled_tokens: int = 0
        self.first_token_s: float | None = None
        self.decoding_s: float | None = 0.0
        """From each sample's first token to its end, added up; None once one does not tell."""
        self.attempts: list[Attempt] = []
        self.served_by: dict[int, str] = {}
        """Deployment that each sample came from in the end."""
        self.estimated_attempts: int = 0
        """Those whose tokens no service counted."""
        self._usage: dict[str, Usage] = {}
        self._specs: dict[str, DeploymentSpec] = {}

    def account(self) -> Ledger:
        """An account of one of the run's prompts: what is booked there is booked here as well."""
        return Ledger(self._started, today=self._today, within=self)

    @property
    def started(self) -> float:
        """When the caller asked."""
        return self._started

    @property
    def samples_drawn(self) -> int:
        return self.samples_finished + self.samples_cancelled + self.samples_failed

    @property
    def usage(self) -> Usage:
        """Tokens over all deployments."""
        return sum(self._usage.values(), Usage())

    def book(
        self, spec: DeploymentSpec, event: Sample | Failed, *, drawn_at: float, ended_at: float
    ) -> None:
        """Enter one ended sample.

        Args:
            spec: Where it was drawn.
            event: How it ended.
            drawn_at: When ``draw`` asked for it.
            ended_at: When its end came.
        """
        self.served_by[event.index] = spec.id
        self.enter(spec, event, drawn_at, ended_at)

    def enter(
        self, spec: DeploymentSpec, event: Sample | Failed, drawn_at: float, ended_at: float
    ) -> None:
        """``book`` without the sample's number, which another prompt's may have too."""
        if self._within is not None:
            self._within.enter(spec, event, drawn_at, ended_at)
        self._add(spec, event.usage)
        if isinstance(event, Failed):
            self._book_failed(spec, event, ended_at - drawn_at)
        else:
            self._book_sample(spec, event, drawn_at)

    def book_extra(
        self,
        spec: DeploymentSpec,
        usage: Usage,
        *,
        outcome: Literal["failed", "cancelled"],
        status: str | None,
        latency_s: float,
    ) -> None:
        """Enter an attempt that another one of the same sample replaced: its tokens count, a sample it is not."""
        if self._within is not None:
            self._within.book_extra(
                spec, usage, outcome=outcome, status=status, latency_s=latency_s
            )
        self._add(spec, usage)
        self.cancelled_tokens += usage.output_tokens
        self.attempts.append(
            Attempt(deployment=spec.id, outcome=outcome, status=status, latency_s=latency_s)
        )

    def cost_usd(self, elapsed_s: float) -> float | None:
        """USD of all attempts; None as soon as one price that is needed is unknown, or too old to be believed."""
        total = 0.0
        for deployment, usage in self._usage.items():
            spec = self._specs[deployment]
            cost = _cost_usd(spec, usage, elapsed_s)
            if cost is None or (cost > 0 and self._stale(spec)):
                return None
            total += cost
        return total

    def price_warnings(self) -> tuple[str, ...]:
        """Why ``cost_usd`` is None, for each deployment at fault."""
        found: list[str] = []
        for deployment, usage in self._usage.items():
            spec = self._specs[deployment]
            cost = _cost_usd(spec, usage, 0.0)
            if cost is None:
                found.append(f"the price of {deployment} is not known, so the cost is not either")
            elif cost > 0 and self._stale(spec):
                found.append(
                    f"the price of {deployment} is more than {MAX_AGE_DAYS} days old, so the cost is not known"
                )
        return tuple(found)

    def _stale(self, spec: DeploymentSpec) -> bool:
        return self._today is not None and price_is_stale(spec, self._today)

    def _add(self, spec: DeploymentSpec, usage: Usage) -> None:
        self._specs[spec.id] = spec
        self._usage[spec.id] = self._usage.get(spec.id, Usage()) + usage
        self.estimated_attempts += usage.estimated

    def _book_failed(self, spec: DeploymentSpec, event: Failed, latency_s: float) -> None:
        self.samples_failed += 1
        self.cancelled_tokens += event.usage.output_tokens
        self.attempts.append(
            Attempt(
                deployment=spec.id,
                outcome="failed",
                status=type(event.error).__name__,
                latency_s=latency_s,
            )
        )

    def _book_sample(self, spec: DeploymentSpec, event: Sample, drawn_at: float) -> None:
        outcome: Literal["ok", "cancelled", "deadline"] = "ok"
        if event.finish_reason == "cancelled" or event.finish_reason == "deadline":  # noqa: PLR1714 - only == narrows the type
            outcome = event.finish_reason
            self.samples_cancelled += 1
            self.cancelled_tokens += event.usage.output_tokens
        else:
            self.samples_finished += 1
        self.attempts.append(
            Attempt(deployment=spec.id, outcome=outcome, latency_s=event.timing.total_s)
        )
        if event.timing.first_token_s is None:
            self.decoding_s = None
        else:
            if self.decoding_s is not None:
                self.decoding_s += max(0.0, event.timing.total_s - event.timing.first_token_s)
            first = drawn_at - self._started + event.timing.first_token_s
            if self.first_token_s is None or first < self.first_token_s:
                self.first_token_s = first


def _cost_usd(spec: DeploymentSpec, usage: Usage, elapsed_s: float) -> float | None:
    price = spec.deployment.price
    if price.usd_per_mtok is not None:
        return cost_usd(spec, usage)
    hourly = spec.usd_per_hour
    return None if hourly is None else hourly * elapsed_s / _SECONDS_PER_HOUR
