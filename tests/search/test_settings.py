"""Settings of strategies that no type checker saw."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import tt_compute as tt
from tt_compute.errors import InvalidRequestError

ACROSS = {"deployments": ("a", "b", "c")}


def _propose(_thoughts: object, _model: object) -> list[str]:
    return []


def _evaluate(_thoughts: object, _model: object) -> float:
    return 0.0


SETTINGS: dict[str, tuple[Callable[..., Any], dict[str, Any], object]] = {
    "agree": (tt.Panel, ACROSS, 2),
    "layers": (tt.Mixture, ACROSS, 2),
    "proposals": (tt.Mixture, ACROSS, None),
    "warmup": (tt.DeepConf, {}, 4),
    "keep": (tt.DeepConf, {}, 1),
    "width": (tt.Beam, {}, 3),
    "step_tokens": (tt.Beam, {}, None),
    "trees": (tt.DVTS, {}, 2),
    "rounds": (tt.Refine, {}, None),
    "chains": (tt.Revise, {}, 2),
    "waits": (tt.BudgetForcing, {}, 0),
    "threshold": (tt.TreeOfThought, {"propose": _propose, "evaluate": _evaluate}, 0.5),
}


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("wrong", ["2", True, (1,)])
def test_what_is_no_number_is_refused_with_its_name(name: str, wrong: object) -> None:
    make, besides, right = SETTINGS[name]
    assert getattr(make(**besides, **{name: right}), name) == right
    with pytest.raises(InvalidRequestError, match=f"{name} must be a (whole )?number, got"):
        make(**besides, **{name: wrong})


@pytest.mark.parametrize("name", ["agree", "layers", "warmup", "width", "chains"])
def test_a_part_of_a_whole_number_is_refused(name: str) -> None:
    make, besides, _ = SETTINGS[name]
    with pytest.raises(InvalidRequestError, match="whole number"):
        make(**besides, **{name: 2.5})
