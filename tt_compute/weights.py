"""How much a vote counts: confidences of single samples, and weights made of them.

A confidence is one number of one sample, higher is surer, None is unknown. Weights are made of all confidences
of a vote; they matter only relative to each other, so that none is normalised to a sum of 1.
"""

from __future__ import annotations

import difflib
import math
import statistics
from collections.abc import Sequence
from typing import Literal

import msgspec

from tt_compute.errors import InvalidRequestError, UnknownNameError
from tt_compute.stopping import CertainRule, parse_stop_rule
from tt_compute.types import Sample, TokenLogprob

__all__ = [
    "WEIGHTS",
    "Weighting",
    "borda_weights",
    "check_weighted_rule",
    "mean_logprob",
    "parse_weight",
    "score_weights",
    "self_certainty",
    "softmax_weights",
    "tail_confidence",
    "top_certainty",
    "top_confidence",
]

TAIL_TOKENS = 2048
"""Of DeepConf's tail confidence."""
MOST_TOP_LOGPROBS = 20
"""DeepConf's k, and the most that services give."""
_FEWEST_TOP_LOGPROBS = 2
"""A single one says nothing of how probability is spread."""
_EXAMPLE = "such as logprob, logprob:0.5, certainty, tail or verifier"

Measure = Literal["logprob", "certainty", "tail", "verifier"]


# --- confidences of a sample ---------------------------------------------------------------------


def mean_logprob(sample: Sample) -> float | None:
    """(1/n) sum of log p(sampled token), at most 0: the log of the geometric mean of the probabilities.

    CISC's "response probability" (Taubenfeld et al. 2025, https://arxiv.org/abs/2502.06233).
    """
    return sample.mean_logprob


def self_certainty(sample: Sample) -> float | None:
    """Mean over the tokens of KL(uniform || model), where the runtime sees the whole distribution.

    Kang et al. 2025 (https://arxiv.org/abs/2502.18581).
    """
    return sample.self_certainty


def top_certainty(sample: Sample) -> float | None:
    """``self_certainty`` over the likeliest k tokens only: what is left where a service lists no others.

    With q the listed probabilities divided by their sum, the mean over the tokens of
    KL(uniform over k || q) = -(1/k) sum of log(k q). None without two listed tokens at every place.
    """
    found = [_divergence(token) for token in sample.logprobs]
    known = [one for one in found if one is not None]
    return statistics.fmean(known) if known and len(known) == len(found) else None


def _divergence(token: TokenLogprob) -> float | None:
    k = len(token.top)
    if k < _FEWEST_TOP_LOGPROBS:
        return None
    logprobs = [logprob for _, logprob in token.top]
    top = max(logprobs)
    log_sum = top + math.log(math.fsum(math.exp(one - top) for one in logprobs))
    return log_sum - math.fsum(logprobs) / k - math.log(k)


def top_confidence(token: TokenLogprob) -> float | None:
    """C = -(1/k) sum of log P over the k likeliest tokens, at least 0; None where fewer than two are listed.

    DeepConf's token confidence (Fu et al. 2025, https://arxiv.org/abs/2508.15260).
    """
    if len(token.top) < _FEWEST_TOP_LOGPROBS:
        return None
    return -statistics.fmean(logprob for _, logprob in token.top)


def tail_confidence(sample: Sample, tokens: int = TAIL_TOKENS) -> float | None:
    """Mean of the token confidence over the last ``tokens`` tokens, or all where there are fewer.

    DeepConf's tail confidence (Fu et al. 2025). None when one of them has none.
    """
    found = [top_confidence(token) for token in sample.logprobs[-tokens:]]
    known = [one for one in found if one is not None]
    return statistics.fmean(known) if known and len(known) == len(found) else None


# --- weights of confidences ----------------------------------------------------------------------


def softmax_weights(confidences: Sequence[float], temperature: float) -> list[float]:
    """exp((c - max c) / T): the larger T, the more alike; towards 0 the surest sample decides alone.

    CISC's weights are these divided by their sum (Taubenfeld et al. 2025), which no winner depends on.
    """
    highest = max(confidences, default=0.0)
    return [math.exp((one - highest) / temperature) for one in confidences]


def borda_weights(confidences: Sequence[float]) -> list[float]:
    """N - r + 1 for the r-th surest of N samples; equal ones share the mean of their ranks.

    Borda voting (Kang et al. 2025, with their exponent p = 1).
    """
    ordered = sorted(confidences)
    low = {one: place for place, one in reversed(list(enumerate(ordered, 1)))}
    high = {one: place for place, one in enumerate(ordered, 1)}
    return [(low[one] + high[one]) / 2 for one in confidences]


