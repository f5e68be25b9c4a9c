"""Tiny process reward models, as deployments of local backends, asked by a client."""

from __future__ import annotations

import importlib
import math
import operator
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import tt_compute as tt
from tt_compute.client import Client
from tt_compute.config import Config
from tt_compute.errors import (
    ContextLengthError,
    DeadlineExceeded,
    InvalidRequestError,
    UnknownNameError,
    UnsupportedError,
    VerifierError,
)
from tt_compute.planning.types import Objective

pytest.importorskip("torch")
pytestmark = pytest.mark.timeout(300)

QUESTION = "6 * 7 = ?"
SYSTEM = "Please reason step by step, and put your final answer within \\boxed{}."
SAMPLES = [
    "It is 6 times 7.\n\nThe answer is 41.",
    "Seven sixes.\n\nThat is 6 + 36.\n\nThe answer is 42.",
    "About forty.\n\nThe answer is 43.",
    "I guess.\n\nThe answer is 44.",
]
THREE = Objective(max_samples=3)
KINDS = {"writer": "tokens", "reward": "reward", "prm": "steps", "plain": "plain_steps"}


@pytest.fixture(scope="module")
def tiny() -> Any:
    sys.path.append(str(Path(__file__).parents[1] / "local"))
    return importlib.import_module("tiny")


@pytest.fixture(scope="module")
def models(tiny: Any) -> dict[str, Any]:
    return {
        name: tiny.TinyModel("qwen2", output=output, reward_layers=1 if name == "plain" else 2)
        for name, output in KINDS.items()
    }


