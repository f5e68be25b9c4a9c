"""What was learned as a file, to be looked at and taken in on another machine.

Numbers only: no prompt, no answer, no key. Readable JSON, versioned.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

import msgspec

from tt_compute.errors import ConfigError, UsageError
from tt_compute.planning.estimates import LengthEvidence, SpeedEvidence
from tt_compute.planning.json_file import JsonFile
from tt_compute.planning.observations import LARGEST_LOGPROB, Observation
from tt_compute.profiles.checking import build
from tt_compute.profiles.document import Document
from tt_compute.profiles.schema import TaskKind

__all__ = ["DeploymentEvidence", "Evidence", "ModelEvidence", "load_evidence", "save_evidence"]

_FORMAT: Final = "tt_compute.evidence"
_VERSION: Final = 1
"""Raised when a file of the version before would be read otherwise than it was meant."""
_AGAIN = "export again: `ttc estimates export FILE`"
_LARGEST = 2**31
"""No count of tokens or samples is larger; such a file was not written by us."""


class ModelEvidence(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of one model, kind of task and weights; fields as in ``Estimates``."""

    model: str
    task: TaskKind
    weights: str | None = None
    """As in ``Version``; None = unknown."""
    observations: tuple[Observation, ...] = ()
    greedy: tuple[Observation, ...] = ()
    lengths: tuple[LengthEvidence, ...] = ()


class DeploymentEvidence(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Speeds of one deployment and kind of task, on the machine that the file comes from."""

    deployment: str
    task: TaskKind
    speeds: tuple[SpeedEvidence, ...]


class Evidence(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one store taught; what it had imported itself is no part of it."""

    format: Literal["tt_compute.evidence"] = _FORMAT
    version: Literal[1] = _VERSION
    origin: str
    """Random name of the store."""
    exported_at: float
    """Unix seconds."""
    mock: bool
    """Of mock runs, instead of real ones."""
    models: tuple[ModelEvidence, ...]
    deployments: tuple[DeploymentEvidence, ...]


def save_evidence(evidence: Evidence, path: Path | str) -> None:
    """Write it, whole or not at all; a file that is there is replaced.

    Raises:
        UsageError: The file cannot be written.
    """
    _file(path).write(evidence)


def load_evidence(path: Path | str) -> Evidence:
    """Read it.

    Raises:
        UsageError: The file cannot be read, is damaged, of another version, or says what no evidence says.
    """
    file = _file(path)
    try:
        evidence = build(Document(tree=file.read(), file=str(path)), Evidence)
    except ConfigError as error:
        hint = _AGAIN if error.hint is None else f"{_AGAIN} ({error.hint})"
        raise UsageError(error.message, hint=hint) from error
    for where, what in _faults(evidence):
        raise UsageError(f"{path}: {where}: {what}", hint=_AGAIN)
    return evidence


def _file(path: Path | str) -> JsonFile:
    return JsonFile(
        path=Path(path),
        kind=_FORMAT,
        version=_VERSION,
        noun="file of evidence",
        writer="`ttc estimates export`",
        hint=_AGAIN,
        error=UsageError,
    )


def _faults(evidence: Evidence) -> Iterator[tuple[str, str]]:
    """What has the right type and still cannot be."""
    if not evidence.origin:
        yield "origin", "is empty"
    for where, number, known in _entries(evidence):
        if not known:
            yield f"{where}[{number}]", "is nothing that was observed"


def _entries(evidence: Evidence) -> Iterator[tuple[str, int, bool]]:
    """Where each entry stands, and whether it can be."""
    for place, one in enumerate(evidence.models):
        for name in ("observations", "greedy"):
            for number, question in enumerate(getattr(one, name)):
                yield f"models[{place}].{name}", number, _is_question(question)
        for number, length in enumerate(one.lengths):
            yield f"models[{place}].lengths", number, _is_length(length)
    for place, of in enumerate(evidence.deployments):
        for number, speed in enumerate(of.speeds):
            known = speed.wave >= 1 and _within(speed.n) and _within(speed.tokens_per_s)
            yield f"deployments[{place}].speeds", number, known


def _is_question(one: Observation) -> bool:
    counts = (one.right, one.refused, one.abstained, one.prompt_tokens or 0)
    groups = (*one.wrong, *one.unsure)
    whole = all(0 <= count < _LARGEST for count in counts) and all(
        1 <= count < _LARGEST for count in groups
    )
    logprobs = (one.right_logprob, one.wrong_logprob)
    likely = all(abs(known or 0.0) < LARGEST_LOGPROB for known in logprobs)
    return whole and likely and 0 < one.samples < _LARGEST and 0 < one.weight <= 1


def _is_length(one: LengthEvidence) -> bool:
    return (
        _within(one.n)
        and _within(one.mean, least=0.0)
        and _within(one.p95, least=0.0)
        and 0 <= (one.prompt_tokens or 0) < _LARGEST
    )


def _within(value: float, least: float | None = None) -> bool:
    """Whether a figure is finite and positive, or at least ``least``."""
    enough = value > 0 if least is None else value >= least
    return math.isfinite(value) and enough and value < _LARGEST
