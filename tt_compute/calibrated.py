"""What was measured on this machine, kept beside the configuration and put in the place of what profiles say."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, TypeVar, cast

import msgspec

from tt_compute.profiles.checking import build
from tt_compute.profiles.schema import DeploymentSpec, Efficiency, Fact, Speed, Ttft
from tt_compute.profiles.yaml import load_yaml

__all__ = ["FILE_NAME", "Calibrated", "apply", "calibrated_text", "load_calibrated"]

FILE_NAME = "calibrated.yaml"

T = TypeVar("T", bound=msgspec.Struct)


class Calibrated(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of one deployment; what is unknown leaves the profile's word."""

    speed: Speed = Speed()
    bandwidth_bytes_per_s: Fact = Fact()
    """Of the machine's memory."""
    efficiency: Efficiency = Efficiency()


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: Literal[1] = 1
    deployments: dict[str, Calibrated] = {}


def load_calibrated(folder: Path) -> Mapping[str, Calibrated]:
    """What ``calibrated.yaml`` in a folder says of each deployment; nothing where there is none.

    Raises:
        ConfigError: The file is not what ``ttc calibrate`` writes; delete it to begin anew.
    """
    file = folder / FILE_NAME
    return build(load_yaml(file), _File).deployments if file.is_file() else {}


def apply(spec: DeploymentSpec, calibrated: Calibrated) -> DeploymentSpec:
    """The deployment with what was measured in the place of what was stated."""
    hardware = spec.hardware
    memory = hardware.memory
    if calibrated.bandwidth_bytes_per_s.value is not None:
        memory = msgspec.structs.replace(
            memory, bandwidth_bytes_per_s=calibrated.bandwidth_bytes_per_s
        )
    return msgspec.structs.replace(
        spec,
        deployment=msgspec.structs.replace(
            spec.deployment, speed=_merged(spec.deployment.speed, calibrated.speed)
        ),
        hardware=msgspec.structs.replace(
            hardware,
            memory=memory,
            efficiency=_merged(hardware.efficiency, calibrated.efficiency),
        ),
    )


def calibrated_text(deployments: Mapping[str, Calibrated]) -> str:
    """The file that says this."""
    lines = [
        "# Written by `ttc calibrate`; it takes the place of what the profiles say. Delete it to go back to them.",
        "version: 1",
        "deployments:" if deployments else "deployments: {}",
    ]
    for name, calibrated in sorted(deployments.items()):
        lines.append(f"  {json.dumps(name)}:")
        lines += [f"    {line}" for line in _lines(calibrated)] or ["    {}"]
    return "\n".join(lines) + "\n"


def _merged(stated: T, measured: T) -> T:
    known = {
        field: value for field, value in msgspec.structs.asdict(measured).items() if _known(value)
    }
    return msgspec.structs.replace(stated, **known)


def _known(value: object) -> bool:
    if isinstance(value, Fact):
        return value.value is not None
    if isinstance(value, Ttft):
        return value.p50 is not None
    return bool(value)


def _lines(calibrated: Calibrated) -> Iterator[str]:
    if _known(calibrated.bandwidth_bytes_per_s):
        yield f"bandwidth_bytes_per_s: {_fact(calibrated.bandwidth_bytes_per_s)}"
    for name in ("speed", "efficiency"):
        section: msgspec.Struct = getattr(calibrated, name)
        known = [
            (field, value)
            for field, value in msgspec.structs.asdict(section).items()
            if _known(value)
        ]
        if known:
            yield f"{name}:"
        for field, value in known:
            yield from (f"  {line}" for line in _value(field, value))


def _value(field: str, value: object) -> Iterator[str]:
    if isinstance(value, Fact):
        yield f"{field}: {_fact(value)}"
    elif isinstance(value, Ttft):
        yield f"{field}: {{value: {value.p50:.4g}, {_origin(value)}}}"
    else:
        yield f"{field}:"
        rates = cast("Mapping[str, Fact]", value)
        yield from (f"  '{width}': {_fact(fact)}" for width, fact in rates.items())


def _fact(fact: Fact) -> str:
    return f"{{value: {fact.value:.4g}, {_origin(fact)}}}"


def _origin(fact: Fact | Ttft) -> str:
    dated = "" if fact.as_of is None else f"as_of: {fact.as_of}, "
    return f"source: {json.dumps(fact.source)}, {dated}status: {fact.status}"
