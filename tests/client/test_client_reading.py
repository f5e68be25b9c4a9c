"""Tiny reward and embedding models, as deployments of each local backend, asked by a client."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tt_compute.client import Client
from tt_compute.config import Config
from tt_compute.errors import (
    ContextLengthError,
    DeadlineExceeded,
    InvalidRequestError,
    ModelLoadError,
    UnsupportedError,
    VerifierError,
)
from tt_compute.planning.types import Objective

pytestmark = pytest.mark.timeout(300)

QUESTION = "6 * 7 = ?"
SAMPLES = ["It is 41.", "It is 42.", "It is 43."]
THREE = Objective(max_samples=3)
KINDS = {"writer": "tokens", "reward": "reward", "vectors": "none"}
EXACT: dict[str, dict[str, Any]] = {
    "torch": {"dtype": "fp32"},
    "onnxruntime": {"precision": "fp32"},
    "openvino": {"reproducible": True},
}
"""Options under which each backend agrees with the arithmetic; OpenVINO's weights have 8 bits all the same."""
NEAR = {"openvino": 0.1}


@pytest.fixture(scope="module")
def tiny() -> Any:
    sys.path.append(str(Path(__file__).parents[1] / "local"))
    return importlib.import_module("tiny")


@pytest.fixture(scope="module")
def models(tiny: Any) -> dict[str, Any]:
    return {name: tiny.TinyModel(output=output) for name, output in KINDS.items()}


