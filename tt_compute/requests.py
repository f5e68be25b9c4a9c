"""From a prompt and its options to a plan, from the plan to a job, from the result to the store."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime

import anyio.to_thread
import msgspec

from tt_compute.confidences import Asked, confidence_in
from tt_compute.dispatch.ledger import Ledger
from tt_compute.errors import (
    InfeasibleError,
    InvalidRequestError,
    TTComputeError,
    VerifierError,
)
from tt_compute.execution import Execution, Job
from tt_compute.foresight import foreseen
from tt_compute.judging import asker, embedder, scorer, step_scorer
from tt_compute.openings import Rung
from tt_compute.options import SolveOptions, checked
from tt_compute.planning.premises import premise_of
from tt_compute.planning.request import PlanRequest
from tt_compute.planning.types import Objective, Plan, Premise
from tt_compute.profiles.schema import TaskKind
from tt_compute.prompts import Prompt, estimate_tokens, to_messages
from tt_compute.results import Result
from tt_compute.rungs import Rungs, is_free, is_mock, members, naming_members
from tt_compute.sampling import check_sampling
from tt_compute.saved_plan import Replay, check_beside, replay
from tt_compute.setup import Setup
from tt_compute.stopping import is_score_rule
from tt_compute.strategies import asks_no_verifier, built_in, get_strategy
from tt_compute.strategies.base import Needs, Strategy, needs_of
from tt_compute.strategies.panel import Panel
from tt_compute.supervision import supervisor
from tt_compute.types import (
    GenerateRequest,
    JsonSchemaFormat,
    Message,
    SamplingParams,
)
from tt_compute.verify.base import Equality, Readied, Verifier
from tt_compute.verify.equality import get_equality
from tt_compute.verify.specs import VerifierTools, get_verifier, task_of_verifier
from tt_compute.verify.steps import ScoreSteps
from tt_compute.verify.tasks import AnswerTask, detect_task, get_task
from tt_compute.verify.verifiers import reliability_of
from tt_compute.vote_options import check_vote_options
from tt_compute.weights import parse_weight

__all__ = ["Prepared", "Requests"]

SEED_BITS = 48
"""Enough that two unseeded runs never meet; small enough for every JSON reader."""


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """A request that has been checked and planned."""

    started: float
    messages: tuple[Message, ...]
    task: AnswerTask
    verifier: Verifier | None
    score_steps: ScoreSteps | None
    """How the deployment that the strategy names scores steps."""
    judging: Ledger
    """What judging models take."""
    response_format: JsonSchemaFormat | None
    seed: int
    plan: Plan
    strategy: Strategy | None = None
    """The caller's own; None = the plan's, by its name."""
    unfit: frozenset[str] = frozenset()
    """The plan's deployments that can stand in for no other."""


