"""The values that hold for all GPUs, fitted on some published rates and judged on others."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Sequence

import msgspec

from published_entries import Entry, predicted
from tt_compute.planning.roofline import UnknownFact
from tt_compute.profiles.schema import DeploymentSpec, Fact

__all__ = ["BEFORE", "Fit", "Grid", "Pair", "Values", "rate_or_reason", "with_values"]

Pair = tuple[Entry, DeploymentSpec]


class Values(msgspec.Struct, frozen=True, kw_only=True):
    mbu: float
    layer_overhead_s: float | None
    latency_s: float | None


BEFORE = Values(mbu=0.6, layer_overhead_s=None, latency_s=None)
"""What every GPU profile said until these entries were collected; fp8 keys and values, and one row without a
rate of FLOP/s, are kept."""
_GRID = tuple(
    Values(mbu=mbu / 100, layer_overhead_s=layer / 1e6, latency_s=latency / 1e6)
    for mbu, layer, latency in itertools.product(
        range(60, 101, 5), range(0, 101, 10), range(0, 49, 4)
    )
)


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    values: Values
    fitted_error: float
    """Mean |ln(predicted / published)| over the entries fitted on."""
    other_error: float
    """The same over the others."""


class Grid:
    """The error of every GPU entry at every point of a grid, so that fits on parts of them are sums."""

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self._pairs = [
            (entry, spec)
            for entry, spec in pairs
            if spec.hardware.device == "gpu" and rate_or_reason(entry, spec)[0] is not None
        ]
        self._errors = [[_error(pair, values) for pair in self._pairs] for values in _GRID]

    def fit(self, chosen: Callable[[Entry], bool]) -> Fit:
        """Where the mean absolute logarithmic error of the chosen entries is least."""
        inside = [at for at, (entry, _) in enumerate(self._pairs) if chosen(entry)]
        outside = [at for at in range(len(self._pairs)) if at not in set(inside)]
        best = min(range(len(_GRID)), key=lambda row: self._mean(row, inside))
        return Fit(
            values=_GRID[best],
            fitted_error=self._mean(best, inside),
            other_error=self._mean(best, outside),
        )

    def _mean(self, row: int, places: Sequence[int]) -> float:
        return statistics.fmean(self._errors[row][at] for at in places)


def with_values(spec: DeploymentSpec, values: Values) -> DeploymentSpec:
    """With other values of a GPU; other devices as they are."""
    hardware = spec.hardware
    if hardware.device != "gpu":
        return spec
    efficiency = msgspec.structs.replace(
        hardware.efficiency,
        mbu=Fact(value=values.mbu),
        layer_overhead_s=Fact(value=values.layer_overhead_s),
    )
    link = msgspec.structs.replace(hardware.interconnect, latency_s=Fact(value=values.latency_s))
    changed = msgspec.structs.replace(hardware, efficiency=efficiency, interconnect=link)
    return msgspec.structs.replace(spec, hardware=changed)


def rate_or_reason(entry: Entry, spec: DeploymentSpec) -> tuple[float | None, str | None]:
    """What is predicted, or why nothing is."""
    try:
        return predicted(entry, spec), None
    except UnknownFact as unknown:
        return None, unknown.reason


def _error(pair: Pair, values: Values) -> float:
    entry, spec = pair
    return abs(math.log(predicted(entry, with_values(spec, values)) / entry.tokens_per_s))
