"""Votes that draw ahead of need, as a client's requests use them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tt_compute.client import Client
from tt_compute.errors import InvalidRequestError, PlanError
from tt_compute.planning.types import Objective, Plan

Connect = Callable[..., Client]
AGREED = {"rules": [{"pattern": ".", "script": ["It is 42."] * 12}]}


@pytest.mark.parametrize(("ahead", "drawn"), [(1.0, 4), (0.0, 12)])
def test_the_chance_reaches_the_strategy(connect: Connect, ahead: float, drawn: int) -> None:
    """Four that agree are enough; what was drawn besides is on the receipt."""
    client = connect(**AGREED)
    result = client.solve(
        "6 * 7 = ?", ahead=ahead, stop="beta", objective=Objective(max_samples=12)
    )
    assert result.answer == "42"
    assert result.receipt.samples_drawn == drawn
    assert result.plan.chosen is not None
    assert (result.plan.chosen.strategy, result.plan.chosen.ahead) == ("majority", ahead)


@pytest.mark.parametrize("ahead", [True, "0.5", float("nan"), 1.5])
def test_what_is_no_chance_is_refused(connect: Connect, ahead: Any) -> None:
    """A bool is none: a saved plan that holds one cannot be read."""
    with pytest.raises(InvalidRequestError, match="ahead"):
        connect(**AGREED).plan("6 * 7 = ?", ahead=ahead)


def test_a_plan_keeps_its_chance(connect: Connect) -> None:
    client = connect(**AGREED)
    plan = client.plan("6 * 7 = ?", ahead=0, stop="beta", objective=Objective(max_samples=12))
    assert client.solve("6 * 7 = ?", plan=plan).receipt.samples_drawn == 12


@pytest.mark.parametrize(("strategy", "ahead"), [("single", 0.5), ("majority", 2.0)])
def test_a_plan_whose_chance_means_nothing_is_refused(
    connect: Connect, strategy: str, ahead: float
) -> None:
    client = connect(**AGREED)
    plan = client.plan("6 * 7 = ?", strategy=strategy)
    assert plan.chosen is not None
    changed: Plan = msgspec.structs.replace(
        plan, chosen=msgspec.structs.replace(plan.chosen, ahead=ahead)
    )
    with pytest.raises((PlanError, InvalidRequestError), match="ahead"):
        client.solve("6 * 7 = ?", plan=changed)
