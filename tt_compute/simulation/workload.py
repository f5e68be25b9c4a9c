"""What arrives: requests by time, kind of task and length, drawn at a rate or read from a trace."""

from __future__ import annotations

import itertools
import math
import random
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec

from tt_compute.errors import InvalidRequestError
from tt_compute.profiles.schema import TaskKind

__all__ = ["Arrival", "Kind", "Typical", "Workload", "check_rate", "poisson", "read_trace"]

MAX_REQUESTS = 10_000_000
_RATES = (1e-4, 1e6)
"""Beyond them a second is too small a part of the whole, or too large a one, to be told in floating point."""
_MAX_AT_S = 1e9
_MAX_TOKENS = 100_000_000
_MOST_LINE_BYTES = 65_536
_INPUT_STEP = math.sqrt(2)
_OUTPUT_STEP = 2.0
"""Lengths within such a factor are planned together, as the longest of them; each is simulated as it is."""

Tokens = Annotated[int, msgspec.Meta(ge=1, le=_MAX_TOKENS)]


class Kind(msgspec.Struct, frozen=True):
    """Requests that are planned alike."""

    task: TaskKind
    input_tokens: int
    """The longest prompt among them."""
    output_tokens: int | None
    """Completion tokens of each of their samples, the longest among them; None = as the model's profile has it."""


class Typical(NamedTuple):
    """The mean request of a kind."""

    input_tokens: float
    scale: float
    """Completion tokens over those that the kind is planned with."""


class Arrival(NamedTuple):
    """One request."""

    at_s: float
    kind: int
    """Position of its kind."""
    input_tokens: int
    output_tokens: int
    """Of each of its samples; 0 where the kind states none."""


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """Requests in the order of their arrival, the first one at 0 s."""

    kinds: tuple[Kind, ...]
    counts: tuple[int, ...]
    """Requests of each kind."""
    typical: tuple[Typical, ...]
    """Of each kind."""
    arrivals: tuple[array[float], array[int], array[int], array[int]]
    """The fields of ``Arrival``, column by column."""
    rate_per_s: float | None
    """Mean rate; None where all come at once."""

    def __len__(self) -> int:
        return len(self.arrivals[0])

    def __iter__(self) -> Iterator[Arrival]:
        return map(Arrival._make, zip(*self.arrivals, strict=True))

    def at_rate(self, rate_per_s: float) -> Workload:
        """The same requests in the same pattern, closer together or farther apart.

        Raises:
            InvalidRequestError: They all come at once, or the rate is out of range.
        """
        check_rate(rate_per_s)
        if self.rate_per_s is None:
            raise InvalidRequestError(
                "requests that all arrive at once have no rate that could be changed",
                hint="give --rate, or a trace whose at_s differ",
            )
        factor = self.rate_per_s / rate_per_s
        times = array("d", (at * factor for at in self.arrivals[0]))
        return msgspec.structs.replace(
            self, arrivals=(times, *self.arrivals[1:]), rate_per_s=rate_per_s
        )


def poisson(kind: Kind, *, rate_per_s: float, requests: int, seed: int) -> Workload:
    """Requests of one kind that arrive independently of each other.

    Raises:
        InvalidRequestError: A value is out of range.
    """
    check_rate(rate_per_s)
    if not 1 <= requests <= MAX_REQUESTS:
        raise InvalidRequestError(f"requests must be 1 to {MAX_REQUESTS}, got {requests}")
    rng = random.Random(f"{seed}:arrivals")  # noqa: S311 - tries things out, guards nothing
    gaps = (rng.expovariate(rate_per_s) for _ in range(requests - 1))
    return Workload(
        kinds=(kind,),
        counts=(requests,),
        typical=(Typical(kind.input_tokens, 1.0),),
        arrivals=(
            array("d", itertools.accumulate(gaps, initial=0.0)),
            array("q", [0]) * requests,
            array("q", [kind.input_tokens]) * requests,
            array("q", [0]) * requests,
        ),
        rate_per_s=rate_per_s,
    )


def check_rate(rate_per_s: float) -> None:
    """Refuse a rate that cannot be simulated.

    Raises:
        InvalidRequestError: It is out of range.
    """
    least, most = _RATES
    if not least <= rate_per_s <= most:
        raise InvalidRequestError(
            f"the rate must be {least:g} to {most:g} requests per second, got {rate_per_s:g}"
        )


