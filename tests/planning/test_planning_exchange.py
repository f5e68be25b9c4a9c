"""What layers, devices and the precision of keys and values add to a step, against figures worked out by hand."""

from __future__ import annotations

import msgspec
import pytest

from tt_compute.planning.performance import Pace
from tt_compute.planning.roofline import (
    UnknownFact,
    kv_bytes_per_token,
    one_row_step,
    roofline_of,
)
from tt_compute.profiles.schema import (
    DeploymentSpec,
    Fact,
    Interconnect,
    ModelProfile,
    Placement,
)

LINK = Interconnect(latency_s=Fact(value=1e-5), bandwidth_bytes_per_s=Fact(value=4e11))


def on(
    spec: DeploymentSpec,
    *,
    link: Interconnect | None = None,
    layer_overhead_s: float | None = None,
    peak_flops: dict[str, Fact] | None = None,
    **placement: object,
) -> DeploymentSpec:
    """Llama 3.1 8B (32 layers, 4,096 wide; 16 GB at half of 3.2 TB/s, and 1 ms) with other facts."""
    hardware = msgspec.structs.replace(
        spec.hardware,
        interconnect=link or Interconnect(),
        peak_flops=spec.hardware.peak_flops if peak_flops is None else peak_flops,
        efficiency=msgspec.structs.replace(
            spec.hardware.efficiency, layer_overhead_s=Fact(value=layer_overhead_s)
        ),
    )
    model = msgspec.structs.replace(spec.model, hidden_size=4096)
    deployment = msgspec.structs.replace(
        spec.deployment, placement=msgspec.convert(placement, Placement)
    )
    return msgspec.structs.replace(spec, deployment=deployment, model=model, hardware=hardware)


def test_every_layer_adds_its_overhead_to_a_step(local: DeploymentSpec) -> None:
    """10 ms of weights, 1 ms of the step, 32 x 50 us."""
    step = roofline_of(on(local, layer_overhead_s=5e-5)).step(1)
    assert step.fixed_s == pytest.approx(0.010 + 0.001 + 0.0016)


def test_devices_reduce_twice_in_each_layer(local: DeploymentSpec) -> None:
    """64 reductions of 10 us; a row sends 64 x 4,096 x 2 bytes 1.5 times over 400 GB/s."""
    split = roofline_of(on(local, link=LINK, tensor_parallel=4))
    sent_s = 64 * 4096 * 2 * 1.5 / 4e11
    assert split.step(1).fixed_s == pytest.approx(0.0025 + 0.001 + 0.00064 + sent_s)
    assert split.step(8).fixed_s == pytest.approx(0.0025 + 0.001 + 0.00064 + 8 * sent_s)


def test_devices_exchange_the_tokens_of_a_prompt_too(local: DeploymentSpec) -> None:
    split = roofline_of(on(local, link=LINK, tensor_parallel=2))
    assert split.prefill_s_per_token == pytest.approx(
        2 * 8e9 / (2 * 1e15 * 0.4) + 64 * 4096 * 2 / 4e11
    )


def test_one_device_exchanges_nothing(local: DeploymentSpec) -> None:
    assert roofline_of(on(local, link=LINK)).step(8) == roofline_of(on(local)).step(8)


def test_an_unknown_link_is_left_out(local: DeploymentSpec) -> None:
    """Devices then add up, as if they were one."""
    split = roofline_of(on(local, tensor_parallel=4))
    assert split.step(1).fixed_s == pytest.approx(0.0025 + 0.001)


def test_a_known_link_needs_the_width_of_the_model(local: DeploymentSpec) -> None:
    spec = on(local, link=LINK, tensor_parallel=4)
    bare = msgspec.structs.replace(spec.model, hidden_size=None)
    with pytest.raises(UnknownFact, match="hidden_size"):
        roofline_of(msgspec.structs.replace(spec, model=bare))


def test_keys_and_values_in_fp8_take_half(model: ModelProfile, local: DeploymentSpec) -> None:
    assert kv_bytes_per_token(model, "fp8") == 131072 / 2
    assert roofline_of(on(local, kv_dtype="fp8")).kv_bytes_per_token == 131072 / 2


def test_one_row_waits_for_memory_whatever_the_rate_of_flops(local: DeploymentSpec) -> None:
    """10 ms and 1 ms, without a rate of FLOP/s; two rows might wait for the products."""
    silent = on(local, peak_flops={})
    assert one_row_step(silent) == roofline_of(on(local)).step(1)
    pace = Pace(silent, None)
    assert pace.step(1).fixed_s == pytest.approx(0.011)
    with pytest.raises(UnknownFact, match="peak_flops"):
        pace.step(2)
