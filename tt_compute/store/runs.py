"""Past runs as rows of figures, predicted beside actual, for reports."""

from __future__ import annotations

import sqlite3

import msgspec

__all__ = ["RunRecord", "read_runs"]


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One run; None is unknown."""

    created_at: float
    """Unix seconds."""
    deployment: str
    model: str
    task: str
    strategy: str
    stop_reason: str
    samples_drawn: int
    latency_s: float
    cost_usd: float | None
    energy_j: float | None
    confidence: float | None
    correct: bool | None
    """The caller's verdict; None = there is none."""
    predicted_quality: float | None
    predicted_latency_p50_s: float | None
    predicted_latency_p95_s: float | None
    predicted_cost_usd: float | None
    predicted_energy_j: float | None
    predicted_samples_mean: float | None


_FIELDS = tuple(field.name for field in msgspec.structs.fields(RunRecord))


def read_runs(
    connection: sqlite3.Connection, *, since: float, deployment: str | None, mock: bool
) -> list[RunRecord]:
    """Runs with an outcome since then, oldest first.

    Args:
        connection: Of the store.
        since: Unix seconds.
        deployment: Only this one's; None = all.
        mock: Those of mocks, instead of real ones.
    """
    rows = connection.execute(
        f"SELECT {', '.join(_FIELDS)} FROM receipts "  # noqa: S608 - names of columns, from our own struct
        "WHERE is_mock = ? AND created_at >= ? AND (? IS NULL OR deployment = ?) "
        "AND stop_reason NOT IN ('interrupted', 'failed') ORDER BY number",
        (mock, since, deployment, deployment),
    )
    return [
        msgspec.convert(dict(zip(_FIELDS, row, strict=True)), RunRecord, strict=False)
        for row in rows
    ]
