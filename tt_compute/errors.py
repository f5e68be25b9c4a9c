"""Every error that leaves tt_compute.

TTComputeError                     exit code of the CLI
├── UsageError                     2   the caller can mend it
│   ├── ConfigError                    a YAML file: ``file:line: path: what is wrong``
│   ├── UnknownNameError               a deployment, strategy, verifier ... that does not exist
│   ├── InvalidRequestError            a prompt or option no backend could serve
│   │   └── ContextLengthError         prompt + max_tokens exceed the model's context
│   ├── PlanError                      a saved plan that cannot be read, or no longer holds
│   ├── UnsupportedError               this deployment lacks what the request needs
│   └── GenerationClosed               used after its ``async with`` scope
├── InfeasibleError                3   no plan meets the objective (only with ``strict``)
├── BackendError                   4   one attempt at a backend failed
│   ├── BackendUnavailable             library missing or too old; the hint is the install line
│   ├── BackendConflict                two distributions claim one backend name
│   ├── ModelNotFound                  no source could deliver the weights
│   ├── ModelLoadError                 the file is not what it should be, or cannot be loaded
│   ├── AuthenticationError            key missing or refused
│   ├── PaymentRequired                the account has no credit left
│   ├── RequestRefused                 the service will not serve this request, now or later
│   ├── RateLimitError                 retryable, usually after ``retry_after_s``
│   │   └── Overloaded                 our own bounded queue is full; shed before anything was sent
│   ├── ServerError                    retryable; the service or engine failed
│   │   ├── ConnectionFailed           retryable; nothing or only a part arrived
│   │   │   └── Stalled                    retryable; no first token, or no next one, in time
│   │   └── EngineDied                 retryable; the local engine process is gone
│   ├── OutOfMemory                    the sample did not fit beside what is running
│   ├── ScriptExhausted                a mock was asked for more than its script holds
│   ├── CircuitOpen                    the deployment failed too often just now; nothing was sent
│   └── SpendCapReached                the next attempt could pass a spend cap; nothing was sent
├── DeadlineExceeded               4   the deadline passed without an answer
├── VerifierError                  4   the verifier failed; never a verdict on the sample
└── StoreError                     4   the receipts' database cannot be used

``retryable`` and ``retry_after_s`` are for programs, ``hint`` is for people: what to do next. Tracebacks show it too.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

__all__ = [
    "AuthenticationError",
    "BackendConflict",
    "BackendError",
    "BackendUnavailable",
    "CircuitOpen",
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
    "Overloaded",
    "PaymentRequired",
    "PlanError",
    "RateLimitError",
    "RequestRefused",
    "ScriptExhausted",
    "ServerError",
    "SpendCapReached",
    "Stalled",
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
        if hint is not None:
            # What shows a traceback (Python, logging, pytest) shows notes, and knows of no other field.
            self.add_note(f"hint: {hint}")

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


class PlanError(UsageError):
    """A plan that was made before and cannot be run as it stands: damaged, impossible, or out of date."""


class UnsupportedError(UsageError):
    """The deployment lacks an ability the request needs (logprobs, exact seed, schema ...)."""


class GenerationClosed(UsageError):
    """``draw`` or iteration after the generation's scope was left."""


class InfeasibleError(TTComputeError):
    """No plan meets the objective and ``strict`` was asked for, or a budget covers no plans for all its items.

    The message names the constraint.
    """

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


class PaymentRequired(BackendError):
    """The service wants money before it serves this account again."""


class RequestRefused(BackendError):
    """The service refused the request as it stands; sending it again changes nothing."""


class RateLimitError(BackendError):
    """The service or its quota refused the attempt for now."""

    retryable = True


class Overloaded(RateLimitError):
    """The queue of a deployment is full, or its wait longer than the caller's time; nothing was sent."""


class CircuitOpen(BackendError):
    """The deployment failed too often just now and is given time; nothing was sent.

    ``retry_after_s`` says when it is tried again.
    """

    retryable = True


class ServerError(BackendError):
    """The service or engine failed through no fault of the request."""

    retryable = True


class ConnectionFailed(ServerError):
    """The connection could not be made, or broke before the sample was complete."""


class Stalled(ConnectionFailed):
    """No first token came within the deployment's first-token timeout, or no further one within its stall timeout."""


class EngineDied(ServerError):
    """The process of the local engine ended; the next request starts a new one."""


class OutOfMemory(BackendError):
    """The sample did not fit into the engine's memory beside what is running there."""


class ScriptExhausted(BackendError):
    """A mock deployment was asked for more samples than its script holds."""


class DeadlineExceeded(TTComputeError):
    """The deadline passed before any answer was there."""


class SpendCapReached(BackendError):
    """What the next attempt may cost does not fit under a spend cap; nothing was sent."""


class VerifierError(TTComputeError):
    """A verifier raised, hung or died. It says nothing about the sample."""


class StoreError(TTComputeError):
    """The store cannot be read or written as asked."""
