"""Every combination worth weighing for one kind of request, with its figures prepared.

What is left out, because something that stays is as good in every figure:

* a vote at any wave but the widest that raises the deployment's throughput: deficit waves draw the same
  samples at any width, wider ones in less time; how far a vote draws ahead of need is weighed instead, where that
  saves a fifth of the time;
* best-of-n at a wave that another one of the same budget equals or beats in time, cost and energy;
* budgets of 1 for anything but ``single``, and votes of more than ``MAX_VOTE_BUDGET``;
* where quality is unknown, all budgets but the whole: nothing tells them apart;
* at temperature 0, everything but ``single``: all samples would be the same.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator

import msgspec

from tt_compute.conditions import Allowance, unused
from tt_compute.planning.ability import TaskAbility, ability_of
from tt_compute.planning.drawing import default_max_tokens
from tt_compute.planning.economics import TokenPrice
from tt_compute.planning.estimates import Estimates
from tt_compute.planning.figures import UNKNOWN, Figures, Meter, figures_of
from tt_compute.planning.kv_cache import tokens_that_fit
from tt_compute.planning.lengths import Lengths
from tt_compute.planning.performance import Prefill
from tt_compute.planning.runs import (
    Load,
    RunShape,
    best_of_n_run,
    majority_run,
    single_run,
    whole_run,
)
from tt_compute.planning.times import Times
from tt_compute.planning.types import Prediction
from tt_compute.planning.votes import MAX_VOTE_BUDGET
from tt_compute.profiles.schema import DeploymentSpec, TaskKind
from tt_compute.stopping import is_score_rule
from tt_compute.types import Capabilities, Reliability
from tt_compute.weights import parse_weight

__all__ = [
    "ACROSS",
    "PREDICTED",
    "Offer",
    "Option",
    "Then",
    "Wanted",
    "make_offer",
]

PREDICTED = ("single", "majority", "best_of_n", "cascade", "panel")
"""The strategies whose figures are known beforehand, and that a plan may choose by itself."""
ACROSS = ("cascade", "panel")
"""Made of several offers, elsewhere."""
_UNKNOWN_PICK = "nothing tells how good what the strategy picks is"
_UNKNOWN_GAIN = "how much a verifier's scores help a vote is unknown"
_QUICKER = 0.8
"""A vote that draws ahead is weighed where its p95 is below this share of that of one that draws less."""
_USUAL_PROMPT_TOKENS = 200
_ALWAYS_NEEDED = 2
"""Samples without which no vote ends."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """The kind of request a menu is for."""

    task: TaskKind
    max_samples: int
    strategies: tuple[str, ...]
    stop_rules: tuple[str | None, ...]
    """Those that a plan may choose from: of votes, or one of scores; None = the whole budget is drawn."""
    weight: str | None = None
    """What votes weigh by."""
    ahead: tuple[float, ...] = (1.0,)
    """Chances from which on votes may draw ahead of need, 1 first."""
    max_tokens: int | None
    """The caller's limit; None leaves it to the plan."""
    greedy: bool
    """A lone sample is drawn at temperature 0."""
    prompt_tokens: int | None = None
    """About how long the prompt is; None = of any length."""
    predicted: Prediction | None = None
    """As in ``PlanRequest``, with what follows it."""
    draws_all: bool = False
    unforeseen: str = ""
    priced_elsewhere: bool = False
    judged: bool = False
    """A verifier judges samples."""
    reliability: Reliability | None = Reliability()
    """Of the verifier, if there is one; None = unknown."""

    @property
    def score_rule(self) -> str | None:
        """The stop rule of scores that is pinned."""
        return next((rule for rule in self.stop_rules if rule and is_score_rule(rule)), None)


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """One strategy, budget and wave on one deployment."""

    strategy: str
    stop_rule: str | None
    max_samples: int
    wave: int
    weight: str | None = None
    ahead: float = 1.0
    quality: float | None
    samples_mean: float | None
    figures: Figures
    p50: Load | None = None
    """The run whose latency is the median; None when unknown."""
    p95: Load | None = None
    then: Then | None = None
    """What is handed on to another deployment; all but its own figures are of both together."""
    members: tuple[Then, ...] = ()
    """Of a panel; the first one's cost and energy are the option's own figures."""
    times: Times | None = None
    """Of a panel: its latency, which no line gives; None = unknown."""

    @property
    def own(self) -> Option:
        """What its first deployment does."""
        return self.members[0].option if self.members else self


