"""``ttc replay``: strategies over recorded samples."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import click
import msgspec

from tt_compute.cli.loop import run_async
from tt_compute.cli.replay_view import report_view, sweep_view
from tt_compute.cli.shared import Output, command, counted, example
from tt_compute.errors import BackendError, InvalidRequestError
from tt_compute.files import check_folder, write_file
from tt_compute.planning.figures import Meter
from tt_compute.plotting import check_plotting
from tt_compute.profiles.schema import DeploymentSpec, TaskKind
from tt_compute.replay.answers import (
    Equality,
    Question,
    VerifierSpec,
    parse_verifier,
    read_questions,
)
from tt_compute.replay.figures import Bill
from tt_compute.replay.fit import fit_ability, model_name, profile_text
from tt_compute.replay.lab import Lab, check_budget, check_recorded
from tt_compute.replay.play import Policy
from tt_compute.replay.plot import plot_sweep
from tt_compute.replay.recording import Recording, load_recordings
from tt_compute.replay.sweep import budgets, rules, sweep
from tt_compute.setup import Setup
from tt_compute.stopping import is_score_rule, parse_score_rule, parse_stop_rule
from tt_compute.strategies import get_strategy
from tt_compute.verify.math_process import MathProcess
from tt_compute.weights import Weighting, check_weighted_rule, parse_weight

__all__ = ["replay"]

_DEFICIT = "deficit"
_DEFAULT_RULE = "beta"
_ONE_SAMPLE = "single"
_VERIFIED = "best_of_n"
_VOTE = "majority"
_REPLAYED = (_ONE_SAMPLE, _VOTE, _VERIFIED)
"""Strategies that need nothing but answers and what was measured of them."""
_RECORDED = ("logprob", "verifier")
"""Weights that recordings hold: mean log-probabilities, and rewards or verdicts."""
_AHEADS = (1.0, 0.7, 0.3)
"""That a sweep tries: what plans choose from."""
_FILE = click.Path(path_type=Path, dir_okay=False)


class _Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The options, as they were given."""

    file: Path
    strategy: str
    stop: tuple[str, ...]
    weight: str | None
    verifier: str | None
    budget: int | None
    wave: int | None
    ahead: float | None
    seed: int
    shuffles: int
    equal: Equality
    deployment: str | None
    prompt_tokens: int
    sweeping: bool
    picture: Path | None
    profile: Path | None
    task: TaskKind


def _chance(_context: click.Context, _option: click.Parameter, given: float | None) -> float | None:
    """No comparison is true of nan, so that no range keeps it out."""
    if given is not None and not 0 <= given <= 1:
        raise click.BadParameter(f"{given} is not in the range 0<=x<=1.")
    return given


def _wave(_context: click.Context, _option: click.Parameter, text: str) -> int | None:
    if text == _DEFICIT:
        return None
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise click.BadParameter(f"{text!r} is neither {_DEFICIT} nor a number of at least 1")
    return int(text)


@click.command("replay", epilog=example("ttc replay samples.jsonl --stop beta --budget 16"))
@click.argument("file", type=_FILE)
@click.option("--strategy", default="majority", show_default=True, help="What draws the samples.")
@click.option(
    "--stop",
    multiple=True,
    help="Stop rule; default: beta for a vote, none where it weighs, the verifier's word for best_of_n. "
    "With --sweep several times.",
)
@click.option(
    "--weight", help="What votes weigh by: logprob or verifier, each also with a temperature (:T)."
)
@click.option(
    "--verifier",
    help="Of best_of_n and --weight verifier: exact (the recorded verdicts), reward, or reward:SCORE.",
)
@click.option(
    "--budget", type=click.IntRange(min=1), help="Most samples; default: all that are recorded."
)
@click.option(
    "--wave",
    callback=_wave,
    default=_DEFICIT,
    show_default=True,
    metavar="N|deficit",
    help="Most samples in flight; deficit: as many as could end the run.",
)
@click.option(
    "--ahead",
    type=float,
    callback=_chance,
    help="Chance from which on a vote draws samples before it is sure to need them: 1 none, 0 all at once; "
    "default: 1, with --sweep several.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the samples' order.")