class Requests:
    """Prepares the requests of one client and records their results."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._premises: dict[tuple[str, TaskKind], Premise] = {}

    async def prepare(self, prompt: Prompt, options: SolveOptions) -> Prepared:
        """Check a request and plan it, or hold the plan that it brings against the deployments of now.

        Raises:
            UsageError: The prompt or an option is not usable.
        """
        started = self._setup.clock.now()
        options = checked(options)
        made = options.get("plan")
        if made is not None:
            check_beside(made, options)
        messages = to_messages(prompt, system=options.get("system"))
        kind = _task(options, messages)
        task = get_task(
            kind, messages, options.get("response_format"), math_process=self._setup.math
        )
        task.equality = self._equality(options)
        judging = Ledger(started, today=datetime.now(UTC).date())
        verifier = options.get("verifier")
        tools = self._tools(options, judging)
        judge = None if verifier is None else get_verifier(verifier, task, tools=tools)
        request = _request(options, kind, messages, judge)
        score_steps = self._step_scorer(options)
        if made is None:
            plan = await self._decide(request, options)
            spent_us = (self._setup.clock.now() - started) * 1e6 - plan.elapsed_us
            decided = Replay(plan=msgspec.structs.replace(plan, setup_us=spent_us))
        else:
            decided = await replay(self._setup, made, request)
        return Prepared(
            started=started,
            messages=messages,
            task=task,
            verifier=judge,
            score_steps=score_steps,
            judging=judging,
            response_format=options.get("response_format"),
            seed=_seed(request.sampling),
            plan=decided.plan,
            strategy=_own_strategy(options),
            unfit=decided.unfit,
        )

    async def _decide(self, request: PlanRequest, options: SolveOptions) -> Plan:
        """Plan it, with the deployments that the strategy names."""
        objective, strategy = self._objective(options), _pinned(options)
        needs = needs_of(strategy)
        most = min(objective.max_samples, needs.most_samples or objective.max_samples)
        budget = msgspec.structs.replace(objective, max_samples=most)
        named = await members(self._setup, needs.deployments, request, objective)
        if not named:
            plan = await self._plan(request, budget, options)
            return msgspec.structs.replace(plan, objective=objective)
        unforeseen = await self._plan(request, budget, options)
        wave = max(one.wave for one in unforeseen.candidates)
        predicted = await foreseen(self._setup, strategy, named, request, budget, wave=wave)
        request = msgspec.structs.replace(
            request,
            predicted=predicted,
            priced_elsewhere=not all(is_free(one.spec) for one in named),
        )
        plan = naming_members(await self._plan(request, budget, options), named)
        premises = {one.deployment: one for one in plan.premises}
        premises |= {one.spec.id: self._premise(one.spec.id, plan.task) for one in named}
        return msgspec.structs.replace(plan, objective=objective, premises=tuple(premises.values()))

    async def _plan(
        self, request: PlanRequest, objective: Objective, options: SolveOptions
    ) -> Plan:
        planner = await self._setup.planner(request.deployment)
        if not planner.prepared(request, objective):
            # Elsewhere, so that whatever else the loop carries goes on.
            await anyio.to_thread.run_sync(planner.prepare, request, objective)
        plan = planner.plan(
            request,
            objective,
            strict=bool(options.get("strict")),
            conditions=self._setup.conditions(planner),
        )
        weighed = dict.fromkeys(one.deployment for one in plan.candidates)
        premises = tuple(self._premise(name, plan.task) for name in weighed)
        return msgspec.structs.replace(plan, premises=premises)

    def _equality(self, options: SolveOptions) -> Equality | None:
        given = options.get("equal")
        if given is None:
            return None
        objective = self._objective(options)
        return get_equality(
            given,
            process=self._setup.math,
            embedder=lambda name: embedder(self._setup, name, objective),
        )

    def _tools(self, options: SolveOptions, judging: Ledger) -> VerifierTools:
        objective = self._objective(options)
        return VerifierTools(
            text=self._setup.text,
            sandbox=self._setup.sandbox,
            judge=lambda name: asker(self._setup, name, objective, judging),
            scorer=lambda name: scorer(self._setup, name, objective),
            steps=lambda name: step_scorer(self._setup, name, objective),
            response_format=options.get("response_format"),
        )

    def _step_scorer(self, options: SolveOptions) -> ScoreSteps | None:
        named = needs_of(_pinned(options)).step_scorer
        if named is None:
            return None
        score = step_scorer(self._setup, named, self._objective(options))

        async def score_steps(
            messages: Sequence[Message], steps: Sequence[Sequence[str]]
        ) -> Sequence[Sequence[float]]:
            try:
                return await score(messages, steps)
            except TTComputeError as error:
                raise VerifierError(f"steps={named}: {error.message}", hint=error.hint) from error

        return score_steps

    def _premise(self, deployment: str, task: TaskKind) -> Premise:
        known = self._premises.get((deployment, task))
        if known is None:
            spec = self._setup.spec(deployment)
            known = premise_of(spec, self._setup.version(spec), task)
            self._premises[deployment, task] = known
        return known

    def _objective(self, options: SolveOptions) -> Objective:
        """The caller's, the plan's or the configuration's; prompts that must stay local stay local in all of them."""
        made, stated = options.get("plan"), self._setup.config.objective
        given = options.get("objective") if made is None else made.objective
        if given is None or stated.locality == "any":
            return given or stated
        return msgspec.structs.replace(given, locality=stated.locality)

    async def job(self, prepared: Prepared, *, stream_text: bool) -> Job:
        """What an execution needs to run the plan.

        Raises:
            InfeasibleError: The plan chose nothing.
            VerifierError: The verifier, or the equality of answers, cannot judge here.
        """
        plan, chosen = prepared.plan, prepared.plan.chosen
        if chosen is None:
            raise InfeasibleError(plan.advice or "no plan meets the objective")
        for judge in (prepared.verifier, prepared.task.equality):
            if isinstance(judge, Readied):
                # Before a sample is paid for that nothing could judge.
                await judge.ready(prepared.messages)
        if prepared.score_steps is not None:
            await prepared.score_steps(prepared.messages, ())
        limit_s = plan.objective.max_latency_s
        spec = self._setup.spec(chosen.deployment)
        sources = Rungs(self._setup, plan, prepared.seed, prepared.unfit)
        rungs = await sources.all(chosen)
        asked = Asked(
            task=plan.task,
            prompt_tokens=estimate_tokens(prepared.messages),
            estimates=await self._setup.estimates(),
        )
        strategy = prepared.strategy or get_strategy(chosen.strategy)
        one_text = chosen.max_samples == 1
        version = self._setup.version(spec)
        request = GenerateRequest(
            messages=prepared.messages,
            sampling=rungs[0].sampling,
            response_format=prepared.response_format,
            deltas="text" if stream_text and one_text else "none",
            deadline=None if limit_s is None else prepared.started + limit_s,
        )
        return Job(
            id=secrets.token_hex(8),
            plan=plan,
            chosen=chosen,
            rungs=rungs,
            strategy=strategy,
            request=request,
            task=prepared.task,
            verifier=prepared.verifier,
            score_steps=prepared.score_steps,
            judging=prepared.judging,
            seed=prepared.seed,
            started=prepared.started,
            confidence=confidence_in(strategy, chosen, asked, [rung.spec for rung in rungs]),
            confidence_spans=isinstance(strategy, Panel) or chosen.then is not None,
            today=datetime.now(UTC).date(),
            ignored_params=await self._ignored(rungs),
            warnings=_plan_warnings(plan),
            weights=version.weights,
            runtime=version.runtime,
        )

    async def _ignored(self, rungs: Sequence[Rung]) -> tuple[str, ...]:
        """What any of them drops."""
        dropped: dict[str, None] = {}
        for rung in rungs:
            capabilities = await self._setup.capabilities(rung.spec)
            asked = (name for name in capabilities.ignored_params if name != "seed")
            dropped |= {
                name: None for name in asked if getattr(rung.sampling, name, None) is not None
            }
        return tuple(dropped)

    async def record(self, execution: Execution, result: Result) -> Result:
        """Keep the receipt; the store's troubles become warnings of the result."""
        job = execution.job
        store = await self._setup.store()
        prompt = "\n".join(f"{message.role}: {message.text}" for message in job.request.messages)
        warnings = await store.record(result, prompt=prompt, mock=is_mock(job.spec))
        self._setup.learned(at_once=False)
        warnings = (*result.warnings, *self._setup.take_store_warnings(), *warnings)
        recorded = msgspec.structs.replace(result, warnings=warnings)
        watching = supervisor()
        if watching is not None:
            watching.ended(recorded)
        return recorded

    async def feedback(self, result_id: str, *, correct: bool) -> None:
        """Note whether an answer was right; the next plan knows.

        Raises:
            InvalidRequestError: ``correct`` is no bool.
            StoreError: There is no store, or no such result in it.
        """
        _check_verdict(correct)
        store = await self._setup.store()
        await store.feedback(result_id, correct=correct)
        self._setup.learned(at_once=True)