class Then(msgspec.Struct, frozen=True, kw_only=True):
    """The second deployment of a cascade, or a member of a panel."""

    offer: int
    """Position of its offer."""
    share: float
    """Of the questions that come to it."""
    option: Option
    """What it does with them; its figures are means over all questions, but for a member's latency."""


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """What one deployment can do for one kind of request."""

    spec: DeploymentSpec
    options: tuple[Option, ...]
    ability: TaskAbility
    """With ``lengths`` what the options' figures rest on."""
    lengths: Lengths | None
    prefill: Prefill
    max_tokens: int
    max_input_tokens: float
    """Longest prompt that leaves room for an answer; infinite where the context is unknown."""
    unknown: dict[str, tuple[str, ...]]
    """Figure (``quality``, ``latency_s``, ``cost_usd``, ``energy_j``) -> why it is unknown."""
    meter: Meter
    tokens_mean: float | None
    """Of one completion."""
    kv_tokens: float
    """Tokens whose keys and values fit into the memory; infinite where that is unknown."""
    allowances: tuple[Allowance, ...]
    """What the profile states, unused."""
    most_samples: float
    """Of any run, as far as it is known."""
    widest: int
    """Wave on offer."""
    unforeseen: str = ""
    """As in ``PlanRequest``."""

    def why_unknown(self, figure: str) -> str:
        """Where no fact is missing, nobody knows of the strategy."""
        # No fact that is missing would help where nothing is foreseen.
        reasons = self.unforeseen or "; ".join(self.unknown[figure])
        return reasons or "nothing tells what the strategy comes to"

    @property
    def completion_usd(self) -> float:
        """Price of one completion, of the longest where the mean length is unknown; infinite where no token has one."""
        price = self.meter.price
        if not isinstance(price, TokenPrice):
            return math.inf
        tokens = self.max_tokens if self.tokens_mean is None else self.tokens_mean
        return price.output * tokens

    def most_tokens(self, tokens: int) -> int:
        """Prompt and the longest completion that fits behind it."""
        context = self.spec.max_context_tokens
        whole = tokens + self.max_tokens
        return whole if context is None else min(whole, context)


def make_offer(
    spec: DeploymentSpec,
    capabilities: Capabilities | None,
    estimates: Estimates,
    wanted: Wanted,
    widest: int | None = None,
) -> Offer:
    """Work out every option of one deployment, with waves of at most ``widest``; None = as it allows."""
    ability = ability_of(spec.model, wanted.task, estimates, wanted.prompt_tokens)
    max_tokens = _max_tokens(spec, ability, wanted)
    ability = _cut_short(ability, max_tokens)
    if wanted.reliability is None:
        ability = _without_quality(ability, "how often the verifier errs is unknown")
    if wanted.score_rule is not None:
        reason = (
            f"what {wanted.score_rule} ends depends on the verifier's scores, which are unknown"
        )
        ability = _without_quality(ability, reason)
    meter = Meter(spec, capabilities, estimates.speeds.get((spec.id, wanted.task), ()))
    lengths = _lengths(ability, max_tokens)
    made = _Options(spec, meter, ability, lengths, wanted, widest=widest)
    options = tuple(made)
    return Offer(
        spec=spec,
        options=options,
        ability=ability,
        lengths=lengths,
        prefill=meter.prefill,
        max_tokens=max_tokens,
        max_input_tokens=_max_input_tokens(spec, ability, wanted, max_tokens),
        unknown={
            "quality": _unknown_quality(ability, wanted),
            **meter.unknown_by_figure(ability.unknown_lengths),
        },
        meter=meter,
        tokens_mean=None if lengths is None else lengths.mean_cut,
        kv_tokens=tokens_that_fit(spec),
        allowances=unused(spec.deployment.limits),
        most_samples=max((one.p95.samples for one in options if one.p95 is not None), default=0.0),
        widest=max((option.wave for option in options), default=made.best_width),
        unforeseen=wanted.unforeseen,
    )


def _unknown_quality(ability: TaskAbility, wanted: Wanted) -> tuple[str, ...]:
    if wanted.draws_all:
        return (_UNKNOWN_PICK,)
    return (*ability.unknown_quality, *([_UNKNOWN_GAIN] if _judged(wanted) else []))


