"""What a caller may say about one request, and the request that follows from it."""

from __future__ import annotations

from typing import TypedDict

from tt_compute.planning.types import Objective
from tt_compute.profiles.schema import TaskKind
from tt_compute.types import JsonSchemaFormat, SamplingParams
from tt_compute.verify.base import Verifier, VerifierCallable

__all__ = ["SolveOptions"]


class SolveOptions(TypedDict, total=False):
    """Options of ``solve``, ``plan`` and ``stream``; what is left out the planner decides."""

    objective: Objective
    """Default: the configuration's."""
    system: str
    """A system prompt to put before the messages."""
    task: TaskKind
    """Kind of task, and with it how answers are found. Default: detected from the prompt."""
    deployment: str
    """Id of the only deployment to consider."""
    strategy: str
    """``single``, ``majority`` or ``best_of_n``."""
    stop: str
    """Stop rule of a vote, such as ``beta`` or ``beta:0.99``."""
    verifier: str | Verifier | VerifierCallable
    """What judges samples: a name, or a callable ``(prompt, text) -> float | bool``."""
    sampling: SamplingParams
    """Overrides of the plan's sampling; None in it leaves a value to the plan."""
    seed: int
    """Short for ``sampling.seed``; without one a fresh seed is drawn and recorded."""
    temperature: float
    """Short for ``sampling.temperature``."""
    max_tokens: int
    """Short for ``sampling.max_tokens``."""
    response_format: JsonSchemaFormat
    """Every sample must satisfy this schema."""
    strict: bool
    """Raise ``InfeasibleError`` rather than run the nearest plan when none meets the objective."""