@click.option(
    "--shuffles",
    type=click.IntRange(1, 10_000),
    default=1,
    show_default=True,
    help="Orders to average over.",
)
@click.option(
    "--equal",
    type=click.Choice(("exact", "math")),
    default="exact",
    show_default=True,
    help="When answers are the same: spelt alike, or equal as mathematics.",
)
@click.option("--deployment", help="Whose speed and price latency and cost are told by.")
@click.option(
    "--prompt-tokens",
    type=click.IntRange(0, 10_000_000),
    default=0,
    show_default=True,
    help="Length of the prompts, which files do not hold, for latency and cost.",
)
@click.option("--sweep", "sweeping", is_flag=True, help="Budgets 1, 2, 4, ... times stop rules.")
@click.option("--plot", "picture", type=_FILE, help="Draw the sweep into this PNG.")
@click.option("--fit", "profile", type=_FILE, help="Write the model's ability into this YAML.")
@click.option(
    "--task",
    type=click.Choice(("math", "choice", "code", "json", "open")),
    default="math",
    show_default=True,
    help="Kind of task that --fit is about.",
)
@command
def replay(output: Output, **options: object) -> None:
    """Run a strategy over recorded samples as it would run live: accuracy, samples, tokens, latency, cost."""
    asked = msgspec.convert(options, _Asked)
    _check(asked)
    recordings = load_recordings(asked.file)
    budget = check_budget(asked.file, recordings, asked.budget)
    policies = _policies(asked, budget)
    check_recorded(asked.file, recordings, policies[0])
    if asked.profile is not None:
        model_name(recordings, asked.file)
    run_async(_run, output, asked, recordings, policies, budget)


def _check(asked: _Asked) -> None:
    """Refuse what does not go together, before anything is read."""
    get_strategy(asked.strategy)
    if asked.strategy not in _REPLAYED:
        raise InvalidRequestError(
            f"the strategy {asked.strategy!r} reads texts, and recordings hold none",
            hint=f"use {', '.join(_REPLAYED)}",
        )
    weighting = _weighting(asked)
    for rule in asked.stop:
        _check_rule(rule, asked.strategy)
        if weighting is not None:
            check_weighted_rule(rule, weighting)
    if len(asked.stop) > 1 and not asked.sweeping:
        raise InvalidRequestError("several stop rules need --sweep", hint="give one, or --sweep")
    judged = asked.strategy == _VERIFIED or (weighting is not None and weighting.judged)
    if asked.verifier is not None and not judged:
        raise InvalidRequestError(
            f"a verifier was given, and the strategy {asked.strategy!r} asks none",
            hint=f"leave it out, or use --strategy {_VERIFIED} or --weight verifier",
        )
    if asked.ahead is not None and (asked.strategy != _VOTE or asked.weight is not None):
        raise InvalidRequestError(
            "only a vote in which all count alike draws ahead of need",
            hint=f"leave --ahead out, or use --strategy {_VOTE} without --weight",
        )
    if asked.picture is not None:
        if not asked.sweeping:
            raise InvalidRequestError("--plot draws a sweep", hint="add --sweep, or leave it out")
        check_plotting(asked.picture)
    if asked.profile is not None:
        check_folder(asked.profile)


def _weighting(asked: _Asked) -> Weighting | None:
    """What votes weigh by; None = all alike.

    Raises:
        InvalidRequestError: No recording holds it, or the strategy holds no vote.
    """
    if asked.weight is None:
        return None
    weighting = parse_weight(asked.weight)
    if weighting.measure not in _RECORDED:
        raise InvalidRequestError(
            f"recordings hold nothing to weigh by {weighting.measure!r}",
            hint=f"use {' or '.join(_RECORDED)}",
        )
    if asked.strategy != _VOTE:
        raise InvalidRequestError(
            f"votes weigh, and the strategy {asked.strategy!r} holds none",
            hint=f"leave --weight out, or use --strategy {_VOTE}",
        )
    return weighting


def _check_rule(rule: str, strategy: str) -> None:
    scored = is_score_rule(rule)
    if scored and strategy != _VERIFIED:
        raise InvalidRequestError(
            f"the stop rule {rule!r} is about scores, and the strategy {strategy!r} has none",
            hint=f"leave --stop out, or use --strategy {_VERIFIED}",
        )
    (parse_score_rule if scored else parse_stop_rule)(rule)
    if not scored and strategy in (_ONE_SAMPLE, _VERIFIED):
        raise InvalidRequestError(
            f"the stop rule {rule!r} ends a vote, and the strategy {strategy!r} holds none",
            hint="leave --stop out, or use the strategy 'majority'",
        )


def _policies(asked: _Asked, budget: int) -> list[Policy]:
    """One, or those of a sweep."""
    if asked.stop:
        stops: list[str | None] = [*asked.stop]
    elif asked.weight is not None or asked.strategy in (_ONE_SAMPLE, _VERIFIED):
        stops = [None]
    else:
        stops = [*rules()] if asked.sweeping else [_DEFAULT_RULE]
    sizes = budgets(budget) if asked.sweeping else [budget]
    # A rule cannot end a vote of one sample any earlier.
    sizes = [size for size in sizes if size > 1] or sizes
    return [
        _policy(asked, stop, size, ahead)
        for stop in stops
        for size in sizes
        for ahead in _aheads(asked, stop)
    ]


