"""A result and its receipt: what they hold, that they add up, that they can be had again."""

from __future__ import annotations

import json
from collections.abc import Callable

import anyio
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tt_compute.client import AsyncClient, Client
from tt_compute.config import Config
from tt_compute.errors import BackendError, DeadlineExceeded
from tt_compute.planning.types import Objective
from tt_compute.results import Receipt, Result

Connect = Callable[..., Client]

RIGHT = "The answer is 42."
PREDICTED = {
    "quality",
    "latency_p50_s",
    "latency_p95_s",
    "cost_usd",
    "energy_j",
    "samples_mean",
}
CANDIDATE = {
    "deployment",
    "backend",
    "model",
    "strategy",
    "stop_rule",
    "max_samples",
    "wave",
    "feasible",
    "violates",
    "predicted",
}
PLAN = {"chosen", "candidates", "rejected", "objective", "task", "elapsed_us", "setup_us"}
SOLVE = {"id", "answer", "text", "confidence", "task", "plan", "samples", "receipt", "warnings"}
SAMPLE = {
    "index",
    "deployment",
    "answer",
    "text",
    "finish_reason",
    "output_tokens",
    "mean_logprob",
    "score",
}
RECEIPT = {
    "samples_drawn",
    "samples_finished",
    "samples_cancelled",
    "samples_failed",
    "stop_reason",
    "stop_posterior",
    "input_tokens",
    "cached_tokens",
    "output_tokens",
    "cancelled_tokens",
    "verifier_tokens",
    "cost_usd",
    "energy_j",
    "latency_s",
    "first_token_s",
    "seed",
    "attempts",
    "predicted",
}


def samples_of(result: Result) -> list[tuple[int, str, str | None]]:
    return [(sample.index, sample.text, sample.finish_reason) for sample in result.samples]


# --- the answer ----------------------------------------------------------------------------------


def test_the_answer_is_that_of_the_vote(connect: Connect) -> None:
    result = connect(script=[RIGHT, "The answer is 41.", *[RIGHT] * 14]).solve("6 * 7 = ?")
    assert (result.answer, result.task) == ("42", "math")
    assert result.text == RIGHT
    assert result.receipt.stop_reason == "settled"
    assert result.warnings == ()


def test_no_answer_is_none_with_a_warning(connect: Connect) -> None:
    """Never an empty string, and never the text of a sample that says nothing."""
    result = connect(answers=["I do not know."]).solve("6 * 7 = ?")
    assert (result.answer, result.confidence) == (None, None)
    assert any("no sample held an answer" in warning for warning in result.warnings)


def test_one_sample_of_an_open_prompt_is_taken_as_it_is(connect: Connect) -> None:
    result = connect(answers=["The sea is wide and deep, and it never rests."]).solve(
        "Say something.", strategy="single"
    )
    assert (result.answer, result.text, result.task) == (
        "The sea is wide and deep, and it never rests.",
    ) * 2 + ("open",)
    assert result.receipt.samples_drawn == 1


def test_a_system_prompt_reaches_the_model(connect: Connect) -> None:
    """The mock counts the prompt's tokens."""
    client = connect()
    plain = client.solve("6 * 7 = ?", strategy="single").receipt
    longer = client.solve("6 * 7 = ?", strategy="single", system="Be very brief.").receipt
    assert longer.input_tokens > plain.input_tokens


def test_messages_are_a_prompt_too(connect: Connect) -> None:
    client = connect(rules=[{"pattern": "^and 7", "answers": ["The answer is 49."]}])
    history = [
        {"role": "user", "content": "6 * 7 = ?"},
        {"role": "assistant", "content": "42"},
        {"role": "user", "content": "and 7 * 7 = ?"},
    ]
    assert client.solve(history).answer == "49"


# --- the receipt ---------------------------------------------------------------------------------


def adds_up(result: Result) -> None:
    receipt, samples = result.receipt, result.samples
    ended = receipt.samples_finished + receipt.samples_cancelled + receipt.samples_failed
    assert receipt.samples_drawn == ended == len(receipt.attempts) == len(samples)
    assert receipt.output_tokens == sum(sample.output_tokens for sample in samples)
    lost = [sample for sample in samples if sample.finish_reason in (None, "cancelled", "deadline")]
    assert receipt.cancelled_tokens == sum(sample.output_tokens for sample in lost)
    assert receipt.samples_cancelled + receipt.samples_failed == len(lost)
    assert receipt.cached_tokens <= receipt.input_tokens
    assert [sample.index for sample in samples] == sorted({sample.index for sample in samples})
    assert receipt.samples_drawn <= result.plan.objective.max_samples