def _task(options: SolveOptions, messages: Sequence[Message]) -> TaskKind:
    plan = options.get("plan")
    if plan is not None:
        return plan.task
    stated = options.get("task") or task_of_verifier(options.get("verifier"))
    return stated or ("json" if options.get("response_format") else detect_task(messages))


def _request(
    options: SolveOptions, kind: TaskKind, messages: Sequence[Message], judge: Verifier | None
) -> PlanRequest:
    weight = options.get("weight")
    weighting = None if weight is None else parse_weight(weight)
    strategy, needs = _strategy(options), needs_of(_pinned(options))
    sampling = _sampling(options)
    if sampling.temperature is None:
        sampling = msgspec.structs.replace(sampling, temperature=needs.temperature)
    if needs.verifier and judge is None:
        raise InvalidRequestError(
            f"the strategy {strategy!r} needs a verifier",
            hint="pass verifier=, or use the strategy 'majority'",
        )
    least = 0 if weighting is None else weighting.least_logprobs
    return PlanRequest(
        task=kind,
        input_tokens=estimate_tokens(messages),
        sampling=sampling,
        deployment=_deployment(options, needs),
        strategy=strategy,
        stop_rule=options.get("stop"),
        weight=None if weighting is None else weighting.name,
        ahead=options.get("ahead"),
        has_verifier=judge is not None,
        reliability=reliability_of(judge),
        logprobs=max(sampling.logprobs, needs.logprobs, least),
        continue_assistant=needs.continue_assistant,
        draws_all=needs.draws_all,
        unforeseen=needs.unforeseen,
        json_schema=options.get("response_format") is not None,
    )


