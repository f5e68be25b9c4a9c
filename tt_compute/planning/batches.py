"""What a run comes to that asks in batches, one after the other, each of them in full."""

from __future__ import annotations

from collections.abc import Sequence

from tt_compute.planning.panels import Course, of_all, play, quantiles, seconds
from tt_compute.planning.types import Prediction

__all__ = ["predict_batches"]


def predict_batches(batches: Sequence[Sequence[Prediction]]) -> Prediction:
    """What batches come to whose parts are asked at once, each as quick as its slowest part.

    Cost, energy and samples are sums of the parts' own means. The time of a part is lognormal through its median and
    its 95th percentile.

    Args:
        batches: Of each part what it is expected to do by itself; at least one, and none empty.

    Returns:
        What follows from what is known of all parts, and None in it for the rest. The quality is unknown.
    """
    parts = [part for batch in batches for part in batch]
    once = [1.0] * len(parts)
    p50, p95 = _latency(batches, parts)
    return Prediction(
        samples_mean=of_all(once, [part.samples_mean for part in parts]),
        latency_p50_s=p50,
        latency_p95_s=p95,
        cost_usd=of_all(once, [part.cost_usd for part in parts]),
        energy_j=of_all(once, [part.energy_j for part in parts]),
    )


def _latency(
    batches: Sequence[Sequence[Prediction]], parts: Sequence[Prediction]
) -> tuple[float | None, float | None]:
    pairs = [
        (part.latency_p50_s, part.latency_p95_s)
        for part in parts
        if part.latency_p50_s is not None and part.latency_p95_s is not None
    ]
    if len(pairs) < len(parts):
        return None, None
    always = Course(1.0, tuple(map(len, batches)), right=False)
    return quantiles(seconds(play([always]), pairs))
