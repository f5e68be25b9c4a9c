"""What the rows teach the planner. Mock runs and real ones are never mixed."""

from __future__ import annotations

import sqlite3
from collections import defaultdict

from tt_compute.planning.estimates import (
    AbilityEvidence,
    Estimates,
    LengthEvidence,
    SpeedEvidence,
)

__all__ = ["length_evidence", "read_estimates"]

_RECENT_RUNS = 500
"""Only the newest runs count: models, machines and services change, and reading stays quick."""

_LENGTHS = """
    SELECT samples.model, receipts.task, samples.output_tokens, count(*)
    FROM receipts JOIN samples ON samples.receipt = receipts.number
    WHERE receipts.is_mock = :mock AND receipts.number > :after
      AND samples.finished AND samples.model IS NOT NULL
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
_SPEEDS = """
    SELECT deployment, task, wave,
           sum(decode_tokens) / sum(decode_s), sum(samples_finished + samples_cancelled)
    FROM receipts
    WHERE is_mock = :mock AND number > :after AND decode_s IS NOT NULL
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
_JUDGED = """
    SELECT samples.model, receipts.task, receipts.correct, sum(samples.agrees), count(*)
    FROM (SELECT * FROM receipts WHERE correct IS NOT NULL AND is_mock = :mock
            AND (answered OR NOT correct)
          ORDER BY number DESC LIMIT :runs) AS receipts
    JOIN samples ON samples.receipt = receipts.number
    WHERE samples.finished AND samples.model IS NOT NULL
    GROUP BY receipts.number, samples.model
"""
_PERCENTILE = 0.95


def read_estimates(connection: sqlite3.Connection, *, mock: bool) -> Estimates:
    """The evidence of the newest runs; of mock runs only, or of real runs only."""
    newest: int = connection.execute("SELECT coalesce(max(number), 0) FROM receipts").fetchone()[0]
    window = {"mock": mock, "after": newest - _RECENT_RUNS, "runs": _RECENT_RUNS}
    return Estimates(
        abilities=_abilities(connection, window),
        lengths=_lengths(connection, window),
        speeds=_speeds(connection, window),
    )


def _abilities(
    connection: sqlite3.Connection, window: dict[str, int]
) -> dict[tuple[str, str], AbilityEvidence]:
    """Of a run judged right, the samples with its answer were right and the others wrong.

    Of a run judged wrong, nobody knows whether a sample that was outvoted had the right answer: all count
    as wrong, which can only make the model look weaker than it is.
    """
    rights: dict[tuple[str, str], float] = defaultdict(float)
    wrongs: dict[tuple[str, str], float] = defaultdict(float)
    for model, task, correct, agreeing, count in connection.execute(_JUDGED, window):
        share = agreeing / count if correct else 0.0
        rights[model, task] += share
        wrongs[model, task] += 1.0 - share
    return {key: AbilityEvidence(correct=rights[key], wrong=wrongs[key]) for key in rights}


def _lengths(
    connection: sqlite3.Connection, window: dict[str, int]
) -> dict[tuple[str, str], LengthEvidence]:
    histograms: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    for model, task, tokens, count in connection.execute(_LENGTHS, window):
        histograms[model, task].append((tokens, count))
    return {key: length_evidence(histogram) for key, histogram in histograms.items()}


def length_evidence(histogram: list[tuple[int, int]]) -> LengthEvidence:
    """Mean and nearest-rank percentile of (tokens, count) pairs in ascending order."""
    n = sum(count for _, count in histogram)
    seen = 0
    for tokens, count in histogram:
        seen += count
        if seen >= _PERCENTILE * n:
            mean = sum(tokens * count for tokens, count in histogram) / n
            return LengthEvidence(n=n, mean=mean, p95=float(tokens))
    raise AssertionError("a histogram without samples")


def _speeds(
    connection: sqlite3.Connection, window: dict[str, int]
) -> dict[tuple[str, str], tuple[SpeedEvidence, ...]]:
    speeds: dict[tuple[str, str], list[SpeedEvidence]] = defaultdict(list)
    for deployment, task, wave, rate, n in connection.execute(_SPEEDS, window):
        speeds[deployment, task].append(SpeedEvidence(wave=wave, tokens_per_s=rate, n=n))
    return {key: tuple(found) for key, found in speeds.items()}