@pytest.fixture(scope="module")
def folders(
    tiny: Any, models: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("models")
    return {name: tiny.write_folder(model, base / name) for name, model in models.items()}


def local(name: str, folder: Path, backend: str, **options: Any) -> dict[str, Any]:
    return {
        "id": name,
        "backend": backend,
        "model": {"id": f"tiny-{name}"},
        "hardware": "x86-cpu",
        "source": {"path": str(folder)},
        "placement": {"process": "inline", "threads": 1},
        "options": options,
    }


@pytest.fixture
def client(environ: dict[str, str], folders: dict[str, Path]) -> Iterator[Client]:
    scripted = {
        "id": "scripted",
        "backend": "mock",
        "model": "mock",
        "hardware": "mock",
        "options": {"rules": [{"pattern": ".", "script": SAMPLES}]},
    }
    entries = [local(name, folder, "torch", dtype="fp32") for name, folder in folders.items()]
    entries[-1]["options"]["step_separator"] = "\n"
    config = Config.from_mapping({"deployments": [scripted, *entries]}, environ=environ)
    with Client(config, environ=environ) as made:
        yield made


Scores = Callable[[Sequence[str]], list[float]]


@pytest.fixture(scope="module")
def scores(tiny: Any, models: dict[str, Any]) -> Scores:
    """What the arithmetic says of steps."""

    def of(steps: Sequence[str]) -> list[float]:
        tokens = tiny.chat_in_steps(QUESTION, steps, SYSTEM)
        ends = [place for place, token in enumerate(tokens) if token == tiny.VOCABULARY]
        found: list[float] = tiny.reference_step_scores(models["prm"], tokens, ends).tolist()
        return found

    return of


# --- asked about texts ---------------------------------------------------------------------------


def test_steps_of_a_whole_text_end_at_blank_lines(client: Client, scores: Scores) -> None:
    """As those of a search do; blank ones are none."""
    texts = [SAMPLES[1], "\n\nOnly one.\n\n\n\n"]
    rows = client.score_steps(QUESTION, texts, deployment="prm")
    assert rows[0] == pytest.approx(scores(SAMPLES[1].split("\n\n")), abs=1e-4)
    assert rows[1] == pytest.approx(scores(["Only one."]), abs=1e-4)


@pytest.mark.parametrize(
    ("backend", "options", "near"),
    [("onnxruntime", {"precision": "fp32"}, 1e-4), ("openvino", {"reproducible": True}, 0.05)],
)
def test_steps_are_scored_by_every_local_backend(
    environ: dict[str, str],
    folders: dict[str, Path],
    scores: Scores,
    backend: str,
    options: dict[str, Any],
    near: float,
) -> None:
    """OpenVINO's weights have 8 bits."""
    pytest.importorskip(backend)
    entry = local("prm", folders["prm"], backend, **options)
    config = Config.from_mapping({"deployments": [entry]}, environ=environ)
    with Client(config, environ=environ) as made:
        (row,) = made.score_steps(QUESTION, [SAMPLES[1]], deployment="prm")
    assert row == pytest.approx(scores(SAMPLES[1].split("\n\n")), abs=near)


def test_steps_can_be_told(client: Client, scores: Scores) -> None:
    steps = ["A step\n\nof two paragraphs.", "The answer is 42."]
    (row,) = client.score_steps(QUESTION, [steps], deployment="prm")
    assert row == pytest.approx(scores(steps), abs=1e-4)


NO_STEPS: list[tuple[Any, str]] = [
    ("one text", "texts must be a list"),
    (None, "texts must be a list"),
    ([1], "text 0 must be a list"),
    ([["fine", 1]], "of text 0: step 1 is no text"),
    (["fine", "\ud800"], "text 1: "),
    (["fine", ["fine", "\ud800"]], "of text 1: step 1: "),
    (["fine", " \n\n "], "text 1 has no steps"),
    ([[]], "text 0 has no steps"),
    ([["fine", ""]], "step 1 of text 0 is empty"),
]


@pytest.mark.parametrize(("texts", "told"), NO_STEPS)
def test_what_has_no_steps_is_refused(client: Client, texts: Any, told: str) -> None:
    with pytest.raises(InvalidRequestError, match=told):
        client.score_steps(QUESTION, texts, deployment="prm")


def test_no_texts_have_no_scores(client: Client) -> None:
    assert client.score_steps(QUESTION, [], deployment="prm") == []


def test_a_text_longer_than_the_context_is_refused(client: Client) -> None:
    with pytest.raises(ContextLengthError, match="tokens"):
        client.score_steps(QUESTION, [["x" * 450]], deployment="prm")


def test_a_deadline_that_has_passed_is_told(client: Client) -> None:
    with pytest.raises(DeadlineExceeded):
        client.score_steps(QUESTION, ["x"], deployment="prm", max_latency_s=1e-9)


@pytest.mark.parametrize(
    ("name", "told"),
    [("writer", "language model"), ("reward", "a reward model"), ("scripted", "'mock'")],
)
def test_a_model_of_another_kind_is_refused(client: Client, name: str, told: str) -> None:
    with pytest.raises(UnsupportedError, match=told):
        client.score_steps(QUESTION, ["x"], deployment=name)


def test_whole_texts_are_not_scored_by_a_rule_that_nobody_named(client: Client) -> None:
    """The verifier names one."""
    with pytest.raises(UnsupportedError, match="process reward model") as caught:
        client.score(QUESTION, SAMPLES, deployment="prm")
    assert "steps=DEPLOYMENT" in str(caught.value.hint)
    with pytest.raises(VerifierError, match="process reward model") as early:
        client.solve(QUESTION, deployment="scripted", verifier="scorer=prm")
    assert "steps=DEPLOYMENT" in str(early.value.hint)


def test_no_plan_samples_from_it(client: Client) -> None:
    """Its folder tells before anything has been loaded."""
    told = {one.deployment: one.reason for one in client.plan(QUESTION).rejected}
    assert "generated text" in told["prm"]


# --- as a verifier -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verifier", "aggregate"),
    [
        ("steps=prm", math.prod),
        ("steps=prm,prod", math.prod),
        ("steps=prm,min", min),
        ("steps=prm,last", operator.itemgetter(-1)),
    ],
)
def test_the_sample_whose_steps_are_best_wins(
    client: Client, scores: Scores, verifier: str, aggregate: Callable[[Any], float]
) -> None:
    result = client.solve(
        QUESTION,
        deployment="scripted",
        strategy="best_of_n",
        verifier=verifier,
        objective=Objective(max_samples=4),
    )
    expected = {text: aggregate(scores(text.split("\n\n"))) for text in SAMPLES}
    assert result.text == max(SAMPLES, key=lambda text: expected[text])
    assert {one.text: one.score for one in result.samples} == pytest.approx(expected, abs=1e-4)
    assert result.confidence is None, "how often it errs is unknown"


@pytest.mark.parametrize("verifier", ["steps=prm,0.0001", "steps=prm,min,0.0001"])
def test_a_score_that_is_good_enough_ends_the_run(client: Client, verifier: str) -> None:
    result = client.solve(
        QUESTION, deployment="scripted", verifier=verifier, objective=Objective(max_samples=4)
    )
    assert result.receipt.stop_reason == "verifier"


@pytest.mark.parametrize(
    ("verifier", "error", "told"),
    [
        ("steps", InvalidRequestError, "needs a value"),
        ("steps=prm,mean", InvalidRequestError, "by 'mean'"),
        ("steps=prm,min,high", InvalidRequestError, "'high'"),
        ("steps=prm,0.5,min", InvalidRequestError, "0.5,min"),
        ("steps=prn", UnknownNameError, "prn"),
        ("steps=reward", VerifierError, "a reward model"),
        ("steps=scripted", VerifierError, "does not score steps"),
    ],
)
def test_a_verifier_of_steps_that_could_judge_nothing_is_refused(
    client: Client, verifier: str, error: type[Exception], told: str
) -> None:
    """Before a sample is drawn."""
    with pytest.raises(error, match=told) as caught:
        client.solve(QUESTION, deployment="scripted", verifier=verifier)
    assert getattr(caught.value, "partial", None) is None


