"""How long runs of a strategy take, by simulated trials: which samples are alive at every decode step.

All rows of a batch advance by one token a step, so that a run's course, told in tokens, is the same on every
deployment: how many decode steps it takes with how many rows alive. Seconds follow from a deployment's step
times. The trials are stratified over the kinds of question and drawn from a fixed seed, so that equal
arguments give equal trials; they follow the strategies' own rules for drawing (``stopping.fewest_more``).
"""

from __future__ import annotations

import heapq
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

from tt_compute.planning.lengths import Lengths
from tt_compute.planning.questions import KINDS, Questions
from tt_compute.stopping import (
    NO_VOTE,
    StopRule,
    Votes,
    decided,
    fewest_more,
    parse_stop_rule,
    worth_drawing,
)

__all__ = ["Drawn", "Trial", "contest_trials", "single_trials", "vote_trials"]

TRIALS = 192
_TRIALS_OF_LARGE = 96
_LARGE = 16
"""Runs of more samples than this differ less from each other, as those do that draw ahead, and take longer to try."""
_SEED = 20261127
_LEVELS = 512
"""Lengths are looked up at so many evenly spread levels."""
_POPULAR = 1
_KEPT = 64
"""Trials that are kept: a vote and the cascades that begin or end with it ask for the same ones in turn."""


class Drawn(NamedTuple):
    """One sample of a run."""

    tokens: float
    """Until its end, or to where it was cancelled."""
    after: int
    """Position of the sample at whose end it was drawn; -1 = at the run's start."""


class Trial(NamedTuple):
    """One run."""

    samples: int
    waves: int
    """Samples that followed each other until the run ended: each waited for a first token of its own."""
    tokens: float
    """Decode steps from its start to its end, the first tokens included."""
    rows: tuple[tuple[int, float], ...]
    """(rows alive, decode steps with so many)."""
    drawn: tuple[Drawn, ...] = ()
    """Its samples in the order of drawing."""
    needed: int = 0
    """Samples that drawing one by one would have drawn, too."""
    settled: bool = True
    """Whether the stop rule was satisfied, or a sample accepted; else the budget ended it."""


def vote_trials(
    questions: Questions,
    abstain: float,
    lengths: Lengths,
    *,
    rule: StopRule | None,
    budget: int,
    wave: int,
    ahead: float = 1.0,
    trials: int | None = None,
    seed: int = _SEED,
) -> tuple[Trial, ...]:
    """Votes in deficit waves, in the order of their length; arguments as of ``votes.vote_table`` and ``Run``."""
    name = None if rule is None else rule.name
    usual = TRIALS if budget <= _LARGE and ahead == 1 else _TRIALS_OF_LARGE
    ballot = _Wanted(questions, abstain, lengths, name, budget, wave, ahead)
    return _votes_held(ballot, usual if trials is None else trials, seed)


class _Wanted(NamedTuple):
    """Arguments of ``vote_trials``."""

    questions: Questions
    abstain: float
    lengths: Lengths
    rule: str | None
    budget: int
    wave: int
    ahead: float


@lru_cache(maxsize=_KEPT)
def _votes_held(wanted: _Wanted, trials: int, seed: int) -> tuple[Trial, ...]:
    rng = random.Random(seed)  # noqa: S311 - tries things out, guards nothing
    rule = None if wanted.rule is None else parse_stop_rule(wanted.rule)
    draw = _drawer(wanted.lengths, rng)
    ballot = _Ballot(rng, draw, rule, wanted.budget, wanted.wave, wanted.ahead, {})
    places = _stratified(wanted.questions.weights, trials, rng)
    held = [_Vote(ballot, (*KINDS[place], wanted.abstain)).hold() for place in places]
    return tuple(sorted(held, key=lambda trial: trial.tokens))


def contest_trials(
    accepted: Sequence[tuple[float, float]],
    lengths: Lengths,
    budget: int,
    wave: int,
    *,
    trials: int = TRIALS,
    seed: int = _SEED,
) -> tuple[Trial, ...]:
    """Best of n until a sample is accepted, in the order of their length.

    Args:
        accepted: (P(a sample is accepted), share of the questions).
        lengths: Of one sample.
        budget: Most samples.
        wave: Most samples in flight.
        trials: How many.
        seed: Of the draws.
    """
    rng = random.Random(seed)  # noqa: S311 - tries things out, guards nothing
    draw = _drawer(lengths, rng)
    chances = [chance for chance, _ in accepted]
    places = _stratified([share for _, share in accepted], trials, rng)
    held = [_contest(rng, draw, chances[place], budget, wave) for place in places]
    return tuple(sorted(held, key=lambda trial: trial.tokens))


