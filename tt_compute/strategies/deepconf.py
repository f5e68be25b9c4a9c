"""DeepConf: samples that the model is not sure of are ended early, and the rest vote by their confidence.

Fu et al. 2025, https://arxiv.org/abs/2508.15260, section 4 and algorithm 2.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tt_compute.errors import InvalidRequestError
from tt_compute.results import StopReason
from tt_compute.strategies.base import Ended, Needs, Observer, Outcome, Run
from tt_compute.strategies.collecting import Collector, finished, spokesman
from tt_compute.strategies.confidence import GroupConfidence, lowest_group, percentile
from tt_compute.strategies.drawing import opener_of
from tt_compute.strategies.settings import check_numbers
from tt_compute.strategies.weighing import WeightedBallot
from tt_compute.types import Delta, Sample

__all__ = ["DeepConf"]


class DeepConf(msgspec.Struct, frozen=True, kw_only=True):
    """Warms up with whole samples, takes from them how sure is sure enough, and ends others below that.

    A sample's confidence is that of its least confident group of tokens. Those below the threshold do not
    vote, the warm-up's included; the others vote by their confidence. Once the leading answer has the share
    ``consensus`` of all votes, the rest is cancelled (``settled``). As in a plain vote, sample k votes
    only once samples 0..k-1 have ended. With a budget of at most ``warmup``, and where a backend shows no
    tokens before the end, it is the offline method: all samples are whole, and are filtered and weighted.

    Raises:
        InvalidRequestError: A value is out of range.
    """

    warmup: int = 16
    """N_init: samples that are never ended early."""
    keep: float = 0.9
    """eta: the share of samples that may vote, by confidence; 0.9 and 0.1 are the paper's high and low."""
    window: int = 2048
    """Tokens of one group. A sample that is shorter is one group, and is not ended early."""
    consensus: float | None = 0.95
    """tau, at most 1; None = the whole budget is drawn."""
    top: int = 20
    """k: tokens that confidence looks at. With 1 it is the probability of the sampled one."""

    def __post_init__(self) -> None:
        """Refuse what no vote could use."""
        check_numbers(self)
        for name in ("warmup", "window", "top"):
            if getattr(self, name) < 1:
                raise InvalidRequestError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("keep", "consensus"):
            share = getattr(self, name)
            if share is not None and not 0 < share <= 1:
                raise InvalidRequestError(f"{name} must be above 0 and at most 1, got {share}")

    @property
    def name(self) -> str:
        return "deepconf"

    @property
    def needs(self) -> Needs:
        """Of a deployment."""
        return Needs(logprobs=self.top, unforeseen="how soon samples are cancelled is unknown")

    async def run(self, run: Run) -> Outcome:
        """Vote until there is consensus, the budget is spent or the deadline has passed.

        Raises:
            UsageError: No further prompts can be asked.
            TTComputeError: Every sample failed, or the generation was lost before there was a vote.
        """
        sampling = msgspec.structs.replace(run.sampling, logprobs=self.top)
        opened = opener_of(run)(run.messages, sampling=sampling, deltas="logprobs")
        async with opened as generation:
            return await _Vote(msgspec.structs.replace(run, generation=generation), self).hold()


