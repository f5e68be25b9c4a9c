"""What a plan rests on: the facts of the deployments it weighed, and how they differ from those of today."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

import msgspec

from tt_compute.planning.estimates import Version
from tt_compute.planning.types import Premise
from tt_compute.profiles.schema import DeploymentSpec, Fact, TaskKind, Ttft

__all__ = ["changes", "premise_of"]


def premise_of(spec: DeploymentSpec, version: Version, task: TaskKind) -> Premise:
    """What is known of a deployment now.

    Args:
        spec: The deployment.
        version: What it runs.
        task: The kind whose ability counts.
    """
    deployment, hardware = spec.deployment, spec.hardware
    roots = {
        "price": deployment.price,
        "speed": deployment.speed,
        "hardware": hardware,
        "ability": spec.model.abilities.get(task),
    }
    return Premise(
        deployment=spec.id,
        hardware=hardware.id,
        weights=version.weights,
        runtime=version.runtime,
        figures={
            path: value for root, node in roots.items() for path, value in _figures(node, root)
        },
    )


def changes(before: Premise, now: Premise) -> Iterator[str]:
    """What differs, in words; of the same weights, since another model's plan is not run at all."""
    if before.hardware != now.hardware:
        yield f"its hardware was {before.hardware} and is {now.hardware}"
    if before.runtime != now.runtime:
        yield f"its runtime, options or placement were {before.runtime} and are {now.runtime}"
    for path in sorted(before.figures.keys() | now.figures.keys()):
        old, new = before.figures.get(path), now.figures.get(path)
        if old != new:
            yield f"{path} was {_shown(old)} and is {_shown(new)}"


def _figures(node: object, path: str) -> Iterator[tuple[str, float]]:
    """Every known number below a part of a profile."""
    if isinstance(node, Fact):
        if node.value is not None:
            yield path, node.value
    elif isinstance(node, Ttft):
        known = {"p50": node.p50, "p95": node.p95}
        yield from ((f"{path}.{name}", value) for name, value in known.items() if value is not None)
    elif isinstance(node, msgspec.Struct):
        yield from _figures(msgspec.structs.asdict(node), path)
    elif isinstance(node, Mapping):
        for name, inside in cast("Mapping[str, object]", node).items():
            yield from _figures(inside, f"{path}.{name}")


def _shown(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.6g}"
