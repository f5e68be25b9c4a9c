"""The planner: from a request and an objective to the deployment, strategy and budget that serve it best."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Literal

import msgspec

from tt_compute.conditions import Conditions
from tt_compute.errors import (
    BackendUnavailable,
    ContextLengthError,
    InfeasibleError,
    InvalidRequestError,
    TTComputeError,
    UnknownNameError,
    UnsupportedError,
)
from tt_compute.planning.cascades import cascades
from tt_compute.planning.choice import Board, Entry, Prompt
from tt_compute.planning.delays import delays
from tt_compute.planning.estimates import Estimates
from tt_compute.planning.kv_cache import rows_that_fit
from tt_compute.planning.menu import Offer, Wanted, make_offer
from tt_compute.planning.openness import open_aheads, open_stop_rules, open_strategies
from tt_compute.planning.panel_menu import panels
from tt_compute.planning.refusals import refusals
from tt_compute.planning.request import PlanRequest
from tt_compute.planning.scribe import Scribe
from tt_compute.planning.similarity import length_band
from tt_compute.planning.types import Objective, Plan, Rejection
from tt_compute.profiles.schema import DeploymentSpec
from tt_compute.types import Capabilities, Clock, SamplingParams

__all__ = ["PlanRequest", "Planner"]

_MENUS = 64
"""Kinds of request whose menus are kept."""


class _Kind(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of request: what requests that share a menu have in common."""

    wanted: Wanted
    needs: PlanRequest
    """The request without what differs from prompt to prompt."""
    locality: Literal["any", "local"]
    widths: tuple[tuple[str, int], ...] = ()
    """(deployment, widest wave) where the memory leaves no room for wider ones."""