class _Vote:
    def __init__(self, run: Run, settings: DeepConf) -> None:
        self._settings = settings
        self._tracker = _Tracker(run, settings.window)
        self._run = msgspec.structs.replace(run, observer=self._tracker)
        self._collector = Collector(self._run)
        self._confidences: dict[int, float] = {}
        self._ballot = WeightedBallot(run.task)
        self._counted: set[int] = set()
        self._standing = self._ballot.standing()

    async def hold(self) -> Outcome:
        while self._reason() is None:
            self._draw()
            ended = await self._collector.next()
            if ended is not None:
                self._measure(ended)
                await self._count(self._in_turn())
        # Ending what is live can make a sample complete that decides nothing any more.
        reason = self._reason()
        await self._collector.drain()
        if reason in ("deadline", "failed"):
            for ended in self._collector.by_index():
                self._measure(ended)
            await self._count(self._collector.by_index())
        return self._outcome(reason or "budget")

    @property
    def _warming(self) -> int:
        """Samples of the warm-up that have not ended."""
        whole = min(self._settings.warmup, self._run.max_samples)
        return whole - sum(one is not None for one in self._collector.in_line(0)[:whole])

    def _reason(self) -> StopReason | None:
        wanted = self._settings.consensus
        if wanted is not None and self._standing.share >= wanted:
            return "settled"
        if self._collector.late:
            return "deadline"
        if self._collector.lost is not None:
            return "failed"
        if self._collector.drawn == self._run.max_samples and not self._collector.live:
            return "budget"
        return "deadline" if self._run.deadline_passed() else None

    def _draw(self) -> None:
        """The warm-up first, and what comes after it once its threshold is known."""
        whole = min(self._settings.warmup, self._run.max_samples)
        if self._collector.drawn < whole:
            self._collector.draw(whole - self._collector.drawn)
        elif not self._warming:
            self._tracker.threshold = self._threshold()
            self._collector.draw(self._run.wave)

    def _threshold(self) -> float | None:
        """s: the percentile 100 - eta of the warm-up's confidences; None = nothing is known."""
        first = self._collector.in_line(0)[: self._settings.warmup]
        known = [
            self._confidences[one.index] for one in first if one and one.index in self._confidences
        ]
        return percentile(known, 100 * (1 - self._settings.keep)) if known else None

    def _measure(self, ended: Ended) -> None:
        event = ended.event
        if ended.index in self._confidences or not isinstance(event, Sample):
            return
        confidence = lowest_group(event.logprobs, self._settings.window)
        if confidence is not None and finished(ended):
            self._confidences[ended.index] = confidence
            scored = msgspec.structs.replace(ended, score=confidence)
            self._collector.ended[ended.index] = scored
            self._run.observer.on_ended(scored)

    def _in_turn(self) -> Sequence[Ended]:
        """Those before which no sample is live."""
        line = self._collector.in_line(0)
        known = line.index(None) if None in line else len(line)
        return [one for one in line[:known] if one is not None]

    async def _count(self, samples: Sequence[Ended]) -> None:
        """Let those vote that have not voted yet, once the warm-up has set the threshold."""
        if self._warming and not self._collector.late and self._collector.lost is None:
            return
        threshold = self._threshold()
        for one in samples:
            if one.index in self._counted or not finished(one):
                continue
            self._counted.add(one.index)
            confidence = self._confidences.get(one.index)
            if confidence is None and threshold is None:
                # Nothing is known of any: a plain vote is the best that can be had.
                await self._ballot.add(one, 1.0)
            elif confidence is not None and (threshold is None or confidence >= threshold):
                await self._ballot.add(one, confidence)
        self._standing = self._ballot.standing()
        self._run.observer.on_votes(self._standing.votes, self._standing.share or None)

    def _outcome(self, reason: StopReason) -> Outcome:
        samples = self._collector.by_index()
        winner = self._standing.winner
        if winner is None:
            self._collector.raise_if_nothing_came()
            winner = spokesman([one for one in samples if finished(one)])
        return Outcome(
            answer=None if winner is None else winner.answer,
            text="" if winner is None else winner.event.text,
            winner=None if winner is None else winner.index,
            stop_reason=reason,
            stop_posterior=self._standing.share or None,
            ended=samples,
            votes=self._standing.votes,
            warnings=(*self._collector.warnings(), *self._warnings()),
        )

    def _warnings(self) -> tuple[str, ...]:
        unknown = [
            one
            for one in self._collector.by_index()
            if finished(one) and one.index not in self._confidences
        ]
        return (f"{len(unknown)} samples came without logprobs",) if unknown else ()


class _Tracker:
    """The run's observer, which besides watches each sample's confidence and ends it below ``threshold``."""

    def __init__(self, run: Run, window: int) -> None:
        self._generation = run.generation
        self._observer: Observer = run.observer
        self._window = window
        self._groups: dict[int, GroupConfidence] = {}
        self._ending: set[int] = set()
        self.threshold: float | None = None
        """None = all samples run to their ends."""
        self.on_drawn = run.observer.on_drawn
        self.on_ended = run.observer.on_ended
        self.on_votes = run.observer.on_votes
        self.on_stopping = run.observer.on_stopping

    def on_delta(self, delta: Delta) -> None:
        """Of many texts at once nothing is shown."""
        if delta.restart or delta.index not in self._groups:
            self._groups[delta.index] = GroupConfidence(self._window)
        group = self._groups[delta.index]
        group.add(delta.logprobs)
        if self.threshold is None or group.lowest is None or delta.index in self._ending:
            return
        if group.lowest < self.threshold:
            self._ending.add(delta.index)
            self._observer.on_stopping((delta.index,))
            self._generation.cancel(delta.index)
