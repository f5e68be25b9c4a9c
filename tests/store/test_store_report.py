"""Predicted against actual: by hand on made-up runs, and over what the store really keeps."""

from __future__ import annotations

from pathlib import Path

import pytest

import tt_compute as tt
from tt_compute.config import Config
from tt_compute.reporting import report_groups, wilson
from tt_compute.setup import Setup
from tt_compute.store.runs import RunRecord


def run(
    latency_s: float = 1.0,
    predicted_s: float = 1.0,
    *,
    confidence: float | None = None,
    correct: bool | None = None,
    quality: float | None = 0.5,
    deployment: str = "a",
    strategy: str = "majority",
) -> RunRecord:
    return RunRecord(
        created_at=0.0,
        deployment=deployment,
        model="m",
        task="math",
        strategy=strategy,
        stop_reason="settled",
        samples_drawn=4,
        latency_s=latency_s,
        cost_usd=0.002,
        energy_j=None,
        confidence=confidence,
        correct=correct,
        predicted_quality=quality,
        predicted_latency_p50_s=predicted_s,
        predicted_latency_p95_s=3 * predicted_s,
        predicted_cost_usd=0.001,
        predicted_energy_j=5.0,
        predicted_samples_mean=5.0,
    )


def test_means_ratios_and_shares_are_those_of_the_runs() -> None:
    (group,) = report_groups([run(0.5), run(2.0), run(4.0)])
    assert group.latency_s is not None
    assert (group.latency_s.predicted, group.latency_s.ratio_median) == (1.0, 2.0)
    assert group.latency_s.actual == pytest.approx(6.5 / 3)
    assert group.over_p50 is not None
    assert group.over_p95 is not None
    assert [group.over_p50.share, group.over_p95.share] == pytest.approx([2 / 3, 1 / 3])
    assert group.cost_usd is not None
    assert group.cost_usd.ratio_median == pytest.approx(2.0)
    assert group.energy_j is None
    assert group.quality is None


def test_wilsons_interval_is_the_published_one() -> None:
    """8 of 10: 0.49 to 0.943 (Newcombe 1998's method 3)."""
    found = wilson(8, 10)
    assert [found.low, found.high] == pytest.approx([0.490, 0.943], abs=1e-3)


def test_groups_are_apart() -> None:
    found = report_groups([run(deployment="b"), run(deployment="a"), run(deployment="b")])
    assert [(group.deployment, group.runs) for group in found] == [("a", 1), ("b", 2)]


def test_runs_across_deployments_are_not_held_against_the_first_of_them() -> None:
    """A panel is as slow as its slowest member; a mixture of a deployment alone is that deployment's."""
    slow = [run(5.0, strategy="panel=a,b")] * 5
    own, across = report_groups([run(), *slow, run(strategy="mixture:2")])
    assert (own.deployment, own.strategy, own.runs, own.warnings) == ("a", None, 2, ())
    assert (across.deployment, across.strategy, across.runs) == ("a", "panel=a,b", 5)
    assert any("latency" in warning for warning in across.warnings)


def test_drift_is_told_from_the_latest_runs_alone() -> None:
    slow, right = [run(2.0)] * 20, [run(1.0)] * 20
    (drifted,) = report_groups(right + slow)
    (mended,) = report_groups(slow + right)
    assert [text for text in drifted.warnings if text.startswith("latency")]
    assert not [text for text in mended.warnings if text.startswith("latency")]


def test_a_few_runs_say_nothing_of_drift() -> None:
    (group,) = report_groups([run(9.0)] * 4)
    assert group.warnings == ()


def test_a_quality_outside_the_interval_is_told() -> None:
    (wrong,) = report_groups([run(correct=False, quality=0.9)] * 10)
    (fine,) = report_groups([run(correct=k % 2 == 0, quality=0.5) for k in range(10)])
    assert [text for text in wrong.warnings if "judged" in text]
    assert not [text for text in fine.warnings if "judged" in text]


def test_calibration_goes_by_confidence_in_parts_of_five_or_more() -> None:
    runs = [run(confidence=0.2, correct=False)] * 5 + [run(confidence=0.9, correct=True)] * 5
    (group,) = report_groups(runs)
    assert [one.n for one in group.calibration] == [5, 5]
    assert [one.confidence for one in group.calibration] == pytest.approx([0.2, 0.9])
    assert [one.correct for one in group.calibration] == [0.0, 1.0]


@pytest.mark.anyio
async def test_it_reads_what_the_store_keeps(tmp_path: Path) -> None:
    """Of mocks when asked for mocks; a verdict counts once it is given."""
    environ = {"TTC_DATA_DIR": str(tmp_path)}
    config = Config.from_mapping({"deployments": ["mock"]}, environ=environ)
    async with tt.AsyncClient(config, environ=environ) as client:
        results = [await client.solve("What is 6 times 7?", seed=seed) for seed in range(3)]
        await client.feedback(results[0].id, correct=True)
    setup = Setup(config, environ=environ)
    store = await setup.store()
    (group,) = report_groups(await store.runs(mock=True))
    real = await store.runs()
    young = await store.runs(since=1e12, mock=True)
    other = await store.runs(deployment="b", mock=True)
    await setup.aclose()
    assert (group.deployment, group.task, group.runs, group.judged) == ("mock", "math", 3, 1)
    assert group.latency_s is not None
    assert real == young == other == []
