"""``ttc estimates``: what past runs taught, shown, handed on, taken in and forgotten."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar, get_args

import click

from tt_compute.cli.loop import run_async
from tt_compute.cli.shared import Output, command, counted, example, printable
from tt_compute.cli.table import columns
from tt_compute.errors import InvalidRequestError
from tt_compute.learning import evidence_of, forget, take_in, what_was_learned
from tt_compute.planning.evidence_file import load_evidence, save_evidence
from tt_compute.planning.learned import AbilityLearned, Learned, LogprobsLearned, Moved
from tt_compute.profiles.schema import TaskKind
from tt_compute.setup import Setup

__all__ = ["estimates"]

T = TypeVar("T")

_MOCK = click.option("--mock", is_flag=True, help="Of mock deployments instead of real ones.")
_FILE = click.argument("path", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))


@click.group()
def estimates() -> None:
    """What past runs taught: abilities, lengths and speeds."""


@estimates.command("show", epilog=example("ttc estimates show --model smollm2-135m-instruct"))
@click.option("--deployment", help="Only of this deployment and its model.")
@click.option("--model", help="Only of this model and the deployments that run it.")
@_MOCK
@command
def show(output: Output, *, deployment: str | None, model: str | None, mock: bool) -> None:
    """Show what was learned beside what the profiles say."""
    found = _with_setup(
        output,
        lambda setup: what_was_learned(setup, model=model, deployment=deployment, mock=mock),
    )
    if output.as_json:
        output.document(found)
        return
    if not (found.abilities or found.speeds):
        output.say("nothing was learned; runs, verifiers and feedback teach")
    for ability in found.abilities:
        _tell_ability(output, ability)
    if found.speeds:
        _tell_speeds(output, found)
    _tell_history(output, found)


@estimates.command("export", epilog=example("ttc estimates export learned.json"))
@_FILE
@_MOCK
@command
def export(output: Output, path: Path, *, mock: bool) -> None:
    """Write what this store learned into a file.

    Numbers only, no prompts and no answers.
    """
    evidence = _with_setup(output, lambda setup: evidence_of(setup, mock=mock))
    save_evidence(evidence, path)
    questions = sum(len(one.observations) + len(one.greedy) for one in evidence.models)
    if output.as_json:
        output.document({"path": str(path), "origin": evidence.origin, "questions": questions})
    else:
        output.say(f"wrote {path}: {counted(questions, 'question')}")


@estimates.command("import", epilog=example("ttc estimates import learned.json"))
@_FILE
@command
def import_(output: Output, path: Path) -> None:
    """Take in what another machine learned.

    Abilities and lengths; a newer file of the same machine takes the place of the older one.
    """
    evidence = load_evidence(path)
    questions = _with_setup(output, lambda setup: take_in(setup, evidence))
    if output.as_json:
        output.document({"origin": evidence.origin, "questions": questions})
    else:
        output.say(
            printable(f"took in {counted(questions, 'question')} of store {evidence.origin}")
        )


@estimates.command("reset", epilog=example("ttc estimates reset --task math --yes"))
@click.option("--model", help="Only what was learned of this model.")
@click.option("--task", type=click.Choice(get_args(TaskKind)), help="Only of this kind of task.")
@click.option("--deployment", help="Only what runs planned for this deployment taught.")
@_MOCK
@click.option("--yes", is_flag=True, help="Do not ask.")
@command
def reset(
    output: Output,
    *,
    model: str | None,
    task: str | None,
    deployment: str | None,
    mock: bool,
    yes: bool,
) -> None:
    """Forget what runs taught; receipts stay.

    All of it, unless told otherwise.
    """
    named = [
        f"{name} {value}"
        for name, value in (("model", model), ("task", task), ("deployment", deployment))
        if value is not None
    ]
    if not yes:
        _ask(f"Forget what was learned of {', '.join(named) or 'everything'}?")
    runs, imports = _with_setup(
        output,
        lambda setup: forget(setup, model=model, deployment=deployment, task=task, mock=mock),
    )
    if output.as_json:
        output.document({"runs": runs, "imports": imports})
        return
    also = f" and {counted(imports, 'import')}" if imports else ""
    output.say(f"forgot what {counted(runs, 'run')}{also} taught")


def _ask(question: str) -> None:
    if not sys.stdin.isatty():
        raise InvalidRequestError(
            "this forgets what was learned, and there is no terminal to ask at", hint="pass --yes"
        )
    click.confirm(printable(question), abort=True, err=True)


def _with_setup(output: Output, work: Callable[[Setup], Awaitable[T]]) -> T:
    async def run() -> T:
        setup = Setup(output.config)
        try:
            found = await work(setup)
            for warning in setup.take_store_warnings():
                output.warn(warning)
            return found
        finally:
            await setup.aclose()

    return run_async(run)


def _tell_ability(output: Output, one: AbilityLearned) -> None:
    questions = _observed(one.questions, one.questions_weight, "question")
    greedy = _observed(one.greedy_questions, one.greedy_questions_weight, "greedy one")
    lengths = f"lengths of {one.samples_weight:.3g} samples"
    output.say(printable(f"{one.model}, {one.task}: {questions}, {greedy}, {lengths}"))
    rows = [
        ("success rate", *_moved(one.success_rate, "{:.1%}")),
        ("greedy success rate", *_moved(one.greedy_success_rate, "{:.1%}")),
        ("wrong answers that agree", *_moved(one.wrong_agreement, "{:.1%}")),
        ("not right without an answer", *_moved(one.abstain_share, "{:.1%}")),
        ("tokens, mean", *_moved(one.completion_tokens_mean, "{:.0f}")),
        ("tokens, p95", *_moved(one.completion_tokens_p95, "{:.0f}")),
    ]
    output.lay(columns(rows, header=("", "stated", "learned"), right=(1, 2)))
    for how, logprobs in (("", one.logprobs), ("greedy ", one.greedy_logprobs)):
        if logprobs.answers:
            output.say(_told_by_logprobs(how, logprobs))
    output.say("")


def _told_by_logprobs(how: str, one: LogprobsLearned) -> str:
    answers = counted(one.answers, f"judged {how}answer")
    if one.slope is None or one.centre is None:
        return f"log-probabilities of {answers}: nothing yet, confidence rests on votes"
    tenth = f"{one.slope / 10:+.2g} of log-odds for a tenth of a nat"
    return f"log-probabilities of {answers}: {tenth} above {one.centre:.3f}"


def _observed(number: int, weight: float, what: str) -> str:
    counting = f" that count for {weight:.3g}" if number else ""
    return f"{counted(number, what)}{counting}"


def _moved(moved: Moved, form: str) -> tuple[str, str]:
    return _figure(moved.stated, form), _figure(moved.learned, form)


def _figure(value: float | None, form: str = "{:.4g}") -> str:
    return "unknown" if value is None else form.format(value)


def _tell_speeds(output: Output, found: Learned) -> None:
    output.say("tokens per second of a whole wave")
    rows = [
        (
            printable(one.deployment),
            one.task,
            str(one.wave),
            f"{one.samples_weight:.3g}",
            _figure(one.predicted),
            _figure(one.observed),
            _figure(one.learned),
        )
        for one in found.speeds
    ]
    header = ("deployment", "task", "wave", "samples", "predicted", "observed", "learned")
    output.lay(columns(rows, header=header, right=(2, 3, 4, 5, 6)))
    output.say("")


def _tell_history(output: Output, found: Learned) -> None:
    for one in found.left_out:
        output.say(
            printable(
                f"left out of {one.deployment}: {counted(one.weights, 'run')} of other weights, "
                f"{counted(one.runtime, 'run')} of another runtime"
            )
        )
    if found.forgotten:
        output.say(f"forgotten: {counted(found.forgotten, 'run')}")
    for taken in found.imports:
        day = datetime.fromtimestamp(taken.imported_at, UTC).date()
        unused = "" if taken.used else "; of other weights than run here, so not used"
        models = ", ".join(taken.models)
        output.say(
            printable(
                f"imported on {day} from store {taken.origin}: "
                f"{counted(taken.questions, 'question')} of {models}{unused}"
            )
        )
