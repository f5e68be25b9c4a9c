"""What one run takes of a deployment, limit by limit, as seconds of which there is one in each second."""

from __future__ import annotations

import math
from typing import NamedTuple

from tt_compute.simulation.routes import Route
from tt_compute.simulation.workload import Typical

__all__ = ["Use", "context_tokens", "full_rows", "step_s", "uses_of", "work_s"]

_GAINS = 1.05
"""Rows bind where twice as many of them would make a full engine so much faster; else its speed does."""


class Use(NamedTuple):
    """Of one limit."""

    resource: str
    """``engine``, or the path of the limit in the profile."""
    binds: str
    """That path; of an engine the path of what keeps its rows from being more, or ``prefill`` or ``decode``."""
    seconds: float
    """Of a copy that is used up by nothing else, for one run."""


def uses_of(route: Route, typical: Typical) -> tuple[Use, ...]:
    """All limits that are known."""
    machine, courses = route.machine, route.courses
    uses = [
        Use(
            limit.name,
            limit.name,
            (_tokens(route, typical) if limit.of_tokens else courses.samples) / limit.per_s,
        )
        for limit in machine.limits
    ]
    if not machine.independent:
        uses.append(Use("engine", _binds(route, typical), _engine_s(route, typical)))
    elif machine.max_rows is not None:
        seconds = _rows_s(route, typical) / machine.max_rows
        uses.append(Use(machine.rows_bind, machine.rows_bind, seconds))
    return tuple(uses)


def work_s(route: Route, typical: Typical) -> float:
    """What a run takes of the limit that it takes most of; 0 where none is known."""
    return max((use.seconds for use in uses_of(route, typical)), default=0.0)


def step_s(route: Route, typical: Typical, rows: int) -> float:
    """Of one decode step with so many rows."""
    return route.machine.step(rows).at(context_tokens(route, typical))


def context_tokens(route: Route, typical: Typical) -> float:
    """What a row reads in a step, on the mean: its prompt and half of what it comes to."""
    return typical.input_tokens + typical.scale * route.courses.row_tokens / 2


def full_rows(route: Route, typical: Typical) -> int:
    """Rows of an engine that is full of such runs: what ``max_rows`` and the room for keys and values allow."""
    machine = route.machine
    assert machine.max_rows is not None
    if machine.kv_tokens is None:
        return machine.max_rows
    courses = route.courses
    held = typical.scale * courses.live_row_tokens + typical.input_tokens / courses.rows_alive
    return max(1, min(machine.max_rows, int(machine.kv_tokens / held)))


def _engine_s(route: Route, typical: Typical) -> float:
    return _prefill_s(route, typical) + _decode_s(route, typical, full_rows(route, typical))


def _prefill_s(route: Route, typical: Typical) -> float:
    once = route.machine.prefill.seconds(typical.input_tokens)[0]
    return once if route.machine.prompt_once else once * route.courses.samples


def _decode_s(route: Route, typical: Typical, rows: int) -> float:
    return _steps(route, typical) * step_s(route, typical, rows) / rows


def _steps(route: Route, typical: Typical) -> float:
    """Of all rows of a run; the first token of each is prefill's."""
    return max(0.0, typical.scale * route.courses.tokens - route.courses.samples)


def _rows_s(route: Route, typical: Typical) -> float:
    """Seconds of all rows of a run at a service."""
    machine, courses = route.machine, route.courses
    median, spread = machine.first_token_s(typical.input_tokens)
    waited = 1.0 if machine.prompt_once else courses.samples
    first = waited * median * math.exp(spread**2 / 2)
    return first + _steps(route, typical) * step_s(route, typical, route.candidate.wave)


def _tokens(route: Route, typical: Typical) -> float:
    return typical.scale * route.courses.tokens + route.courses.samples * typical.input_tokens


def _binds(route: Route, typical: Typical) -> str:
    """What a full engine of one's own is at the end of."""
    machine = route.machine
    rows = full_rows(route, typical)
    prefill, decode = _prefill_s(route, typical), _decode_s(route, typical, rows)
    known = 2 * rows <= len(machine.steps)
    widened = _decode_s(route, typical, 2 * rows) if known else 0.0
    if prefill + decode > _GAINS * (prefill + widened):
        return machine.rows_bind if rows == machine.max_rows else "hardware.memory.bytes"
    return "prefill" if prefill > decode else "decode"
