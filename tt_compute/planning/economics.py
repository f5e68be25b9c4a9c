"""What a run costs and draws: price and power applied to tokens and time."""

from __future__ import annotations

from typing import NamedTuple

from tt_compute.planning.roofline import UnknownFact
from tt_compute.profiles.schema import DeploymentSpec
from tt_compute.types import Capabilities

__all__ = ["HourlyPrice", "Power", "TokenPrice", "power_of", "price_of"]

_SECONDS_PER_HOUR = 3600
_MTOK = 1e6


class TokenPrice(NamedTuple):
    """USD per token."""

    input: float
    cached_input: float
    """Of a prompt that is sent again."""
    output: float
    once_per_wave: bool
    """A request draws a whole wave and is billed its prompt once; else each sample is."""

    def prompts_usd(self, waves: float, samples: float) -> float:
        """Per prompt token: the first at full price, repeats at the cached one."""
        times = waves if self.once_per_wave else samples
        return self.input + max(0.0, times - 1) * self.cached_input


class HourlyPrice(NamedTuple):
    """USD per second that the run holds the machine."""

    usd_per_s: float


class Power(NamedTuple):
    """Watts of all devices together."""

    idle_w: float
    peak_w: float
    step_overhead_s: float
    """Of each decode step, in which the devices idle."""

    def decode_j(self, step_s: float) -> float:
        """Joules of one decode step: peak while it computes, idle during its overhead."""
        idle_s = min(self.step_overhead_s, step_s)
        return self.peak_w * (step_s - idle_s) + self.idle_w * idle_s


def price_of(spec: DeploymentSpec, capabilities: Capabilities | None) -> TokenPrice | HourlyPrice:
    """Per token where stated, else per hour of the deployment, else per hour of its hardware, each device.

    A repeated prompt is billed at the cached price only where prompts are known to be shared.

    Raises:
        UnknownFact: There is no price, or half of one.
    """
    price = spec.deployment.price
    per_mtok = price.usd_per_mtok
    if per_mtok is not None:
        full, output = per_mtok.input.value, per_mtok.output.value
        if full is None or output is None:
            name = "input" if full is None else "output"
            raise UnknownFact(f"price.usd_per_mtok.{name} of {spec.id}")
        shares = capabilities is not None and capabilities.prefix_sharing
        cached = per_mtok.cached_input.value if shares else None
        return TokenPrice(
            input=full / _MTOK,
            cached_input=(full if cached is None else cached) / _MTOK,
            output=output / _MTOK,
            once_per_wave=capabilities is not None and capabilities.native_n,
        )
    if spec.usd_per_hour is not None:
        return HourlyPrice(spec.usd_per_hour / _SECONDS_PER_HOUR)
    raise UnknownFact(f"price of {spec.id}")


def power_of(spec: DeploymentSpec) -> Power:
    """Power while a run computes; a device whose step overhead is unknown is taken to idle never.

    Raises:
        UnknownFact: The peak power is unknown, or the idle power where it is needed.
    """
    hardware, devices = spec.hardware, spec.deployment.placement.tensor_parallel
    peak, idle = hardware.power.peak_w.value, hardware.power.idle_w.value
    overhead = hardware.efficiency.step_overhead_s.value or 0.0
    if peak is None:
        raise UnknownFact(f"power.peak_w of {hardware.id}")
    if idle is None and overhead:
        raise UnknownFact(f"power.idle_w of {hardware.id}")
    return Power(idle_w=(idle or 0.0) * devices, peak_w=peak * devices, step_overhead_s=overhead)