_Row = tuple[TaskKind, int, int | None]
"""Task, prompt tokens, completion tokens of each sample."""


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A line of a trace."""

    at_s: Annotated[float, msgspec.Meta(ge=0, le=_MAX_AT_S)]
    task: TaskKind | None = None
    input_tokens: Tokens | None = None
    output_tokens: Tokens | None = None


def read_trace(path: Path, *, task: TaskKind, input_tokens: int) -> Workload:
    """Requests from a file of one JSON object a line; their times need not be in order.

    Args:
        path: The file.
        task: Of the lines that state none.
        input_tokens: Of the lines that state none.

    Raises:
        InvalidRequestError: The file cannot be read or a line of it is wrong; the first fault.
    """
    lines = sorted(_lines(path), key=lambda line: line.at_s)
    if not lines:
        raise InvalidRequestError(f"{path}: there is no request in it")
    begin, span = lines[0].at_s, lines[-1].at_s - lines[0].at_s
    rows: list[_Row] = [
        (line.task or task, line.input_tokens or input_tokens, line.output_tokens) for line in lines
    ]
    groups = _groups(rows)
    places = [0] * len(rows)
    for place, numbers in enumerate(groups.values()):
        for number in numbers:
            places[number] = place
    kinds = [_kind(rows, numbers) for numbers in groups.values()]
    return Workload(
        kinds=tuple(kinds),
        counts=tuple(map(len, groups.values())),
        typical=tuple(map(_typical, itertools.repeat(rows), groups.values(), kinds)),
        arrivals=(
            array("d", (line.at_s - begin for line in lines)),
            array("q", places),
            array("q", (tokens for _, tokens, _ in rows)),
            array("q", (tokens or 0 for _, _, tokens in rows)),
        ),
        rate_per_s=(len(lines) - 1) / span if span > 0 else None,
    )


def _lines(path: Path) -> Iterator[_Line]:
    decoder = msgspec.json.Decoder(_Line)
    try:
        with path.open("rb") as file:
            read = iter(lambda: file.readline(_MOST_LINE_BYTES), b"")
            for number, text in enumerate(read, start=1):
                if number > MAX_REQUESTS:
                    raise InvalidRequestError(f"{path}: more than {MAX_REQUESTS} lines")
                if text.strip():
                    yield _line(decoder, text, f"{path}:{number}")
    except OSError as exc:
        raise InvalidRequestError(f"{path} cannot be read: {exc.strerror or exc}") from exc


def _line(decoder: msgspec.json.Decoder[_Line], text: bytes, place: str) -> _Line:
    if len(text) == _MOST_LINE_BYTES:
        raise InvalidRequestError(f"{place}: the line is longer than {_MOST_LINE_BYTES} bytes")
    try:
        return decoder.decode(text)
    except UnicodeDecodeError as exc:
        raise InvalidRequestError(f"{place}: the line is not UTF-8: {exc.reason}") from exc
    except msgspec.DecodeError as exc:
        raise InvalidRequestError(
            f"{place}: {_readable(str(exc))}",
            hint='such as {"at_s": 1.5, "task": "math", "input_tokens": 200, "output_tokens": 300}',
        ) from exc


def _readable(fault: str) -> str:
    """What is wrong, beginning with the field where the decoder names one."""
    what, _, where = fault.partition(" - at `$.")
    return f"{where.rstrip('`')}: {what}" if where else what


def _groups(rows: list[_Row]) -> dict[tuple[TaskKind, int, int | None], list[int]]:
    """Numbers of the rows that are planned alike."""
    groups: dict[tuple[TaskKind, int, int | None], list[int]] = {}
    for number, (task, given, made) in enumerate(rows):
        out = None if made is None else _bucket(made, _OUTPUT_STEP)
        groups.setdefault((task, _bucket(given, _INPUT_STEP), out), []).append(number)
    return groups


def _kind(rows: list[_Row], numbers: list[int]) -> Kind:
    task, _, made = rows[numbers[0]]
    return Kind(
        task,
        max(rows[number][1] for number in numbers),
        None if made is None else max(rows[number][2] or 0 for number in numbers),
    )


def _typical(rows: list[_Row], numbers: list[int], kind: Kind) -> Typical:
    n = len(numbers)
    made = sum(rows[number][2] or 0 for number in numbers) / n
    return Typical(
        input_tokens=sum(rows[number][1] for number in numbers) / n,
        scale=1.0 if kind.output_tokens is None else made / kind.output_tokens,
    )


def _bucket(tokens: int, step: float) -> int:
    return math.ceil(math.log(tokens, step) - 1e-9)
