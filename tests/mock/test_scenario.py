"""Scenarios: what may be written, where a mistake is, and that what is played is what was written."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tt_compute.client import AsyncClient
from tt_compute.config import Config
from tt_compute.errors import ConfigError, RateLimitError, UnknownNameError
from tt_compute.planning.types import Objective
from tt_compute.testing import (
    Answer,
    Distribution,
    Fault,
    Latency,
    MockAbility,
    MockDeployment,
    MockLimits,
    QuestionSet,
    Rates,
    Rule,
    Scenario,
    UsdPerMtok,
    VirtualClock,
)
from tt_compute.testing.mock_faults import FaultKind
from tt_compute.types import Failed, Sample, SamplingParams

pytestmark = pytest.mark.anyio

WRITTEN = """\
seed: 7
questions: {count: 40, seed: 3}
deployments:
  - id: small
    ability: {success_rate: {mean: 0.6, concentration: 3}, abstain_rate: 0.05}
    rules:
      - {prompt: What is the capital of Peru?, answers: [The answer is Lima.]}
    latency: {ttft_s: {min: 0.1, max: 0.3}, tokens_per_s: {p50: 80, p95: 120}}
    usd_per_mtok: {input: 0.1, output: 0.4}
    limits: {requests_per_minute: 30}
    faults: [{kind: server_error, requests: [0, 1]}]
  - id: large
    locality: local
    ability: {success_rate: 0.9}
    profile: {limits: {max_concurrency: 3}}