@pytest.fixture(scope="module")
def folders(
    tiny: Any, models: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("models")
    return {name: tiny.write_folder(model, base / name) for name, model in models.items()}


@pytest.fixture(params=EXACT)
def backend(request: pytest.FixtureRequest) -> str:
    """Name of one that reads texts."""
    name: str = request.param
    pytest.importorskip(name)
    return name


@pytest.fixture
def near(backend: str) -> float:
    """How far a score may be off."""
    return NEAR.get(backend, 1e-4)


def local(backend: str, name: str, folder: Path) -> dict[str, Any]:
    return {
        "id": name,
        "backend": backend,
        "model": {"id": f"tiny-{name}"},
        "hardware": "x86-cpu",
        "source": {"path": str(folder)},
        "placement": {"process": "inline", "threads": 1},
        "options": EXACT[backend],
    }


@pytest.fixture
def client(backend: str, environ: dict[str, str], folders: dict[str, Path]) -> Iterator[Client]:
    scripted = {
        "id": "scripted",
        "backend": "mock",
        "model": "mock",
        "hardware": "mock",
        "options": {"rules": [{"pattern": ".", "script": SAMPLES}]},
    }
    entries = [scripted, *(local(backend, name, folder) for name, folder in folders.items())]
    config = Config.from_mapping({"deployments": entries}, environ=environ)
    with Client(config, environ=environ) as made:
        yield made


@pytest.fixture
def rewards(tiny: Any, models: dict[str, Any]) -> list[float]:
    """Of the samples, by the arithmetic."""
    found: list[float] = []
    for text in SAMPLES:
        tokens = tiny.tokenizer().encode(f"<|user|>{QUESTION}<|end|><|assistant|>{text}<|end|>").ids
        hidden = tiny.reference_hidden(models["reward"], tokens)[-1]
        found.append(float(models["reward"].reward()[0].weight[0] @ hidden))
    return found


def test_scores_are_the_reward_models(client: Client, rewards: list[float], near: float) -> None:
    assert client.score(QUESTION, SAMPLES, deployment="reward") == pytest.approx(rewards, abs=near)


def test_vectors_of_one_text_are_one_and_of_length_one(client: Client) -> None:
    first, other, again = client.embed(["one", "another", "one"], deployment="vectors")
    np.testing.assert_allclose(first, again, atol=1e-6)
    assert np.linalg.norm(other) == pytest.approx(1)
    assert np.dot(first, other) < 0.999


def test_likelihoods_are_of_what_the_writer_might_say(client: Client, backend: str) -> None:
    """Of a longer text they are lower, whatever it adds."""
    if backend == "openvino":
        with pytest.raises(UnsupportedError, match="'openvino'"):
            client.loglikelihood(QUESTION, ["4"], deployment="writer")
        return
    one, two = client.loglikelihood(QUESTION, ["4", "42"], deployment="writer")
    assert two < one < 0


@pytest.mark.parametrize("weight", [None, "verifier"])
def test_the_sample_with_the_highest_reward_wins(
    client: Client, rewards: list[float], near: float, weight: str | None
) -> None:
    """Each says another thing, so that each is alone in its vote."""
    options: dict[str, Any] = {} if weight is None else {"weight": weight}
    result = client.solve(
        QUESTION, deployment="scripted", verifier="scorer=reward", objective=THREE, **options
    )
    best = SAMPLES[int(np.argmax(rewards))]
    if weight is None:
        assert result.text == best
    assert sorted(one.score for one in result.samples if one.score is not None) == pytest.approx(
        sorted(rewards), abs=near
    )


def test_answers_whose_vectors_are_near_vote_together(client: Client) -> None:
    def votes(threshold: float) -> tuple[int, ...]:
        result = client.solve(
            QUESTION,
            deployment="scripted",
            strategy="majority",
            stop="certain",
            objective=THREE,
            equal=f"semantic=vectors,{threshold}",
        )
        return tuple(result.tally.votes)

    assert votes(1e-6)[0] > 1
    assert set(votes(0.9999)) == {1}


# --- models that do not generate -----------------------------------------------------------------


@pytest.mark.parametrize("name", ["reward", "vectors"])
def test_a_model_that_does_not_generate_is_refused_where_asked_to(
    client: Client, name: str
) -> None:
    with pytest.raises(UnsupportedError, match="no samples"):
        client.generate(QUESTION, deployment=name)
    with pytest.raises(UnsupportedError, match="generated text"):
        client.solve(QUESTION, deployment=name)


def test_no_plan_samples_from_a_model_that_does_not_generate(client: Client) -> None:
    """Its folder tells before anything has been loaded."""
    plan = client.plan(QUESTION)
    asked = {one.deployment for one in plan.candidates} | {*plan.resting}
    assert asked.isdisjoint({"reward", "vectors"})
    told = {one.deployment: one.reason for one in plan.rejected}
    assert "generated text" in told["reward"]
    assert "generated text" in told["vectors"]


@pytest.mark.parametrize(
    ("name", "wanted", "told"),
    [
        ("writer", "score", "language model"),
        ("vectors", "score", "embedding model"),
        ("writer", "embed", "language model"),
        ("reward", "embed", "reward model"),
        ("reward", "loglikelihood", "reward model"),
        ("scripted", "score", "'mock'"),
        ("scripted", "embed", "'mock'"),
        ("scripted", "loglikelihood", "'mock'"),
    ],
)
def test_what_a_model_was_not_made_for_is_refused_with_what_to_do(
    client: Client, backend: str, name: str, wanted: str, told: str
) -> None:
    if wanted == "loglikelihood" and backend == "openvino":
        told = "rate continuations"
    calls: dict[str, Callable[[], object]] = {
        "score": lambda: client.score(QUESTION, SAMPLES, deployment=name),
        "embed": lambda: client.embed(SAMPLES, deployment=name),
        "loglikelihood": lambda: client.loglikelihood(QUESTION, SAMPLES, deployment=name),
    }
    with pytest.raises(UnsupportedError, match=told) as caught:
        calls[wanted]()
    assert "deployment" in str(caught.value.hint)


@pytest.mark.parametrize(
    "options",
    [{"verifier": "scorer=writer"}, {"strategy": "majority", "equal": "semantic=writer,0.9"}],
)
def test_a_model_of_another_kind_is_told_of_before_a_sample_is_drawn(
    client: Client, options: dict[str, Any]
) -> None:
    with pytest.raises(VerifierError, match="language model") as caught:
        client.solve(QUESTION, deployment="scripted", objective=THREE, **options)
    assert caught.value.partial is None


# --- bad input -----------------------------------------------------------------------------------


def test_no_texts_have_no_scores(client: Client) -> None:
    assert client.score(QUESTION, [], deployment="reward") == []
    assert client.embed([], deployment="vectors") == []


@pytest.mark.parametrize("texts", ["one text", [1], ["\ud800"], None])
def test_what_is_no_list_of_texts_is_refused(client: Client, texts: Any) -> None:
    with pytest.raises(InvalidRequestError, match="text"):
        client.embed(texts, deployment="vectors")


def test_a_text_longer_than_the_context_is_refused(client: Client) -> None:
    with pytest.raises(ContextLengthError, match="tokens"):
        client.score(QUESTION, ["x" * 600], deployment="reward")


def test_a_deadline_that_has_passed_is_told(client: Client) -> None:
    with pytest.raises(DeadlineExceeded):
        client.embed(["x"], deployment="vectors", max_latency_s=1e-9)


def test_a_damaged_folder_is_told_by_its_file(
    backend: str, environ: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "config.json").write_text("{", encoding="utf-8")
    config = Config.from_mapping(
        {"deployments": [local(backend, "bad", tmp_path / "bad")]}, environ=environ
    )
    with Client(config, environ=environ) as made, pytest.raises(ModelLoadError, match="config"):
        made.embed(["x"], deployment="bad")


def test_openvino_says_that_it_draws_from_no_graph(environ: dict[str, str], tmp_path: Path) -> None:
    """Such a folder holds no weights that it could rewrite."""
    pytest.importorskip("openvino")
    (tmp_path / "config.json").write_text('{"model_type": "llama"}', encoding="utf-8")
    (tmp_path / "model.onnx").write_bytes(b"")
    config = Config.from_mapping(
        {"deployments": [local("openvino", "graph", tmp_path)]}, environ=environ
    )
    with Client(config, environ=environ) as made:
        with pytest.raises(ModelLoadError, match="ONNX graph") as caught:
            made.generate(QUESTION, deployment="graph")
        assert "onnxruntime" in str(caught.value.hint)
