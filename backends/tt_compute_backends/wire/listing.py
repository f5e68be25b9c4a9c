"""What a service's list of models says of one: the places of its fields as data, its figures checked.

Prices here are USD per token, as text or as a number; a price per million that strays in is far out of bounds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final, TypeVar, cast

import msgspec

from tt_compute.types import Offer

__all__ = ["Listing", "NotAListError", "WrongFieldError", "entry_of", "offer_of", "usd_per_mtok"]

T = TypeVar("T")

_PRICE: Final = re.compile(
    r"[+-]?(?:[0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:[eE][+-]?[0-9]{1,2})?"
)
_LEAST_USD_PER_MTOK: Final = Decimal("0.001")
"""Of a price above 0, as in profiles."""
_MOST_USD_PER_MTOK: Final = Decimal(1000)
"""What the least price per million would be if it were one per token: the two units cannot be confused."""
_MOST_TOKENS: Final = 1_000_000_000
_SHOWN_CHARACTERS: Final = 40


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """Where an entry of the list has what; keys joined by dots, of several the first that is not null."""

    public: str | None = None
    """Path, from the host, of a list that takes no key and has the figures; None = they stand in ``models``."""
    input_usd_per_token: tuple[str, ...] = ()
    cached_input_usd_per_token: tuple[str, ...] = ()
    output_usd_per_token: tuple[str, ...] = ()
    max_context_tokens: tuple[str, ...] = ()
    max_output_tokens: tuple[str, ...] = ()
    requests_per_minute: tuple[str, ...] = ()
    tokens_per_minute: tuple[str, ...] = ()
    active: str | None = None
    """False there = the model is listed and not served."""
    deprecated: str | None = None


class NotAListError(ValueError):
    """The body holds no list of models."""


class WrongFieldError(ValueError):
    """A figure cannot be what it claims to be."""


class _List(msgspec.Struct):
    data: list[dict[str, Any]]


def entry_of(body: bytes, model: str) -> Mapping[str, Any] | None:
    """What the list says of a model; None where it is not listed.

    Raises:
        NotAListError: It is no list of models.
    """
    try:
        listed = msgspec.json.decode(body, type=_List).data
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotAListError("it is no list of models") from error
    return next((entry for entry in listed if entry.get("id") == model), None)


def offer_of(entry: Mapping[str, Any], listing: Listing, url: str) -> Offer | None:
    """The entry's figures; None for a model that is listed and not served.

    Raises:
        WrongFieldError: One of them cannot be true.
    """
    if listing.active is not None and _at(entry, listing.active) is False:
        return None
    return Offer(
        url=url,
        input_usd_per_mtok=_read(entry, listing.input_usd_per_token, usd_per_mtok),
        cached_input_usd_per_mtok=_read(entry, listing.cached_input_usd_per_token, usd_per_mtok),
        output_usd_per_mtok=_read(entry, listing.output_usd_per_token, usd_per_mtok),
        max_context_tokens=_read(entry, listing.max_context_tokens, _tokens),
        max_output_tokens=_read(entry, listing.max_output_tokens, _tokens),
        requests_per_minute=_read(entry, listing.requests_per_minute, _rate),
        tokens_per_minute=_read(entry, listing.tokens_per_minute, _rate),
        deprecated=listing.deprecated is not None and _at(entry, listing.deprecated) is True,
    )


def usd_per_mtok(per_token: object) -> float:
    """USD per million tokens, of a price per token.

    Raises:
        WrongFieldError: It is no price, negative, or in another unit.
    """
    if isinstance(per_token, bool) or not isinstance(per_token, str | int | float):
        raise WrongFieldError(f"expected USD per token, got {_shown(per_token)}")
    text = per_token.strip() if isinstance(per_token, str) else repr(per_token)
    if not _PRICE.fullmatch(text):
        raise WrongFieldError(f"expected USD per token, got {_shown(per_token)}")
    price = Decimal(text) * 1_000_000
    if price < 0:
        raise WrongFieldError(f"expected a price of at least 0, got {_shown(per_token)}")
    if price != 0 and not _LEAST_USD_PER_MTOK <= price < _MOST_USD_PER_MTOK:
        raise WrongFieldError(
            f"{_shown(per_token)} per token would be {price:.3g} USD per million tokens"
        )
    return abs(float(price))


def _read(
    entry: Mapping[str, Any], paths: tuple[str, ...], convert: Callable[[object], T]
) -> T | None:
    for path in paths:
        found = _at(entry, path)
        if found is not None:
            try:
                return convert(found)
            except WrongFieldError as error:
                raise WrongFieldError(f"{path}: {error}") from error
    return None


def _at(entry: Mapping[str, Any], path: str) -> object:
    """None where nothing stands there.

    Raises:
        WrongFieldError: What should hold it is no object.
    """
    node: object = entry
    for key in path.split("."):
        if node is None:
            return None
        if not isinstance(node, dict):
            raise WrongFieldError(f"{path}: expected an object around it, got {_shown(node)}")
        node = cast("dict[str, object]", node).get(key)
    return node


def _tokens(value: object) -> int:
    number = _number(value, "tokens")
    if not number.is_integer() or not 1 <= number <= _MOST_TOKENS:
        raise WrongFieldError(f"expected tokens, 1 to {_MOST_TOKENS}, got {_shown(value)}")
    return int(number)


def _rate(value: object) -> float:
    number = _number(value, "a rate")
    if number <= 0:
        raise WrongFieldError(f"expected a rate above 0, got {_shown(value)}")
    return number


def _number(value: object, wanted: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise WrongFieldError(f"expected {wanted}, got {_shown(value)}")
    return float(value)


def _shown(value: object) -> str:
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
