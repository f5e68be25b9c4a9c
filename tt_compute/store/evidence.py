"""What the rows teach the planner. Mock runs and real ones are never mixed, nor versions of one deployment.

Newer rows count more: each counts half of what the one does that is ``_HALF_LIFE`` rows of its kind younger.
"""

from __future__ import annotations

import math
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import NamedTuple, cast

import msgspec

from tt_compute.planning.estimates import (
    Estimates,
    History,
    LeftOut,
    LengthEvidence,
    SpeedEvidence,
    Version,
)
from tt_compute.planning.evidence_file import DeploymentEvidence, Evidence, ModelEvidence
from tt_compute.planning.observations import LARGEST_LOGPROB, Observation
from tt_compute.planning.similarity import length_band
from tt_compute.profiles.schema import TaskKind
from tt_compute.store.forgotten import count_forgotten, teaches
from tt_compute.store.imports import describe_imports, read_imports, store_name

__all__ = ["length_evidence", "read_estimates", "read_evidence", "read_history"]

_RECENT_RUNS = 500
"""Only the newest runs count: models, machines and services change, and reading stays quick."""
_HALF_LIFE = {"questions": 250, "samples": 1000, "runs": 100}
_UNJUDGED = 0.1
"""What a question counts of which only the votes are known: agreement is no proof."""
_PERCENTILE = 0.95
_ROUNDING = 1e-9
_WEIGHTS = "CASE WHEN samples.model = receipts.model THEN receipts.weights END"
"""Of a sample; those of a model that stood in are unknown."""
_LOGPROB = f"CASE WHEN abs(samples.mean_logprob) < {LARGEST_LOGPROB} THEN samples.mean_logprob END"
"""None for what is none."""
_CREDITS = f"""
    SELECT receipts.number, samples.model, receipts.deployment, receipts.weights, receipts.task,
           receipts.greedy, receipts.correct, receipts.votes, receipts.abstained, receipts.accepted,
           receipts.refused, receipts.prompt_tokens, sum(samples.agrees), count(*),
           avg(CASE WHEN samples.agrees THEN {_LOGPROB} END),
           avg(CASE WHEN samples.accepted THEN {_LOGPROB} END),
           avg(CASE WHEN NOT samples.accepted THEN {_LOGPROB} END)
    FROM receipts JOIN samples ON samples.receipt = receipts.number
    WHERE receipts.number IN (SELECT number FROM receipts WHERE is_mock = :mock AND {{which}}
                              ORDER BY number DESC LIMIT :runs)
      AND samples.finished AND samples.own AND samples.counted AND samples.model IS NOT NULL AND {teaches("samples.model")}
      AND (:every OR {_WEIGHTS} IS :weights)
    GROUP BY receipts.number, samples.model ORDER BY receipts.number DESC
"""  # noqa: S608 - our own names
_JUDGED = _CREDITS.format(which="(correct IS NOT NULL OR accepted + refused > 0)")
_VOTED = _CREDITS.format(
    which="correct IS NULL AND accepted + refused = 0 AND samples_finished > 1"
)
_LENGTHS = f"""
    SELECT samples.model, receipts.task, receipts.deployment, receipts.weights,
           receipts.prompt_tokens, samples.output_tokens, samples.finished
    FROM receipts JOIN samples ON samples.receipt = receipts.number
    WHERE receipts.is_mock = :mock AND receipts.number > :after
      AND (samples.finished OR samples.finish_reason IN ('cancelled', 'deadline'))
      AND samples.own AND samples.model IS NOT NULL AND {teaches("samples.model")}
      AND (:every OR {_WEIGHTS} IS :weights)
    ORDER BY receipts.number DESC
"""  # noqa: S608 - our own names
_SPEEDS = f"""
    SELECT deployment, task, decode_rows, runtime, decode_tokens, decode_s,
           samples_finished + samples_cancelled
    FROM receipts
    WHERE is_mock = :mock AND number > :after AND decode_s IS NOT NULL AND {teaches("receipts.model")}
    ORDER BY number DESC
"""  # noqa: S608 - our own names
_VERSIONS = f"""
    SELECT deployment, weights, runtime, count(*) FROM receipts
    WHERE is_mock = :mock AND number > :after AND {teaches("receipts.model")}
    GROUP BY deployment, weights, runtime ORDER BY deployment
"""  # noqa: S608 - our own names

