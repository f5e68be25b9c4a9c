"""Recording: so many samples of each question, a line as soon as a question is complete."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import anyio
import msgspec

from tt_compute.client import AsyncClient
from tt_compute.errors import InvalidRequestError, TTComputeError, UsageError, VerifierError
from tt_compute.files import write_file
from tt_compute.profiles.schema import TaskKind
from tt_compute.prompts import to_messages
from tt_compute.replay.asked import Asked
from tt_compute.replay.puzzles import Puzzle, PuzzleVerifier
from tt_compute.replay.recording import Once, Recording, lines_of
from tt_compute.task_groups import first_error
from tt_compute.types import Failed, Sample, SamplingParams, sample_seed
from tt_compute.verify.base import Verifier
from tt_compute.verify.code_tests import CodeTests
from tt_compute.verify.code_verifier import CodeVerifier
from tt_compute.verify.math_process import MathProcess
from tt_compute.verify.sandbox.types import Sandbox
from tt_compute.verify.tasks import AnswerTask, detect_task, get_task
from tt_compute.verify.verifiers import ExactVerifier

__all__ = ["Recorder", "Settings", "kept"]


_BEGINNING = b'{"dataset":'
"""Of every line."""
_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT
_MODE = 0o666
"""Less what the user's mask takes away."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of each question."""

    deployment: str
    model: str
    samples: int
    sampling: SamplingParams
    seed: int
    """Question k samples with a seed of its own, made of this one and k."""
    task: TaskKind | None = None
    """None = detected for each question."""
    system: str | None = None
    concurrency: int = 8


def kept(file: Path, settings: Settings, *, resume: bool) -> set[str]:
    """Questions that are complete in the file; what is not, a torn last line included, is taken out of it.

    Raises:
        UsageError: The file is there and is not to be resumed, is no plain file, cannot be written, or holds
            samples of another deployment or one question twice.
    """
    if not _size(file):
        return set()
    if not resume:
        raise UsageError(f"{file} is there", hint="--resume goes on with it; or name another file")
    done: set[str] = set()
    good: list[bytes] = []
    once = Once(file)
    for number, line in lines_of(file):
        one = _examined(file, number, line, settings)
        if one is not None:
            name = str(one.question_id)
            once.check(number, name, f"the question {name!r}")
            done.add(name)
            good.append(line.rstrip(b"\n") + b"\n")
    write_file(file, b"".join(good))
    return done


def _size(file: Path) -> int:
    """Bytes that are there; refuses, before anything is drawn for it, what cannot be written to."""
    try:
        there = file.exists()
        if there and not file.is_file():
            raise UsageError(f"{file} is no plain file", hint="name a file to record into")
        os.close(os.open(file, _APPEND, _MODE))
        if not there:
            os.unlink(os.path.realpath(file))  # noqa: PTH108 - realpath is the link's end
        return file.stat().st_size if there else 0
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror or error}") from error