def _aheads(asked: _Asked, stop: str | None) -> Sequence[float]:
    if asked.ahead is not None:
        return [asked.ahead]
    votes = asked.strategy == _VOTE and asked.weight is None and stop is not None
    return _AHEADS if asked.sweeping and votes else [1.0]


def _policy(asked: _Asked, stop: str | None, budget: int, ahead: float) -> Policy:
    weighting = _weighting(asked)
    judged = asked.strategy == _VERIFIED or (weighting is not None and weighting.judged)
    verifier = parse_verifier(asked.verifier or "exact") if judged else None
    budget = 1 if asked.strategy == _ONE_SAMPLE else budget
    # Where any one sample may be accepted, one is what could end the run.
    contest = verifier is not None and weighting is None
    alone = contest and (stop is not None or _may_accept(verifier))
    wave = asked.wave or (1 if alone else budget)
    return Policy(
        strategy=asked.strategy,
        stop_rule=stop,
        budget=budget,
        wave=min(wave, budget),
        verifier=verifier,
        weight=None if weighting is None else weighting.name,
        ahead=ahead,
    )


def _may_accept(verifier: VerifierSpec | None) -> bool:
    return verifier is not None and math.isfinite(verifier.accepts_at)


async def _run(
    output: Output,
    asked: _Asked,
    recordings: list[Recording],
    policies: list[Policy],
    budget: int,
) -> None:
    process = MathProcess()
    setup = Setup(output.config) if asked.deployment is not None else None
    try:
        spec = None if setup is None else setup.spec(cast("str", asked.deployment))
        bill = None if setup is None or spec is None else await _bill(setup, spec, asked)
        questions, warnings = await read_questions(recordings, asked.equal, process)
        lab = Lab(questions, seed=asked.seed, shuffles=asked.shuffles, bill=bill)
        if asked.sweeping:
            await _sweep(output, asked, lab, policies, budget)
        else:
            report = await lab.report(policies[0])
            if output.as_json:
                output.document(report.document())
            else:
                output.lay(report_view(report, policies[0]))
        if asked.profile is not None:
            await _fit(output, asked, questions, spec)
    finally:
        process.close()
        if setup is not None:
            await setup.aclose()
    for warning in [*warnings, *_repeated(recordings), *_unknown(lab, bill)]:
        output.warn(warning)


async def _bill(setup: Setup, spec: DeploymentSpec, asked: _Asked) -> Bill:
    """The deployment's meter, by its profile alone; what its backend can do is asked where it is installed."""
    capabilities = None
    if setup.probe(spec.backend).available:
        try:
            capabilities = await setup.capabilities(spec)
        except BackendError:
            # A missing key, such as: the profile still tells speed and price.
            capabilities = None
    return Bill(Meter(spec, capabilities, ()), asked.prompt_tokens)


async def _sweep(
    output: Output, asked: _Asked, lab: Lab, policies: list[Policy], budget: int
) -> None:
    rows = await sweep(lab, policies, budget)
    if output.as_json:
        documents = [row.document() for row in rows]
        baselines = await lab.baselines(budget)
        output.document(
            {"questions": len(lab.questions), "sweep": documents, "baselines": baselines}
        )
    else:
        output.lay(sweep_view(rows, len(lab.questions)))
    if asked.picture is not None:
        plot_sweep(rows, asked.picture)
        output.wrote(asked.picture)


async def _fit(
    output: Output, asked: _Asked, questions: list[Question], spec: DeploymentSpec | None
) -> None:
    assert asked.profile is not None
    name = model_name([question.recording for question in questions], asked.file)
    samples = sum(len(question.right) for question in questions)
    ability = await fit_ability(
        questions,
        source=f"ttc replay of {asked.file.name}: {name}, {len(questions)} questions, {samples} samples",
        as_of=datetime.now(UTC).date().isoformat(),
    )
    text = profile_text(name, asked.task, ability, None if spec is None else spec.model)
    write_file(asked.profile, text.encode())
    output.wrote(asked.profile)


def _repeated(recordings: list[Recording]) -> list[str]:
    lines = Counter((one.dataset, one.model, str(one.question_id)) for one in recordings)
    often = sum(count > 1 for count in lines.values())
    if not often:
        return []
    return [f"{counted(often, 'question')} in several lines each: all of them count"]


def _unknown(lab: Lab, bill: Bill | None) -> list[str]:
    if not lab.timed:
        return ["not every question has `tokens`: all that follows from them is unknown"]
    return [] if bill is None else bill.unknown()
