"""What a caller may say about one request."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import MappingProxyType
from typing import TypedDict, cast

import msgspec

from tt_compute.errors import InvalidRequestError
from tt_compute.planning.types import Objective, Plan
from tt_compute.profiles.schema import TaskKind
from tt_compute.prompts import Prompt, to_messages
from tt_compute.sampling import check_types
from tt_compute.strategies.base import Strategy
from tt_compute.types import Deltas, GenerateRequest, JsonSchemaFormat, SamplingParams
from tt_compute.verify.base import EqualityCallable, Verifier, VerifierCallable

__all__ = ["SolveOptions", "checked"]


class SolveOptions(TypedDict, total=False):
    """Options of ``solve``, ``plan`` and ``stream``.

    What is left out, or None, the planner decides.
    """

    plan: Plan | None
    """A plan made before, to be run as it stands. Beside it only ``system``, ``verifier``, ``response_format``
    and a ``seed`` can be given."""
    objective: Objective | None
    """Default: the configuration's."""
    system: str | None
    """A system prompt to put before the messages."""
    task: TaskKind | None
    """Kind of task, and with it how answers are found. Default: detected from the prompt."""
    deployment: str | None
    """Id of the only deployment to consider."""
    strategy: str | Strategy | None
    """A name, such as ``single``, ``majority`` or ``best_of_n``, or a strategy of one's own or with settings of
    one's own. Where nothing predicts what a strategy takes, its figures are unknown."""
    stop: str | None
    """Stop rule of a vote, such as ``beta`` or ``beta:0.99``."""
    weight: str | None
    """What votes weigh by: ``logprob``, ``certainty``, ``tail`` or ``verifier``, each also with a softmax's
    temperature behind a colon. Asks for ``majority``, which then draws the whole budget unless ``stop="certain"``."""
    ahead: float | None
    """Draw samples of a vote before it is sure to need them, from this chance on that it will: 1 waits for what is
    needed, 0 draws the whole budget at once; the answer stays the same. Below 1 it asks for ``majority``. Default:
    the plan's choice."""
    equal: str | EqualityCallable | None
    """Which answers vote together: ``exact``, ``numeric``, ``math``, ``semantic=DEPLOYMENT,THRESHOLD``, or a callable
    ``(answer, answer) -> bool``. Default: as the kind of task compares them."""
    verifier: str | Verifier | VerifierCallable | None
    """What judges samples: a name, or a callable ``(prompt, text) -> float | bool``. Asks for ``best_of_n``, unless
    it is what votes weigh by."""
    sampling: SamplingParams | None
    """Overrides of the plan's sampling; None in it leaves a value to the plan."""
    seed: int | None
    """Short for ``sampling.seed``; without one a fresh seed is drawn and recorded."""
    temperature: float | None
    """Short for ``sampling.temperature``."""
    max_tokens: int | None
    """Short for ``sampling.max_tokens``."""
    response_format: JsonSchemaFormat | None
    """Every sample must satisfy this schema."""
    strict: bool | None
    """Raise ``InfeasibleError`` rather than run the nearest plan when none meets the objective."""


_TYPES: Mapping[str, type | tuple[type, ...]] = MappingProxyType(
    {
        "plan": Plan,
        "objective": Objective,
        "system": str,
        "task": str,
        "deployment": str,
        "strategy": (str, Strategy),
        "stop": str,
        "weight": str,
        "ahead": (float, int),
        "equal": object,
        "verifier": object,
        "sampling": SamplingParams,
        "seed": int,
        "temperature": (float, int),
        "max_tokens": int,
        "response_format": JsonSchemaFormat,
        "strict": bool,
    }
)
_HOMES = {
    field.name: f"{name}={struct.__name__}({field.name}=...)"
    for name, struct in (("sampling", SamplingParams), ("objective", Objective))
    for field in msgspec.structs.fields(struct)
}
"""Names that callers take for options, and where they belong."""
_STRATEGY = "a strategy is an object with a `name` and an async `run(run)`"


def checked(options: SolveOptions) -> SolveOptions:
    """The options without those that are None.

    Raises:
        InvalidRequestError: One has an unknown name or a value of the wrong type; a type checker would
            have found it, and items of ``solve_many`` often come from a file.
    """
    given = {name: value for name, value in options.items() if value is not None}
    for name, value in given.items():
        wanted = _TYPES.get(name)
        if wanted is None:
            raise InvalidRequestError(f"there is no option {name!r}", hint=_hint(name))
        kinds = wanted if isinstance(wanted, tuple) else (wanted,)
        # To Python a bool is an int; to a saved plan it is none.
        strange = isinstance(value, type) or (isinstance(value, bool) and bool not in kinds)
        if not isinstance(value, wanted) or (wanted is not object and strange):
            raise InvalidRequestError(
                f"option {name!r} must be {' or '.join(kind.__name__ for kind in kinds)}, "
                f"got {_shown(value)}",
                hint=_STRATEGY if name == "strategy" else None,
            )
    return cast("SolveOptions", given)


def raw_request(
    prompt: Prompt,
    *,
    system: str | None,
    sampling: SamplingParams | None,
    response_format: JsonSchemaFormat | None,
    deltas: Deltas,
    deadline: float | None,
) -> GenerateRequest:
    """What ``Client.open`` and ``Client.generate`` were given, as a backend gets it.

    Raises:
        InvalidRequestError: The prompt is empty, or an option is not of its type.
    """
    request = GenerateRequest(
        messages=to_messages(prompt, system=system),
        sampling=SamplingParams() if sampling is None else sampling,
        response_format=response_format,
        deltas=deltas,
        deadline=deadline,
    )
    check_types("the request", request, GenerateRequest)
    return request


def _shown(value: object) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__


def _hint(name: str) -> str:
    if name in _HOMES:
        return f"say {_HOMES[name]}"
    near = difflib.get_close_matches(name, _TYPES, n=1)
    return f"did you mean {near[0]!r}?" if near else f"options: {', '.join(_TYPES)}"