FAULTS = st.lists(
    st.fixed_dictionaries(
        {
            "kind": st.sampled_from(["rate_limit", "server_error", "connection", "oom", "stall"]),
            "rate": st.sampled_from([0.1, 0.5]),
            "after_tokens": st.integers(0, 4),
        }
    ),
    max_size=2,
)
LATENCIES = st.fixed_dictionaries(
    {"ttft_s": st.just(0.2), "tokens_per_s": st.sampled_from([None, 5, 100])}
)
OBJECTIVES = st.builds(
    Objective, max_latency_s=st.sampled_from([0.5, 2.0, 60.0]), max_samples=st.integers(1, 12)
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    mock=st.fixed_dictionaries({"faults": FAULTS, "latency": LATENCIES}),
    objective=OBJECTIVES,
    strategy=st.sampled_from([None, "single", "majority"]),
)
def test_every_receipt_adds_up(
    connect_async: Callable[..., AsyncClient],
    mock: dict[str, object],
    objective: Objective,
    strategy: str | None,
) -> None:
    """Whatever fails, stalls or is cut: drawn is the sum of all ends, and no token is lost or told twice."""

    async def run() -> Result | None:
        async with connect_async(**mock, top={"store": {"enabled": False}}) as client:
            try:
                return await client.solve(
                    "6 * 7 = ?", objective=objective, strategy=strategy, seed=1
                )
            except (BackendError, DeadlineExceeded):
                return None

    result = anyio.run(run)
    if result is not None:
        adds_up(result)
        assert objective.max_latency_s is not None
        assert result.receipt.latency_s <= objective.max_latency_s + 0.001


def test_tokens_of_a_cut_sample_are_counted_as_cancelled(connect: Connect) -> None:
    """The verifier ends the run while others are on their way; what they made stays on the bill."""
    client = connect(
        rules=[{"pattern": ".", "script": [RIGHT, *["The answer is 41."] * 15]}],
        latency={"ttft_s": 0.02, "tokens_per_s": 200},
    )
    result = client.solve("6 * 7 = ?", verifier="exact=42", objective=Objective(max_samples=8))
    adds_up(result)
    assert result.receipt.stop_reason == "verifier"
    assert result.receipt.samples_finished >= 1


def test_cost_is_known_wherever_it_was_predicted(connect: Connect) -> None:
    """The price of the hardware counts where the deployment states none, before and after the run."""
    result = connect().solve("6 * 7 = ?")
    assert result.receipt.predicted.cost_usd == 0
    assert result.receipt.cost_usd == 0


def test_cost_is_that_of_all_tokens(connect: Connect) -> None:
    price = {"usd_per_mtok": {"input": 1.0, "cached_input": 0.5, "output": 4.0}}
    receipt = connect(deployment={"price": price}).solve("6 * 7 = ?").receipt
    full = receipt.input_tokens - receipt.cached_tokens
    usd = (full * 1.0 + receipt.cached_tokens * 0.5 + receipt.output_tokens * 4.0) / 1e6
    assert receipt.cost_usd == pytest.approx(usd)


def test_an_unknown_price_is_an_unknown_cost(connect: Connect) -> None:
    """Never 0."""
    hardware = {"id": "somewhere", "device": "mock"}
    receipt = connect(deployment={"hardware": hardware}).solve("6 * 7 = ?").receipt
    assert receipt.cost_usd is None
    assert receipt.predicted.cost_usd is None


def test_energy_is_not_claimed_to_be_measured(connect: Connect) -> None:
    assert connect().solve("6 * 7 = ?").receipt.energy_j is None


def test_logprobs_come_where_they_cost_nothing(connect: Connect) -> None:
    with_them = connect().solve("6 * 7 = ?").samples
    without = connect(capabilities={"max_logprobs": 0}).solve("6 * 7 = ?").samples
    assert all(sample.mean_logprob is not None and sample.mean_logprob <= 0 for sample in with_them)
    assert all(sample.mean_logprob is None for sample in without)


# --- seeds ---------------------------------------------------------------------------------------


def test_the_recorded_seed_draws_the_same_samples_again(connect: Connect) -> None:
    client = connect()
    first = client.solve("6 * 7 = ?")
    again = client.solve("6 * 7 = ?", seed=first.receipt.seed)
    assert samples_of(again) == samples_of(first)
    assert again.answer == first.answer


def test_a_seed_survives_the_client(connect: Connect) -> None:
    runs = [connect().solve("6 * 7 = ?", seed=7, stop="beta:0.999") for _ in range(2)]
    assert samples_of(runs[0]) == samples_of(runs[1])
    assert runs[0].receipt.seed == 7


