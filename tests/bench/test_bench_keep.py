"""What becomes of a report: files, a picture, and what it would have cost."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tt_compute.bench.demand import cost_usd, demand
from tt_compute.bench.plot import plot
from tt_compute.bench.report import BenchReport, BenchSettings, Spread, WaveFigures
from tt_compute.bench.save import overlay_text, save
from tt_compute.config import Config
from tt_compute.profiles.schema import Fact
from tt_compute.testing.environment import deployment_spec

AS_OF = "2026-11-26"
OPENVINO = "local/smollm2-135m-openvino"


def same(value: float) -> Spread:
    return Spread(median=value, low=value, high=value)


def wave(width: int, at_once: int | None, j_per_token: float | None = None) -> WaveFigures:
    return WaveFigures(
        width=width,
        at_once=at_once,
        tokens_per_s=same(80.0 * width),
        decode_tokens_per_s=same(100.0 * width),
        first_token_s=same(0.5),
        token_s=same(0.01),
        mean_tokens=100.0,
        memory_bytes=10**9,
        j_per_token=j_per_token,
        j_per_token_above_idle=None,
    )


REPORT = BenchReport(
    deployment=OPENVINO,
    prompt_tokens=200,
    new_tokens=128,
    rounds=3,
    seed=0,
    load_s=2.5,
    waves=(wave(1, 1, 0.5), wave(4, 4), wave(16, 8)),
    late_first_token_s=same(0.02),
    short_prompt_first_token_s=Spread(median=0.12345678, low=0.1, high=0.2),
    short_prompt_tokens=66,
    prefill_tokens_per_s=same(1.2345e6),
    idle_w=None,
    energy_source=None,
    energy_reason="none",
)


# --- saving --------------------------------------------------------------------------------------


def test_what_was_measured_is_a_configuration_as_it_stands(tmp_path: Path) -> None:
    document, overlay = save(REPORT, tmp_path, as_of=AS_OF)
    assert msgspec.json.decode(document.read_bytes(), type=BenchReport) == REPORT
    (spec,) = Config.load(overlay, environ={}).deployments
    assert spec.id == OPENVINO
    speed = spec.deployment.speed
    measured = Fact(value=100.0, source="ttc bench", as_of=AS_OF, status="measured")
    assert speed.decode_tokens_per_s == measured
    assert speed.prefill_tokens_per_s.value == pytest.approx(1.2345e6, rel=1e-3)
    assert speed.load_s.value == 2.5
    assert (speed.ttft_s.p50, speed.ttft_s.p95) == (0.1235, None)
    assert speed.ttft_prompt_tokens.value == 66
    assert (speed.ttft_s.status, speed.ttft_s.as_of) == ("measured", AS_OF)


def test_a_ttft_of_prompts_that_nobody_counted_does_not_take_the_profiles_length() -> None:
    uncounted = msgspec.structs.replace(REPORT, short_prompt_tokens=None)
    assert "ttft_prompt_tokens: null" in overlay_text(uncounted, AS_OF)


def test_only_waves_that_ran_at_their_width_are_stated(tmp_path: Path) -> None:
    overlay = save(REPORT, tmp_path, as_of=AS_OF)[1]
    (spec,) = Config.load(overlay, environ={}).deployments
    rates = spec.deployment.speed.decode_tokens_per_s_by_wave
    assert {width: rate.value for width, rate in rates.items()} == {"1": 100.0, "4": 400.0}


def test_nothing_unknown_is_stated(tmp_path: Path) -> None:
    """Not even as null, which would take the place of what the profile knows."""
    empty = msgspec.structs.replace(
        REPORT,
        waves=(wave(4, None),),
        load_s=None,
        short_prompt_first_token_s=None,
        short_prompt_tokens=None,
        prefill_tokens_per_s=None,
    )
    file = tmp_path / "ttc.yaml"
    file.write_text(overlay_text(empty, AS_OF), encoding="utf-8")
    (spec,) = Config.load(file, environ={}).deployments
    (shipped,) = Config.from_mapping({"deployments": [OPENVINO]}).deployments
    assert spec.deployment.speed == shipped.deployment.speed


# --- plotting ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bench.png", "bench.svg"])
def test_a_picture_is_a_png_whatever_its_name(tmp_path: Path, name: str) -> None:
    """With and without energy, and of several deployments."""
    pytest.importorskip("matplotlib")
    other = msgspec.structs.replace(REPORT, deployment="other", waves=(wave(2, 2),))
    for reports in ([REPORT, other], [other]):
        plot(reports, tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


# --- cost ----------------------------------------------------------------------------------------


def test_demand_is_all_that_would_be_drawn() -> None:
    """A warm-up wave, 2 rounds of 1 + 4 samples, 2 late draws of two, 3 pairs for the prefill rate."""
    settings = BenchSettings(waves=(1, 4), rounds=2, prompt_tokens=200, new_tokens=100)
    wanted = demand(deployment_spec("mock", max_context_tokens=None), settings)
    assert wanted.samples == 1 + 10 + 4 + 6
    assert wanted.input_tokens == 15 * 200 + 3 * (64 + 1024)
    assert wanted.output_tokens == 11 * 100 + 4 * 8 + 6


def test_cost_is_at_the_stated_price_and_else_unknown() -> None:
    spec = Config.from_mapping({"deployments": ["mock/strong"]}).spec("mock/strong")
    wanted = demand(spec, BenchSettings())
    usd = (0.5 * wanted.input_tokens + 2 * wanted.output_tokens) / 1e6
    assert cost_usd(spec, wanted) == pytest.approx(usd)
    assert cost_usd(deployment_spec("mock"), wanted) is None
