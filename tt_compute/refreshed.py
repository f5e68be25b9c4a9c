"""What services say that they offer, kept beside the configuration and put in the place of what profiles say.

What ``ttc.yaml`` itself states, inline or by an override, is the user's own word and stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path

import msgspec

from tt_compute.overlay import Overlay, OverlayFile, load_overlay, overlay_text
from tt_compute.profiles.checking import build
from tt_compute.profiles.document import ancestors, document_of
from tt_compute.profiles.schema import UNKNOWN, DeploymentSpec, Fact, LimitFacts, PricePerMtok
from tt_compute.types import Offer

__all__ = [
    "FILE_NAME",
    "PRICES",
    "Prices",
    "Refreshed",
    "apply_refreshed",
    "from_offer",
    "ignored",
    "in_force",
    "read_refreshed",
    "refreshed_text",
    "stated_paths",
]

FILE_NAME = "refreshed.yaml"
PRICES = "price.usd_per_mtok"
_LIMITS = "limits"


class Prices(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """By token only: no service tells what an hour costs."""

    usd_per_mtok: PricePerMtok = PricePerMtok()


class Refreshed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of one deployment; what is unknown leaves the profile's word."""

    price: Prices = Prices()
    limits: LimitFacts = LimitFacts()


def read_refreshed(folder: Path) -> Overlay[Refreshed]:
    """What ``refreshed.yaml`` in a folder says of each deployment; nothing where there is none.

    Raises:
        ConfigError: The file is not what ``ttc profiles refresh`` writes; delete it to begin anew.
    """
    return load_overlay(folder / FILE_NAME, OverlayFile[Refreshed])


def from_offer(offer: Offer, today: date) -> Refreshed:
    """What the service says, with its source.

    Raises:
        ConfigError: No profile could say the same, such as a price below 0.
    """

    def fact(value: float | None) -> Fact:
        if value is None:
            return UNKNOWN
        return Fact(value=value, source=offer.url, as_of=today.isoformat(), status="vendor")

    per_mtok = PricePerMtok(
        input=fact(offer.input_usd_per_mtok),
        cached_input=fact(offer.cached_input_usd_per_mtok),
        output=fact(offer.output_usd_per_mtok),
    )
    limits = {name: fact(getattr(offer, name)) for name in _names(LimitFacts)}
    said = Refreshed(price=Prices(usd_per_mtok=per_mtok), limits=LimitFacts(**limits))
    return build(document_of(msgspec.to_builtins(said)), Refreshed)


def stated_paths(spec: DeploymentSpec, config: Path | None) -> frozenset[str]:
    """Paths of the deployment's values that stand in ``ttc.yaml`` itself.

    Args:
        spec: The deployment.
        config: That file.
    """
    inline = config is not None and spec.file is not None and Path(spec.file) == config
    return frozenset({*spec.overridden, *(spec.lines if inline else ())})


def ignored(spec: DeploymentSpec, path: str, told: Fact, stated: frozenset[str]) -> str | None:
    """Why a told fact does not count; None = it does.

    Args:
        spec: The deployment, with or without the fact.
        path: Of the fact in it.
        told: What the service said.
        stated: As ``stated_paths`` has them.
    """
    if _is_stated(path, stated):
        return "ttc.yaml states its own"
    if path.startswith(PRICES):
        if spec.deployment.price.usd_per_hour.value is not None:
            return "it is paid by the hour"
        dated = in_force(spec, path).as_of
        if dated is not None and told.as_of is not None and dated > told.as_of:
            return "the profile's is newer"
    elif path == f"{_LIMITS}.max_output_tokens":
        # Some services reserve it from the tokens per minute: who asks for less than is given means to.
        own = spec.deployment.limits.max_output_tokens
        if own is not None and told.value is not None and own < told.value:
            return "the profile asks for less"
    return None


def in_force(spec: DeploymentSpec, path: str) -> Fact:
    """The value that plans use; a limit has no source of its own."""
    section, _, name = path.rpartition(".")
    if section == PRICES:
        found: Fact = getattr(_per_mtok(spec), name)
        return found
    return Fact(value=getattr(spec.deployment.limits, name))


def apply_refreshed(
    spec: DeploymentSpec, refreshed: Refreshed, stated: frozenset[str]
) -> DeploymentSpec:
    """The deployment with what the service said in the place of what its profile states."""
    prices = dict(_counting(spec, PRICES, refreshed.price.usd_per_mtok, stated))
    limits = {
        name: round(value) if name.startswith("max_") else value
        for name, fact in _counting(spec, _LIMITS, refreshed.limits, stated)
        if (value := fact.value) is not None
    }
    deployment = spec.deployment
    if prices:
        per_mtok = msgspec.structs.replace(_per_mtok(spec), **prices)
        price = msgspec.structs.replace(deployment.price, usd_per_mtok=per_mtok)
        deployment = msgspec.structs.replace(deployment, price=price)
    if limits:
        deployment = msgspec.structs.replace(
            deployment, limits=msgspec.structs.replace(deployment.limits, **limits)
        )
    return msgspec.structs.replace(spec, deployment=deployment)


def refreshed_text(deployments: Mapping[str, Refreshed]) -> str:
    """The file that says this."""
    about = (
        "Written by `ttc profiles refresh`; it takes the place of what the profiles say. "
        "Delete it to go back to them."
    )
    return overlay_text(deployments, about=about, digits=12)


def _counting(
    spec: DeploymentSpec, section: str, told: msgspec.Struct, stated: frozenset[str]
) -> Iterator[tuple[str, Fact]]:
    for name, fact in msgspec.structs.asdict(told).items():
        known = fact.value is not None
        if known and ignored(spec, f"{section}.{name}", fact, stated) is None:
            yield name, fact


def _is_stated(path: str, stated: frozenset[str]) -> bool:
    """Whether it stands there, or something around it that holds nothing else, such as a null."""
    for at in ancestors(path):
        if at and at in stated:
            return at == path or not any(other.startswith(f"{at}.") for other in stated)
    return False


def _per_mtok(spec: DeploymentSpec) -> PricePerMtok:
    return spec.deployment.price.usd_per_mtok or PricePerMtok()


def _names(struct: type[msgspec.Struct]) -> tuple[str, ...]:
    return tuple(field.name for field in msgspec.structs.fields(struct))