Key = tuple[str, str]
_Window = dict[str, int | str | None]
"""Parameters of the queries above."""


def read_estimates(
    connection: sqlite3.Connection, *, mock: bool, versions: Mapping[str, Version]
) -> Estimates:
    """The evidence of the newest runs, and what was imported.

    Args:
        connection: Of the store.
        mock: Of mock runs only, or of real runs only.
        versions: What each deployment runs now.
    """
    own = _own(connection, _window(connection, mock=mock), versions)
    imports = read_imports(connection, mock=mock, versions=versions)
    return _with_imports(own, imports) if imports else own


def read_evidence(
    connection: sqlite3.Connection, *, mock: bool, versions: Mapping[str, Version], now: float
) -> Evidence:
    """What the own runs taught, by weights, to be exported; arguments as of ``read_estimates``."""
    window = _window(connection, mock=mock)
    own = _own(connection, window, versions)
    models: list[ModelEvidence] = []
    for (weights,) in connection.execute(
        "SELECT weights FROM receipts UNION SELECT NULL ORDER BY weights"
    ).fetchall():
        found = _own(connection, {**window, "every": False, "weights": weights}, versions)
        models += _by_model(found, weights)
    return Evidence(
        origin=store_name(connection),
        exported_at=now,
        mock=mock,
        models=tuple(models),
        deployments=tuple(
            DeploymentEvidence(deployment=deployment, task=cast("TaskKind", task), speeds=speeds)
            for (deployment, task), speeds in own.speeds.items()
        ),
    )


def read_history(
    connection: sqlite3.Connection, *, mock: bool, versions: Mapping[str, Version]
) -> History:
    """Which of the newest runs teach nothing, and what was imported; arguments as of ``read_estimates``."""
    weights_changed: Counter[str] = Counter()
    runtime_changed: Counter[str] = Counter()
    for deployment, weights, runtime, runs in connection.execute(
        _VERSIONS, _window(connection, mock=mock)
    ):
        weights_changed[deployment] += 0 if _same(versions, deployment, weights=weights) else runs
        runtime_changed[deployment] += 0 if _same(versions, deployment, runtime=runtime) else runs
    return History(
        left_out=tuple(
            LeftOut(deployment=name, weights=weights_changed[name], runtime=runtime_changed[name])
            for name in weights_changed
            if weights_changed[name] or runtime_changed[name]
        ),
        forgotten=count_forgotten(connection, mock=mock),
        imports=describe_imports(connection, mock=mock, versions=versions),
    )


def _window(connection: sqlite3.Connection, *, mock: bool) -> _Window:
    newest: int = connection.execute("SELECT coalesce(max(number), 0) FROM receipts").fetchone()[0]
    return {
        "mock": mock,
        "after": newest - _RECENT_RUNS,
        "runs": _RECENT_RUNS,
        "every": True,
        "weights": None,
    }


def _own(
    connection: sqlite3.Connection, window: _Window, versions: Mapping[str, Version]
) -> Estimates:
    taught = [
        Credit(*row) for query in (_JUDGED, _VOTED) for row in connection.execute(query, window)
    ]
    current = [one for one in taught if _same(versions, one.deployment, weights=one.weights)]
    return Estimates(
        observations=_observations(one for one in current if not one.greedy),
        greedy=_observations(one for one in current if one.greedy),
        lengths=_lengths(connection, window, versions),
        speeds=_speeds(connection, window, versions),
    )


def _with_imports(own: Estimates, imports: Iterable[ModelEvidence]) -> Estimates:
    """What others learned counts as older than all that was seen here, the newest import first."""
    observations, greedy = dict(own.observations), dict(own.greedy)
    lengths = dict(own.lengths)
    for one in imports:
        key = (one.model, one.task)
        for known, more in ((observations, one.observations), (greedy, one.greedy)):
            if more:
                seen = known.get(key, ())
                weight = _weight(len(seen), "questions")
                known[key] = (*seen, *(_lighter(question, weight) for question in more))
        if one.lengths:
            before = lengths.get(key, ())
            weight = _weight(sum(length.n for length in before), "samples")
            more_lengths = (
                msgspec.structs.replace(length, n=length.n * weight) for length in one.lengths
            )
            lengths[key] = (*before, *more_lengths)
    return msgspec.structs.replace(own, observations=observations, greedy=greedy, lengths=lengths)