def single_trials(lengths: Lengths, trials: int = TRIALS) -> tuple[Trial, ...]:
    """One sample, of evenly spread levels of length."""
    levels = (lengths.quantile((place + 0.5) / trials) for place in range(trials))
    return tuple(
        Trial(1, 1, tokens, ((1, tokens),), (Drawn(tokens, -1),))
        for tokens in (max(1.0, level) for level in levels)
    )


def _drawer(lengths: Lengths, rng: random.Random) -> Callable[[], float]:
    """Lengths in a random order in which every level comes up before any comes again."""
    table = [max(1.0, lengths.quantile((place + 0.5) / _LEVELS)) for place in range(_LEVELS)]
    # A factor keeps the mean what it is, where the levels do not reach into the tail.
    factor = max(1.0, lengths.mean_cut) * _LEVELS / sum(table)
    left: list[float] = []

    def draw() -> float:
        if not left:
            left.extend(rng.sample(table, _LEVELS))
        return max(1.0, left.pop() * factor)

    return draw


def _stratified(weights: Sequence[float], count: int, rng: random.Random) -> list[int]:
    """Places drawn by their weights, evenly spread, in a random order."""
    sums = list(accumulate(weights))
    places: list[int] = []
    place = 0
    for number in range(count):
        wanted = (number + 0.5) / count * sums[-1]
        while sums[place] < wanted:
            place += 1
        places.append(place)
    rng.shuffle(places)
    return places


class _Ballot(NamedTuple):
    """What all trials of one vote share."""

    rng: random.Random
    length: Callable[[], float]
    rule: StopRule | None
    budget: int
    wave: int
    ahead: float
    over: dict[tuple[int, ...], bool]
    """(samples left, votes) -> whether that decides it."""


@lru_cache(maxsize=1 << 15)
def _fewest_more(
    rule: str | None, votes: tuple[int, ...], remaining: int, coming: tuple[int | None, ...]
) -> int:
    """``fewest_more``, kept: trials of all models meet the same states.

    Args:
        rule: Its name.
        votes: Their order for a rule that sees it, else the counts.
        remaining: As of ``fewest_more``.
        coming: As of ``fewest_more``.
    """
    stop = None if rule is None else parse_stop_rule(rule)
    return fewest_more(stop, Votes(votes) if _ordered(stop) else votes, remaining, coming)


def _ordered(rule: StopRule | None) -> bool:
    return rule is not None and rule.sees == "order"