dispatch: {hedge_share: 0.1}
objective: {max_samples: 4}
"""
BUILT = Scenario(
    seed=7,
    questions=QuestionSet(count=40, seed=3),
    deployments=(
        MockDeployment(
            id="small",
            ability=MockAbility(success_rate=Rates(mean=0.6, concentration=3), abstain_rate=0.05),
            rules=(Rule(prompt="What is the capital of Peru?", answers=("The answer is Lima.",)),),
            latency=Latency(
                ttft_s=Distribution(min=0.1, max=0.3), tokens_per_s=Distribution(p50=80, p95=120)
            ),
            usd_per_mtok=UsdPerMtok(input=0.1, output=0.4),
            limits=MockLimits(requests_per_minute=30),
            faults=(Fault(kind="server_error", requests=(0, 1)),),
        ),
        MockDeployment(
            id="large",
            locality="local",
            ability=MockAbility(success_rate=0.9),
            profile={"limits": {"max_concurrency": 3}},
        ),
    ),
    dispatch={"hedge_share": 0.1},
    objective={"max_samples": 4},
)


def one(asked: QuestionSet | None = None, **fields: Any) -> Scenario:
    """A scenario with one local mock, called ``m``."""
    mock = MockDeployment(id="m", locality="local", **fields)
    return Scenario(deployments=(mock,), questions=asked)


async def draw(
    scenario: Scenario,
    prompt: str = "Why?",
    *,
    n: int = 1,
    seed: int | None = 1,
    deployment: str = "m",
    **sampling: Any,
) -> list[Sample | Failed]:
    async with AsyncClient(scenario.ready(environ={}), clock=VirtualClock()) as client:
        params = SamplingParams(seed=seed, **sampling)
        return await client.generate(prompt, deployment=deployment, n=n, sampling=params)


def texts(ended: list[Sample | Failed]) -> list[str]:
    return [event.text for event in ended]


def test_yaml_and_python_say_the_same() -> None:
    assert Scenario.parse(WRITTEN) == BUILT


def test_a_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "scenario.yaml"
    file.write_text(WRITTEN, encoding="utf-8")
    assert Scenario.load(file) == BUILT


def test_the_configuration_is_one_that_a_file_could_state(tmp_path: Path) -> None:
    file = tmp_path / "ttc.yaml"
    # JSON is YAML.
    file.write_text(json.dumps(BUILT.config()), encoding="utf-8")
    from_file = Config.load(file, environ={})
    ready = BUILT.ready(environ={})
    assert [spec.deployment for spec in from_file.deployments] == [
        spec.deployment for spec in ready.deployments
    ]
    assert (from_file.objective, from_file.dispatch) == (ready.objective, ready.dispatch)


def test_nothing_of_a_run_is_kept_or_shared() -> None:
    ready = BUILT.ready(environ={})
    assert not ready.store.enabled
    assert not ready.dispatch.share_limits


def test_the_profile_tells_the_truth() -> None:
    small, large = BUILT.ready(environ={}).deployments
    assert small.is_remote
    assert not large.is_remote
    assert (small.deployment.speed.ttft_s.p50, small.deployment.speed.ttft_s.p95) == (0.2, 0.29)
    assert small.deployment.speed.decode_tokens_per_s.value == 80
    known = small.model.abilities["math"]
    assert (known.success_rate.value, known.concentration.value) == (0.6, 3)
    prices = small.deployment.price.usd_per_mtok
    assert prices is not None
    assert (prices.input.value, prices.output.value) == (0.1, 0.4)
    assert small.deployment.limits.requests_per_minute is None
    assert large.deployment.limits.max_concurrency == 3


def test_the_profile_tells_the_mean_length() -> None:
    """Which is above the median where the long tail is on one side."""
    scenario = one(
        QuestionSet(count=1),
        ability=MockAbility(success_rate=0.5),
        completion_tokens=Distribution(p50=100, p95=300),
    )
    (spec,) = scenario.ready(environ={}).deployments
    length = spec.model.abilities["math"].completion_tokens_mean.value
    assert length == pytest.approx(125, abs=1)


def test_an_unknown_price_stays_unknown() -> None:
    (spec,) = one(usd_per_mtok=None).ready(environ={}).deployments
    assert spec.deployment.price.usd_per_mtok is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("deployments: []", "s.yaml:1: expected at least one deployment"),
        (
            "deployments:\n  - id: a\n    fault: 3",
            "s.yaml:3: deployments[0].fault: unknown key",
        ),
        (
            "deployments:\n  - id: a\n    latency: {ttft_s: -1}",
            "s.yaml:3: deployments[0].latency: expected ttft_s >= 0, got -1.0",
        ),
        (
            "deployments:\n  - id: a\n    latency:\n      ttft_s: {p50: 1}",
            "s.yaml:4: deployments[0].latency.ttft_s: expected p50 and p95, or min and max",
        ),
        (
            "deployments:\n  - id: a\n  - id: a",
            "s.yaml:3: deployments[1].id: deployment 'a' is listed twice",
        ),
        (
            "deployments:\n  - id: a\n    profile:\n      limits: {rpm: 3}",
            "s.yaml:4: deployments[0].profile.limits.rpm: unknown key",
        ),
        ("deployments:\n  - id: a b", "s.yaml:2: deployments[0].id: expected letters"),
        (
            "deployments:\n  - id: a\n    usd_per_mtok: {input: 1e-9}",
            "s.yaml:3: deployments[0].usd_per_mtok.input: expected USD",
        ),
        ("deployments:\n  - id: a\ndispatch: {x: 1}", "s.yaml:3: dispatch.x: unknown key"),
        (
            "deployments:\n  - id: a\n    rules:\n      - {answers: [x]}",
            "s.yaml:4: deployments[0].rules[0]: a rule needs either a `prompt` or a `pattern`",
        ),
        (
            "deployments:\n  - id: a\n    ability: {success_rate: 0.9, abstain_rate: 0.2}",
            "s.yaml:3: deployments[0].ability: expected abstain_rate from 0 to 1 - success_rate",
        ),
        (
            "deployments:\n  - id: a\n    faults:\n      - {kind: oom, from_s: 5, until_s: 5}",
            "s.yaml:4: deployments[0].faults[0]: expected until_s > from_s",
        ),
        (
            "deployments:\n  - id: a\n    profile: {backend: openai}",
            "s.yaml:2: deployments[0]: profile: backend cannot be stated there",
        ),
        (
            "deployments:\n  - id: a\n    ability: {success_rate: 0.9}",
            "s.yaml:1: deployment 'a': `questions` and `ability` go together",
        ),
        ("version: 2\ndeployments:\n  - id: a", "s.yaml:1: version: expected 1, got 2"),
        (
            "deployments:\n  - id: a\n    capabilities: {native_n: often}",
            "s.yaml:2: deployments[0]: capabilities: native_n: Expected `bool`, got `str`",
        ),
        (
            "deployments:\n  - id: a\n    faults: [{kind: rate_limit, retry_after_s: -1}]",
            "s.yaml:3: deployments[0].faults[0]: expected retry_after_s >= 0, got -1.0",
        ),
        (
            "deployments:\n  - id: a\n    faults: [{kind: stall, pattern: 'a{99999999999}'}]",
            "s.yaml:3: deployments[0].faults[0]: pattern 'a{99999999999}' is no regular expression",
        ),
        (
            f"deployments:\n  - id: a\n    faults: [{{kind: stall, pattern: '{'(' * 3000}x{')' * 3000}'}}]",
            "s.yaml:3: deployments[0].faults[0]: pattern '((",
        ),
    ],
)
def test_a_mistake_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Scenario.parse(text, file="s.yaml")
    assert caught.value.message.startswith(message)


def test_half_a_character_is_refused_with_its_place() -> None:
    """No file can hold it, so that a mapping could not be written as one."""
    with pytest.raises(ConfigError, match=r"deployments\[0\].answers\[0\]: .* surrogate pair"):
        Scenario.from_mapping({"deployments": [{"id": "a", "answers": ["\ud800"]}]})


# --- answers ---------------------------------------------------------------------------------------


async def test_deployments_draw_independently_of_each_other() -> None:
    """The same prompt, seed and answers at another deployment, or in another world, are other draws."""
    answers = (Answer(text="A", probability=0.5), Answer(text="B"))
    twins = tuple(MockDeployment(id=name, locality="local", answers=answers) for name in "xy")
    scenario = Scenario(deployments=twins)
    first = texts(await draw(scenario, n=20, deployment="x"))
    assert texts(await draw(scenario, n=20, deployment="x")) == first
    assert texts(await draw(scenario, n=20, deployment="y")) != first
    other = msgspec.structs.replace(scenario, seed=1)
    assert texts(await draw(other, n=20, deployment="x")) != first


async def test_a_rule_by_prompt_is_for_the_whole_of_it() -> None:
    scenario = one(rules=(Rule(prompt="Why?", answers=("because",)),), answers=("else",))
    assert texts(await draw(scenario, "Why?\n")) == ["because"]
    assert texts(await draw(scenario, "Why? Tell me.")) == ["else"]


async def test_samples_are_right_as_often_as_the_truth_says() -> None:
    ability = MockAbility(success_rate=Rates(min=0.2, max=0.8), abstain_rate=0.1)
    scenario = one(QuestionSet(count=5), ability=ability)
    for number, (prompt, gold) in enumerate(scenario.asked()):
        said = Counter(texts(await draw(scenario, prompt, n=600)))
        truth = scenario.success_rate("m", number)
        assert abs(said[f"The answer is {gold}."] / 600 - truth) < 0.06
        assert len(said) == 5, "the right answer, three wrong ones, and none at all"


async def test_the_commonest_wrong_answer_takes_its_share() -> None:
    ability = MockAbility(success_rate=0.4, wrong_answers=4, wrong_agreement=0.7)
    scenario = one(ability=ability, questions=QuestionSet(count=1))
    prompt, gold = QuestionSet(count=1).question(0)
    said = Counter(texts(await draw(scenario, prompt, n=2000)))
    del said[f"The answer is {gold}."]
    assert 0.66 < said.most_common(1)[0][1] / said.total() < 0.74


def test_all_find_the_same_questions_hard() -> None:
    order = sorted(range(40), key=lambda number: BUILT.success_rate("small", number))
    other = MockAbility(success_rate=Rates(min=0.1, max=0.9))
    scenario = Scenario(
        questions=BUILT.questions, deployments=(MockDeployment(id="m", ability=other),)
    )
    rates = [scenario.success_rate("m", number) for number in order]
    assert rates == sorted(rates)
    assert len(set(rates)) == 40


def test_the_mean_over_questions_is_the_one_that_is_stated() -> None:
    ability = MockAbility(success_rate=Rates(mean=0.6, concentration=3))
    scenario = Scenario(
        questions=QuestionSet(count=2000), deployments=(MockDeployment(id="m", ability=ability),)
    )
    mean = sum(scenario.success_rate("m", number) for number in range(2000)) / 2000
    assert abs(mean - 0.6) < 0.02


def test_who_has_no_ability_has_no_success_rate() -> None:
    with pytest.raises(UnknownNameError, match="nobody"):
        BUILT.success_rate("nobody", 0)
    with pytest.raises(IndexError):
        BUILT.success_rate("small", 40)


async def test_plans_come_true_on_questions_with_known_truth() -> None:
    """The predicted quality of a majority of many questions is the share that is answered right."""
    ability = MockAbility(success_rate=Rates(mean=0.6, concentration=6), wrong_agreement=0.5)
    scenario = Scenario(
        questions=QuestionSet(count=150),
        deployments=(MockDeployment(id="m", locality="local", ability=ability),),
    )
    right, predicted = 0, 0.0
    async with AsyncClient(scenario.ready(environ={}), clock=VirtualClock()) as client:
        for number, (prompt, gold) in enumerate(scenario.asked()):
            result = await client.solve(
                prompt, strategy="majority", seed=number, objective=Objective(max_samples=8)
            )
            right += result.answer == gold
            assert result.plan.chosen is not None
            predicted += result.plan.chosen.predicted.quality or 0
    assert abs(right / 150 - predicted / 150) < 0.07


# --- time, limits, faults ------------------------------------------------------------------------


async def test_uniform_times_lie_between_their_ends() -> None:
    scenario = one(latency=Latency(ttft_s=Distribution(min=1, max=3)))
    first_s = [
        event.timing.first_token_s or 0.0
        for event in await draw(scenario, n=400)
        if isinstance(event, Sample)
    ]
    assert 1 <= min(first_s) < 1.1
    assert 2.9 < max(first_s) <= 3
    assert 1.9 < sum(first_s) / 400 < 2.1


async def test_a_limit_refuses_what_comes_too_soon_and_says_when() -> None:
    clock = VirtualClock()
    scenario = one(limits=MockLimits(requests_per_minute=2, told=True))
    async with AsyncClient(scenario.ready(environ={}), clock=clock) as client:
        first = await client.generate("Why?", deployment="m")
        await clock.sleep(20)
        second, third = await client.generate("Why?", deployment="m", n=2)
        await clock.sleep(40)
        (fourth,) = await client.generate("Why?", deployment="m")
    assert isinstance(first[0], Sample)
    assert first[0].rate_limits[0].remaining == 1
    assert isinstance(second, Sample)
    assert isinstance(third, Failed)
    assert isinstance(third.error, RateLimitError)
    assert third.error.retry_after_s == 40
    assert isinstance(fourth, Sample)


async def test_tokens_are_limited_too() -> None:
    scenario = one(answers=("one two three four",), limits=MockLimits(tokens_per_minute=10))
    ended = await draw(scenario, "Why?", n=2)
    assert [type(event) for event in ended] == [Sample, Failed]


async def test_faults_strike_by_number_over_all_prompts() -> None:
    scenario = one(faults=(Fault(kind="refused", requests=(1, 2)),))
    async with AsyncClient(scenario.ready(environ={}), clock=VirtualClock()) as client:
        kinds = [
            type((await client.generate(prompt, deployment="m"))[0])
            for prompt in ("a?", "b?", "c?", "d?")
        ]
    assert kinds == [Sample, Failed, Failed, Sample]


async def test_an_outage_lasts_from_one_time_to_another() -> None:
    clock = VirtualClock()
    scenario = one(faults=(Fault(kind="server_error", from_s=10, until_s=20),))
    kinds: list[type[Sample | Failed]] = []
    async with AsyncClient(scenario.ready(environ={}), clock=clock) as client:
        for _ in range(3):
            kinds.append(type((await client.generate("a?", deployment="m"))[0]))
            await clock.sleep(10)
    assert kinds == [Sample, Failed, Sample]


async def test_seeds_choose_whom_a_rate_strikes() -> None:
    def scenario(seed: int) -> Scenario:
        return one(faults=(Fault(kind="server_error", rate=0.3, seed=seed),))

    struck = [[type(event) for event in await draw(scenario(seed), n=40)] for seed in (1, 1, 2)]
    assert struck[0] == struck[1] != struck[2]


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("authentication", "AuthenticationError"),
        ("payment_required", "PaymentRequired"),
        ("refused", "RequestRefused"),
        ("model_not_found", "ModelNotFound"),
        ("model_load", "ModelLoadError"),
        ("unavailable", "BackendUnavailable"),
    ],
)
async def test_each_refusal_is_the_error_it_is_named_for(kind: FaultKind, name: str) -> None:
    (ended,) = await draw(one(faults=(Fault(kind=kind),)))
    assert isinstance(ended, Failed)
    assert type(ended.error).__name__ == name
    assert ended.usage.input_tokens == 0


async def test_a_slow_first_token_comes_late_and_well() -> None:
    (ended,) = await draw(one(faults=(Fault(kind="slow_first_token", delay_s=30),)))
    assert isinstance(ended, Sample)
    assert ended.timing.first_token_s == 30


async def test_usage_can_be_wrong_in_three_ways() -> None:
    kinds: tuple[FaultKind, ...] = ("usage_missing", "usage_estimated", "usage_too_large")
    faults = tuple(Fault(kind=kind, samples=(at,)) for at, kind in enumerate(kinds))
    scenario = one(answers=("one two three",), faults=faults)
    missing, estimated, large, good = await draw(scenario, n=4)
    assert [event.usage.output_tokens for event in (missing, estimated, large, good)] == [
        0,
        3,
        30,
        3,
    ]
    assert [event.usage.estimated for event in (estimated, large)] == [True, False]