def _lighter(question: Observation, weight: float) -> Observation:
    return msgspec.structs.replace(question, weight=question.weight * weight)


def _by_model(found: Estimates, weights: str | None) -> Iterator[ModelEvidence]:
    keys = dict.fromkeys((*found.observations, *found.greedy, *found.lengths))
    for model, task in keys:
        yield ModelEvidence(
            model=model,
            task=cast("TaskKind", task),
            weights=weights,
            observations=found.observations.get((model, task), ()),
            greedy=found.greedy.get((model, task), ()),
            lengths=found.lengths.get((model, task), ()),
        )


class Credit(NamedTuple):
    """A run, as far as one model took part in it."""

    number: int
    model: str
    deployment: str
    weights: str | None
    task: str
    greedy: int
    correct: int | None
    votes: str
    abstained: int
    accepted: int
    refused: int
    prompt_tokens: int | None
    agreeing: int
    """Finished samples of this model that gave the run's answer."""
    finished: int
    """Of this model."""
    agreeing_logprob: float | None
    """Mean over those samples of their mean log-probabilities, as far as they are known."""
    accepted_logprob: float | None
    refused_logprob: float | None

    def observation(self, weight: float) -> Observation | None:
        """What it teaches; None = nothing."""
        votes = tuple(int(vote) for vote in self.votes.split(",") if vote)
        if self.finished != sum(votes) + self.abstained and not self.accepted + self.refused:
            return self._shared(weight)
        if self.accepted + self.refused:
            wrong = self.correct == 0
            return Observation(
                right=0 if wrong else self.accepted,
                refused=self.refused + (self.accepted if wrong else 0),
                abstained=self.abstained,
                weight=weight,
                right_logprob=None if wrong else self.accepted_logprob,
                wrong_logprob=None if wrong else self.refused_logprob,
            )
        if self.correct is None:
            told = Observation(unsure=votes, abstained=self.abstained, weight=_UNJUDGED * weight)
            return told if sum(votes) > 1 else None
        right = votes[0] if self.correct and votes else 0
        return Observation(
            right=right,
            wrong=votes[1:] if self.correct else votes[:1],
            unsure=() if self.correct else votes[1:],
            abstained=self.abstained,
            weight=weight,
            right_logprob=self.agreeing_logprob if self.correct else None,
            wrong_logprob=None if self.correct else self.agreeing_logprob,
        )

    def _shared(self, weight: float) -> Observation | None:
        """Of a run that other models, or samples that did not vote, took part in."""
        if self.correct is None:
            return None
        rest = self.finished - self.agreeing
        if self.correct:
            return Observation(right=self.agreeing, refused=rest, weight=weight)
        return Observation(wrong=(self.agreeing,) if self.agreeing else (), weight=weight)


def _observations(found: Iterable[Credit]) -> dict[Key, tuple[Observation, ...]]:
    taught: dict[Key, list[Observation]] = defaultdict(list)
    ages: dict[Key, Iterator[int]] = defaultdict(count)
    for one in found:
        key = (one.model, one.task)
        observation = one.observation(_weight(next(ages[key]), "questions"))
        if observation is not None and observation.samples:
            taught[key].append(
                msgspec.structs.replace(observation, prompt_tokens=one.prompt_tokens)
            )
    return {key: tuple(found) for key, found in taught.items()}


def _lengths(
    connection: sqlite3.Connection, window: _Window, versions: Mapping[str, Version]
) -> dict[Key, tuple[LengthEvidence, ...]]:
    ages: dict[Key, Iterator[int]] = defaultdict(count)
    bands: dict[Key, dict[int | None, list[Length]]] = defaultdict(lambda: defaultdict(list))
    for model, task, deployment, weights, prompt_tokens, tokens, whole in connection.execute(
        _LENGTHS, window
    ):
        if _same(versions, deployment, weights=weights):
            band = None if prompt_tokens is None else length_band(prompt_tokens)
            weight = _weight(next(ages[model, task]), "samples")
            bands[model, task][band].append(Length(tokens, weight, whole=bool(whole)))
    found = {
        key: tuple(
            length_evidence(lengths, band)
            for band, lengths in of.items()
            if any(one.whole for one in lengths)
        )
        for key, of in bands.items()
    }
    return {key: evidence for key, evidence in found.items() if evidence}