# --- in a search ---------------------------------------------------------------------------------


def test_a_search_keeps_the_steps_that_the_deployment_likes_best(
    client: Client, scores: Scores
) -> None:
    """Two of four first steps go on, and the better end of four wins."""
    beam = tt.Beam(width=2, branching=2, max_steps=2, scorer="steps=prm", choose="best")
    result = client.solve(
        QUESTION, deployment="scripted", strategy=beam, objective=Objective(max_samples=8)
    )
    first = [text.partition("\n\n")[0] for text in SAMPLES]
    kept = sorted(first, key=lambda step: -scores([step])[-1])[:2]
    ends = [(step, *end.split("\n\n")) for step in kept for end in SAMPLES[:2]]
    best = max(ends, key=lambda steps: scores(steps)[-1])
    assert result.text == "\n\n".join(best)
    assert result.plan.chosen is not None
    assert result.plan.chosen.strategy == "beam:steps=prm"
    top = max(one.score for one in result.samples[4:] if one.score is not None)
    assert top == pytest.approx(scores(best)[-1], abs=1e-4)


@pytest.mark.parametrize("strategy", ["beam:steps=prm", "dvts:steps=prm,min"])
def test_a_search_of_one_model_is_scored_by_another(client: Client, strategy: str) -> None:
    """Both of them tiny; of gibberish, each beginning is scored as the model scores it when asked."""
    result = client.solve(
        QUESTION,
        deployment="writer",
        strategy=strategy,
        max_tokens=12,
        seed=3,
        objective=Objective(max_samples=8),
    )
    assert not [warning for warning in result.warnings if "scored" in warning]
    judged = [one for one in result.samples if one.score is not None]
    assert len(judged) >= 4
    for sample in judged[:4]:
        (row,) = client.score_steps(QUESTION, [[sample.text]], deployment="prm")
        assert sample.score == pytest.approx(row[-1], abs=1e-4)


def test_a_plan_that_was_made_runs_with_the_same_scorer(client: Client) -> None:
    plan = client.plan(QUESTION, deployment="scripted", strategy="beam:steps=prm,min")
    result = client.solve(QUESTION, plan=plan)
    assert any(one.score is not None for one in result.samples)


@pytest.mark.parametrize(
    ("strategy", "error", "told"),
    [
        ("beam:", InvalidRequestError, "scored by ''"),
        ("beam:steps", InvalidRequestError, "scored by 'steps'"),
        ("beam:steps=prm,mean", InvalidRequestError, "by 'mean'"),
        ("beam:steps=prm,", InvalidRequestError, "by ''"),
        ("beam:p_true,min", InvalidRequestError, "scored by 'p_true,min'"),
        ("dvts:steps=prn", UnknownNameError, "prn"),
        ("beam:steps=reward", VerifierError, r"^steps=reward: .*a reward model"),
        ("beam:steps=scripted", VerifierError, r"^steps=scripted: .*does not score steps"),
    ],
)
def test_a_search_that_nothing_could_score_is_refused(
    client: Client, strategy: str, error: type[Exception], told: str
) -> None:
    """Before a sample is drawn."""
    with pytest.raises(error, match=told):
        client.solve(QUESTION, deployment="scripted", strategy=strategy)
    assert not client.estimates().abilities


@pytest.mark.parametrize(
    "options", [{"verifier": "steps=plain"}, {"strategy": "beam:steps=plain"}], ids=str
)
def test_a_prompt_that_the_scorer_does_not_take_is_told_before_a_sample_is_drawn(
    client: Client, options: dict[str, Any]
) -> None:
    """One that was made for plain questions has no place for a system prompt."""
    assert client.solve(QUESTION, deployment="scripted", objective=THREE, **options).samples
    with pytest.raises(VerifierError, match=r"^steps=plain: .*single user message") as caught:
        client.solve(QUESTION, system="Be short.", deployment="scripted", **options)
    assert caught.value.partial is None


def test_a_scorer_by_name_is_part_of_the_searchs_name() -> None:
    assert tt.Beam().name == "beam"
    assert tt.Beam(scorer="p_true").name == "beam:p_true"
    assert tt.DVTS(scorer="steps=a/b", aggregate="prod").name == "dvts:steps=a/b,prod"
    assert tt.DVTS(scorer=lambda _prompt, _text: 1.0).name == "dvts"
