"""Step-wise search: several beginnings of a solution grow step by step, and only the best go on.

What ``beam`` and ``dvts`` have in common; they differ in which beginnings they keep.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final, Literal

import msgspec

from tt_compute.errors import InvalidRequestError
from tt_compute.results import StopReason
from tt_compute.strategies.base import Ended, Needs, Outcome, Run
from tt_compute.strategies.drawing import Drawer, going_on
from tt_compute.strategies.paths import Path, children_of
from tt_compute.strategies.settings import check_numbers
from tt_compute.strategies.step_scores import (
    Scoring,
    Steps,
    StepScores,
    scoring_by,
    step_deployment,
)
from tt_compute.strategies.verdicts import Bench
from tt_compute.strategies.weighing import weigh
from tt_compute.types import SamplingParams
from tt_compute.verify.steps import STEP_END, AggregateName

__all__ = ["Keep", "Stepwise", "search"]

Keep = Callable[[Sequence[Path]], Sequence[Path]]
"""Which of the paths that one step led to are worth going on with, finished ones among them."""


_SCORER: Final = "logprob"
_AGGREGATE: Final = "last"


class Stepwise(msgspec.Struct, frozen=True, kw_only=True):
    """What the user says of a step-wise search.

    Raises:
        InvalidRequestError: A value is out of range, or a name is unknown.
    """

    branching: int = 2
    """Next steps that are drawn from each beginning."""
    max_steps: int = 40
    """The last one goes on to the end."""
    scorer: StepScores = _SCORER
    aggregate: AggregateName = _AGGREGATE
    """How a process scorer's scores of all steps become one."""
    choose: Literal["vote", "best"] = "vote"
    """Finished paths vote by their scores, or the best one answers."""
    stop: str = STEP_END
    """Ends a step."""
    step_tokens: int | None = None
    """Longest step; a longer one ends its path, cut. None = the plan's ``max_tokens``."""

    def __post_init__(self) -> None:
        """Refuse what no search could use."""
        check_numbers(self)
        for name in ("branching", "max_steps", "step_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidRequestError(f"{name} must be at least 1, got {value}")
        if not self.stop:
            raise InvalidRequestError("stop is empty: nothing would end a step")
        if self.choose not in ("vote", "best"):
            raise InvalidRequestError(f"choose must be 'vote' or 'best', got {self.choose!r}")
        scoring_by(self.scorer, self.aggregate)

    @property
    def scoring(self) -> Scoring:
        return scoring_by(self.scorer, self.aggregate)

    @property
    def needs(self) -> Needs:
        """Of a deployment."""
        return Needs(
            continue_assistant=True,
            logprobs=self.scoring.logprobs,
            step_scorer=step_deployment(self.scorer),
            unforeseen="how many steps a solution takes, and how long they are, is unknown",
        )

    def named(self, kind: str) -> str:
        """What a search of this kind can be given by, such as ``beam:steps=my/prm,min``: its scorer is part of it."""
        if not isinstance(self.scorer, str) or self.scorer == _SCORER:
            return kind
        told = step_deployment(self.scorer) is not None and self.aggregate != _AGGREGATE
        return f"{kind}:{self.scorer}{f',{self.aggregate}' if told else ''}"


async def search(run: Run, settings: Stepwise, roots: int, keep: Keep) -> Outcome:
    """Grow ``roots`` searches until they are finished, the budget is spent or the deadline has passed.

    The last of the budget finishes what is kept: it is drawn to the end, not to the next step. With a
    verifier in the run, finished paths are judged, and the first one that it accepts ends the search.

    Raises:
        TTComputeError: Every sample failed.
    """
    return await _Search(run, settings).grow([Path(tree=tree) for tree in range(roots)], keep)


class _Search:
    def __init__(self, run: Run, settings: Stepwise) -> None:
        self._run = run
        self._settings = settings
        self._scoring = settings.scoring
        self._drawer = Drawer(run)
        self._bench = None if run.verifier is None else Bench(run, self._drawer, run.verifier)
        self._done: list[Path] = []
        """Finished paths, and those that the deadline cut."""
        self._verdicts: dict[int, float] = {}
        """By the last sample of a finished path."""
        self._accepted: Path | None = None

    async def grow(self, paths: Sequence[Path], keep: Keep) -> Outcome:
        whole = False
        for step in range(1, self._settings.max_steps + 1):
            whole = step == self._settings.max_steps or not self._affordable(len(paths))
            children = await self._expand(paths, whole=whole)
            paths = [path for path in keep(children) if not path.finished]
            if whole or not paths or self._accepted is not None or self._drawer.over() is not None:
                break
        self._drawer.raise_if_nothing_came()
        return await self._outcome("budget" if whole else "settled")

    def _affordable(self, paths: int) -> bool:
        """Whether one more step leaves enough of the budget to finish what it leads to."""
        cost = paths * self._settings.branching * (1 + self._scoring.samples_each)
        return self._drawer.left - cost >= paths

    async def _expand(self, paths: Sequence[Path], *, whole: bool) -> list[Path]:
        """The paths one step on; one of which no next step came stays as it is."""
        came = await self._draw(paths, whole=whole)
        grown = [
            children_of(path, samples, stop=self._settings.stop, task=self._run.task, whole=whole)
            for path, samples in zip(paths, came, strict=True)
        ]
        children = await self._scored([child for group in grown for child in group])
        self._done.extend(child for child in children if child.finished or child.answer is not None)
        await self._judge([child for child in children if child.finished])
        stayed = [path for path, group in zip(paths, grown, strict=True) if not group]
        return [*children, *stayed]

    async def _draw(self, paths: Sequence[Path], *, whole: bool) -> list[Sequence[Ended]]:
        """What comes of each path; those of equal text, such as the roots, share one prompt."""
        number = self._settings.branching
        if whole:
            # The scores of whole texts have to come out of the same budget.
            number = max(1, number // (1 + self._scoring.samples_each))
        places: dict[str, list[int]] = {}
        for place, path in enumerate(paths):
            places.setdefault(path.text, []).append(place)
        sampling = self._sampling(whole=whole)
        came = await self._drawer.draw(
            [
                going_on(self._run, text, number=number * len(alike), sampling=sampling)
                for text, alike in places.items()
            ]
        )
        shared: list[Sequence[Ended]] = [()] * len(paths)
        for alike, samples in zip(places.values(), came, strict=True):
            for nth, place in enumerate(alike):
                shared[place] = samples[nth * number : (nth + 1) * number]
        return shared

    def _sampling(self, *, whole: bool) -> SamplingParams:
        settings, sampling = self._settings, self._run.sampling
        logprobs = max(sampling.logprobs, self._scoring.logprobs)
        sampling = msgspec.structs.replace(sampling, logprobs=logprobs)
        if whole:
            return sampling
        return msgspec.structs.replace(
            sampling,
            stop=tuple(dict.fromkeys((*sampling.stop, settings.stop))),
            max_tokens=settings.step_tokens or sampling.max_tokens,
        )

    async def _scored(self, children: Sequence[Path]) -> list[Path]:
        """One that cannot be scored keeps the score of what it goes on from."""
        steps = [Steps(texts=child.steps, last=child.last) for child in children if child.last]
        if not steps:
            return []
        scores = await self._scoring.score(self._run, self._drawer, steps)
        return [
            self._told(child, child.score if score is None else score)
            for child, score in zip(children, scores, strict=True)
        ]

    def _told(self, child: Path, score: float | None) -> Path:
        assert child.last is not None
        last = msgspec.structs.replace(child.last, score=score)
        self._drawer.tell(last)
        return msgspec.structs.replace(child, last=last, score=score)

    async def _judge(self, finished: Sequence[Path]) -> None:
        if self._bench is None:
            return
        verdicts = await self._bench.judge_all([(path.text, path.answer) for path in finished])
        for path, verdict in zip(finished, verdicts, strict=True):
            if verdict is not None:
                self._verdicts[self._told(path, verdict.score).index] = verdict.score
            if self._accepted is None and self._bench.accepts(verdict):
                self._accepted = path

    async def _outcome(self, reason: StopReason) -> Outcome:
        winner, votes = await self._winner()
        if self._accepted is not None:
            reason = "verifier"
        elif self._drawer.over() == "deadline":
            reason = "deadline"
        return Outcome(
            answer=None if winner is None else winner.answer,
            text="" if winner is None else winner.text,
            winner=None if winner is None or winner.last is None else winner.last.index,
            stop_reason=reason,
            stop_posterior=None,
            ended=self._drawer.by_index(),
            votes=votes,
            verifier_tokens=self._drawer.verifier_tokens,
            warnings=self._drawer.warnings(),
        )

    async def _winner(self) -> tuple[Path | None, tuple[tuple[str, int], ...]]:
        judged = [path for path in self._done if path.index in self._verdicts]
        if judged:
            return min(judged, key=lambda path: (-self._verdicts[path.index], path.rank)), ()
        answered = [path for path in self._done if path.answer is not None]
        if not answered or self._settings.choose == "best":
            return min(answered or self._done, key=lambda path: path.rank, default=None), ()
        weights = _weights([path.score for path in answered])
        voters = [path.last for path in answered if path.last is not None]
        weighed = await weigh(self._run.task, list(zip(voters, weights, strict=True)))
        self._run.observer.on_votes(weighed.votes, None)
        return next(path for path in answered if path.last is weighed.winner), weighed.votes


def _weights(scores: Sequence[float | None]) -> list[float]:
    """Scores of reward models may be negative and then count by their softmax; unknown ones count nothing."""
    known = [score for score in scores if score is not None]
    if not known:
        return [1.0] * len(scores)
    if min(known) >= 0:
        return [score or 0.0 for score in scores]
    most = max(known)
    return [0.0 if score is None else math.exp(score - most) for score in scores]
