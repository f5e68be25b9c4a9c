"""The file of a cassette: requests as backends got them, and the events that came of each.

It holds no headers, no keys and no names of requests; of the service nothing but what its errors say.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Literal, cast

import msgspec

from tt_compute import errors
from tt_compute.errors import BackendError, TTComputeError, UsageError
from tt_compute.planning.json_file import JsonFile
from tt_compute.testing.json_places import line_of
from tt_compute.testing.lines import Json, dump
from tt_compute.types import Delta, Event, Failed, GenerateRequest, ModelInfo, Sample, Timing, Usage

__all__ = [
    "CassetteError",
    "Entry",
    "Interaction",
    "Played",
    "Recorded",
    "Trouble",
    "asked",
    "entry_of",
    "event_of",
    "read_cassette",
    "write_cassette",
]

_FORMAT: Final = "tt_compute.cassette"
_VERSION: Final = 1
REWRITE = "record it again: pytest --ttc-live --ttc-record=rewrite"
_MOST_TOKENS = 10**9
"""Far above any prompt or answer."""
_MOST_S = 10**6
_AT = re.compile(r"`(\$[^`]*)`$")
"""The path that an error ends with."""
_NOT_PART = ("deadline", "tags")
"""Of a request, what is another one in every run. So is the seed of a request that was given none."""


class CassetteError(UsageError):
    """A cassette cannot be used, or what is asked of it is not in it."""


class Trouble(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An error, by the class of ours that it is or derives from."""

    kind: str
    message: str
    hint: str | None = None
    retry_after_s: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in errors.__all__:
            raise ValueError(f"there is no error {self.kind!r}")

    @classmethod
    def of(cls, error: TTComputeError) -> Trouble:
        known = (base.__name__ for base in type(error).__mro__)
        return cls(
            kind=next(name for name in known if name in errors.__all__),
            message=error.message,
            hint=error.hint,
            retry_after_s=error.retry_after_s if isinstance(error, BackendError) else None,
        )

    def error(self) -> TTComputeError:
        kind: type[TTComputeError] = getattr(errors, self.kind)
        made = kind(self.message, hint=self.hint)
        if isinstance(made, BackendError):
            made.retry_after_s = self.retry_after_s
        return made

    def backend_error(self) -> BackendError:
        """The same, where only failures of backends can stand."""
        made = self.error()
        return made if isinstance(made, BackendError) else BackendError(made.message)