class _Vote:
    """The strategy ``majority``: draws at once what it sees it needs; samples vote in the order of drawing."""

    def __init__(self, ballot: _Ballot, kind: tuple[float, float, float]) -> None:
        self._ballot = ballot
        self._kind = kind
        self._ends: list[float] = []
        self._drawn: list[Drawn] = []
        self._answers: list[int] = []
        self._depths: list[int] = []
        self._votes: list[int] = []
        self._order: list[int] = []
        self._ordered = _ordered(ballot.rule)
        self._places: dict[int, int] = {}
        self._said: Counter[int] = Counter()
        self._counted = 0

    def hold(self) -> Trial:
        now, last = 0.0, -1
        rows: dict[int, float] = defaultdict(float)
        while True:
            self._draw(now, last)
            live = [end for end in self._ends if end > now]
            if not live:
                break
            end = min(live)
            rows[len(live)] += end - now
            now, last = end, self._ends.index(end)
            if self._count(now):
                break
        return Trial(
            len(self._ends),
            self._depths[last],
            now,
            tuple(rows.items()),
            self._until(now),
            self._counted,
            self._settled(),
        )

    def _settled(self) -> bool:
        rule = self._ballot.rule
        votes = Votes(self._order) if self._ordered else self._votes
        return rule is not None and rule.settled(votes)

    def _until(self, now: float) -> tuple[Drawn, ...]:
        """The samples, those that are still alive cut off."""
        return tuple(
            Drawn(tokens - max(0.0, end - now), after)
            for (tokens, after), end in zip(self._drawn, self._ends, strict=True)
        )

    def _count(self, now: float) -> bool:
        """Let those vote whose turn it is; whether the vote is over then."""
        while not self._over():
            if self._counted == len(self._ends) or self._ends[self._counted] > now:
                return False
            answer = self._answers[self._counted]
            self._counted += 1
            self._vote(answer)
        return True

    def _vote(self, answer: int) -> None:
        if answer == NO_VOTE:
            self._order.append(NO_VOTE)
            return
        place = self._places.setdefault(answer, len(self._votes))
        if place == len(self._votes):
            self._votes.append(0)
        self._votes[place] += 1
        self._order.append(place)

    def _over(self) -> bool:
        left = self._ballot.budget - self._counted
        if left == 0:
            return True
        rule = self._ballot.rule
        if self._ordered:
            return decided(rule, Votes(self._order), left)
        # Trials meet the same votes again and again.
        over, votes = self._ballot.over, (left, *self._votes)
        if votes not in over:
            over[votes] = decided(rule, self._votes, left)
        return over[votes]

    def _draw(self, now: float, last: int) -> None:
        ballot, live = self._ballot, sum(end > now for end in self._ends)
        likely = self._likely(last)
        wanted = likely - live if likely else self._needed(now)
        for _ in range(min(wanted, ballot.wave - live, ballot.budget - len(self._ends))):
            tokens = ballot.length()
            self._drawn.append(Drawn(tokens, last))
            self._ends.append(now + tokens)
            self._answers.append(self._answer())
            self._depths.append(1 if last < 0 else self._depths[last] + 1)

    def _needed(self, now: float) -> int:
        """Samples to draw that the vote cannot end without."""
        ballot, coming = self._ballot, tuple(self._coming(now))
        left = ballot.budget - self._counted
        rule = None if ballot.rule is None else ballot.rule.name
        votes = tuple(self._order if self._ordered else self._votes)
        return _fewest_more(rule, votes, left, coming) - len(coming)

    def _likely(self, last: int) -> int:
        """Samples worth having in flight; ``last`` is the one that has just ended, -1 = none has."""
        ballot = self._ballot
        if ballot.rule is None or ballot.ahead == 1:
            return 0
        if last >= 0:
            self._said[self._answers[last]] += 1
        counts = [count for answer, count in self._said.items() if answer != NO_VOTE]
        silent = self._said[NO_VOTE]
        return worth_drawing(ballot.rule.name, counts, silent, ballot.budget, ballot.ahead)

    def _coming(self, now: float) -> Iterator[int | None]:
        places = dict(self._places)
        for end, answer in zip(
            self._ends[self._counted :], self._answers[self._counted :], strict=True
        ):
            if end > now:
                yield None
            elif answer == NO_VOTE:
                yield NO_VOTE
            else:
                yield places.setdefault(answer, len(places))

    def _answer(self) -> int:
        rate, agreement, abstain = self._kind
        toss = self._ballot.rng.random
        if toss() < rate:
            return 0
        if toss() < abstain:
            return NO_VOTE
        return _POPULAR if toss() < agreement else _POPULAR + 1 + len(self._answers)


def _contest(
    rng: random.Random, length: Callable[[], float], chance: float, budget: int, wave: int
) -> Trial:
    """Keep ``wave`` in flight until one is accepted."""
    live: list[tuple[float, int, bool]] = []
    rows: dict[int, float] = defaultdict(float)
    drawn: list[Drawn] = []
    depths: list[int] = []
    now, last, accepted = 0.0, -1, False
    while not accepted:
        while len(live) < wave and len(drawn) < budget:
            tokens = length()
            heapq.heappush(live, (now + tokens, len(drawn), rng.random() < chance))
            drawn.append(Drawn(tokens, last))
            depths.append(1 if last < 0 else depths[last] + 1)
        if not live:
            break
        alive = len(live)
        end, last, accepted = heapq.heappop(live)
        rows[alive] += end - now
        now = end
    for end, place, _ in live:
        drawn[place] = Drawn(drawn[place].tokens - (end - now), drawn[place].after)
    course = tuple(rows.items()), tuple(drawn)
    return Trial(len(drawn), depths[last], now, *course, len(drawn), accepted)
