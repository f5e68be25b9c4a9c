"""What the caller wants, what the planner decided, and what it predicts."""

from __future__ import annotations

import math
from typing import Any, Literal

import msgspec

from tt_compute.errors import InvalidRequestError
from tt_compute.profiles.schema import TaskKind
from tt_compute.types import SamplingParams

__all__ = ["Candidate", "Objective", "Plan", "Prediction", "Preference", "Premise", "Rejection"]

Preference = Literal["quality", "cost", "latency", "energy"]
MAX_SAMPLES = 4096
"""Largest budget of one request; more is a batch job."""
_PREFERENCES = ("quality", "cost", "latency", "energy")


class Objective(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a request should reach. Every limit that is None does not bind.

    Raises:
        InvalidRequestError: A value is out of range.
    """

    quality: float | None = None
    """Wanted P(answer correct), in (0, 1)."""
    max_cost_usd: float | None = None
    max_latency_s: float | None = None
    """Limits the predicted p95 when planning and is the run's deadline from the call on."""
    max_energy_j: float | None = None
    max_samples: int = 16
    locality: Literal["any", "local"] = "any"
    prefer: Preference = "quality"
    """Decides among plans that meet every constraint."""

    def __post_init__(self) -> None:
        """Refuse values that no plan could honour."""
        self._check_numbers()
        if self.quality is not None and not 0 < self.quality < 1:
            raise InvalidRequestError(f"quality must lie between 0 and 1, got {self.quality}")
        for name in ("max_cost_usd", "max_latency_s", "max_energy_j"):
            value = getattr(self, name)
            if value is None:
                continue
            least_ok = value >= 0 if name == "max_cost_usd" else value > 0
            if not (math.isfinite(value) and least_ok):
                raise InvalidRequestError(f"{name} must be a positive number, got {value}")
        if not 1 <= self.max_samples <= MAX_SAMPLES:
            raise InvalidRequestError(
                f"max_samples must be 1 to {MAX_SAMPLES}, got {self.max_samples}"
            )
        if self.locality not in ("any", "local"):
            raise InvalidRequestError(f"locality must be 'any' or 'local', got {self.locality!r}")
        if self.prefer not in _PREFERENCES:
            raise InvalidRequestError(
                f"prefer must be one of {', '.join(_PREFERENCES)}, got {self.prefer!r}"
            )

    def _check_numbers(self) -> None:
        """Not every caller has a type checker."""
        for name in ("quality", "max_cost_usd", "max_latency_s", "max_energy_j", "max_samples"):
            value: object = getattr(self, name)
            kinds = int if name == "max_samples" else int | float | None
            if not isinstance(value, kinds) or isinstance(value, bool):
                raise InvalidRequestError(f"{name} must be a number, got {value!r:.80}")


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """What a candidate is expected to do; None where a fact it needs is unknown."""

    quality: float | None = None
    latency_p50_s: float | None = None
    latency_p95_s: float | None = None
    cost_usd: float | None = None
    energy_j: float | None = None
    samples_mean: float | None = None
    """Expected number of samples drawn before the stop rule ends the run."""


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """What a cascade goes on to when the first deployment did not settle the question, or one sample of a member."""

    deployment: str
    backend: str
    model: str
    strategy: str
    stop_rule: str | None
    max_samples: int
    wave: int
    share: float | None = None
    """Of the questions that are expected to come here."""
    sampling: SamplingParams = SamplingParams()
    """As in ``Candidate``."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """One combination the planner weighed."""

    deployment: str
    backend: str
    model: str
    strategy: str
    stop_rule: str | None
    max_samples: int
    wave: int
    """Most samples in flight at once."""
    feasible: bool
    violates: tuple[str, ...]
    """Objective keys that are not met, tightest first; ``cost_usd: unknown`` for an unknown one."""
    predicted: Prediction
    sampling: SamplingParams = SamplingParams()
    """Not part of the JSON contract: how the samples will be drawn."""
    then: Stage | None = None
    """Of a cascade; ``max_samples`` is of both deployments together."""
    weight: str | None = None
    """What votes weigh by; None = all alike."""
    ahead: float = 1.0
    """Of a vote: least chance at which a sample is drawn before it is sure to be needed."""
    members: tuple[Stage, ...] = ()
    """Not part of the JSON contract: where the strategy names its deployments, how a sample of each is drawn."""

    @property
    def first_samples(self) -> int:
        """Most samples of the first deployment."""
        return self.max_samples - (0 if self.then is None else self.then.max_samples)

    def to_dict(self) -> dict[str, Any]:
        """The JSON contract's ``C``; with ``then`` for a cascade, ``weight`` where votes weigh, ``ahead`` below 1."""
        document: dict[str, Any] = msgspec.to_builtins(self)
        del document["sampling"], document["members"]
        if self.weight is None:
            del document["weight"]
        if self.ahead == 1:
            del document["ahead"]
        if self.then is None:
            del document["then"]
        else:
            del document["then"]["sampling"]
        return document


class Rejection(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment that was never predicted, and why."""

    deployment: str
    reason: str


class Premise(msgspec.Struct, frozen=True, kw_only=True):
    """What was known of a deployment that was weighed, by which a later look tells what has changed."""

    deployment: str
    hardware: str
    weights: str | None = None
    """As in ``Version``, with ``runtime``."""
    runtime: str | None = None
    figures: dict[str, float] = {}
    """Known numbers that predictions rest on, by their path in the profiles; an unknown one is absent."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The decision before a run, and all that was weighed for it."""

    chosen: Candidate | None
    """None only under ``strict`` when no candidate is feasible."""
    candidates: tuple[Candidate, ...]
    rejected: tuple[Rejection, ...]
    objective: Objective
    task: TaskKind
    elapsed_us: float
    """From request to choice with profiles loaded."""
    setup_us: float
    """Everything before: reading YAML, opening the store, counting tokens."""
    delays: tuple[str, ...] = ()
    """What latencies hold besides the work itself, in sentences: waiting, loading a model."""
    advice: str = ""
    """When nothing is feasible: the constraint that binds and what it would take."""
    premises: tuple[Premise, ...] = ()
    """Of the deployments that were weighed; with what follows not part of the JSON contract."""
    warnings: tuple[str, ...] = ()
    """Of a plan that was loaded: what is no longer as it was when the plan was made."""
    resting: tuple[str, ...] = ()
    """Deployments that would take nothing just now, but may while the plan runs."""

    def to_dict(self) -> dict[str, Any]:
        """The JSON contract's ``plan``."""
        return {
            "chosen": None if self.chosen is None else self.chosen.to_dict(),
            "candidates": [candidate.to_dict() for candidate in self.candidates],
            "rejected": msgspec.to_builtins(self.rejected),
            "objective": msgspec.to_builtins(self.objective),
            "task": self.task,
            "elapsed_us": self.elapsed_us,
            "setup_us": self.setup_us,
        }
