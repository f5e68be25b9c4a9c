"""Every error that leaves tt_compute.

TTComputeError                     exit code of the CLI
├── UsageError                     2   the caller can mend it
│   ├── ConfigError                    a YAML file: ``file:line: path: what is wrong``
│   ├── UnknownNameError               a deployment, strategy, verifier ... that does not exist
│   ├── InvalidRequestError            a prompt or option no backend could serve
│   │   └── ContextLengthError         prompt + max_tokens exceed the model's context
│   ├── UnsupportedError               this deployment lacks what the request needs
│   └── GenerationClosed               used after its ``async with`` scope
├── InfeasibleError                3   no plan meets the objective (only with ``strict``)
├── BackendError                   4   one attempt at a backend failed
│   ├── BackendUnavailable             library missing or too old; the hint is the install line
│   ├── BackendConflict                two distributions claim one backend name
│   ├── ModelNotFound                  no source could deliver the weights
│   ├── ModelLoadError                 the file is not what it should be, or cannot be loaded
│   ├── AuthenticationError            key missing or refused
│   ├── RateLimitError                 retryable, usually after ``retry_after_s``
│   ├── ServerError                    retryable; the service or engine failed
│   │   ├── ConnectionFailed           retryable; nothing or only a part arrived
│   │   └── EngineDied                 retryable; the local engine process is gone
│   ├── OutOfMemory                    the sample did not fit beside what is running
│   └── ScriptExhausted                a mock was asked for more than its script holds
├── DeadlineExceeded               4   the deadline passed without an answer
├── VerifierError                  4   the verifier failed; never a verdict on the sample
└── StoreError                     4   the receipts' database cannot be used

``retryable`` and ``retry_after_s`` are for programs, ``hint`` is for people: what to do next.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

__all__ = [
    "AuthenticationError",
    "BackendConflict",
    "BackendError",
    "BackendUnavailable",
    "ConfigError",
    "ConnectionFailed",
    "ContextLengthError",
    "DeadlineExceeded",
    "EngineDied",
    "GenerationClosed",
    "InfeasibleError",
    "InvalidRequestError",
    "ModelLoadError",
    "ModelNotFound",
    "OutOfMemory",
    "RateLimitError",
    "ScriptExhausted",
    "ServerError",
    "StoreError",
    "TTComputeError",
    "UnknownNameError",
    "UnsupportedError",
    "UsageError",
    "VerifierError",
]


class TTComputeError(Exception):
    """Base of the tree.

    Args:
        message: What happened, with the value that caused it.
        hint: What to do about it; None when the message says it all.

    Attributes:
        partial: Of a run that failed after samples were drawn: the ``Result`` so far, whose receipt says
            what was spent. None otherwise.
    """

    exit_code: ClassVar[int] = 4
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.partial: object | None = None

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only fields would be lost by the default, which replays ``args`` alone.
        return (_rebuild, (type(self), self.message, self.__dict__.copy()))


def _rebuild(cls: type[TTComputeError], message: str, fields: dict[str, object]) -> TTComputeError:
    error = cls.__new__(cls)
    Exception.__init__(error, message)
    error.__dict__.update(fields)
    return error


class UsageError(TTComputeError):
    """The caller asked for something that cannot be done as asked."""

    exit_code = 2


class ConfigError(UsageError):
    """A YAML file cannot be used.

    Args:
        message: What is wrong there.
        file: The file that was read; None for a mapping given in code.
        line: 1-based line of the offending node; None when it has none.
        path: Where in the document, such as ``price.usd_per_mtok.input``.
        hint: What to do about it.
    """

    def __init__(
        self,
        message: str,
        *,
        file: Path | str | None = None,
        line: int | None = None,
        path: str = "",
        hint: str | None = None,
    ) -> None:
        where = str(file) if file is not None else ""
        if where and line is not None:
            where = f"{where}:{line}"
        super().__init__(": ".join(part for part in (where, path, message) if part), hint=hint)
        self.file = file
        self.line = line
        self.path = path


class UnknownNameError(UsageError):
    """A name that nothing answers to; the hint lists the nearest or all known ones."""


class InvalidRequestError(UsageError):
    """A request that no backend could serve: empty prompt, bad range, invalid schema."""


class ContextLengthError(InvalidRequestError):
    """Prompt and ``max_tokens`` together exceed the model's context."""


class UnsupportedError(UsageError):
    """The deployment lacks an ability the request needs (logprobs, exact seed, schema ...)."""


class GenerationClosed(UsageError):
    """``draw`` or iteration after the generation's scope was left."""


class InfeasibleError(TTComputeError):
    """No plan meets the objective and ``strict`` was asked for; the message names the constraint."""

    exit_code = 3


class BackendError(TTComputeError):
    """One attempt at a backend failed.

    Args:
        message: What happened.
        backend: Name of the backend.
        deployment: Id of the deployment.
        retry_after_s: Seconds the service asked to wait; None when it did not say.
        hint: What to do about it.
    """

    def __init__(
        self,
        message: str,
        *,
        backend: str | None = None,
        deployment: str | None = None,
        retry_after_s: float | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.backend = backend
        self.deployment = deployment
        self.retry_after_s = retry_after_s


class BackendUnavailable(BackendError):
    """The backend's library is missing or too old; the hint is the exact install line."""

    exit_code = 2


class BackendConflict(BackendError):
    """Two installed distributions register the same backend name; both are named."""

    exit_code = 2


class ModelNotFound(BackendError):
    """No source could deliver the model; the message lists each source and its reason."""


class ModelLoadError(BackendError):
    """The model file is damaged, of another kind, or the runtime refused it."""


class AuthenticationError(BackendError):
    """No key, or the service refused it. The key itself is never part of the message."""


class RateLimitError(BackendError):
    """The service or its quota refused the attempt for now."""

    retryable = True


class ServerError(BackendError):
    """The service or engine failed through no fault of the request."""

    retryable = True


class ConnectionFailed(ServerError):
    """The connection could not be made, or broke before the sample was complete."""


class EngineDied(ServerError):
    """The process of the local engine ended; the next request starts a new one."""


class OutOfMemory(BackendError):
    """The sample did not fit into the engine's memory beside what is running there."""


class ScriptExhausted(BackendError):
    """A mock deployment was asked for more samples than its script holds."""


class DeadlineExceeded(TTComputeError):
    """The deadline passed before any answer was there."""


class VerifierError(TTComputeError):
    """A verifier raised, hung or died. It says nothing about the sample."""


class StoreError(TTComputeError):
    """The store cannot be read or written as asked."""
