"""Roofline and stated speeds, against figures worked out by hand."""

from __future__ import annotations

import msgspec
import pytest

from tt_compute.planning.estimates import SpeedEvidence
from tt_compute.planning.performance import Pace
from tt_compute.planning.roofline import UnknownFact, kv_bytes_per_token, roofline_of
from tt_compute.profiles.schema import (
    DeploymentSpec,
    Efficiency,
    Fact,
    HardwareProfile,
    Memory,
    ModelProfile,
    Parameters,
    Placement,
    Speed,
    Ttft,
)
from tt_compute.types import Capabilities

SHARING = Capabilities(prefix_sharing=True)


def with_speed(spec: DeploymentSpec, **speed: object) -> DeploymentSpec:
    deployment = msgspec.structs.replace(
        spec.deployment, speed=msgspec.convert(speed, Speed, from_attributes=True)
    )
    return msgspec.structs.replace(spec, deployment=deployment)


def with_hardware(spec: DeploymentSpec, **changes: object) -> DeploymentSpec:
    hardware = msgspec.structs.replace(spec.hardware, **changes)
    return msgspec.structs.replace(spec, hardware=hardware)


def with_model(spec: DeploymentSpec, **changes: object) -> DeploymentSpec:
    return msgspec.structs.replace(spec, model=msgspec.structs.replace(spec.model, **changes))


def test_keys_and_values_of_llama_take_128_kib_per_token(model: ModelProfile) -> None:
    """2 x 32 layers x 8 KV heads x 128 x 2 bytes = 131,072 bytes."""
    assert kv_bytes_per_token(model) == 131072


def test_keys_and_values_of_llama_2_13b_match_the_scaling_book() -> None:
    """bf16, 8,192 tokens: 6.7 GB."""
    llama2 = ModelProfile(id="llama-2-13b", layers=40, kv_heads=40, head_dim=128)
    assert 8192 * kv_bytes_per_token(llama2) == pytest.approx(6.7e9, rel=0.01)


def test_a_small_batch_waits_for_the_weights(local: DeploymentSpec) -> None:
    """16 GB at half of 3.2 TB/s are 10 ms; a context of 1,000 adds 131 MB for each of 4 rows."""
    step = roofline_of(local).step(4)
    assert step.fixed_s == pytest.approx(0.010 + 0.001)
    assert step.at(1000) - step.fixed_s == pytest.approx(4 * 1000 * 131072 / 1.6e12)


def test_a_large_batch_waits_for_the_products(local: DeploymentSpec) -> None:
    """400 rows x 2 x 8e9 FLOP at 20 % of 1e15 FLOP/s are 32 ms, longer than the weights' 10."""
    assert roofline_of(local).step(400).fixed_s == pytest.approx(0.032 + 0.001)


def test_prefill_counts_products_and_causal_attention(local: DeploymentSpec) -> None:
    """(2 x 8e9 T + 2 x 32 x 32 x 128 T^2) FLOP at 40 % of 1e15 FLOP/s, and the first step."""
    p50, p95 = Pace(local, SHARING).prefill().seconds(2000)
    prefill = (2 * 8e9 * 2000 + 2 * 32 * 32 * 128 * 2000**2) / 4e14
    assert p50 == pytest.approx(prefill + 0.011)
    assert p95 == pytest.approx(3 * p50)


def test_devices_in_parallel_add_up(local: DeploymentSpec) -> None:
    """Four devices read the weights in a quarter of the time."""
    placement = Placement(tensor_parallel=4)
    deployment = msgspec.structs.replace(local.deployment, placement=placement)
    step = roofline_of(msgspec.structs.replace(local, deployment=deployment)).step(1)
    assert step.fixed_s == pytest.approx(0.0025 + 0.001)


def test_a_mixture_of_experts_reads_what_its_batch_touches(local: DeploymentSpec) -> None:
    """With a quarter active, one row reads a quarter and two 1 - 0.75^2 of the weights."""
    sparse = with_model(local, parameters=Parameters(total=Fact(value=8e9), active=Fact(value=2e9)))
    roofline = roofline_of(sparse)
    assert roofline.step(1).fixed_s == pytest.approx(0.0025 + 0.001)
    assert roofline.step(2).fixed_s == pytest.approx(0.010 * (1 - 0.75**2) + 0.001)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"memory": Memory()}, "memory.bandwidth_bytes_per_s of h100 is unknown"),
        ({"peak_flops": {}}, "peak_flops (bf16, fp16, fp32) of h100 is unknown"),
        ({"efficiency": Efficiency()}, "efficiency.mbu of h100 is unknown"),
    ],
)
def test_an_unknown_of_the_hardware_is_named(
    local: DeploymentSpec, changes: dict[str, object], reason: str
) -> None:
    """Nothing is guessed: the prediction is refused."""
    with pytest.raises(UnknownFact) as refused:
        roofline_of(with_hardware(local, **changes))
    assert refused.value.reason == reason


@pytest.mark.parametrize("name", ["layers", "kv_heads", "attention_heads", "head_dim"])
def test_an_unknown_of_the_model_is_named(local: DeploymentSpec, name: str) -> None:
    with pytest.raises(UnknownFact, match=f"{name} of llama-3.1-8b is unknown"):
        roofline_of(with_model(local, **{name: None}))


def test_parameters_follow_from_the_size_of_the_weights(local: DeploymentSpec) -> None:
    """16 GB at 2 bytes each are 8e9 parameters; without either number they are unknown."""
    unknown = with_model(local, parameters=Parameters())
    with pytest.raises(UnknownFact, match=r"parameters\.total"):
        roofline_of(unknown)
    sized = msgspec.structs.replace(unknown.model.weights[0], bytes_per_parameter=Fact(value=2))
    assert roofline_of(with_model(unknown, weights=(sized,))).flops_per_token == 2 * 8e9


