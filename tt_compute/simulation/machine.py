"""What the simulation knows of one deployment: its speed at every number of rows, its room, its limits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import NormalDist
from typing import NamedTuple

import msgspec

from tt_compute.planning.performance import Pace, Prefill, rows_are_independent
from tt_compute.planning.roofline import StepTime, UnknownFact, kv_bytes_per_token, weights_of
from tt_compute.profiles.schema import DeploymentSpec
from tt_compute.types import Capabilities

__all__ = ["UNSTATED_ROWS", "Machine", "RateLimit", "assumed_capabilities", "machine_of"]

UNSTATED_ROWS = 256
"""Most rows of a batch where neither ``max_sequences`` nor ``max_concurrency`` is stated."""
_MOST_ROWS = 4096
"""Of a batch whose rows share a device, whatever is stated: far beyond what engines take."""
_Z95 = NormalDist().inv_cdf(0.95)
_SECONDS = {"minute": 60.0, "day": 86400.0}


class RateLimit(NamedTuple):
    """A token bucket that holds as much as the limit allows in its window, and starts full."""

    name: str
    """Its path in the profile."""
    of_tokens: bool
    """Counts prompt and completion tokens; else requests, one for each sample."""
    amount: float
    window_s: float

    @property
    def per_s(self) -> float:
        return self.amount / self.window_s


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """One copy of a deployment.

    Where rows are independent of each other (a service, a mock) ``steps`` holds the step of a wave of each
    width, and the time to first token varies; else ``steps`` holds the step of a batch of so many rows, and a
    prompt takes as long as it is computed.
    """

    spec: DeploymentSpec
    capabilities: Capabilities
    independent: bool
    prefill: Prefill
    prompt_once: bool
    """A run's samples share its prompt; else each computes it, or waits for it."""
    steps: tuple[StepTime, ...]
    """Of 1, 2, 3 ... rows, as far as they are known."""
    max_rows: int | None
    """None = no limit is known."""
    rows_bind: str
    """Path of what limits the rows."""
    kv_tokens: float | None
    """Tokens that keys and values have room for; None = unknown, and taken to suffice."""
    limits: tuple[RateLimit, ...]

    def step(self, rows: int) -> StepTime:
        """Of so many rows, or as many as are known."""
        return self.steps[min(rows, len(self.steps)) - 1]

    def first_token_s(self, tokens: float) -> tuple[float, float]:
        """Median time to the first token of a prompt, and its spread: the deviation of its logarithm."""
        p50, p95 = self.prefill.seconds(tokens)
        if not self.independent or not p50 or p95 <= p50:
            return p50, 0.0
        return p50, math.log(p95 / p50) / _Z95


def assumed_capabilities(spec: DeploymentSpec) -> Capabilities:
    """What a deployment that need not be here is taken to be able to do.

    An engine of one's own draws samples from one prefill, as vLLM, SGLang, llama.cpp and the local backends
    do. A service is asked for one sample at a time and bills each its prompt, which holds everywhere.
    """
    own = spec.hardware.local
    return Capabilities(
        native_n=own,
        prefix_sharing=own,
        cancel="sample",
        stop=True,
        streaming=True,
        continuous_batching=True,
    )


def machine_of(spec: DeploymentSpec, capabilities: Capabilities) -> Machine:
    """Work a deployment out.

    Raises:
        UnknownFact: Its speed is unknown, or its weights do not fit into its memory.
    """
    pace = Pace(spec, capabilities)
    prefill = pace.prefill()
    independent = rows_are_independent(spec.hardware)
    max_rows, rows_bind = _rows(spec, independent=independent)
    widest = UNSTATED_ROWS if max_rows is None else min(max_rows, _MOST_ROWS)
    # Twice as many as there may be, to tell what more of them would bring.
    steps = tuple(_steps(pace, 2 * widest))
    if not independent and len(steps) < widest:
        max_rows, rows_bind = len(steps), "speed.decode_tokens_per_s_by_wave"
    kv_tokens = None if independent else _kv_tokens(spec)
    return Machine(
        spec=spec,
        capabilities=capabilities,
        independent=independent,
        prefill=prefill,
        prompt_once=pace.prefills == "once",
        steps=steps,
        max_rows=max_rows,
        rows_bind=rows_bind,
        kv_tokens=kv_tokens,
        limits=tuple(_limits(spec)),
    )


def _rows(spec: DeploymentSpec, *, independent: bool) -> tuple[int | None, str]:
    stated = {
        "placement.max_sequences": spec.deployment.placement.max_sequences,
        "limits.max_concurrency": spec.deployment.limits.max_concurrency,
    }
    known = [(rows, name) for name, rows in stated.items() if rows is not None]
    if known:
        rows, name = min(known)
        return (rows if independent else min(rows, _MOST_ROWS)), name
    return (None, "") if independent else (UNSTATED_ROWS, "placement.max_sequences")


def _steps(pace: Pace, most: int) -> Iterator[StepTime]:
    """Step times from one row on; the first must be known."""
    yield pace.step(1)
    for rows in range(2, most + 1):
        try:
            yield pace.step(rows)
        except UnknownFact:
            return


def _kv_tokens(spec: DeploymentSpec) -> float | None:
    """What the devices' memory leaves beside the weights, or ``placement.memory_bytes``, in tokens."""
    try:
        per_token = kv_bytes_per_token(spec.model, spec.deployment.placement.kv_dtype)
        weights = weights_of(spec).bytes
    except UnknownFact:
        return None
    placement = spec.deployment.placement
    memory = spec.hardware.memory.bytes.value
    room = math.inf if memory is None else memory * placement.tensor_parallel - weights
    if room <= 0:
        raise UnknownFact(
            f"how {spec.model.id} runs on {spec.hardware.id}, whose memory its weights do not fit into,"
        )
    if placement.memory_bytes is not None:
        room = min(room, placement.memory_bytes)
    return None if math.isinf(room) else room / per_token


def _limits(spec: DeploymentSpec) -> Iterator[RateLimit]:
    for what in ("requests", "tokens"):
        for window, seconds in _SECONDS.items():
            name = f"{what}_per_{window}"
            amount = getattr(spec.deployment.limits, name)
            if amount is not None:
                yield RateLimit(f"limits.{name}", what == "tokens", amount, seconds)
