"""What was measured on this machine, kept beside the configuration and put in the place of what profiles say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from tt_compute.overlay import Overlay, OverlayFile, load_overlay, merged, overlay_text
from tt_compute.profiles.schema import DeploymentSpec, Efficiency, Fact, Speed

__all__ = [
    "FILE_NAME",
    "Calibrated",
    "apply",
    "calibrated_text",
    "load_calibrated",
    "read_calibrated",
]

FILE_NAME = "calibrated.yaml"


class Calibrated(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of one deployment; what is unknown leaves the profile's word."""

    speed: Speed = Speed()
    bandwidth_bytes_per_s: Fact = Fact()
    """Of the machine's memory."""
    efficiency: Efficiency = Efficiency()


def load_calibrated(folder: Path) -> Mapping[str, Calibrated]:
    """What ``calibrated.yaml`` in a folder says of each deployment; nothing where there is none.

    Raises:
        ConfigError: The file is not what ``ttc calibrate`` writes; delete it to begin anew.
    """
    return read_calibrated(folder).deployments


def read_calibrated(folder: Path) -> Overlay[Calibrated]:
    """The same with the place of each value.

    Raises:
        ConfigError: As above.
    """
    return load_overlay(folder / FILE_NAME, OverlayFile[Calibrated])


def apply(spec: DeploymentSpec, calibrated: Calibrated) -> DeploymentSpec:
    """The deployment with what was measured in the place of what was stated."""
    hardware = spec.hardware
    memory = hardware.memory
    if calibrated.bandwidth_bytes_per_s.value is not None:
        memory = msgspec.structs.replace(
            memory, bandwidth_bytes_per_s=calibrated.bandwidth_bytes_per_s
        )
    speed = merged(spec.deployment.speed, calibrated.speed)
    if calibrated.speed.ttft_s.p50 is not None:
        # What is stated is the length of other prompts than these.
        speed = msgspec.structs.replace(
            speed, ttft_prompt_tokens=calibrated.speed.ttft_prompt_tokens
        )
    return msgspec.structs.replace(
        spec,
        deployment=msgspec.structs.replace(spec.deployment, speed=speed),
        hardware=msgspec.structs.replace(
            hardware,
            memory=memory,
            efficiency=merged(hardware.efficiency, calibrated.efficiency),
        ),
    )


def calibrated_text(deployments: Mapping[str, Calibrated]) -> str:
    """The file that says this."""
    about = (
        "Written by `ttc calibrate`; it takes the place of what the profiles say. "
        "Delete it to go back to them."
    )
    return overlay_text(deployments, about=about, digits=4)
