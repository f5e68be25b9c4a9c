"""What the embedded model says of its own words: as likely when they are read as when they were written."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

import tt_compute as tt
from tt_compute.config import Config
from tt_compute.types import Sample

pytestmark = [pytest.mark.model, pytest.mark.anyio, pytest.mark.timeout(600)]

QUESTIONS = ("What do bees make?", "What is the capital of France?")
BEGUN: list[Any] = [
    {"role": "user", "content": QUESTIONS[0]},
    {"role": "assistant", "content": "Bees make honey, and"},
]
NAME = "local/smollm2-135m-torch"


@pytest.fixture
async def client(
    embedded_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[tt.AsyncClient]:
    pytest.importorskip("torch")
    monkeypatch.setenv("TTC_CACHE_DIR", str(tmp_path))
    override = {"source": {"path": str(embedded_model)}, "options": {"dtype": "fp32"}}
    entry = {"id": NAME, "override": override}
    config = Config.from_mapping({"deployments": [entry], "store": {"enabled": False}})
    async with tt.AsyncClient(config) as made:
        yield made


@pytest.mark.parametrize("question", QUESTIONS)
async def test_a_likelihood_is_the_sum_of_what_generation_said(
    client: tt.AsyncClient, question: str
) -> None:
    """Of the same tokens, drawn and greedy, next to texts that are nothing to them."""
    drawn = await client.generate(
        question,
        deployment=NAME,
        n=3,
        sampling=tt.SamplingParams(temperature=0.7, seed=5, max_tokens=24, logprobs=1),
    )
    samples = [sample for sample in drawn if isinstance(sample, Sample)]
    assert len(samples) == 3
    texts = [sample.text for sample in samples]
    found = await client.loglikelihood(question, [*texts, "No.", ""], deployment=NAME)
    for sample, nats in zip(samples, found, strict=False):
        said = [one for one in sample.logprobs if not one.token.startswith("<|")]
        assert "".join(one.token for one in said) == sample.text
        assert nats == pytest.approx(sum(one.logprob for one in said), abs=0.01)
    assert found[-1] == 0


async def test_a_message_that_is_gone_on_from_is_part_of_what_is_given(
    client: tt.AsyncClient,
) -> None:
    likely, unlikely = await client.loglikelihood(
        BEGUN, [" they are important pollinators", " stock market crashes"], deployment=NAME
    )
    assert unlikely < likely < 0
    (whole,) = await client.loglikelihood(
        BEGUN[:1], ["Bees make honey, and they are important pollinators"], deployment=NAME
    )
    (begun,) = await client.loglikelihood(BEGUN[:1], ["Bees make honey, and"], deployment=NAME)
    assert whole == pytest.approx(begun + likely, abs=0.01)