class _Rejected(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment that is not weighed; ``stage`` is how far it came."""

    stage: Literal["locality", "unavailable", "needs", "context"]
    rejection: Rejection


class _Menu(msgspec.Struct, frozen=True, kw_only=True):
    offers: tuple[Offer, ...]
    board: Board
    rejected: tuple[_Rejected, ...]


class Planner:
    """Decides over a fixed set of deployments. It runs nothing and touches no network.

    Tables for a kind of request (task, ``max_samples``, what was pinned) are worked out when it is first
    asked for and kept; a plan then only multiplies them out for its prompt and chooses.

    Args:
        specs: The deployments to choose from.
        capabilities: By deployment id; what is absent or None counts as able to do nothing special.
        unavailable: Deployment id -> why it cannot be used now.
        estimates: What past runs taught; a planner for newer ones is a new planner.
        clock: Times the decision.
    """

    def __init__(
        self,
        specs: Sequence[DeploymentSpec],
        capabilities: Mapping[str, Capabilities | None],
        unavailable: Mapping[str, str],
        estimates: Estimates,
        clock: Clock,
    ) -> None:
        self._specs = tuple(specs)
        self._capabilities = capabilities
        self._unavailable = unavailable
        self._estimates = estimates
        self._clock = clock
        self._learned = bool(estimates.observations or estimates.greedy or estimates.lengths)
        """Whether prompts of different length may differ in more than their prefill."""
        self._menus: dict[_Kind, _Menu] = {}

    @property
    def specs(self) -> tuple[DeploymentSpec, ...]:
        """The deployments that it chooses from."""
        return self._specs

    def plan(
        self,
        request: PlanRequest,
        objective: Objective,
        *,
        strict: bool = False,
        conditions: Mapping[str, Conditions] = {},
    ) -> Plan:
        """Decide.

        ``elapsed_us`` is the choice itself. ``setup_us`` is what this call spent besides: on tables, when
        the kind of request is new, and on writing out every candidate.

        Args:
            request: What is asked.
            objective: What it should reach.
            strict: Choose nothing rather than a candidate that misses the objective.
            conditions: How deployments stand now, by id, for this plan alone. One that would take nothing is
                left out as long as others are not.

        Raises:
            UnknownNameError: A pinned deployment or stop rule does not exist.
            InvalidRequestError: ``best_of_n`` was pinned and there is no verifier.
            BackendUnavailable, UnsupportedError, ContextLengthError, InfeasibleError: Every deployment
                was rejected; the error is that of the one that came furthest.
        """
        started = self._clock.now()
        menu = self._menu(self._kind(request, objective), request.input_tokens)
        ready = self._clock.now()
        ttfts = [offer.prefill.seconds(request.input_tokens) for offer in menu.offers]
        out = _too_long(menu, request.input_tokens)
        closed = _closed(menu, refusals(menu.offers, conditions, request.input_tokens), out)
        out |= closed
        held = delays(menu.offers, conditions, request.input_tokens, ttfts)
        board = menu.board.without(out)
        rejected = (*menu.rejected, *out.values())
        if not board.entries:
            raise _nothing_left(rejected)
        prompt = Prompt(request.input_tokens, ttfts, held)
        best, feasible = board.choose(prompt, objective)
        decided = self._clock.now()
        scribe = Scribe(menu.offers, board, request, objective, prompt)
        candidates = {
            id(entry): scribe.candidate(place) for place, entry in enumerate(board.entries)
        }
        plan = Plan(
            chosen=candidates[id(best.entry)] if feasible or not strict else None,
            candidates=tuple(candidates.values()),
            rejected=tuple(one.rejection for one in rejected),
            objective=objective,
            task=request.task,
            elapsed_us=(decided - ready) * 1e6,
            setup_us=0.0,
            advice="" if feasible else scribe.advice(best),
            delays=scribe.delays(best.entry, out),
            resting=tuple(one.rejection.deployment for one in closed.values()),
        )
        spent = (ready - started) + (self._clock.now() - decided)
        return msgspec.structs.replace(plan, setup_us=spent * 1e6)

    def prepared(self, request: PlanRequest, objective: Objective) -> bool:
        """Whether the tables for this kind of request are made: then ``plan`` takes no time to speak of."""
        kind = self._kind(request, objective)
        menu = self._menus.get(kind)
        return menu is not None and self._fitted(kind, menu, request.input_tokens) in self._menus

    def prepare(self, request: PlanRequest, objective: Objective) -> None:
        """Make the tables for this kind of request; tens of milliseconds, in any thread.

        Raises:
            UnknownNameError, InvalidRequestError: As ``plan``.
        """
        self._menu(self._kind(request, objective), request.input_tokens)

    def unknowns(
        self, request: PlanRequest, objective: Objective
    ) -> Mapping[str, Mapping[str, tuple[str, ...]]]:
        """Why figures are unknown: deployment id -> figure -> reasons, empty where it is known."""
        menu = self._kept(self._kind(request, objective))
        return {offer.spec.id: offer.unknown for offer in menu.offers}

    def offers(self, request: PlanRequest, objective: Objective) -> Mapping[str, Offer]:
        """What is weighed for this kind of request, by deployment id: for whoever plays its runs through."""
        menu = self._menu(self._kind(request, objective), request.input_tokens)
        return {offer.spec.id: offer for offer in menu.offers}

    def _kind(self, request: PlanRequest, objective: Objective) -> _Kind:
        wanted = Wanted(
            task=request.task,
            max_samples=objective.max_samples,
            strategies=open_strategies(request),
            stop_rules=open_stop_rules(request),
            weight=request.weight,
            ahead=open_aheads(request),
            max_tokens=request.sampling.max_tokens,
            prompt_tokens=length_band(request.input_tokens) if self._learned else None,
            greedy=not request.sampling.temperature,
            predicted=request.predicted,
            draws_all=request.draws_all,
            unforeseen=request.unforeseen,
            priced_elsewhere=request.priced_elsewhere,
            judged=request.has_verifier,
            reliability=request.reliability,
        )
        needs = msgspec.structs.replace(request, input_tokens=0, sampling=SamplingParams())
        return _Kind(wanted=wanted, needs=needs, locality=objective.locality)

    def _menu(self, kind: _Kind, tokens: int) -> _Menu:
        """The menu for a prompt of ``tokens``: that of its kind, unless some waves do not fit beside it."""
        return self._kept(self._fitted(kind, self._kept(kind), tokens))

    @staticmethod
    def _fitted(kind: _Kind, menu: _Menu, tokens: int) -> _Kind:
        widths = _narrowed(menu.offers, tokens)
        return msgspec.structs.replace(kind, widths=widths) if widths else kind

    def _kept(self, kind: _Kind) -> _Menu:
        menu = self._menus.get(kind)
        if menu is None:
            menu = self._make_menu(kind)
            if len(self._menus) >= _MENUS:
                del self._menus[next(iter(self._menus))]
            self._menus[kind] = menu
        return menu

    def _make_menu(self, kind: _Kind) -> _Menu:
        offers: list[Offer] = []
        rejected: list[_Rejected] = []
        widths = dict(kind.widths)
        for spec in self._pinned(kind.needs.deployment):
            capabilities = self._capabilities.get(spec.id)
            refusal = self._refusal(spec, capabilities, kind)
            if refusal is None:
                widest = widths.get(spec.id)
                offers.append(make_offer(spec, capabilities, self._estimates, kind.wanted, widest))
            else:
                rejected.append(refusal)
        options = [(place, one) for place, offer in enumerate(offers) for one in offer.options]
        if "cascade" in kind.wanted.strategies:
            options += cascades(offers, kind.wanted)
        if "panel" in kind.wanted.strategies:
            options += panels(offers, kind.wanted)
        board = Board(
            Entry(
                offer=place,
                deployment=offers[place].spec.id,
                option=option,
                completion_usd=offers[place].completion_usd,
            )
            for place, option in options
        )
        if offers and not options:
            raise InvalidRequestError(
                "no two of the deployments make a cascade: one must be better, both of known ability and speed, "
                "and max_samples at least 3",
                hint="add a deployment of a better model, or let the plan choose the strategy",
            )
        return _Menu(offers=tuple(offers), board=board, rejected=tuple(rejected))

    def _pinned(self, deployment: str | None) -> Sequence[DeploymentSpec]:
        if deployment is None:
            return self._specs
        known = [spec.id for spec in self._specs]
        _check_name("deployment", deployment, known)
        return [spec for spec in self._specs if spec.id == deployment]

    def _refusal(
        self, spec: DeploymentSpec, capabilities: Capabilities | None, kind: _Kind
    ) -> _Rejected | None:
        if kind.locality == "local" and not spec.hardware.local:
            reason = f"prompts would leave this machine ({spec.hardware.id} is not local)"
            return _Rejected(stage="locality", rejection=_rejection(spec, reason))
        if spec.id in self._unavailable:
            reason = self._unavailable[spec.id]
            return _Rejected(stage="unavailable", rejection=_rejection(spec, reason))
        missing = kind.needs.missing(capabilities)
        if missing:
            reason = f"is not known to offer {', '.join(missing)}"
            return _Rejected(stage="needs", rejection=_rejection(spec, reason))
        return None


def _check_name(what: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise UnknownNameError(
            f"there is no {what} {name!r}", hint=f"{hint}known: {', '.join(known)}"
        )


def _too_long(menu: _Menu, tokens: int) -> dict[int, _Rejected]:
    """By position: the offers whose context does not hold the prompt and an answer."""
    return {
        place: _Rejected(
            stage="context",
            rejection=_rejection(
                offer.spec,
                f"a prompt of {tokens} tokens leaves no room for an answer "
                f"in a context of {offer.spec.max_context_tokens} tokens",
            ),
        )
        for place, offer in enumerate(menu.offers)
        if tokens > offer.max_input_tokens
    }


def _closed(menu: _Menu, reasons: Mapping[int, str], out: Collection[int]) -> dict[int, _Rejected]:
    """By position: the offers whose deployment would take nothing now, unless that leaves none."""
    if len(reasons.keys() | set(out)) == len(menu.offers):
        return {}
    return {
        place: _Rejected(stage="unavailable", rejection=_rejection(menu.offers[place].spec, reason))
        for place, reason in reasons.items()
        if place not in out
    }


def _narrowed(offers: Sequence[Offer], tokens: int) -> tuple[tuple[str, int], ...]:
    """(deployment, widest wave) where keys and values of a wider one would not fit."""
    found: list[tuple[str, int]] = []
    for offer in offers:
        if math.isinf(offer.kv_tokens):
            continue
        rows = rows_that_fit(offer.kv_tokens, tokens + (offer.tokens_mean or offer.max_tokens))
        if rows < offer.widest:
            found.append((offer.spec.id, rows))
    return tuple(found)


def _nothing_left(rejected: Sequence[_Rejected]) -> TTComputeError:
    """The error when no deployment is left to weigh: that of the one that came furthest."""
    stages = ("context", "needs", "unavailable", "locality")
    stage = min((one.stage for one in rejected), key=stages.index, default="unavailable")
    reasons = "; ".join(f"{one.rejection.deployment}: {one.rejection.reason}" for one in rejected)
    message = f"no deployment can take this request: {reasons or 'none is configured'}"
    if stage == "context":
        return ContextLengthError(message, hint="shorten the prompt or ask for fewer tokens")
    if stage == "needs":
        return UnsupportedError(message, hint="add a deployment that offers it, or do without")
    if stage == "unavailable":
        return BackendUnavailable(message, hint="`ttc backends` lists what is missing")
    return InfeasibleError(message, hint="allow locality 'any', or add a local deployment")


def _rejection(spec: DeploymentSpec, reason: str) -> Rejection:
    return Rejection(deployment=spec.id, reason=reason)
