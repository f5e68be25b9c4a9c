"""Sweeps, and the ability that is fitted."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tt_compute.config import Config
from tt_compute.profiles.library import ProfileLibrary
from tt_compute.profiles.validation import validate
from tt_compute.replay.figures import Figures
from tt_compute.replay.fit import fit_ability, profile_text, wrong_agreement
from tt_compute.replay.lab import Lab
from tt_compute.replay.play import Policy
from tt_compute.replay.sweep import budgets, pareto, rules, sweep
from tt_compute.stopping import parse_stop_rule

Read = Callable[..., Any]


def figures(accuracy: float, tokens: float, steps: float) -> Figures:
    return Figures(
        accuracy=accuracy,
        accuracy_ci95=(0.0, 1.0),
        samples_mean=1.0,
        output_tokens_mean=tokens,
        cancelled_tokens_mean=0.0,
        waves_mean=1.0,
        latency_tokens_mean=steps,
        latency_s_mean=None,
        cost_usd_mean=None,
        abstained=0.0,
    )


NUMBERS = st.integers(0, 4)


@given(st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=20))
def test_the_front_is_what_nothing_beats(points: list[tuple[int, int, int]]) -> None:
    """A policy is left out exactly when another is as good in all three and better in one."""
    kept = pareto([figures(*point) for point in points])
    for point, keep in zip(points, kept, strict=True):
        beaten = any(
            other[0] >= point[0] and other[1] <= point[1] and other[2] <= point[2]
            for other in points
            if other != point
        )
        assert keep is not beaten


def test_budgets_double_up_to_the_largest() -> None:
    assert budgets(1) == [1]
    assert budgets(10) == [1, 2, 4, 8, 10]
    assert budgets(16) == [1, 2, 4, 8, 16]


def test_every_rule_of_a_sweep_can_be_read() -> None:
    """``beta`` is among them."""
    assert "beta" in rules()
    for name in rules():
        assert parse_stop_rule(name).name == name


@pytest.mark.anyio
async def test_a_sweep_holds_votes_without_a_rule_too(read: Read) -> None:
    """What is given twice is replayed once."""
    lab = Lab(await read({"samples": ["a"] * 4}), seed=0, shuffles=1, bill=None)
    policy = Policy(strategy="majority", stop_rule="beta", budget=4, wave=4)
    rows = await sweep(lab, [policy, policy], 4)
    assert [(row.policy.stop_rule, row.policy.budget) for row in rows] == [
        (None, 1),
        (None, 2),
        (None, 4),
        ("beta", 4),
    ]
    assert [row.pareto for row in rows] == [True, False, False, False]


@pytest.mark.anyio
async def test_a_fit_finds_what_the_samples_were_made_of(read: Read) -> None:
    """Beta(1.2, 0.8), a popular wrong answer of 0.6, an abstention in ten."""
    rng = random.Random(7)

    def sample(rate: float) -> str | None:
        if rng.random() < rate:
            return "a"
        if rng.random() < 0.25:
            return None
        return "b" if rng.random() < 0.6 else f"w{rng.random()}"

    lines = [
        {"samples": [sample(rate) for _ in range(30)], "tokens": [*range(71, 101)]}
        for rate in (rng.betavariate(1.2, 0.8) for _ in range(600))
    ]
    found = await fit_ability(await read(*lines), source="here", as_of="2026-11-26")
    assert found.success_rate.value == pytest.approx(0.6, abs=0.03)
    assert found.concentration.value == pytest.approx(2.0, rel=0.15)
    assert found.wrong_agreement.value == pytest.approx(0.6, abs=0.03)
    assert found.abstain_rate.value == pytest.approx(0.1, abs=0.02)
    assert found.completion_tokens_mean.value == 85.5
    assert found.completion_tokens_p95.value == 99
    assert (found.success_rate.source, found.success_rate.status) == ("here", "measured")


@pytest.mark.anyio
async def test_what_was_not_recorded_is_not_fitted(read: Read) -> None:
    """One sample of each question tells nothing of how questions differ."""
    found = await fit_ability(await read({"samples": ["a"]}), source="s", as_of="2026-11-26")
    assert found.success_rate.value == 1
    assert found.concentration.value is None
    assert found.wrong_agreement.value is None
    assert found.completion_tokens_mean.value is None


def test_agreement_is_that_of_two_wrong_answers() -> None:
    """4 of 6 and 2 alone: 12 of 30 ordered pairs agree."""
    assert wrong_agreement([[4, 1, 1]]) == pytest.approx((12 / 30) ** 0.5)
    assert wrong_agreement([[1], []]) is None


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["GPT-4 (2023)", "Größe: #{[", "x" * 300, "\u202e\0", "-"])
async def test_a_fitted_profile_has_an_id_whatever_the_model_is_called(
    read: Read, tmp_path: Path, name: str
) -> None:
    ability = await fit_ability(
        await read({"samples": ["a", "b"]}), source=name, as_of="2026-11-26"
    )
    (tmp_path / "models").mkdir()
    file = tmp_path / "models" / "fitted.yaml"
    file.write_text(profile_text(name, "math", ability, None), encoding="utf-8")
    found = validate([file], library=ProfileLibrary(), today=date(2026, 11, 26))
    assert not [error for error in found.errors if error.path == "id"]


@pytest.mark.anyio
async def test_a_fitted_profile_is_one_that_a_deployment_can_take(
    read: Read, tmp_path: Path
) -> None:
    """It validates beside the shipped ones, and keeps the other facts of its model."""
    library = ProfileLibrary()
    base = library.model("smollm2-135m-instruct")
    questions = await read({"samples": ["a", "b", "b"], "tokens": [0, 1, 9]})
    ability = await fit_ability(questions, source="a: b", as_of="2026-11-26")
    (tmp_path / "models").mkdir()
    file = tmp_path / "models" / "fitted.yaml"
    file.write_text(profile_text("x", "math", ability, base), encoding="utf-8")
    assert validate([file], library=library, today=date(2026, 11, 26)).errors == ()
    override = {"model": "smollm2-135m-instruct-fitted"}
    config = Config.from_mapping(
        {
            "profiles": [str(tmp_path)],
            "deployments": [{"id": "local/smollm2-135m-torch", "override": override}],
        },
        environ={},
    )
    model = config.deployments[0].model
    assert model.abilities["math"] == ability
    assert model.abilities["open"] == base.abilities["open"]
    assert (model.weights, model.parameters) == (base.weights, base.parameters)
