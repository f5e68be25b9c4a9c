"""What services offer now, held against what plans reckoned with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Literal

import anyio
import msgspec

from tt_compute.config import Config
from tt_compute.errors import ModelNotFound, TTComputeError
from tt_compute.overlay import facts
from tt_compute.profiles.schema import DeploymentSpec, Fact
from tt_compute.refreshed import (
    PRICES,
    Refreshed,
    apply_refreshed,
    from_offer,
    ignored,
    in_force,
    stated_paths,
)
from tt_compute.setup import Setup
from tt_compute.types import Offer

__all__ = ["Change", "Outcome", "compare", "refresh"]

_ALARM = 2.0
"""A price beyond so many times the old one, or below its inverse, is worth a look."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One fact that a service told."""

    fact: str
    """Path in the deployment."""
    old: float | None
    """What plans reckoned with."""
    new: float
    """What the service says."""
    in_force: float | None
    """What plans reckon with from now on."""
    kept: str | None = None
    """Why what the service says does not count; None = it does."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one deployment."""

    deployment: str
    state: Literal["refreshed", "failed", "skipped"]
    reason: str | None = None
    """Why it was skipped."""
    url: str | None = None
    """Where the service tells it."""
    facts: tuple[Change, ...] = ()
    warnings: tuple[str, ...] = ()
    error: TTComputeError | None = None
    said: Refreshed | None = None
    """What is to be kept of it."""


async def refresh(
    setup: Setup, plain: Config, deployments: Sequence[str], today: date
) -> list[Outcome]:
    """Ask the services of all deployments at once; what fails is an outcome too.

    Args:
        setup: Whose backends ask, and what plans reckon with.
        plain: The same configuration without what was told earlier.
        deployments: Ids.
        today: The date of what is told.

    Raises:
        UnknownNameError: There is no such deployment; nothing was asked.
    """
    specs = [(setup.spec(deployment), plain.spec(deployment)) for deployment in deployments]
    outcomes: dict[str, Outcome] = {}

    async def one(spec: DeploymentSpec, stated: DeploymentSpec) -> None:
        try:
            outcomes[spec.id] = await _ask(setup, spec, stated, today)
        except TTComputeError as error:
            outcomes[spec.id] = Outcome(deployment=spec.id, state="failed", error=error)

    async with anyio.create_task_group() as group:
        for spec, stated in specs:
            group.start_soon(one, spec, stated)
    return [outcomes[spec.id] for spec, _ in specs]


def compare(
    before: DeploymentSpec, plain: DeploymentSpec, said: Refreshed, stated: frozenset[str]
) -> Iterator[Change]:
    """Each fact that was told, beside what was in force and what is from now on.

    Args:
        before: The deployment as plans reckoned with it.
        plain: The same without what was told earlier.
        said: What was told now.
        stated: Paths of what the user's own configuration states.
    """
    after = apply_refreshed(plain, said, stated)
    for path, fact in facts(said):
        assert isinstance(fact, Fact)
        assert fact.value is not None
        yield Change(
            fact=path,
            old=in_force(before, path).value,
            new=fact.value,
            in_force=in_force(after, path).value,
            kept=ignored(plain, path, fact, stated),
        )


async def _ask(setup: Setup, spec: DeploymentSpec, plain: DeploymentSpec, today: date) -> Outcome:
    if not spec.is_remote:
        return Outcome(deployment=spec.id, state="skipped", reason="it runs on this machine")
    catalogue = await setup.catalogue(spec)
    if catalogue is None:
        reason = f"the backend {spec.backend!r} reads no list of models"
        return Outcome(deployment=spec.id, state="skipped", reason=reason)
    offer = await catalogue.offered()
    if offer is None:
        raise ModelNotFound(
            f"the service does not list {spec.remote_model!r}",
            hint="it was withdrawn, or remote_model is not its name there; what was known of it stays",
        )
    said = from_offer(offer, today)
    changes = tuple(compare(spec, plain, said, stated_paths(plain, setup.config.file)))
    return Outcome(
        deployment=spec.id,
        state="refreshed",
        url=offer.url,
        facts=changes,
        warnings=tuple(_warnings(changes, offer)),
        said=said,
    )


def _warnings(changes: Sequence[Change], offer: Offer) -> Iterator[str]:
    if offer.deprecated:
        yield "the service calls the model deprecated"
    for change in changes:
        if change.fact.startswith(PRICES) and change.old is not None and _leaps(change):
            yield f"{change.fact} went from {change.old:.12g} to {change.new:.12g}"


def _leaps(change: Change) -> bool:
    """Also from or to nothing."""
    low, high = sorted((change.old or 0.0, change.new))
    return high > _ALARM * low
