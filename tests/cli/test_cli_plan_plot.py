"""``ttc plan --plot``: the frontier, by hand; and a picture, or a reason why there is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tt_compute.cli.plan_plot import Point, frontier
from tt_compute.planning.types import Candidate, Prediction

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
