"""The protocols: what a backend is. A backend satisfies them by shape and needs no base class.

``Backend`` and ``Generation`` are what every backend has. The others are optional abilities, found by
``isinstance``. A backend that has one runs models of many kinds: where the one of this deployment was not made
for it, the call raises ``UnsupportedError``, and asked about no texts it only finds that out.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

from tt_compute.errors import UsageError
from tt_compute.types import (
    BackendEnv,
    DeploymentSpec,
    Event,
    Finding,
    GenerateRequest,
    Message,
    ModelInfo,
    Offer,
    Probe,
)

__all__ = [
    "Backend",
    "Catalogue",
    "Embedder",
    "Examinable",
    "Generation",
    "LikelihoodScorer",
    "Loadable",
    "ProcessScorer",
    "Pushing",
    "Scorer",
    "Warmable",
    "second_consumer",
]


@runtime_checkable
class Generation(Protocol):
    """A live prompt: samples are drawn from it as needed, any one can be stopped mid-flight.

    One consumer iterates; ``draw`` and ``cancel`` are called from its event loop. The iterator stops
    when nothing is live or queued; a later ``draw`` makes it iterable again. It raises only when the
    whole generation is lost. After its scope was left, iteration gives the events of the samples that
    the exit ended, then stops.
    """

    def draw(self, n: int = 1) -> range:
        """Ask for ``n`` more samples and return their indices; queues, never waits.

        Raises:
            GenerationClosed: The scope was left.
        """
        ...

    def cancel(self, index: int | None = None) -> None:
        """Ask to stop one sample, or all of them. Idempotent, never blocks, never raises.

        The index still ends with its event: one that was complete before the cancel took effect keeps
        its own finish reason, one never started is an empty ``Sample`` with 0 output tokens.
        """
        ...

    def __aiter__(self) -> AsyncIterator[Event]: ...


def second_consumer() -> UsageError:
    """The error for a task that iterates over a generation while another one does.

    It would wait for ever for events that the other one has taken.
    """
    return UsageError(
        "a second consumer iterates over one generation",
        hint="iterate in one task and hand the events on from there; draw and cancel may come from others",
    )


class Backend(Protocol):
    """Code that can run a model somewhere. It does one attempt and reports tokens and time.

    Retry, limits, deadlines across attempts, cost and fan-out are the dispatcher's. A backend is found
    by its entry point in the group ``tt_compute.backends`` and needs no base class.
    """

    name: ClassVar[str]
    api_version: ClassVar[int]
    Options: ClassVar[type[Any]]
    """msgspec struct of the deployment's ``options:``; unknown keys are refused with file and line."""

    @classmethod
    def probe(cls) -> Probe:
        """Tell whether the backend could run here, without importing its library."""
        ...

    @classmethod
    async def create(cls, spec: DeploymentSpec, env: BackendEnv) -> Self:
        """Make the backend ready to open requests; weights load at the first ``open``."""
        ...

    async def models(self) -> Sequence[ModelInfo]: ...

    def open(self, request: GenerateRequest) -> AbstractAsyncContextManager[Generation]:
        """Check all that can be checked and hold the prompt ready; draws nothing.

        Leaving the scope cancels everything, waits at most one engine step and frees everything.

        Raises:
            InvalidRequestError: Too long, empty, out of range, invalid schema.
            UnsupportedError: The request needs an ability that this backend lacks.
        """
        ...

    async def aclose(self) -> None:
        """Free everything; may be called twice."""
        ...


@runtime_checkable
class Warmable(Protocol):
    """Optional ability: load the weights before the first request."""

    async def warm(self) -> None:
        """Load now.

        Raises:
            ModelNotFound: No source could deliver the weights.
            ModelLoadError: They cannot be loaded.
        """
        ...


@runtime_checkable
class Loadable(Protocol):
    """Optional ability: to say whether the weights are in memory now."""

    @property
    def loaded(self) -> bool:
        """Known without asking anybody."""
        ...


@runtime_checkable
class Pushing(Protocol):
    """Optional ability: hand events over as they happen, which spares whoever multiplexes prompts a task each."""

    def open_pushing(
        self, request: GenerateRequest, told: Callable[[Event], None]
    ) -> AbstractAsyncContextManager[Generation]:
        """As ``open``, but every event goes to ``told``, on the event loop, and none is iterated.

        The scope may be left by another task than entered it; events of what its exit ends come before
        it returns. A generation that is lost ends every sample with ``Failed``.
        """
        ...


@runtime_checkable
class Examinable(Protocol):
    """Optional ability: look whether the service is there and takes the key, at no cost."""

    async def examine(self) -> Sequence[Finding]:
        """What was found; also that the service cannot be reached, which raises nothing."""
        ...


@runtime_checkable
class Catalogue(Protocol):
    """Optional ability: read what the service offers of the deployment's model, at no cost."""

    async def offered(self) -> Offer | None:
        """None = the service lists models, and this one is not among them.

        Raises:
            BackendError: It was not reached, refused, or what it says cannot be true.
        """
        ...


@runtime_checkable
class Scorer(Protocol):
    """Optional ability: one score per completion, higher is better."""

    async def score(
        self, messages: Sequence[Message], texts: Sequence[str], *, deadline: float | None = None
    ) -> Sequence[float]:
        """How good each text is as the assistant's whole answer to ``messages``, in the model's own measure.

        Raises:
            UnsupportedError: The deployment's model gives no scores.
            InvalidRequestError: What it would have to read is too long, or its template refuses it.
            DeadlineExceeded: ``deadline``, on the backend's clock, passed first.
        """
        ...


@runtime_checkable
class ProcessScorer(Protocol):
    """Optional ability: one score per reasoning step of each completion."""

    async def score_steps(
        self,
        messages: Sequence[Message],
        steps: Sequence[Sequence[str]],
        *,
        deadline: float | None = None,
    ) -> Sequence[Sequence[float]]:
        """How good each step is, seen with those before it; for each completion as many scores as it has steps.

        Args:
            messages: What the completions answer.
            steps: Of each completion, at least one; they need not be the whole of it. White space around a
                step need not be read. Without completions it is only asked whether it could.
            deadline: On the backend's clock.

        Raises:
            UnsupportedError: The deployment's model scores no steps.
            InvalidRequestError, DeadlineExceeded: As ``Scorer.score``; also a completion without steps, or a
                step in which nothing is said.
        """
        ...


@runtime_checkable
class LikelihoodScorer(Protocol):
    """Optional ability: natural-log likelihood of each continuation of the messages."""

    async def loglikelihood(
        self,
        messages: Sequence[Message],
        continuations: Sequence[str],
        *,
        deadline: float | None = None,
    ) -> Sequence[float]:
        """Sum over each continuation's tokens, without one that ends it; at most 0.

        It begins the assistant's answer, or goes on from an assistant's message that is the last one.

        Raises:
            UnsupportedError: The deployment's model generates nothing.
            InvalidRequestError, DeadlineExceeded: As ``Scorer.score``.
        """
        ...


@runtime_checkable
class Embedder(Protocol):
    """Optional ability: one vector per text."""

    async def embed(
        self, texts: Sequence[str], *, deadline: float | None = None
    ) -> Sequence[Sequence[float]]:
        """Vectors of one length, the nearer in direction the nearer the model holds the texts to be.

        Raises:
            UnsupportedError: The deployment's model gives no vectors.
            InvalidRequestError, DeadlineExceeded: As ``Scorer.score``; also a text of which no token is left.
        """
        ...