def score_weights(scores: Sequence[float]) -> list[float]:
    """The score itself, those below 0 as 0.

    Weighted best-of-n (Li et al. 2022, https://arxiv.org/abs/2206.02336): an answer has the sum of the scores of
    its samples. DeepConf sums its confidences so, too. The papers' scores are never negative.
    """
    return [max(0.0, one) for one in scores]


# --- by name -------------------------------------------------------------------------------------


class Weighting(msgspec.Struct, frozen=True, kw_only=True):
    """Which confidence votes weigh by, and how.

    Attributes:
        measure: The confidence.
        temperature: Of ``softmax_weights``; None = the measure's published form.
    """

    measure: Measure
    temperature: float | None = None

    @property
    def name(self) -> str:
        """What ``parse_weight`` turns back into this."""
        return self.measure + ("" if self.temperature is None else f":{self.temperature!r}")

    @property
    def judged(self) -> bool:
        """Whether a verifier's score is the confidence."""
        return self.measure == "verifier"

    @property
    def least_logprobs(self) -> int:
        """``SamplingParams.logprobs`` without which nothing is known."""
        return {"logprob": 1, "verifier": 0}.get(self.measure, _FEWEST_TOP_LOGPROBS)

    @property
    def most_logprobs(self) -> int:
        """``SamplingParams.logprobs`` beyond which nothing is gained."""
        return {"logprob": 1, "verifier": 0}.get(self.measure, MOST_TOP_LOGPROBS)

    @property
    def bounded(self) -> bool:
        """Whether there is a ``bounded_weight``, so that a vote can be over before its budget is."""
        return self.measure == "logprob"

    def confidences(self, samples: Sequence[Sample]) -> list[float | None]:
        """Of samples that no verifier judged, measured alike for all of them."""
        if self.measure == "tail":
            return [tail_confidence(one) for one in samples]
        if self.measure == "logprob":
            return [mean_logprob(one) for one in samples]
        whole = [self_certainty(one) for one in samples]
        return [top_certainty(one) for one in samples] if None in whole else whole

    def weights(self, confidences: Sequence[float]) -> list[float]:
        """Of the samples that vote."""
        if self.temperature is not None or self.measure == "logprob":
            return softmax_weights(confidences, self.temperature or 1.0)
        return (borda_weights if self.measure == "certainty" else score_weights)(confidences)

    def bounded_weight(self, confidence: float) -> float:
        """In proportion to ``weights``, but never more than 1, whatever is still to come."""
        assert self.bounded
        # A mean log-probability is at most 0.
        return math.exp(min(0.0, confidence) / (self.temperature or 1.0))


WEIGHTS: tuple[Measure, ...] = ("logprob", "certainty", "tail", "verifier")


def parse_weight(text: str) -> Weighting:
    """The weighting that ``text`` names: ``NAME``, or ``NAME:T`` for CISC's softmax at the temperature T.

    Raises:
        UnknownNameError: There is none of the name.
        InvalidRequestError: T is no number above 0.
    """
    name, colon, parameter = text.partition(":")
    if name not in WEIGHTS:
        near = difflib.get_close_matches(name, WEIGHTS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(WEIGHTS)}"
        raise UnknownNameError(f"there is no weight {name!r}", hint=hint)
    temperature = _temperature(name, parameter) if colon else None
    return Weighting(measure=name, temperature=temperature)


def _temperature(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise InvalidRequestError(
            f"the weight {name!r} takes a temperature above 0, got {text!r}", hint=_EXAMPLE
        )
    return value


def check_weighted_rule(rule: str | None, weighting: Weighting) -> None:
    """Refuse a stop rule that would end a weighted vote for no good reason.

    Rules of votes count votes; what they say of the leader holds for no other one. ``certain`` is about any
    sums, as long as it is known how much a sample that is still to come could weigh at most.

    Raises:
        UnknownNameError: There is no such rule.
        InvalidRequestError: It is another one than ``certain``, or the weights have no bound.
    """
    if rule is None:
        return
    if not isinstance(parse_stop_rule(rule), CertainRule):
        raise InvalidRequestError(
            f"the stop rule {rule!r} counts votes, and these weigh by {weighting.name!r}",
            hint="use `certain`, or leave it out to draw the whole budget",
        )
    if not weighting.bounded:
        raise InvalidRequestError(
            f"nothing is certain before the budget ends: the weight {weighting.name!r} has no upper bound",
            hint="leave the stop rule out, or use the weight 'logprob'",
        )