def _max_tokens(spec: DeploymentSpec, ability: TaskAbility, wanted: Wanted) -> int:
    asked = wanted.max_tokens
    if asked is None:
        asked = default_max_tokens(wanted.task, ability.tokens_p95)
    limit = spec.deployment.limits.max_output_tokens
    return asked if limit is None else min(asked, limit)


def _cut_short(ability: TaskAbility, max_tokens: int) -> TaskAbility:
    """What is left of an ability when samples must end before the mean length: nothing is known."""
    if ability.tokens_mean is None or max_tokens >= ability.tokens_mean:
        return ability
    reason = (
        f"quality with max_tokens={max_tokens}, below the mean length of a completion, is unknown"
    )
    return _without_quality(ability, reason)


def _without_quality(ability: TaskAbility, reason: str) -> TaskAbility:
    unknown = (*ability.unknown_quality, reason)
    return msgspec.structs.replace(ability, mean=None, questions=None, unknown_quality=unknown)


def _judged(wanted: Wanted) -> bool:
    """Whether votes weigh by a verifier's scores."""
    return wanted.weight is not None and parse_weight(wanted.weight).judged


def _max_input_tokens(
    spec: DeploymentSpec, ability: TaskAbility, wanted: Wanted, max_tokens: int
) -> float:
    """Where the caller set no limit, it may shrink with the room, but not below a usual answer."""
    if spec.max_context_tokens is None:
        return math.inf
    needed = max_tokens
    if wanted.max_tokens is None:
        needed = min(max_tokens, math.ceil(ability.tokens_mean or 1))
    return spec.max_context_tokens - needed


def _lengths(ability: TaskAbility, max_tokens: int) -> Lengths | None:
    if ability.tokens_mean is None:
        return None
    return Lengths(mean=ability.tokens_mean, p95=ability.tokens_p95, max_tokens=max_tokens)