def _examined(file: Path, number: int, line: bytes, settings: Settings) -> Recording | None:
    """The question of a line; None where it is not complete."""
    try:
        one = msgspec.json.decode(line, type=_Line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        if line.endswith(b"\n") or (number == 1 and not _is_torn(line)):
            raise UsageError(f"{file}:{number}: {error}") from error
        return None
    if one.deployment != settings.deployment:
        raise UsageError(
            f"{file}:{number}: was recorded from {one.deployment!r}, not {settings.deployment!r}",
            hint="one file holds one deployment; name another file",
        )
    return one if len(one.samples) >= settings.samples else None


def _is_torn(line: bytes) -> bool:
    """Whether a file that has no other line begins as ours do, or as a crash of the machine leaves one.

    A text of the user's without a newline does not.
    """
    begun = line.strip(b"\0")
    return begun.startswith(_BEGINNING) or _BEGINNING.startswith(begun)


class _Line(Recording, frozen=True, kw_only=True):
    deployment: str = ""


class Recorder:
    """Draws samples and appends them to a file.

    A line is written at the moment its question is complete; so the file is valid whenever the
    recording ends.

    Args:
        client: Where deployments are reached.
        settings: What to ask.
        file: Where to.
        told: Told of every question that was written.
        sandbox: Where programs are run whose questions have tests; closed by its owner. None = nowhere.

    Attributes:
        recorded: Questions that were written.
        failures: Question and error of those that were not.
        output_tokens: Of all samples that were written.
    """

    def __init__(
        self,
        client: AsyncClient,
        settings: Settings,
        file: Path,
        told: Callable[[Asked], None],
        sandbox: Sandbox | None = None,
    ) -> None:
        self._client = client
        self._settings = settings
        self._file = file
        self._told = told
        self._sandbox = sandbox
        self._process = MathProcess()
        self.recorded: int = 0
        self.output_tokens: int = 0
        self.failures: list[tuple[str, TTComputeError]] = []

    async def run(self, questions: Sequence[tuple[int, Asked]]) -> None:
        """Record each of them; ``int`` is its place among all, which its seed is made of.

        Raises:
            UsageError: A gold answer cannot be read, or the deployment cannot be asked so.
            VerifierError: There are tests, and the sandbox cannot be used; nothing was drawn.
        """
        left = iter(questions)
        if self._sandbox is not None and any(one.tests is not None for _, one in questions):
            await self._sandbox.ready()
        judges = {place: self._judge(asked) for place, asked in questions}
        try:
            with first_error():
                async with anyio.create_task_group() as tasks:
                    for _ in range(self._settings.concurrency):
                        tasks.start_soon(self._work, left, judges)
        finally:
            self._process.close()

    def _judge(self, asked: Asked) -> tuple[AnswerTask, Verifier]:
        messages = to_messages(asked.question, system=self._settings.system)
        tests = asked.code_tests
        kind = self._settings.task or ("code" if tests else detect_task(messages))
        task = get_task(kind, messages, math_process=self._process)
        if tests is not None:
            return task, self._runner(asked, tests, kind)
        if isinstance(asked, Puzzle):
            return task, PuzzleVerifier(asked)
        try:
            return task, ExactVerifier(task, str(asked.gold))
        except InvalidRequestError as error:
            hint = error.hint or "--task states the kind of task"
            raise InvalidRequestError(
                f"question {asked.question_id!r}: {error.message}", hint=hint
            ) from error

    def _runner(self, asked: Asked, tests: CodeTests, kind: TaskKind) -> CodeVerifier:
        if kind != "code":
            raise InvalidRequestError(
                f"question {asked.question_id!r} has tests, and its answers are read as {kind!r}",
                hint="leave --task out; tests run programs",
            )
        if self._sandbox is None:
            raise VerifierError(
                f"question {asked.question_id!r} has tests, and there is no sandbox"
            )
        return CodeVerifier(tests, self._sandbox)

    async def _work(
        self,
        left: Iterator[tuple[int, Asked]],
        judges: dict[int, tuple[AnswerTask, Verifier]],
    ) -> None:
        for place, asked in left:
            try:
                samples = await self._draw(place, asked)
                line = await self._line(asked, samples, *judges[place])
            except UsageError:
                raise
            except TTComputeError as error:
                self.failures.append((str(asked.question_id), error))
                continue
            self._append(line)
            self.recorded += 1
            self.output_tokens += sum(sample.usage.output_tokens for sample in samples)
            self._told(asked)

    async def _draw(self, place: int, asked: Asked) -> list[Sample]:
        settings = self._settings
        sampling = msgspec.structs.replace(
            settings.sampling, seed=sample_seed(settings.seed, place)
        )
        drawn = await self._client.generate(
            asked.question,
            deployment=settings.deployment,
            n=settings.samples,
            system=settings.system,
            sampling=sampling,
        )
        samples = [one for one in drawn if isinstance(one, Sample)]
        failed = [one.error for one in drawn if isinstance(one, Failed)]
        if failed:
            raise failed[0]
        return samples

    async def _line(
        self, asked: Asked, samples: Sequence[Sample], task: AnswerTask, verifier: Verifier
    ) -> dict[str, Any]:
        answers = [
            task.extract(one.text, truncated=one.finish_reason not in ("stop", "tool_calls"))
            for one in samples
        ]
        verdicts = [
            await verifier.judge((), sample.text, answer)
            for sample, answer in zip(samples, answers, strict=True)
        ]
        settings = self._settings
        logprobs = [one.mean_logprob for one in samples]
        known: dict[str, Any] = {"logprob": logprobs} if None not in logprobs else {}
        if asked.gold is not None:
            known["gold"] = asked.gold
        return {
            "dataset": asked.dataset,
            "question_id": asked.question_id,
            "question": asked.question,
            "model": settings.model,
            "deployment": settings.deployment,
            "temperature": settings.sampling.temperature,
            "max_tokens": settings.sampling.max_tokens,
            # The canonical form, so that answers which are the same are spelt alike.
            "samples": [None if one is None else one.key for one in answers],
            "correct": [int(one.score >= verifier.accepts_at) for one in verdicts],
            "tokens": [one.usage.output_tokens for one in samples],
            **known,
            "finish_reason": [one.finish_reason for one in samples],
        }

    def _append(self, line: dict[str, Any]) -> None:
        data = msgspec.json.encode(line) + b"\n"
        try:
            opened = os.open(self._file, _APPEND, _MODE)
            try:
                # Of a line that does not fit on the disk the rest is refused, not forgotten.
                while data:
                    data = data[os.write(opened, data) :]
            finally:
                os.close(opened)
        except OSError as error:
            raise TTComputeError(
                f"{self._file} cannot be written: {error.strerror or error}",
                hint="--resume goes on where this ended",
            ) from error
