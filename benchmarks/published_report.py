"""The report on published rates: a table, what is missed and why, and how the model compares with two others."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence

import msgspec

from published_entries import Entry, Published
from published_fit import Fit
from report import conditions, markdown, percent

__all__ = ["Outcome", "report"]

_NEAR = 1.3
_HEAD = (
    "{n} rates from {sources} sources, each predicted by the shipped profiles alone. Near: within 30 % (a factor of "
    "1.3 either way). Several entries come from one table and are not independent of each other, so that the intervals "
    "are too narrow, and the two halves share sources. Former values: 60 % of the bandwidth, nothing for layers and for "
    "the latency of exchange."
)
_FITTED = (
    "Of every GPU: share of the bandwidth, overhead of a layer, latency of an all-reduce; where the mean absolute "
    "logarithmic error is least on a grid. The profiles take those of the fitting half. What was left out of a fit "
    "tells how it carries over."
)


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """An entry beside what is said of it, in tokens/s; None = refused, with the reason."""

    entry: Entry
    predicted: float | None
    refused: str | None
    before: float | None
    naive: float

    @property
    def near(self) -> bool:
        return self.predicted is not None and _near(self.predicted / self.entry.tokens_per_s)


Side = Callable[[Outcome], float | None]
_SIDES: Mapping[str, Side] = {
    "this model": lambda one: one.predicted,
    "with the former values of GPUs": lambda one: one.before,
    "bandwidth / weights": lambda one: one.naive,
}


def report(known: Published, outcomes: Sequence[Outcome], fits: Mapping[str, Fit]) -> str:
    return "\n\n".join(
        (
            "# Published decode rates",
            f"`python benchmarks/published_rates.py`: {conditions()}.",
            _HEAD.format(n=len(outcomes), sources=len({one.entry.source for one in outcomes})),
            _summary(outcomes),
            "## By kind",
            _by_kind(outcomes),
            "## The three fitted values",
            _FITTED,
            _fits(fits),
            "## What is missed, and the likely reason",
            _misses(known, outcomes),
            "## What was left out",
            markdown(
                ["rate", "source", "why"],
                [[one.rate, f"{one.source}, {one.as_of}", one.why] for one in known.left_out],
            ),
            "## Every entry",
            "Tokens/s of all rows; fit: in the half that the values are fitted on.",
            _entries(outcomes),
            "## Sources",
            _sources(known),
        )
    )


def _near(ratio: float) -> bool:
    return 1 / _NEAR <= ratio <= _NEAR


def _summary(outcomes: Sequence[Outcome]) -> str:
    parts = {
        "all": list(outcomes),
        "the half fitted on": [one for one in outcomes if one.entry.fitted_on],
        "the other half": [one for one in outcomes if not one.entry.fitted_on],
    }
    rows = [
        [name, part, len(chosen), *_score(chosen, side)]
        for name, side in _SIDES.items()
        for part, chosen in parts.items()
    ]
    header = ["model", "entries", "n", "within 30 %", "median abs. log error", "mean"]
    return markdown(header, rows)


def _score(outcomes: Sequence[Outcome], side: Side) -> list[str]:
    """A refusal counts as a miss, and has no error."""
    rates = [(side(one), one.entry.tokens_per_s) for one in outcomes]
    ratios = [rate / stated for rate, stated in rates if rate is not None]
    errors = [abs(math.log(ratio)) for ratio in ratios]
    return [
        percent(sum(map(_near, ratios)), len(rates)),
        f"{statistics.median(errors):.2f}",
        f"{statistics.fmean(errors):.2f}",
    ]


def _by_kind(outcomes: Sequence[Outcome]) -> str:
    kinds: Mapping[str, Callable[[Entry], bool]] = {
        "one row, one device": lambda entry: entry.batch == 1 and entry.devices == 1,
        "one row, several devices": lambda entry: entry.batch == 1 and entry.devices > 1,
        "several rows": lambda entry: entry.batch > 1,
    }
    rows: list[list[object]] = []
    for name, belongs in kinds.items():
        chosen = [one for one in outcomes if belongs(one.entry)]
        near = [_score(chosen, side)[0] for side in _SIDES.values()]
        rows.append([name, len(chosen), *near])
    return markdown(["kind", "n", *_SIDES], rows)


def _fits(fits: Mapping[str, Fit]) -> str:
    rows = [
        [
            name,
            f"{fit.values.mbu:.2f}",
            f"{1e6 * (fit.values.layer_overhead_s or 0):.0f}",
            f"{1e6 * (fit.values.latency_s or 0):.0f}",
            f"{fit.fitted_error:.3f}",
            f"{fit.other_error:.3f}",
        ]
        for name, fit in fits.items()
    ]
    header = ["fitted on", "share", "layer, us", "all-reduce, us", "error there", "of the rest"]
    return markdown(header, rows)


def _misses(known: Published, outcomes: Sequence[Outcome]) -> str:
    rows = [
        [one.entry.id, _ratio(one.predicted, one), one.refused or known.reason(one.entry)]
        for one in outcomes
        if not one.near
    ]
    return markdown(["entry", "predicted / published", "likely reason"], rows)


def _entries(outcomes: Sequence[Outcome]) -> str:
    rows = [
        [
            one.entry.id,
            f"{one.entry.tokens_per_s:.4g}",
            "refused" if one.predicted is None else f"{one.predicted:.4g}",
            _ratio(one.predicted, one),
            "yes" if one.near else "no",
            _ratio(one.before, one),
            _ratio(one.naive, one),
            "fit" if one.entry.fitted_on else "",
            one.entry.source,
        ]
        for one in outcomes
    ]
    header = ["entry", "published", "predicted", "ratio", "near", "before", "naive", "half"]
    return markdown([*header, "source"], rows)


def _ratio(rate: float | None, one: Outcome) -> str:
    return "" if rate is None else f"{rate / one.entry.tokens_per_s:.2f}"


def _sources(known: Published) -> str:
    rows = [
        [name, source.at, source.as_of, source.note or ""] for name, source in known.sources.items()
    ]
    return markdown(["source", "where", "opened", "what it states, what is assumed"], rows)
