"""Weights that no file lists, and experts that a wave touches bit by bit."""

from __future__ import annotations

import msgspec
import pytest

from tt_compute.planning.roofline import UnknownFact, roofline_of, weights_of
from tt_compute.profiles.library import ProfileLibrary
from tt_compute.profiles.schema import DeploymentSpec

LIBRARY = ProfileLibrary()


def spec(deployment: str, **placement: object) -> DeploymentSpec:
    found = LIBRARY.resolve(deployment)
    changed = msgspec.structs.replace(found.deployment.placement, **placement)
    return msgspec.structs.replace(
        found, deployment=msgspec.structs.replace(found.deployment, placement=changed)
    )


@pytest.mark.parametrize(("dtype", "per_parameter"), [(None, 2.0), ("fp8", 1.0), ("int4", 0.5625)])
def test_weights_are_parameters_in_the_stated_dtype(
    dtype: str | None, per_parameter: float
) -> None:
    made = spec("vllm/llama-3.1-8b-h100", weights_dtype=dtype)
    total = made.model.parameters.total.value
    assert total is not None
    assert weights_of(made).bytes == pytest.approx(total * per_parameter)


def test_without_a_number_of_parameters_they_are_unknown() -> None:
    made = spec("vllm/llama-3.1-8b-h100")
    bare = msgspec.structs.replace(
        made, model=msgspec.structs.replace(made.model, parameters=type(made.model.parameters)())
    )
    with pytest.raises(UnknownFact, match="weights of"):
        weights_of(bare)


def test_one_token_reads_the_active_parameters_and_many_read_all() -> None:
    """By hand: shared + n (1 - (1 - k/n)^rows) experts, of total = shared + n and active = shared + k."""
    made = spec("vllm/gpt-oss-120b-h100")
    roofline = roofline_of(made)
    whole = weights_of(made).bytes
    total, active = made.model.parameters.total.value, made.model.parameters.active.value
    assert total is not None
    assert active is not None
    one = roofline.shared_bytes + roofline.expert_bytes * 4 / 128
    assert one / whole == pytest.approx(active / total)
    assert roofline.shared_bytes + roofline.expert_bytes == pytest.approx(whole)
    step_1, step_256 = roofline.step(1).fixed_s, roofline.step(256).fixed_s
    assert step_1 == pytest.approx(one / roofline.bytes_per_s + roofline.step_overhead_s)
    assert step_256 >= 0.99 * whole / roofline.bytes_per_s


def test_a_dense_model_reads_all_of_its_weights_for_one_token() -> None:
    roofline = roofline_of(spec("vllm/llama-3.1-8b-h100"))
    assert roofline.expert_bytes == 0
    weights_s = 2 * 8.03e9 / (3.35e12 * 0.8)
    assert roofline.step(1).fixed_s == pytest.approx(weights_s + 32 * 3e-5, rel=0.01)
