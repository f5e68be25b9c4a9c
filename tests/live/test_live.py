"""Each live service once, for less than a cent: ``pytest --live tests/live`` with the keys in the environment.

They check what only the service itself can tell: that it takes our requests, and where it puts usage, timing and
limits.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import tt_compute as tt
from tt_compute.config import Config
from tt_compute.setup import Setup
from tt_compute.types import Sample

pytestmark = [pytest.mark.live, pytest.mark.anyio]

SERVICES = {
    "groq/gpt-oss-20b": "GROQ_API_KEY",
    "cerebras/gpt-oss-120b": "CEREBRAS_API_KEY",
    "sambanova/gpt-oss-120b": "SAMBANOVA_API_KEY",
}


@pytest.mark.parametrize("deployment", SERVICES)
async def test_a_sample_with_its_usage_and_what_the_doctor_says(
    deployment: str, tmp_path: Path
) -> None:
    if not os.environ.get(SERVICES[deployment]):
        pytest.skip(f"{SERVICES[deployment]} is not set")
    environ = {**os.environ, "TTC_DATA_DIR": str(tmp_path)}
    config = Config.from_mapping(
        {"deployments": [deployment], "store": {"enabled": False}}, environ=environ
    )
    async with tt.AsyncClient(config) as client:
        (sample,) = await client.generate(
            "What is 6 times 7? Answer with the number alone.",
            deployment=deployment,
            sampling=tt.SamplingParams(max_tokens=300),
        )
    assert isinstance(sample, Sample)
    assert "42" in sample.text
    assert sample.usage.input_tokens > 0
    assert not sample.usage.estimated
    assert sample.timing.first_token_s is not None
    setup = Setup(config)
    findings = await setup.examine(setup.spec(deployment))
    await setup.aclose()
    assert [found.name for found in findings if found.ok is False] == []