class Length(NamedTuple):
    """Of one sample."""

    tokens: int
    weight: float
    whole: bool
    """False where it was cut off: it would have been longer."""


def length_evidence(lengths: Iterable[Length], prompt_tokens: int | None = None) -> LengthEvidence:
    """Mean and 95th percentile by Kaplan and Meier's estimator (1958), so that cut samples make neither too small.

    Whoever leaves them out counts short samples only, where the end of one sample cuts off the others. Where
    nothing was cut these are the mean and the nearest-rank percentile. Above the longest whole sample nothing is
    known: what survives it counts as ending with the longest cut one.

    Args:
        lengths: Of which one at least is whole.
        prompt_tokens: As in ``LengthEvidence``.
    """
    ordered = sorted(lengths, key=lambda one: (one.tokens, not one.whole))
    at_risk = math.fsum(one.weight for one in ordered)
    survival, mean, before, p95 = 1.0, 0.0, 0, None
    for one in ordered:
        mean += survival * (one.tokens - before)
        before = one.tokens
        if one.whole:
            # Never below 0: the weights' sum is rounded.
            survival *= max(0.0, 1 - one.weight / at_risk)
            if p95 is None and survival <= 1 - _PERCENTILE + _ROUNDING:
                p95 = one.tokens
        at_risk = max(at_risk - one.weight, one.weight * _ROUNDING)
    whole = math.fsum(one.weight for one in ordered if one.whole)
    longest = ordered[-1].tokens if p95 is None else p95
    return LengthEvidence(n=whole, mean=mean, p95=float(longest), prompt_tokens=prompt_tokens)


def _speeds(
    connection: sqlite3.Connection, window: _Window, versions: Mapping[str, Version]
) -> dict[Key, tuple[SpeedEvidence, ...]]:
    """The median of the runs' rates, so that one run on a busy machine moves nothing.

    A run counts for the nearest whole number of samples in flight, at the time that its own step took.
    """
    runs: dict[tuple[str, str, int], list[tuple[float, float]]] = defaultdict(list)
    samples: dict[tuple[str, str, int], float] = defaultdict(float)
    for deployment, task, rows, runtime, tokens, seconds, drawn in connection.execute(
        _SPEEDS, window
    ):
        if _same(versions, deployment, runtime=runtime):
            wave = max(1, round(rows))
            seen = runs[deployment, task, wave]
            weight = _weight(len(seen), "runs")
            step_s = rows * seconds / tokens
            seen.append((wave / step_s, weight))
            samples[deployment, task, wave] += weight * drawn
    speeds: dict[Key, list[SpeedEvidence]] = defaultdict(list)
    for (deployment, task, wave), rates in sorted(runs.items()):
        speeds[deployment, task].append(
            SpeedEvidence(
                wave=wave,
                tokens_per_s=_quantile(sorted(rates), 0.5),
                n=samples[deployment, task, wave],
            )
        )
    return {key: tuple(found) for key, found in speeds.items()}


def _quantile(weighed: Sequence[tuple[float, float]], level: float) -> float:
    """Nearest-rank quantile of (value, weight) pairs in ascending order."""
    wanted, seen = level * sum(weight for _, weight in weighed), 0.0
    for value, weight in weighed:
        seen += weight
        if seen >= wanted * (1 - 1e-12):
            return float(value)
    raise AssertionError("nothing was weighed")


def _weight(age: float, of: str) -> float:
    """Of the row that ``age`` rows of its kind are younger than."""
    return float(0.5 ** (age / _HALF_LIFE[of]))


def _same(
    versions: Mapping[str, Version],
    deployment: str,
    *,
    weights: str | None = None,
    runtime: str | None = None,
) -> bool:
    """Whether a run was of what the deployment is now, as far as both are known."""
    now = versions.get(deployment, Version())
    pairs = ((weights, now.weights), (runtime, now.runtime))
    return all(None in pair or pair[0] == pair[1] for pair in pairs)
