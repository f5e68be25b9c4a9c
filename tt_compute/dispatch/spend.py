"""Spend caps that hold while many attempts are under way: what one may cost is set aside before it is sent."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import date

from tt_compute.dispatch.window import Window
from tt_compute.errors import SpendCapReached, StoreError
from tt_compute.profiles.validation import MAX_AGE_DAYS
from tt_compute.types import DeploymentSpec, Usage

__all__ = ["Cap", "SpendGuard", "cost_usd", "price_is_stale"]

_TOKENS_PER_MTOK = 1e6
_ROUNDING = 1 + 1e-9
"""Ten tenths are the whole."""


class Cap:
    """An amount that is set aside and settled.

    Args:
        name: For messages.
        usd: The amount.
        window: Over which it holds; None = for good.
        now: The clock that the window is on.
    """

    def __init__(
        self,
        name: str,
        usd: float,
        window: Window | None = None,
        now: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.name = name
        self.usd = usd
        self._window = window
        self._now = now
        self._taken = 0.0

    def left_usd(self) -> float:
        """What may still be set aside, as far as this process knows; reads no file."""
        if self._window is None:
            return self.usd - self._taken
        return self._window.left(self._now())

    def look(self) -> None:
        """Learn what other processes spent.

        Raises:
            StoreError: The file that they share cannot be used.
        """
        if self._window is not None:
            self._window.look(self._now())

    def reserve(self, usd: float) -> int:
        """Set aside.

        Raises:
            SpendCapReached: It does not fit.
        """
        if self._window is None:
            if self._taken + usd > self.usd * _ROUNDING:
                raise self._reached(usd, self._taken)
            self._taken += usd
            return 0
        now = self._now()
        try:
            # One step, also among processes: nobody takes between another one's look and its taking.
            if self._window.wait_s(usd, now) > 0:
                raise self._reached(usd, self._window.used(now))
            return self._window.take(usd, now)
        except StoreError as error:
            raise SpendCapReached(
                f"the cap {self.name} cannot be checked: {error.message}", hint=error.hint
            ) from error

    def _reached(self, usd: float, taken: float) -> SpendCapReached:
        return SpendCapReached(
            f"the next attempt may cost {usd:.6f} USD; {taken:.6f} of the {self.usd:g} USD {self.name} are spent "
            "or set aside",
            hint="raise the cap, lower max_tokens, or choose a cheaper deployment",
        )

    def settle(self, slot: int, reserved: float, spent: float) -> None:
        if self._window is not None:
            self._window.settle(slot, reserved, spent, self._now())
        else:
            self._taken += spent - reserved


class SpendGuard:
    """All caps that an attempt stands under: the request's, the client's, the day's."""

    def __init__(self, caps: tuple[Cap, ...]) -> None:
        self._caps = caps

    def with_cap(self, cap: Cap) -> SpendGuard:
        return SpendGuard((*self._caps, cap))

    def __bool__(self) -> bool:
        return bool(self._caps)

    def tightest(self) -> Cap | None:
        """The cap that leaves least; None where there is none."""
        return min(self._caps, key=Cap.left_usd, default=None)

    def look(self) -> None:
        """Learn what other processes spent; an attempt says what is wrong with a file that cannot be used."""
        with suppress(StoreError):
            for cap in self._caps:
                cap.look()

    def reserve(self, spec: DeploymentSpec, usage: Usage) -> tuple[float, tuple[int, ...]]:
        """Set aside what ``usage`` may cost at ``spec``, under every cap or under none.

        Raises:
            SpendCapReached: It does not fit under one of them, or nobody knows what it would cost.
        """
        if not self._caps:
            return 0.0, ()
        usd = cost_usd(spec, usage)
        if usd is None:
            raise SpendCapReached(
                f"the price of {spec.id} is not known, so no spend cap can hold",
                hint="state its price, or remove the cap",
            )
        slots: list[int] = []
        try:
            slots.extend(cap.reserve(usd) for cap in self._caps)
        except SpendCapReached:
            for cap, slot in zip(self._caps, slots, strict=False):
                cap.settle(slot, usd, 0.0)
            raise
        return usd, tuple(slots)

    def settle(
        self,
        reserved: tuple[float, tuple[int, ...]],
        spec: DeploymentSpec,
        usage: Usage,
    ) -> None:
        """Put what was spent in the place of what was set aside."""
        usd, slots = reserved
        spent = cost_usd(spec, usage) or 0.0 if slots else 0.0
        for cap, slot in zip(self._caps, slots, strict=False):
            cap.settle(slot, usd, spent)


def cost_usd(spec: DeploymentSpec, usage: Usage) -> float | None:
    """USD of tokens at a price per token; None where a price that is needed is unknown.

    0 for a rented hour, which runs whether or not this is sent.
    """
    per_mtok = spec.deployment.price.usd_per_mtok
    if per_mtok is None:
        return None if spec.usd_per_hour is None else 0.0
    cached_price = per_mtok.cached_input.value
    if cached_price is None:
        cached_price = per_mtok.input.value
    lines = (
        (usage.input_tokens - usage.cached_tokens, per_mtok.input.value),
        (usage.cached_tokens, cached_price),
        (usage.output_tokens, per_mtok.output.value),
    )
    total = 0.0
    for tokens, usd in lines:
        if tokens == 0:
            continue
        if usd is None:
            return None
        total += tokens * usd / _TOKENS_PER_MTOK
    return total


def price_is_stale(spec: DeploymentSpec, today: date) -> bool:
    """Whether a price per token was read too long ago; one without a date is the operator's own word."""
    per_mtok = spec.deployment.price.usd_per_mtok
    if per_mtok is None:
        return False
    dates = (per_mtok.input.as_of, per_mtok.cached_input.as_of, per_mtok.output.as_of)
    return any(
        (today - date.fromisoformat(as_of)).days > MAX_AGE_DAYS
        for as_of in dates
        if as_of is not None
    )