class _Failure(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``Failed``."""

    index: int
    error: Trouble
    text: str = ""
    usage: Usage = Usage()


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One event; exactly one of these is there."""

    delta: Delta | None = None
    sample: Sample | None = None
    failed: _Failure | None = None

    def __post_init__(self) -> None:
        if sum(one is not None for one in (self.delta, self.sample, self.failed)) != 1:
            raise ValueError("an event is one of `delta`, `sample` and `failed`")
        ended = self.sample or self.failed
        if ended is not None:
            _check_usage(ended.usage)
        if self.sample is not None:
            _check_timing(self.sample.timing)


def _check_usage(usage: Usage) -> None:
    for name, tokens, most in (
        ("input_tokens", usage.input_tokens, _MOST_TOKENS),
        ("cached_tokens", usage.cached_tokens, usage.input_tokens),
        ("output_tokens", usage.output_tokens, _MOST_TOKENS),
    ):
        if not 0 <= tokens <= most:
            raise ValueError(f"`usage.{name}` is {tokens}, and must be from 0 to {most}")


def _check_timing(timing: Timing) -> None:
    for name, seconds in (
        ("first_token_s", timing.first_token_s),
        ("total_s", timing.total_s),
        ("queue_s", timing.queue_s),
        ("prefill_s", timing.prefill_s),
        ("decode_s", timing.decode_s),
    ):
        if seconds is not None and not 0 <= seconds <= _MOST_S:
            raise ValueError(f"`timing.{name}` is {seconds}, and must be from 0 to {_MOST_S}")


class Interaction(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One prompt that was opened. Grows while it is recorded."""

    deployment: str
    request: dict[str, object]
    """As ``asked`` gives it."""
    refused: Trouble | None = None
    """Why it could not be opened."""
    drawn: int = 0
    events: list[Entry] = []
    """In the order in which they were handed over."""
    lost: Trouble | None = None
    """What the whole generation ended with."""


class Played(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A deployment, as its backend described it."""

    backend: str
    models: tuple[ModelInfo, ...]


class Recorded(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole cassette."""

    format: Literal["tt_compute.cassette"] = _FORMAT
    version: Literal[1] = _VERSION
    deployments: dict[str, Played]
    interactions: list[Interaction]


def asked(request: GenerateRequest) -> dict[str, object]:
    """What makes a request this one and no other; what is as it is by default is left out."""
    document = cast("dict[str, object]", _slim(request))
    for name in _NOT_PART:
        document.pop(name, None)
    sampling = document.get("sampling")
    if isinstance(sampling, dict):
        cast("dict[str, object]", sampling).pop("seed", None)
    return document


def entry_of(event: Event) -> Entry:
    """An event as it is kept: without what stood in headers."""
    if isinstance(event, Delta):
        return Entry(delta=event)
    if isinstance(event, Sample):
        return Entry(sample=msgspec.structs.replace(event, rate_limits=(), request_id=None))
    return Entry(
        failed=_Failure(
            index=event.index,
            error=Trouble.of(event.error),
            text=event.text,
            usage=event.usage,
        )
    )


def event_of(entry: Entry) -> Event:
    """The event that was kept."""
    if entry.failed is None:
        event = entry.delta or entry.sample
        assert event is not None, "the file was checked"
        return event
    kept = entry.failed
    return Failed(
        index=kept.index, error=kept.error.backend_error(), text=kept.text, usage=kept.usage
    )


def read_cassette(path: Path) -> Recorded:
    """Read a cassette.

    Raises:
        CassetteError: It cannot be read, is damaged, or of another kind or version.
    """
    tree = _file(path).read()
    try:
        recorded = msgspec.convert(tree, Recorded)
        _check_sense(recorded)
    except (msgspec.ValidationError, UsageError, ValueError) as error:
        at = _AT.search(str(error))
        text = path.read_text(encoding="utf-8")
        line = "" if at is None else f":{line_of(text, at[1])}"
        raise CassetteError(f"{path}{line} is damaged: {error}", hint=REWRITE) from error
    return recorded


def _check_sense(recorded: Recorded) -> None:
    """Refuse what no backend does, so that a file that was edited by hand is not replayed in part."""
    for name, played in recorded.deployments.items():
        if not played.models:
            raise ValueError(f"deployment {name!r} has no model")
    for number, one in enumerate(recorded.interactions):
        place = f"$.interactions[{number}]"
        if one.drawn < 0:
            raise ValueError(f"expected at least 0, got {one.drawn} - at `{place}.drawn`")
        ended: set[int] = set()
        for count, entry in enumerate(one.events):
            event = event_of(entry)
            if not 0 <= event.index < one.drawn or event.index in ended:
                raise ValueError(
                    f"an event of sample {event.index}, which was not drawn or had ended "
                    f"- at `{place}.events[{count}]`"
                )
            if not isinstance(event, Delta):
                ended.add(event.index)


def write_cassette(path: Path, recorded: Recorded, keys: Iterable[str]) -> None:
    """Write a cassette, whole or not at all.

    Args:
        path: Where to; a file that is there is replaced.
        recorded: What to write.
        keys: Secrets that must not be in it.

    Raises:
        CassetteError: One of them would be, or the file cannot be written.
    """
    document = cast("Json", _slim(recorded))
    assert isinstance(document, dict), "a struct is a mapping"
    text = dump({"format": _FORMAT, "version": _VERSION, **document})
    if any(key in text for key in keys):
        raise CassetteError(
            f"{path} was not written: a key of one of its deployments would stand in it",
            hint="take the key out of the prompt",
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CassetteError(f"{path.parent} cannot be made: {error.strerror or error}") from error
    _file(path).write_text(text)


def _slim(value: object) -> object:
    """Plain values, without fields that are as they are by default."""
    if isinstance(value, msgspec.Struct):
        fields = {field.name: field for field in msgspec.structs.fields(value)}
        return {
            name: _slim(found)
            for name, found in msgspec.structs.asdict(value).items()
            if fields[name].required or found != _default(fields[name])
        }
    if isinstance(value, Mapping):
        items = cast("Mapping[str, object]", value)
        return {key: _slim(found) for key, found in items.items()}
    if isinstance(value, list | tuple):
        return [_slim(found) for found in cast("list[object]", value)]
    return value


def _default(field: msgspec.structs.FieldInfo) -> object:
    # Of a mutable default msgspec keeps what makes it.
    made = field.default_factory
    return field.default if made is msgspec.NODEFAULT else made()


def _file(path: Path) -> JsonFile:
    return JsonFile(
        path=path,
        kind=_FORMAT,
        version=_VERSION,
        noun="cassette",
        writer="pytest --ttc-record",
        hint=REWRITE,
        error=CassetteError,
    )
