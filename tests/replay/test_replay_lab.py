"""Replays against an independent one, and figures that can be worked out by hand."""

from __future__ import annotations

import importlib.util
import random
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tt_compute.errors import UsageError
from tt_compute.planning.figures import Meter
from tt_compute.profiles.library import ProfileLibrary
from tt_compute.replay.answers import Question, VerifierSpec, parse_verifier
from tt_compute.replay.figures import Bill
from tt_compute.replay.lab import Lab, check_budget, check_recorded, pass_at
from tt_compute.replay.play import Policy
from tt_compute.replay.recording import Recording
from tt_compute.stopping import parse_stop_rule

pytestmark = pytest.mark.anyio

Read = Callable[..., Any]
ROOT = Path(__file__).resolve().parents[2]


def peer() -> Any:
    """The planner's benchmarks' own replay, which shares nothing with ours but the stop rules."""
    spec = importlib.util.spec_from_file_location("recorded", ROOT / "benchmarks/recorded.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def made(count: int, samples: int, seed: int) -> list[dict[str, Any]]:
    """Questions of all difficulties, with ties, abstentions and wrong answers that agree."""
    rng = random.Random(seed)
    lines: list[dict[str, Any]] = []
    for _ in range(count):
        rate = rng.betavariate(1, 1)
        answers = [
            "a" if rng.random() < rate else rng.choice([None, "b", "b", "c", f"w{place}"])
            for place in range(samples)
        ]
        lines.append({"samples": answers, "tokens": [rng.randint(0, 60) for _ in range(samples)]})
    return lines


def vote(budget: int, rule: str | None = "beta", wave: int | None = None) -> Policy:
    return Policy(strategy="majority", stop_rule=rule, budget=budget, wave=wave or budget)


def lab(
    questions: Sequence[Question], *, seed: int = 0, shuffles: int = 1, bill: Bill | None = None
) -> Lab:
    return Lab(questions, seed=seed, shuffles=shuffles, bill=bill)


@pytest.mark.parametrize("budget", [1, 2, 5, 8, 16])
@pytest.mark.parametrize("wave", [1, 3, None])
async def test_a_vote_agrees_exactly_with_an_independent_replay(
    read: Read, budget: int, wave: int | None
) -> None:
    """Accuracy and samples, for the same orders; whatever the wave, ties by their share of luck."""
    recorded = peer()
    lines = made(60, 16, seed=budget)
    questions = await read(*lines)
    names: dict[str | None, int | None] = {None: None, "a": recorded.RIGHT}
    for line in lines:
        for answer in line["samples"]:
            names.setdefault(answer, len(names))
    others = [
        recorded.Recorded(answers=tuple(names[answer] for answer in line["samples"]))
        for line in lines
    ]
    expected = recorded.vote(others, parse_stop_rule("beta"), budget, seed=3, shuffles=4)
    found = await lab(questions, seed=3, shuffles=4).figures(vote(budget, wave=wave))
    assert found.accuracy == pytest.approx(expected.accuracy, abs=1e-12)
    assert found.samples_mean == pytest.approx(expected.samples, abs=1e-12)


async def test_best_of_n_agrees_exactly_with_an_independent_replay(read: Read) -> None:
    """One by one until a sample is right."""
    recorded = peer()
    lines = made(60, 10, seed=1)
    questions = await read(*lines)
    others = [
        recorded.Recorded(answers=tuple(0 if right else 1 for right in question.right))
        for question in questions
    ]
    expected = recorded.best_of(others, 6, seed=5, shuffles=3)
    policy = Policy(strategy="best_of_n", stop_rule=None, budget=6, wave=1, verifier=VerifierSpec())
    found = await lab(questions, seed=5, shuffles=3).figures(policy)
    assert found.accuracy == pytest.approx(expected.accuracy, abs=1e-12)
    assert found.samples_mean == pytest.approx(expected.samples, abs=1e-12)


async def test_single_is_the_mean_and_the_oracle_any_right_one(read: Read) -> None:
    """Of all samples that were recorded; fixed n is one wave of the budget."""
    lines = made(30, 8, seed=2)
    found = await lab(await read(*lines)).baselines(8)
    shares = [line["samples"].count("a") / 8 for line in lines]
    assert found.single.accuracy == pytest.approx(statistics.fmean(shares))
    assert found.oracle.accuracy == pytest.approx(statistics.fmean(map(bool, shares)))
    assert found.fixed_n.samples_mean == 8
    assert found.fixed_n.waves_mean == 1
    assert found.fixed_n.latency_tokens_mean == pytest.approx(
        statistics.fmean(max(line["tokens"]) for line in lines)
    )
    assert found.single.latency_tokens_mean == pytest.approx(
        statistics.fmean(statistics.fmean(line["tokens"]) for line in lines)
    )
    assert found.single.abstained == pytest.approx(
        sum(line["samples"].count(None) / 8 for line in lines)
    )


def test_pass_at_is_the_mean_over_all_choices() -> None:
    """Of 2 of 4 samples with one right, half hold it."""
    assert pass_at([True, False, False, False], 2) == pytest.approx(0.5)
    assert pass_at([False] * 3, 3) == 0
    assert pass_at([True, True, False], 2) == 1


async def test_a_wave_costs_its_longest_sample(read: Read) -> None:
    """Four agree in one wave; then the vote is settled."""
    questions = await read({"samples": ["a"] * 4, "tokens": [10, 40, 20, 30]})
    found = await lab(questions).figures(vote(4))
    assert (found.samples_mean, found.waves_mean) == (3, 1)
    questions = await read({"samples": ["a"] * 8, "tokens": [10] * 8})
    found = await lab(questions).figures(vote(8))
    assert (found.samples_mean, found.latency_tokens_mean, found.waves_mean) == (4, 10, 1)
    found = await lab(questions).figures(vote(8, wave=1))
    assert (found.samples_mean, found.latency_tokens_mean, found.waves_mean) == (4, 40, 4)


async def test_an_accepted_sample_cancels_those_in_flight_at_once(read: Read) -> None:
    """The judgement falls in the step in which the sample ended: the others are cut there."""
    questions = await read({"samples": ["b", "a", "b"], "tokens": [30, 10, 20]})
    policy = Policy(strategy="best_of_n", stop_rule=None, budget=3, wave=3, verifier=VerifierSpec())
    found = await lab(questions).figures(policy)
    assert found.accuracy == 1
    assert found.latency_tokens_mean == 10
    assert (found.output_tokens_mean, found.cancelled_tokens_mean) == (30, 20)


@pytest.mark.parametrize(("verifier", "samples", "right"), [("reward", 3, 0), ("reward:0.5", 1, 1)])
async def test_rewards_pick_or_accept(
    read: Read, verifier: str, samples: int, right: float
) -> None:
    """Without a threshold the highest of the budget, with one the first that reaches it."""
    questions = await read(
        {"samples": ["a", "a", "b"], "reward": [0.6, 0.7, 0.9], "tokens": [1, 2, 3]}
    )
    policy = Policy(
        strategy="best_of_n",
        stop_rule=None,
        budget=3,
        wave=3,
        verifier=parse_verifier(verifier),
    )
    found = await lab(questions).figures(policy)
    assert found.accuracy == right
    finished = {1: 1.0, 3: 6.0}[samples]
    assert found.cancelled_tokens_mean is not None
    assert found.output_tokens_mean == finished + found.cancelled_tokens_mean


async def test_an_equal_vote_counts_by_the_share_of_luck(read: Read) -> None:
    """One of two that lead is right: one half, whatever the seed."""
    questions = await read({"samples": ["a", "b"]})
    for seed in range(4):
        found = await lab(questions, seed=seed).figures(vote(2, rule=None))
        assert found.accuracy == 0.5


async def test_a_verdict_is_that_of_the_recording(read: Read) -> None:
    """``correct`` stands above equality with gold; a sample without an answer has no vote."""
    questions = await read({"samples": ["x", None, None], "correct": [1, 0, 0], "gold": "y"})
    found = await lab(questions).figures(vote(3, rule=None))
    assert (found.accuracy, found.abstained) == (1, 0)
    silent = await read({"samples": [None, None]})
    assert (await lab(silent).figures(vote(2))).abstained == 1


async def test_answers_are_equal_as_spelt_or_as_mathematics(read: Read) -> None:
    """One half outvotes 7 only where its two spellings are one answer."""
    line = {"samples": ["1/2", "0.5", "7", "eight"], "gold": "\\frac{1}{2}"}
    exact = await read(line)
    assert exact[0].right == (False, False, False, False)
    math = await read(line, equality="math")
    assert math[0].right == (True, True, False, False)
    assert (await lab(math).figures(vote(4, rule=None))).accuracy == 1


async def test_without_tokens_what_follows_from_them_is_unknown(read: Read) -> None:
    """Also where only one question has none."""
    questions = await read({"samples": ["a"], "tokens": [5]}, {"samples": ["a"]})
    found = await lab(questions).figures(vote(1))
    assert found.output_tokens_mean is None
    assert found.cancelled_tokens_mean is None
    assert found.latency_tokens_mean is None
    assert found.waves_mean == 1


async def test_seconds_and_dollars_are_those_of_the_deployment(read: Read) -> None:
    """0.1 s to the first token of each wave, 100 tokens/s, 2 USD per million out and 1 in."""
    spec = ProfileLibrary().resolve(
        {
            "id": "d",
            "backend": "mock",
            "model": "mock",
            "hardware": "mock",
            "speed": {"ttft_s": 0.1, "decode_tokens_per_s": 100},
            "price": {"usd_per_mtok": {"input": 1, "output": 2}},
        }
    )
    questions = await read({"samples": ["a"] * 4, "tokens": [11] * 4})
    bill = Bill(Meter(spec, None, ()), 1000)
    one_by_one = await lab(questions, bill=bill).figures(vote(4, wave=1))
    assert one_by_one.samples_mean == 3
    assert one_by_one.latency_s_mean == pytest.approx(3 * (0.1 + 10 / 100))
    assert one_by_one.cost_usd_mean == pytest.approx((3 * 1000 * 1 + 33 * 2) / 1e6)
    unknown = await lab(await read({"samples": ["a"]}), bill=bill).figures(vote(1))
    assert (unknown.latency_s_mean, unknown.cost_usd_mean) == (None, None)
    at_once = await lab(questions, bill=bill).figures(vote(4))
    assert at_once.latency_s_mean == pytest.approx(0.1 + 10 / 100)


async def test_an_interval_stays_within_0_and_1(read: Read) -> None:
    """Also where every question is right."""
    found = await lab(await read(*[{"samples": ["a"]}] * 5)).figures(vote(1))
    low, high = found.accuracy_ci95
    assert 0.5 < low < high <= 1


def test_a_budget_beyond_the_recording_is_refused() -> None:
    """Without one it is what every question has."""
    recordings = [
        Recording(question_id="long", gold="a", samples=("a",) * 3),
        Recording(question_id="short", gold="a", samples=("a",) * 2),
    ]
    assert check_budget(Path("f"), recordings, None) == 2
    with pytest.raises(UsageError, match="'short' has 2 samples"):
        check_budget(Path("f"), recordings, 3)
    with pytest.raises(UsageError, match="no `reward`"):
        check_recorded(Path("f"), recordings, _weighed("verifier", VerifierSpec(by_reward=True)))
    with pytest.raises(UsageError, match="no `logprob`"):
        check_recorded(Path("f"), recordings, _weighed("logprob:0.5"))
    check_recorded(Path("f"), recordings, _weighed("verifier", VerifierSpec()))


def _weighed(weight: str, verifier: VerifierSpec | None = None, stop: str | None = None) -> Policy:
    return Policy(
        strategy="majority", stop_rule=stop, budget=4, wave=4, verifier=verifier, weight=weight
    )


async def test_votes_weigh_by_what_was_recorded(read: Read) -> None:
    questions = await read(
        {
            "samples": ["a", "b", "b", None],
            "correct": [1, 0, 0, 0],
            "logprob": [-0.1, -1.5, -1.6, -0.0],
            "reward": [0.9, 0.5, 0.5, 1.0],
        }
    )
    by_reward = VerifierSpec(by_reward=True, accepts_at=float("inf"))
    policies = {
        _weighed("logprob"): 1,
        _weighed("logprob:100"): 0,
        _weighed("logprob", stop="certain"): 1,
        _weighed("verifier", by_reward): 0,
        _weighed("verifier:0.1", by_reward): 1,
        _weighed("verifier", VerifierSpec()): 1,
    }
    lab = Lab(questions, seed=0, shuffles=3, bill=None)
    for policy, right in policies.items():
        assert (await lab.figures(policy)).accuracy == right


async def test_equal_sums_count_by_the_share_of_luck_that_is_right(read: Read) -> None:
    """One vote as heavy as two: whatever the order, half of the luck is right."""
    questions = await read(
        {"samples": ["a", "b", "b"], "correct": [1, 0, 0], "reward": [1.0, 0.5, 0.5]}
    )
    by_reward = VerifierSpec(by_reward=True, accepts_at=float("inf"))
    policy = msgspec.structs.replace(_weighed("verifier", by_reward), budget=3, wave=3)
    lab = Lab(questions, seed=0, shuffles=5, bill=None)
    assert (await lab.figures(policy)).accuracy == 0.5