def _strategy(options: SolveOptions) -> str | None:
    """The strategy that is pinned; a verifier pins the one that asks it, lest an answer go unjudged.

    Raises:
        InvalidRequestError: Options exclude each other: one of them would be ignored.
    """
    strategy, stop = _strategy_name(options), options.get("stop")
    if voting := check_vote_options(options, strategy):
        return voting
    scored = stop is not None and is_score_rule(stop)
    holders = (None, "best_of_n") if scored else (None, "majority", "cascade")
    if stop is not None and strategy not in holders:
        about, wanted = (
            ("is about scored samples", "best_of_n") if scored else ("ends a vote", "majority")
        )
        raise InvalidRequestError(
            f"the stop rule {stop!r} {about}, and the strategy {strategy!r} holds none",
            hint=f"leave `stop` out, or use the strategy {wanted!r}",
        )
    if options.get("verifier") is None:
        return strategy
    if (stop is not None and not scored) or asks_no_verifier(strategy):
        voting = f"the stop rule {stop!r}" if strategy is None else f"the strategy {strategy!r}"
        raise InvalidRequestError(
            f"a verifier was given, and {voting} asks none",
            hint="leave one of the two out; a verifier asks for the strategy 'best_of_n'",
        )
    return strategy or "best_of_n"


def _pinned(options: SolveOptions) -> Strategy | None:
    """The strategy that is pinned, or that a plan made before has chosen; None = it is open.

    Raises:
        UnknownNameError: There is no such strategy.
    """
    plan, name = options.get("plan"), _strategy(options)
    if plan is not None and plan.chosen is not None:
        name = plan.chosen.strategy
    return _own_strategy(options) or (None if name is None else get_strategy(name))


def _deployment(options: SolveOptions, needs: Needs) -> str | None:
    """The only deployment to consider; that of a strategy which names some is the first of them.

    Raises:
        InvalidRequestError: Another one is pinned.
    """
    pinned = options.get("deployment")
    if not needs.deployments or options.get("plan") is not None:
        return pinned
    if pinned not in (None, needs.deployments[0]):
        raise InvalidRequestError(
            f"the strategy {_strategy_name(options)!r} names its deployments, and {pinned!r} is given besides",
            hint="leave `deployment` out",
        )
    return needs.deployments[0]


def _strategy_name(options: SolveOptions) -> str | None:
    strategy = options.get("strategy")
    return strategy if strategy is None or isinstance(strategy, str) else strategy.name


def _own_strategy(options: SolveOptions) -> Strategy | None:
    """The strategy that was given as an object.

    Raises:
        InvalidRequestError: It has the name of a built-in one, and is none.
    """
    strategy = options.get("strategy")
    if strategy is None or isinstance(strategy, str):
        return None
    namesake = built_in(strategy.name)
    if namesake is not None and not isinstance(strategy, type(namesake)):
        raise InvalidRequestError(
            f"{type(strategy).__name__} has the name of the built-in strategy {strategy.name!r}",
            hint="give it another one: plans and receipts call it by its name",
        )
    return strategy


def _sampling(options: SolveOptions) -> SamplingParams:
    """``sampling``, or that of a plan made before, with its short forms put in.

    Raises:
        InvalidRequestError: A value is given in both ways, or out of range.
    """
    plan, sampling = options.get("plan"), options.get("sampling") or SamplingParams()
    if plan is not None and plan.chosen is not None:
        sampling = plan.chosen.sampling
    short = {
        name: value
        for name in ("seed", "temperature", "max_tokens")
        if (value := options.get(name)) is not None
    }
    for name in short:
        if getattr(sampling, name) is not None:
            raise InvalidRequestError(f"{name} is given twice, also in `sampling`")
    sampling = msgspec.structs.replace(sampling, **short)
    check_sampling(sampling)
    return sampling


def _check_verdict(correct: object) -> None:
    """Refuse what untyped callers pass for a verdict; "no" would count as true."""
    if not isinstance(correct, bool):
        raise InvalidRequestError(f"correct must be True or False, got {correct!r}")


def _seed(sampling: SamplingParams) -> int:
    if sampling.seed is not None:
        return sampling.seed
    watching = supervisor()
    given = None if watching is None else watching.seed()
    return secrets.randbits(SEED_BITS) if given is None else given


def _plan_warnings(plan: Plan) -> tuple[str, ...]:
    chosen = plan.chosen
    if chosen is None or chosen.feasible:
        return plan.warnings
    return (
        *plan.warnings,
        f"no plan meets the objective; ran the nearest one. {plan.advice}",
    )
