"""From a report to what plans read: only what was measured, in the place of what was stated."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tt_compute.bench.calibration import bandwidth_bytes_per_s, calibrate, compare
from tt_compute.bench.report import BenchReport, Spread, WaveFigures
from tt_compute.calibrated import FILE_NAME, Calibrated, apply, calibrated_text, load_calibrated
from tt_compute.config import Config
from tt_compute.errors import ConfigError
from tt_compute.profiles.library import ProfileLibrary
from tt_compute.profiles.schema import Fact, Speed

EMBEDDED = "local/smollm2-135m-openvino"
TODAY = "2026-11-26"


def wave(width: int, rate: float, at_once: int | None = None) -> WaveFigures:
    spread = Spread(median=rate, low=rate, high=rate)
    return WaveFigures(
        width=width,
        at_once=at_once or width,
        tokens_per_s=spread,
        decode_tokens_per_s=spread,
        first_token_s=Spread(median=0.15, low=0.1, high=0.2),
        token_s=None,
        mean_tokens=60,
        memory_bytes=None,
        j_per_token=None,
        j_per_token_above_idle=None,
    )


def report(*waves: WaveFigures) -> BenchReport:
    return BenchReport(
        deployment=EMBEDDED,
        prompt_tokens=200,
        new_tokens=96,
        rounds=2,
        seed=0,
        load_s=3.0,
        waves=waves,
        late_first_token_s=None,
        short_prompt_first_token_s=Spread(median=0.06, low=0.05, high=0.07),
        short_prompt_tokens=64,
        prefill_tokens_per_s=Spread(median=1500.0, low=1400, high=1600),
        idle_w=None,
        energy_source=None,
        energy_reason=None,
    )


MEASURED = report(wave(1, 70), wave(4, 210), wave(16, 540), wave(32, 300, at_once=20))


def test_predictions_after_it_are_what_was_measured() -> None:
    """At every width that really ran; a wave that did not fill its width says nothing of it."""
    before = ProfileLibrary().resolve(EMBEDDED)
    after = apply(before, calibrate(before, MEASURED, bandwidth=4e10, as_of=TODAY))
    compared = compare(before, after, MEASURED)
    assert [one.quantity for one in compared] == [
        "decode tokens/s, 1 at once",
        "decode tokens/s, 4 at once",
        "decode tokens/s, 16 at once",
        "first token, s, prompt of 200 tokens",
    ]
    for one in compared[:3]:
        assert one.error_after == pytest.approx(0, abs=0.01)
        assert one.before is not None
        assert abs(one.error_before or 0) > abs(one.error_after or 0)
    assert "32" not in after.deployment.speed.decode_tokens_per_s_by_wave


@pytest.mark.parametrize("tokens", [64, None])
def test_a_measured_ttft_does_not_take_the_length_of_the_profiles_prompts(
    tokens: int | None,
) -> None:
    """Where nobody counted the measured ones it is unknown."""
    before = ProfileLibrary().resolve(EMBEDDED)
    speed = msgspec.structs.replace(before.deployment.speed, ttft_prompt_tokens=Fact(value=5000))
    deployment = msgspec.structs.replace(before.deployment, speed=speed)
    spec = msgspec.structs.replace(before, deployment=deployment)
    measured = msgspec.structs.replace(MEASURED, short_prompt_tokens=tokens)
    after = apply(spec, calibrate(spec, measured, bandwidth=None, as_of=TODAY))
    assert after.deployment.speed.ttft_prompt_tokens.value == tokens
    assert apply(spec, Calibrated()).deployment.speed == speed


def test_shares_of_the_roofline_are_those_of_the_measured_bandwidth() -> None:
    before = ProfileLibrary().resolve(EMBEDDED)
    made = calibrate(before, MEASURED, bandwidth=4e10, as_of=TODAY)
    weights = before.model.weights[0].bytes
    assert made.efficiency.mbu.value == pytest.approx(weights * 70 / 4e10)
    assert made.efficiency.mbu.status == "measured"


def test_the_overhead_of_layers_is_no_part_of_the_share() -> None:
    """A step of 1/70 s, of which 30 layers of 100 us do not read."""
    before = ProfileLibrary().resolve(EMBEDDED)
    efficiency = msgspec.structs.replace(
        before.hardware.efficiency, layer_overhead_s=Fact(value=1e-4)
    )
    hardware = msgspec.structs.replace(before.hardware, efficiency=efficiency)
    spec = msgspec.structs.replace(before, hardware=hardware)
    made = calibrate(spec, MEASURED, bandwidth=4e10, as_of=TODAY)
    weights = before.model.weights[0].bytes
    assert made.efficiency.mbu.value == pytest.approx(weights / ((1 / 70 - 0.003) * 4e10))


def test_a_share_above_one_is_left_out() -> None:
    before = ProfileLibrary().resolve(EMBEDDED)
    made = calibrate(before, MEASURED, bandwidth=1e9, as_of=TODAY)
    assert made.efficiency.mbu.value is None


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    before = ProfileLibrary().resolve(EMBEDDED)
    made = {
        EMBEDDED: calibrate(before, MEASURED, bandwidth=4e10, as_of=TODAY),
        "x/y z": Calibrated(),
    }
    (tmp_path / FILE_NAME).write_text(calibrated_text(made), encoding="utf-8")
    read = load_calibrated(tmp_path)
    assert read.keys() == made.keys()
    assert read[EMBEDDED].speed.prefill_tokens_per_s == made[EMBEDDED].speed.prefill_tokens_per_s
    assert calibrated_text(read) == calibrated_text(made)


def test_a_config_reads_what_lies_beside_it(tmp_path: Path) -> None:
    """For its own deployments and for those that are named later; ``calibrated=False`` leaves it out."""
    fast = Calibrated(speed=Speed(decode_tokens_per_s=Fact(value=123.0, status="measured")))
    (tmp_path / FILE_NAME).write_text(
        calibrated_text({"mock": fast, "mock/strong": fast}), encoding="utf-8"
    )
    (tmp_path / "ttc.yaml").write_text("deployments: [mock]\n", encoding="utf-8")
    config = Config.load(environ={}, folder=tmp_path)
    for spec in (config.deployments[0], config.spec("mock/strong")):
        assert spec.deployment.speed.decode_tokens_per_s.value == 123.0
    plain = Config.load(environ={}, folder=tmp_path, calibrated=False)
    assert plain.spec("mock/strong").deployment.speed.decode_tokens_per_s.value == 200


def test_a_damaged_file_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("deployments:\n  mock: {speeed: {}}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"calibrated\.yaml:2"):
        load_calibrated(tmp_path)


def test_the_bandwidth_is_that_of_some_memory() -> None:
    """Between a card reader and a chip's own cache."""
    pytest.importorskip("numpy")
    found = bandwidth_bytes_per_s(2)
    assert found is not None
    assert 1e8 < found < 1e13