def test_the_seed_is_the_backends_seed(connect: Connect) -> None:
    """A strategy's samples can be had one by one, without it."""
    client = connect(completion_tokens=20)
    result = client.solve("6 * 7 = ?", seed=7)
    assert result.plan.chosen is not None
    sampling = msgspec.structs.replace(result.plan.chosen.sampling, seed=7)
    count = len(result.samples)
    raw = client.generate("6 * 7 = ?", deployment="scripted", n=count, sampling=sampling)
    assert [sample.text for sample in raw] == [sample.text for sample in result.samples]


def test_without_a_seed_runs_differ(connect: Connect) -> None:
    client = connect()
    seeds = {client.solve("6 * 7 = ?", strategy="single").receipt.seed for _ in range(3)}
    assert len(seeds) == 3


def test_neighbouring_seeds_share_no_sample(connect: Connect) -> None:
    """Sample 1 of seed 7 is not sample 0 of seed 8."""
    client = connect(completion_tokens=20)
    texts = [
        {sample.text for sample in client.solve("6 * 7 = ?", seed=seed).samples} for seed in (7, 8)
    ]
    assert not texts[0] & texts[1]


# --- the JSON contract ---------------------------------------------------------------------------


def test_the_documents_have_exactly_the_keys_of_the_contract(connect: Connect) -> None:
    client = connect()
    plan = client.plan("6 * 7 = ?").to_dict()
    assert set(plan) == PLAN
    for candidate in (plan["chosen"], *plan["candidates"]):
        assert set(candidate) - {"ahead"} == CANDIDATE
        assert candidate.get("ahead") != 1
        assert set(candidate["predicted"]) == PREDICTED
    solved = client.solve("6 * 7 = ?").to_dict()
    assert set(solved) == SOLVE
    assert set(solved["plan"]) == CANDIDATE
    assert set(solved["receipt"]) == RECEIPT
    assert set(solved["receipt"]["predicted"]) == PREDICTED
    assert all(set(sample) == SAMPLE for sample in solved["samples"])
    attempt = {"deployment", "outcome", "status", "latency_s"}
    assert all(set(entry) == attempt for entry in solved["receipt"]["attempts"])


def test_a_rejected_deployment_has_its_reason(connect: Connect, environ: dict[str, str]) -> None:
    config = Config.from_mapping({"deployments": ["mock", "mock/strong"]}, environ=environ)
    with Client(config, environ=environ) as client:
        plan = client.plan("6 * 7 = ?", objective=Objective(locality="local")).to_dict()
    assert [set(one) for one in plan["rejected"]] == [{"deployment", "reason"}]
    assert plan["rejected"][0]["deployment"] == "mock/strong"
    assert {candidate["deployment"] for candidate in plan["candidates"]} == {"mock"}


def test_the_documents_are_strict_json(connect: Connect) -> None:
    """No NaN and no infinity, which other languages' readers refuse."""
    client = connect(answers=["I do not know."], deployment={"speed": {}})
    for document in (client.plan("6 * 7 = ?").to_dict(), client.solve("6 * 7 = ?").to_dict()):
        assert set(json.loads(json.dumps(document, allow_nan=False))) == set(document)


def test_a_result_names_its_samples_deployment_and_plan(connect: Connect) -> None:
    result = connect().solve("6 * 7 = ?")
    assert {sample.deployment for sample in result.samples} == {"scripted"}
    assert result.plan.chosen is not None
    assert result.plan.chosen in result.plan.candidates
    receipt: Receipt = result.receipt
    assert receipt.predicted == result.plan.chosen.predicted


def test_ids_are_unique(connect: Connect) -> None:
    client = connect()
    ids = {client.solve("6 * 7 = ?", strategy="single").id for _ in range(3)}
    assert len(ids) == 3


# --- confidence ----------------------------------------------------------------------------------


def test_confidence_grows_with_the_votes_for_the_answer(connect: Connect) -> None:
    def confidence(script: list[str]) -> float:
        client = connect(script=script)
        value = client.solve("6 * 7 = ?", objective=Objective(max_samples=6)).confidence
        assert value is not None
        return value

    split = [RIGHT, "The answer is 41.", RIGHT, "The answer is 41.", RIGHT, "The answer is 41."]
    clear = [RIGHT, "The answer is 41.", *[RIGHT] * 4]
    assert 0 < confidence(split) < confidence(clear) < 1


def test_without_an_ability_there_is_no_confidence(connect: Connect) -> None:
    result = connect(deployment={"model": {"id": "unheard-of"}}).solve("6 * 7 = ?")
    assert result.answer is not None
    assert result.confidence is None
    assert result.receipt.predicted.quality is None
