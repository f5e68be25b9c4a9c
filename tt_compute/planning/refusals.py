"""Deployments that would turn away the first sample of any plan just now."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tt_compute.conditions import UNKNOWN, Allowance, Conditions
from tt_compute.planning.economics import TokenPrice
from tt_compute.planning.menu import Offer

__all__ = ["refusals"]

_PER = {60.0: "minute", 86_400.0: "day"}
_ROUNDING = 1 + 1e-9


def refusals(
    offers: Sequence[Offer], conditions: Mapping[str, Conditions], tokens: int
) -> dict[int, str]:
    """By position: why an offer's deployment would take no sample of a prompt of ``tokens`` now."""
    found: dict[int, str] = {}
    for place, offer in enumerate(offers):
        now = conditions.get(offer.spec.id, UNKNOWN)
        if now is UNKNOWN and not offer.allowances:
            continue
        reason = _refusal(offer, now, tokens)
        if reason is not None:
            found[place] = reason
    return found


def _refusal(offer: Offer, now: Conditions, tokens: int) -> str | None:
    if now.retry_in_s:
        # The dispatcher does not wait for this: samples would go elsewhere or fail.
        return f"failed too often just now; it is tried again in {now.retry_in_s:.0f} s"
    if now.spend_left_usd is not None:
        reason = _unfunded(offer, now.spend_left_usd, now.spend_cap, tokens)
        if reason is not None:
            return reason
    patience_s = math.inf if now.patience_s is None else now.patience_s
    if now.wait_s is not None and now.wait_s > patience_s:
        return f"asked to be left alone for another {now.wait_s:.0f} s"
    allowances = offer.allowances if now.allowances is None else now.allowances
    return _used_up(allowances, offer.most_tokens(tokens), patience_s) if allowances else None


def _unfunded(offer: Offer, left_usd: float, cap: str, tokens: int) -> str | None:
    price = offer.meter.price
    if price is None:
        return "its price is not known, so no spend cap can hold"
    if not isinstance(price, TokenPrice):
        return None
    usd = tokens * price.input + (offer.most_tokens(tokens) - tokens) * price.output
    if usd <= left_usd * _ROUNDING:
        return None
    return f"a sample may cost {usd:.6f} USD, the cap {cap} leaves {max(0.0, left_usd):.6f}"


def _used_up(allowances: Sequence[Allowance], most_tokens: int, patience_s: float) -> str | None:
    for one in allowances:
        cost = 1 if one.axis == "requests" else most_tokens
        if cost <= one.left:
            continue
        limit = f"{one.amount:g} {one.axis} per {_PER.get(one.window_s, f'{one.window_s:.0f} s')}"
        if cost > one.amount:
            return f"a sample of up to {most_tokens} tokens never fits its {limit}"
        wait_s = one.wait_s(cost)
        if wait_s > patience_s:
            return f"has used its {limit}, and must rest for {wait_s:.0f} s"
    return None
