"""``ttc plan --plot``: the frontier, by hand; and a picture, or a reason why there is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tt_compute.cli import plan_plot
from tt_compute.cli.plan_plot import Point, frontier
from tt_compute.cli.render import short_strategy, where
from tt_compute.planning.types import Candidate, Objective, Plan, Prediction, Stage

CANDIDATE = Candidate(
    deployment="d",
    backend="b",
    model="m",
    strategy="single",
    stop_rule=None,
    max_samples=1,
    wave=1,
    feasible=True,
    violates=(),
    predicted=Prediction(),
)
FLOATS = st.floats(0.01, 10)


@given(st.lists(st.tuples(FLOATS, FLOATS), min_size=1, max_size=30))
def test_the_frontier_is_what_nothing_beats(pairs: list[tuple[float, float]]) -> None:
    points = [Point(latency, quality, CANDIDATE) for latency, quality in pairs]
    best = frontier(points)
    for point in points:
        beaten = any(
            (other.latency_s <= point.latency_s and other.quality > point.quality)
            or (other.latency_s < point.latency_s and other.quality >= point.quality)
            for other in points
        )
        same = any(one[:2] == point[:2] for one in best)
        assert same == (not beaten)


def test_a_picture_is_drawn(ttc: Any, home: Path) -> None:
    (home / "ttc.yaml").write_text("deployments: [mock, mock/strong]\n", encoding="utf-8")
    picture = home / "plan.png"
    done = ttc("plan", "What is 6 times 7?", "--plot", str(picture))
    assert done.code == 0, done.err
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_nothing_known_is_nothing_to_draw(ttc: Any, home: Path) -> None:
    bare = {"id": "bare", "backend": "mock", "model": {"id": "x"}, "hardware": "mock"}
    (home / "ttc.yaml").write_text(json.dumps({"deployments": [bare]}), encoding="utf-8")
    done = ttc("plan", "What is 6 times 7?", "--plot", str(home / "plan.png"))
    assert done.code == 2
    assert "nothing to draw" in done.err
    assert not (home / "plan.png").exists()


def test_what_asks_several_deployments_stands_apart_and_votes_are_told_by_rule_and_by_ahead(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    drawn: list[Any] = []

    def keep(figure: Any, _: Path) -> None:
        drawn.append(figure)

    monkeypatch.setattr(plan_plot, "save_figure", keep)
    alone = _candidate(0.5, strategy="single", max_samples=1)
    vote = _candidate(0.7, strategy="majority", stop_rule="beta:0.8", max_samples=8, ahead=0.3)
    members = tuple(_member(name) for name in ("d", "e"))
    panel = _candidate(0.8, strategy="panel=d,e", max_samples=2, members=members)
    candidates = (alone, vote, panel)
    plan = Plan(
        chosen=vote,
        candidates=candidates,
        rejected=(),
        objective=Objective(),
        task="math",
        elapsed_us=0.0,
        setup_us=0.0,
    )
    plan_plot.plot_plan(plan, tmp_path / "plan.png")
    axes = drawn[0].axes[0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["d", "d, e", "chosen"]
    assert [text.get_text() for text in axes.texts] == ["single 1", "majority:0.8 8+", "panel 2"]


def test_only_the_name_tells_who_is_asked_twice() -> None:
    twice = tuple(_member(name) for name in ("d", "d", "e"))
    panel = _candidate(0.8, strategy="panel=d,d,e", max_samples=3, members=twice)
    assert (where(panel), short_strategy(panel)) == ("d, e", "panel=d,d,e")


def _candidate(quality: float, **what: Any) -> Candidate:
    predicted = Prediction(quality=quality, latency_p95_s=10 * quality)
    return msgspec.structs.replace(CANDIDATE, predicted=predicted, **what)


def _member(deployment: str) -> Stage:
    return Stage(
        deployment=deployment,
        backend="b",
        model="m",
        strategy="single",
        stop_rule=None,
        max_samples=1,
        wave=1,
    )
