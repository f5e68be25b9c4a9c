"""What the parent and the engine's process say to each other, as msgpack.

A frame from the parent is one command; a frame from the engine is a list of replies, at most one list per
stage of an engine step. Exceptions cross as ``WireError`` and are built anew as our own typed errors.
"""

from __future__ import annotations

from typing import Any

import msgspec

from tt_compute import errors
from tt_compute.errors import BackendError, OutOfMemory, ServerError, TTComputeError
from tt_compute.types import Delta, Failed, GenerateRequest, Sample, Usage
from tt_compute_backends.engine.runtime import Loaded, LoadRequest, Reading, Vectors

__all__ = [
    "Cancel",
    "Close",
    "Closed",
    "Command",
    "Draw",
    "Events",
    "Fatal",
    "Forget",
    "Load",
    "LoadFailed",
    "Open",
    "Opened",
    "Origin",
    "Read",
    "ReadDone",
    "ReadFailed",
    "Ready",
    "Refused",
    "Reply",
    "Shutdown",
    "WireError",
    "WireFailed",
    "backend_error",
    "decode_command",
    "decode_replies",
    "encode",
    "from_wire",
    "to_wire",
]


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Whose engine it is, for errors."""

    backend: str
    deployment: str


class WireError(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One of our errors: the name of its class, what it says, and its other fields."""

    kind: str
    message: str
    hint: str | None = None
    fields: dict[str, str | float] = {}


class WireFailed(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A ``Failed`` whose error can travel."""

    index: int
    error: WireError
    text: str = ""
    usage: Usage = Usage()

    def event(self, origin: Origin) -> Failed:
        error = backend_error(self.error, origin)
        return Failed(index=self.index, error=error, text=self.text, usage=self.usage)


# --- from the parent -----------------------------------------------------------------------------


class Load(msgspec.Struct, frozen=True, kw_only=True, tag=True, array_like=True):
    """Load the model; the first command."""

    request: LoadRequest


class Open(msgspec.Struct, frozen=True, kw_only=True, tag=True, array_like=True):
    """Check a prompt and hold it ready."""

    generation: int
    request: GenerateRequest
    seed: str
    """The generation's seed in decimal, so that it may have any size."""
    sent_s: float
    """System-wide monotonic time at which the command was sent."""
    seconds_left: float | None
    """From ``sent_s`` to the deadline; None = no deadline."""


class Draw(msgspec.Struct, frozen=True, kw_only=True, tag=True, array_like=True):
    """Queue the samples ``first .. first + n - 1``."""

    generation: int
    first: int
    n: int
    sent_s: float


class Cancel(msgspec.Struct, frozen=True, kw_only=True, tag=True, array_like=True):
    """End one sample; None = all that are live or queued."""

    generation: int
    index: int | None


class Close(msgspec.Struct, frozen=True, kw_only=True, tag=True, array_like=True):
    """End all samples, then forget the prompt."""

    generation: int


class Read(msgspec.Struct, frozen=True, kw_only=True, tag=True, array_like=True):
    """Compute something about texts."""

    number: int
    reading: Reading
    sent_s: float
    seconds_left: float | None
    """As in ``Open``."""


class Forget(msgspec.Struct, frozen=True, kw_only=True, tag=True, array_like=True):
    """Nobody waits for what was to be read any more."""

    number: int


class Shutdown(msgspec.Struct, frozen=True, kw_only=True, tag=True, array_like=True):
    """Free the model and end."""


Command = Load | Open | Draw | Cancel | Close | Read | Forget | Shutdown


# --- from the engine -----------------------------------------------------------------------------


class Ready(msgspec.Struct, frozen=True, kw_only=True, tag=True, array_like=True):
    """The model is loaded."""

    loaded: Loaded


class LoadFailed(msgspec.Struct, frozen=True, kw_only=True, tag=True, array_like=True):
    """The model could not be loaded; the engine ends."""

    error: WireError


class Opened(msgspec.Struct, frozen=True, kw_only=True, tag=True, array_like=True):
    """The prompt is good and holds this many tokens."""

    generation: int
    prompt_tokens: int


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag=True, array_like=True):
    """The prompt was not opened."""

    generation: int
    error: WireError


class Events(msgspec.Struct, frozen=True, kw_only=True, tag=True, array_like=True):
    """What happened to one generation since the last frame; its deltas come before its ends."""

    generation: int
    deltas: list[Delta] = []
    samples: list[Sample] = []
    failures: list[WireFailed] = []


class Closed(msgspec.Struct, frozen=True, kw_only=True, tag=True, array_like=True):
    """The generation is forgotten; nothing more comes of it."""

    generation: int


class ReadDone(msgspec.Struct, frozen=True, kw_only=True, tag=True, array_like=True):
    """What a ``Read`` found, a row for each text."""

    number: int
    rows: Vectors


class ReadFailed(msgspec.Struct, frozen=True, kw_only=True, tag=True, array_like=True):
    """A ``Read`` that found nothing."""

    number: int
    error: WireError


class Fatal(msgspec.Struct, frozen=True, kw_only=True, tag=True, array_like=True):
    """The engine cannot go on and ends."""

    error: WireError


Reply = Ready | LoadFailed | Opened | Refused | Events | Closed | ReadDone | ReadFailed | Fatal


encode = msgspec.msgpack.Encoder().encode
decode_command = msgspec.msgpack.Decoder(Command).decode
decode_replies = msgspec.msgpack.Decoder(list[Reply]).decode


# --- errors --------------------------------------------------------------------------------------


def to_wire(error: BaseException, doing: str = "the engine failed") -> WireError:
    """The wire form of any exception; one that is not ours becomes a ``ServerError``.

    Args:
        error: What was raised.
        doing: What the engine was doing, for the message of an exception that is not ours.
    """
    if isinstance(error, TTComputeError):
        return WireError(
            kind=_nearest(type(error)),
            message=error.message,
            hint=error.hint,
            fields=_fields(error),
        )
    kind = OutOfMemory if isinstance(error, MemoryError) else ServerError
    return WireError(kind=kind.__name__, message=f"{doing}: {type(error).__name__}: {error}")


def from_wire(error: WireError, origin: Origin) -> TTComputeError:
    """A new exception that says what ``error`` says and whose engine said it."""
    kind: Any = getattr(errors, error.kind)
    rebuilt: TTComputeError = kind(error.message, hint=error.hint, **error.fields)
    if isinstance(rebuilt, BackendError):
        rebuilt.backend = rebuilt.backend or origin.backend
        rebuilt.deployment = rebuilt.deployment or origin.deployment
    return rebuilt


def backend_error(error: WireError, origin: Origin) -> BackendError:
    """The same as a ``BackendError``, the only kind a sample fails with."""
    rebuilt = from_wire(error, origin)
    if isinstance(rebuilt, BackendError):
        return rebuilt
    return ServerError(
        rebuilt.message, hint=rebuilt.hint, backend=origin.backend, deployment=origin.deployment
    )


def _nearest(kind: type[TTComputeError]) -> str:
    """The name in the error tree of the class itself or of the nearest one it descends from."""
    return next(base.__name__ for base in kind.__mro__ if base.__name__ in errors.__all__)


def _fields(error: TTComputeError) -> dict[str, str | float]:
    if not isinstance(error, BackendError):
        return {}
    given = {
        "backend": error.backend,
        "deployment": error.deployment,
        "retry_after_s": error.retry_after_s,
    }
    return {name: value for name, value in given.items() if value is not None}