def test_a_stated_speed_wins_over_the_roofline(local: DeploymentSpec) -> None:
    stated = with_speed(local, decode_tokens_per_s=Fact(value=40))
    assert Pace(stated, SHARING).step(1).at(0) == pytest.approx(1 / 40)


def test_a_stated_speed_is_carried_over_by_the_rooflines_ratio(local: DeploymentSpec) -> None:
    """At a context of 512 tokens."""
    pace = Pace(with_speed(local, decode_tokens_per_s=Fact(value=40)), SHARING)
    roofline = roofline_of(local)
    growth = roofline.step(16).at(512) / roofline.step(1).at(512)
    assert pace.step(16).at(0) == pytest.approx(growth / 40)


def test_rates_between_two_widths_are_interpolated_on_logarithmic_axes(
    local: DeploymentSpec,
) -> None:
    """140 tokens/s alone and 560 at 16: 280 at 4."""
    waves = {"1": Fact(value=140), "16": Fact(value=560)}
    pace = Pace(with_speed(local, decode_tokens_per_s_by_wave=waves), SHARING)
    assert [4 / pace.step(4).at(0), 16 / pace.step(16).at(0)] == pytest.approx([280, 560])


def test_a_curve_without_a_roofline_ends_at_its_highest_rate(local: DeploymentSpec) -> None:
    waves = {"1": Fact(value=140), "4": Fact(value=300)}
    bare = with_hardware(with_speed(local, decode_tokens_per_s_by_wave=waves), memory=Memory())
    assert 16 / Pace(bare, SHARING).step(16).at(0) == pytest.approx(300)


def test_one_width_without_a_roofline_says_nothing_about_others(local: DeploymentSpec) -> None:
    bare = with_hardware(with_speed(local, decode_tokens_per_s=Fact(value=40)), memory=Memory())
    pace = Pace(bare, SHARING)
    assert pace.step(1).at(0) == pytest.approx(1 / 40)
    with pytest.raises(UnknownFact, match=r"beyond 1 samples at once .*bandwidth"):
        pace.step(2)


def test_requests_to_a_service_do_not_slow_each_other(service: DeploymentSpec) -> None:
    pace = Pace(service, None)
    assert pace.step(16).at(0) == pace.step(1).at(0) == pytest.approx(1 / 500)


def test_a_stated_ttft_holds_for_short_prompts(local: DeploymentSpec) -> None:
    """A prompt whose prefill alone takes longer counts by its prefill; p95 keeps its ratio."""
    stated = with_speed(local, ttft_s=Ttft(p50=0.3, p95=0.6), prefill_tokens_per_s=Fact(value=1000))
    prefill = Pace(stated, SHARING).prefill()
    assert prefill.seconds(100) == (0.3, 0.6)
    assert prefill.seconds(3000) == pytest.approx((3.0, 6.0))


def test_an_unknown_p95_counts_as_three_p50(service: DeploymentSpec) -> None:
    assert Pace(service, None).prefill().seconds(1000) == pytest.approx((0.3, 0.9))


def test_what_is_longer_than_the_prompts_of_a_stated_ttft_comes_on_top(
    local: DeploymentSpec,
) -> None:
    """Where it is known how long they were; a shorter one takes as long, and p95 keeps its ratio."""
    stated = with_speed(
        local,
        ttft_s=Ttft(p50=0.3, p95=0.6),
        ttft_prompt_tokens=Fact(value=100),
        prefill_tokens_per_s=Fact(value=1000),
    )
    prefill = Pace(stated, SHARING).prefill()
    assert prefill.seconds(50) == prefill.seconds(100) == (0.3, 0.6)
    assert prefill.seconds(300) == pytest.approx((0.5, 1.0))


def test_nothing_known_of_the_first_token_is_unknown(service: DeploymentSpec) -> None:
    silent = with_speed(service, decode_tokens_per_s=Fact(value=500))
    with pytest.raises(UnknownFact, match="time to first token of service"):
        Pace(silent, None).prefill()


@pytest.mark.parametrize(
    ("capabilities", "counts"),
    [(SHARING, "once"), (Capabilities(native_n=True), "once"), (None, "per_sample")],
)
def test_a_machine_computes_a_prompt_again_unless_it_is_shared(
    local: DeploymentSpec, capabilities: Capabilities | None, counts: str
) -> None:
    assert Pace(local, capabilities).prefills == counts


def test_a_service_is_asked_once_per_wave(service: DeploymentSpec) -> None:
    assert Pace(service, None).prefills == "per_wave"


def test_past_runs_correct_every_width(local: DeploymentSpec) -> None:
    """Five samples at half the predicted speed weigh as much as the prediction: a factor sqrt(2)."""
    predicted = Pace(local, SHARING)
    slow = 4 / predicted.step(4).at(512) / 2
    seen = Pace(local, SHARING, [SpeedEvidence(wave=4, tokens_per_s=slow, n=5)])
    for rows in (1, 4, 16):
        assert seen.step(rows).at(512) / predicted.step(rows).at(512) == pytest.approx(2**0.5)


def test_past_runs_stand_alone_where_nothing_was_predicted(local: DeploymentSpec) -> None:
    bare = with_hardware(local, memory=Memory())
    pace = Pace(bare, SHARING, [SpeedEvidence(wave=4, tokens_per_s=200, n=3)])
    assert pace.step(4).at(0) == pytest.approx(4 / 200)
    with pytest.raises(UnknownFact):
        pace.step(16)


def test_a_mock_is_independent_too() -> None:
    from tt_compute.planning.performance import rows_are_independent

    assert rows_are_independent(HardwareProfile(id="mock", device="mock"))
    assert not rows_are_independent(HardwareProfile(id="cpu"))
