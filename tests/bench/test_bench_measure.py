"""What is measured, on the mock with time that passes only when it is told to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import tt_compute as tt
from tt_compute.bench.machine import EnergyMeter
from tt_compute.bench.measure import BenchReport, BenchSettings, WaveFigures, measure
from tt_compute.bench.save import override_text, plot, save
from tt_compute.config import Config
from tt_compute.testing import VirtualClock

pytestmark = pytest.mark.anyio


SETTINGS = BenchSettings(waves=(1, 4), rounds=2, new_tokens=64)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def config() -> Config:
    """Samples of 20 tokens and an end, the first after 1 s and then 10 tokens/s."""
    options = {
        "completion_tokens": 20,
        "latency": {"ttft_s": 1.0, "tokens_per_s": 10},
        "answers": [{"text": "a " * 20, "probability": 1}],
    }
    return Config.from_mapping(
        {
            "deployments": [{"id": "mock", "override": {"options": options}}],
            "store": {"enabled": False},
        }
    )


async def run(config: Config, clock: VirtualClock, folder: Path) -> BenchReport:
    seen: list[WaveFigures] = []
    async with tt.AsyncClient(config, clock=clock) as client:
        report = await measure(
            client,
            "mock",
            SETTINGS,
            clock=clock,
            meter=EnergyMeter(folder),
            tell=lambda _what: None,
            done=seen.append,
        )
    assert seen == list(report.waves)
    return report


async def test_a_wave_is_timed_from_its_draw_to_its_last_token(
    config: Config, clock: VirtualClock, tmp_path: Path
) -> None:
    report = await run(config, clock, tmp_path)
    assert [wave.width for wave in report.waves] == [1, 4]
    for wave in report.waves:
        assert wave.first_token_s.median == pytest.approx(1.0)
        assert wave.token_s is not None
        assert wave.token_s.median == pytest.approx(0.1)
        assert wave.mean_tokens == 21
        assert wave.tokens_per_s.median == pytest.approx(wave.width * 21 / 3.0)
        assert wave.j_per_token is None


async def test_what_cannot_be_told_is_unknown(
    config: Config, clock: VirtualClock, tmp_path: Path
) -> None:
    """The mock computes no prompt, so a longer one takes no longer; and there are no counters here."""
    report = await run(config, clock, tmp_path)
    assert report.prefill_tokens_per_s is None
    assert report.idle_w is None
    assert report.energy_source is None
    assert report.energy_reason is not None


async def test_what_was_measured_can_be_kept_and_used(
    config: Config, clock: VirtualClock, tmp_path: Path
) -> None:
    """The YAML is an entry of a configuration as it stands, and its speeds are the measured ones."""
    report = await run(config, clock, tmp_path)
    written = save(report, tmp_path / "kept", as_of="2026-11-26")
    assert {path.suffix for path in written} >= {".json", ".yaml"}
    document = "store: {enabled: false}\ndeployments:\n" + override_text(report, "2026-11-26")
    path = tmp_path / "ttc.yaml"
    path.write_text(document, encoding="utf-8")
    speed = Config.load(path).deployments[0].deployment.speed
    assert speed.decode_tokens_per_s.value == pytest.approx(10, rel=1e-3)
    assert speed.decode_tokens_per_s.status == "measured"
    assert speed.ttft_s.p50 == pytest.approx(1.0)
    assert speed.decode_tokens_per_s_by_wave["4"].value == pytest.approx(84 / 3.0, rel=1e-3)


async def test_a_picture_can_be_drawn(config: Config, clock: VirtualClock, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    plot(await run(config, clock, tmp_path), tmp_path / "bench.png")
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")


async def test_prompts_differ_from_their_first_words_on(
    config: Config, clock: VirtualClock, tmp_path: Path
) -> None:
    """So that no cache of prefixes makes the later rounds look quicker."""
    asked: list[str] = []

    class Watched(tt.AsyncClient):
        def open(self, prompt: Any, **options: Any) -> Any:
            asked.append(prompt)
            return super().open(prompt, **options)

    async with Watched(config, clock=clock) as client:
        await measure(
            client,
            "mock",
            SETTINGS,
            clock=clock,
            meter=EnergyMeter(tmp_path),
            tell=lambda _what: None,
            done=lambda _figures: None,
        )
    beginnings = {" ".join(prompt.split()[:4]) for prompt in asked}
    assert len(beginnings) == len(asked)