class _Options:
    """The options of one deployment, strategy by strategy."""

    def __init__(
        self,
        spec: DeploymentSpec,
        meter: Meter,
        ability: TaskAbility,
        lengths: Lengths | None,
        wanted: Wanted,
        *,
        widest: int | None,
    ) -> None:
        self._meter = meter
        self._ability = ability
        self._lengths = lengths
        self._wanted = wanted
        limits = (
            spec.deployment.limits.max_concurrency,
            spec.deployment.placement.max_sequences,
            widest,
        )
        self._cap = min(limit for limit in (*limits, wanted.max_samples) if limit is not None)

    def __iter__(self) -> Iterator[Option]:
        makers = {
            "single": self._single,
            "majority": self._majority,
            "best_of_n": self._best_of_n,
        }
        for name in self._wanted.strategies:
            if name in ACROSS:
                continue
            yield from makers[name]() if name in makers else self._unpredicted(name)

    def _single(self) -> Iterator[Option]:
        ability = self._ability.greedy() if self._wanted.greedy else self._ability
        yield self._option("single", 1, 1, single_run(ability, self._lengths))

    def _majority(self) -> Iterator[Option]:
        known = self._ability.votes_known and not _judged(self._wanted)
        for budget in self._budgets("majority", MAX_VOTE_BUDGET if known else None, known=known):
            wave = self._best_width(min(budget, self._cap))
            seen: set[float | None] = set()
            for rule in self._wanted.stop_rules:
                quickest: float | None = None
                for ahead in self._aheads(budget, wave, known=known):
                    shape = self._vote(rule, budget, wave, ahead)
                    # Of rules that come to the same, the first; where nothing is known, all do.
                    if shape.samples_mean in seen:
                        continue
                    width = min(wave, shape.widest or wave)
                    option = self._option("majority", budget, width, shape, rule, ahead=ahead)
                    seconds = self._seconds(option)
                    if quickest is None or seconds < _QUICKER * quickest:
                        seen.add(shape.samples_mean)
                        quickest = seconds
                        yield option

    def _seconds(self, option: Option) -> float:
        """Its p95, infinite when unknown, of a prompt of the kind's length, or of a usual one."""
        tokens = self._wanted.prompt_tokens or _USUAL_PROMPT_TOKENS
        return option.figures.latency_p95_s.at(tokens, self._meter.prefill.seconds(tokens))

    def _aheads(self, budget: int, wave: int, *, known: bool) -> tuple[float, ...]:
        """Only one where nothing tells them apart."""
        timed = known and self._lengths is not None
        several = timed and wave > 1 and budget > _ALWAYS_NEEDED
        return self._wanted.ahead if several else self._wanted.ahead[:1]

    def _vote(self, rule: str | None, budget: int, wave: int, ahead: float) -> RunShape:
        """One that weighs is predicted as a plain one, of the whole budget: it never takes more."""
        counted = rule if self._wanted.weight is None else None
        shape = majority_run(self._ability, self._lengths, counted, budget, wave, ahead=ahead)
        return msgspec.structs.replace(shape, quality=None) if _judged(self._wanted) else shape

    def _best_of_n(self) -> Iterator[Option]:
        known = self._ability.questions is not None
        for budget in self._budgets("best_of_n", None, known=known):
            cap = min(budget, self._cap)
            rule = self._wanted.score_rule
            options = [
                self._option("best_of_n", budget, wave, self._contest(budget, wave), rule)
                for wave in (_ladder(1, cap) if known else [self._best_width(cap)])
            ]
            yield from _undominated(options)

    def _contest(self, budget: int, wave: int) -> RunShape:
        reliability = self._wanted.reliability or Reliability()
        return best_of_n_run(self._ability, self._lengths, budget, wave, reliability)

    def _unpredicted(self, strategy: str) -> Iterator[Option]:
        """The whole budget, as wide as the deployment is quick; of what comes of it the caller knows more, or nobody."""
        budget = self._wanted.max_samples
        known = self._wanted.predicted
        shape = RunShape(
            quality=None if known is None else known.quality,
            samples_mean=None if known is None else known.samples_mean,
        )
        wave = self._best_width(min(budget, self._cap))
        if self._wanted.draws_all:
            shape = whole_run(self._lengths, budget, wave)
        option = self._option(strategy, budget, wave, shape)
        if known is not None:
            option = msgspec.structs.replace(option, figures=figures_of(known))
        elif self._wanted.priced_elsewhere:
            figures = option.figures._replace(cost_usd=UNKNOWN)
            option = msgspec.structs.replace(option, figures=figures)
        yield option

    def _budgets(self, strategy: str, limit: int | None, *, known: bool) -> list[int]:
        most = self._wanted.max_samples if limit is None else min(self._wanted.max_samples, limit)
        if most == 1:
            return [1] if self._wanted.strategies == (strategy,) else []
        return _ladder(2, most) if known else [most]

    @property
    def best_width(self) -> int:
        """Of any run."""
        return self._best_width(self._cap)

    def _best_width(self, cap: int) -> int:
        """The narrowest width with the highest throughput; the widest allowed where no speed is known."""
        best, rate = cap, 0.0
        for width in _ladder(1, cap):
            step = self._meter.step(width)
            if step is not None and width / step.fixed_s > rate:
                best, rate = width, width / step.fixed_s
        return best

    def _option(
        self,
        strategy: str,
        budget: int,
        wave: int,
        shape: RunShape,
        rule: str | None = None,
        *,
        ahead: float = 1.0,
    ) -> Option:
        tokens = None if self._lengths is None else self._lengths.mean_cut
        return Option(
            strategy=strategy,
            stop_rule=rule,
            max_samples=budget,
            wave=wave,
            weight=self._wanted.weight if strategy == "majority" else None,
            ahead=ahead,
            quality=shape.quality,
            samples_mean=shape.samples_mean,
            figures=self._meter.figures(shape, tokens),
            p50=shape.p50,
            p95=shape.p95,
        )


def _ladder(start: int, most: int) -> list[int]:
    """``start``, doubled as long as it stays below ``most``, and ``most`` itself."""
    rungs: list[int] = []
    while start < most:
        rungs.append(start)
        start *= 2
    return [*rungs, most]


def _undominated(options: list[Option]) -> Iterator[Option]:
    """Options that no other one equals or beats in every figure, for any prompt; of equals the first."""
    numbers = [tuple(itertools.chain.from_iterable(option.figures)) for option in options]
    for place, mine in enumerate(numbers):
        others = enumerate(numbers)
        if not any(
            other != place and _at_most(theirs, mine) and (theirs != mine or other < place)
            for other, theirs in others
        ):
            yield options[place]


def _at_most(first: Iterable[float], second: Iterable[float]) -> bool:
    return all(one <= other for one, other in zip(first, second, strict=True))
