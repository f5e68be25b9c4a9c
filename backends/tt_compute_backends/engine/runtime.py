"""What a local runtime must do so that the engine can run it: the seam between scheduling and arithmetic.

The engine (admission, fairness, cancellation, deadlines, the process it lives in) is written once; each
runtime (OpenVINO, ONNX Runtime, torch) implements ``Runtime`` and nothing else. Everything here is called
from one thread of the engine's process, never concurrently.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Protocol, runtime_checkable

import msgspec

from tt_compute.types import Capabilities, GenerateRequest, Message, TokenLogprob

__all__ = [
    "EmbedTexts",
    "LoadRequest",
    "Loaded",
    "Prompt",
    "RateContinuations",
    "Reading",
    "ReadingRuntime",
    "RowParams",
    "RowStep",
    "Runtime",
    "ScoreSteps",
    "ScoreTexts",
    "Vectors",
]


class LoadRequest(msgspec.Struct, frozen=True, kw_only=True):
    """All that a runtime needs to load a model; travels to the engine's process as msgpack."""

    runtime: str
    """``module:Class`` of the runtime, imported in the engine's process only."""
    model_path: str
    device: str
    threads: int | None
    max_rows: int
    """Most rows the engine will ever have admitted at once."""
    memory_bytes: int | None
    max_context_tokens: int | None
    """The profile's limit; the runtime's own may be lower."""
    chat_template: str | None
    options: dict[str, object] = {}
    """The backend's own, already validated."""


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """What was loaded."""

    max_context_tokens: int
    capabilities: Capabilities
    load_s: float
    versions: dict[str, str] = {}


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """A checked and tokenised prompt."""

    token_ids: tuple[int, ...]
    max_tokens: int
    """Most completion tokens of a row: the request's limit, or what the context leaves."""


class RowParams(msgspec.Struct, frozen=True, kw_only=True):
    """How one row is sampled; every value is set."""

    max_tokens: int
    seed: int
    temperature: float
    top_p: float
    top_k: int | None
    stop: tuple[str, ...]
    logprobs: int
    presence_penalty: float
    frequency_penalty: float
    json_schema: str | None
    """The schema as JSON text."""


class RowStep(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one engine step did to one row."""

    row: int
    text: str = ""
    """New text, stop strings cut off, unfinished characters held back."""
    tokens: int = 0
    """Completion tokens made in this step, those of held-back text included."""
    cached_tokens: int = 0
    """Prompt tokens that were not prefilled because another row had done so; reported once."""
    logprobs: tuple[TokenLogprob, ...] = ()
    certainty: float | None = None
    """Sum over the step's tokens of ``Sample.self_certainty``; None where it is not known."""
    finish: str | None = None
    """``stop`` or ``length`` when the runtime ended the row, ``oom`` when it ran out of memory."""


class Runtime(Protocol):
    """A loaded model. Rows are numbered by the engine; a number is never used again."""

    def load(self, request: LoadRequest) -> Loaded:
        """Load the model.

        Raises:
            ModelLoadError: Damaged, of an unknown architecture, or refused by the device.
        """
        ...

    def prepare(self, request: GenerateRequest) -> Prompt:
        """Check everything about the request and tokenise it; must not disturb running rows.

        Raises:
            InvalidRequestError: Empty or unencodable prompt, a value out of range, an invalid schema.
            ContextLengthError: Prompt and ``max_tokens`` exceed the context.
            UnsupportedError: More logprobs than the runtime gives, and the like.
        """
        ...

    def has_room(self, prompt: Prompt) -> bool:
        """Whether one more row of ``prompt`` fits into memory now; while it does not and others run, it waits."""
        ...

    def add(self, row: int, prompt: Prompt, params: RowParams) -> None:
        """Start a row; its prefill happens in the next steps.

        Raises:
            OutOfMemory: There is no room for it even with nothing beside it.
        """
        ...

    def cancel(self, row: int) -> None:
        """Free a row at the next step. Unknown or ended rows are ignored; no further ``RowStep`` comes."""
        ...

    def step(self) -> list[RowStep]:
        """Run one step of the batch; also called when only cancelled rows are left.

        Raises:
            Exception: The batch is lost; the engine fails every row and calls ``reset``.
        """
        ...

    def reset(self) -> None:
        """Drop all rows and whatever a failed step left behind; the model is usable again after it."""
        ...

    def close(self) -> None: ...


# --- reading without drawing ---------------------------------------------------------------------


class ScoreTexts(msgspec.Struct, frozen=True, kw_only=True, tag=True, array_like=True):
    """A reward for each text as the assistant's answer; a row of one number each."""

    messages: tuple[Message, ...]
    texts: tuple[str, ...]


class ScoreSteps(msgspec.Struct, frozen=True, kw_only=True, tag=True, array_like=True):
    """How good each step of each text is, the text being the assistant's answer; a row of a number for each step."""

    messages: tuple[Message, ...]
    texts: tuple[tuple[str, ...], ...]
    """Each in its steps; white space around a step is not read."""


class EmbedTexts(msgspec.Struct, frozen=True, kw_only=True, tag=True, array_like=True):
    """A vector for each text."""

    texts: tuple[str, ...]


class RateContinuations(msgspec.Struct, frozen=True, kw_only=True, tag=True, array_like=True):
    """The natural-log likelihood of each text behind the messages; a row of one number each."""

    messages: tuple[Message, ...]
    texts: tuple[str, ...]


Reading = ScoreTexts | ScoreSteps | EmbedTexts | RateContinuations
"""What a model can be asked about texts that are there already."""
Vectors = list[list[float]]
"""A row for each text."""


@runtime_checkable
class ReadingRuntime(Protocol):
    """Optional ability of a runtime."""

    def read(self, reading: Reading) -> Generator[None, None, Vectors]:
        """Work that is done in passes, each about as long as a step; what it holds is freed when it is closed.

        Checks everything before the first pass; without texts nothing else happens.

        Raises:
            UnsupportedError: The model was not made for it.
            InvalidRequestError: A text that cannot be read, has no steps where it must, or is too long.
            OutOfMemory: It does not fit.
        """
        ...
