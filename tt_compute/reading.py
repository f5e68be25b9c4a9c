"""What a client asks of models besides samples: scores, vectors, likelihoods."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import cast

from tt_compute.backend import Embedder, LikelihoodScorer, ProcessScorer, Scorer
from tt_compute.errors import InvalidRequestError
from tt_compute.judging import unable
from tt_compute.planning.types import Objective
from tt_compute.prompts import Prompt, to_messages
from tt_compute.sampling import check_encodable
from tt_compute.setup import Setup
from tt_compute.sync import BackgroundLoop
from tt_compute.verify.steps import split_steps

__all__ = ["AsyncReading", "Reading"]


class AsyncReading:
    """The part of ``AsyncClient`` that draws nothing."""

    _setup: Setup

    async def score(
        self,
        prompt: Prompt,
        texts: Sequence[str],
        *,
        deployment: str,
        system: str | None = None,
        max_latency_s: float | None = None,
    ) -> list[float]:
        """Have a reward model say how good each text is as the whole answer to ``prompt``; higher is better.

        Args:
            prompt: A string or messages.
            texts: None of them is seen beside another.
            deployment: Of a reward model; its scores are in a measure of its own.
            system: A system prompt to put before the messages.
            max_latency_s: From now on, loading included, which it does not cut short; None = no limit.

        Raises:
            UnsupportedError: The deployment's backend or its model gives no scores.
            UsageError: Something to read is not usable there, such as too long.
            DeadlineExceeded: ``max_latency_s`` passed.
            BackendError: The backend could not be made ready.
        """
        deadline = self._deadline(max_latency_s)
        messages = to_messages(prompt, system=system)
        spec = self._setup.permitted(deployment)
        backend = await self._setup.backend(spec)
        if not isinstance(backend, Scorer):
            raise unable(spec, "score completions")
        return [*await backend.score(messages, _checked(texts), deadline=deadline)]

    async def score_steps(
        self,
        prompt: Prompt,
        texts: Sequence[str | Sequence[str]],
        *,
        deployment: str,
        system: str | None = None,
        max_latency_s: float | None = None,
    ) -> list[list[float]]:
        """Have a process reward model say how good each step of each text is, as an answer to ``prompt``.

        Args:
            prompt: A string or messages.
            texts: Whole ones, whose steps end at blank lines as those of ``beam`` do, or each as a list of its
                steps. A step is seen with those before it.
            deployment: Of a process reward model; its scores are probabilities, 1 = good.
            system: As for ``score``.
            max_latency_s: As for ``score``.

        Returns:
            For each text as many scores as it has steps.

        Raises:
            UnsupportedError: The deployment's backend or its model scores no steps.
            UsageError: As for ``score``; also a text without steps, or a step in which nothing is said.
            TTComputeError: As ``score``.
        """
        deadline = self._deadline(max_latency_s)
        messages = to_messages(prompt, system=system)
        spec = self._setup.permitted(deployment)
        backend = await self._setup.backend(spec)
        if not isinstance(backend, ProcessScorer):
            raise unable(spec, "score steps")
        rows = await backend.score_steps(messages, _in_steps(texts), deadline=deadline)
        return [[*row] for row in rows]

    async def embed(
        self, texts: Sequence[str], *, deployment: str, max_latency_s: float | None = None
    ) -> list[list[float]]:
        """Have an embedding model make a vector of each text; near ones point in near directions.

        Args:
            texts: None of them is seen beside another.
            deployment: Of an embedding model.
            max_latency_s: As for ``score``.

        Raises:
            UnsupportedError: The deployment's backend or its model gives no vectors.
            TTComputeError: As ``score``.
        """
        deadline = self._deadline(max_latency_s)
        spec = self._setup.permitted(deployment)
        backend = await self._setup.backend(spec)
        if not isinstance(backend, Embedder):
            raise unable(spec, "embed texts")
        return [[*row] for row in await backend.embed(_checked(texts), deadline=deadline)]

    async def loglikelihood(
        self,
        prompt: Prompt,
        continuations: Sequence[str],
        *,
        deployment: str,
        system: str | None = None,
        max_latency_s: float | None = None,
    ) -> list[float]:
        """How likely a language model finds each continuation, in nats: sums over its tokens, at most 0.

        Args:
            prompt: A string or messages; an assistant's message at the end is gone on from.
            continuations: What the assistant might say; that its turn then ends is not reckoned with.
            deployment: Of a language model.
            system: A system prompt to put before the messages.
            max_latency_s: As for ``score``.

        Raises:
            UnsupportedError: The deployment's backend or its model knows no likelihoods.
            TTComputeError: As ``score``.
        """
        deadline = self._deadline(max_latency_s)
        messages = to_messages(prompt, system=system)
        spec = self._setup.permitted(deployment)
        backend = await self._setup.backend(spec)
        if not isinstance(backend, LikelihoodScorer):
            raise unable(spec, "rate continuations")
        texts = _checked(continuations, "continuations")
        return [*await backend.loglikelihood(messages, texts, deadline=deadline)]

    def _deadline(self, max_latency_s: float | None) -> float | None:
        # An objective refuses what is no latency.
        limit_s = Objective(max_latency_s=max_latency_s).max_latency_s
        return None if limit_s is None else self._setup.clock.now() + limit_s


class Reading(ABC):
    """The same of ``Client``."""

    _loop: BackgroundLoop

    @property
    @abstractmethod
    def _client(self) -> AsyncReading: ...

    def score(
        self,
        prompt: Prompt,
        texts: Sequence[str],
        *,
        deployment: str,
        system: str | None = None,
        max_latency_s: float | None = None,
    ) -> list[float]:
        """As ``AsyncClient.score``."""
        return self._loop.run(
            self._client.score(
                prompt, texts, deployment=deployment, system=system, max_latency_s=max_latency_s
            )
        )

    def score_steps(
        self,
        prompt: Prompt,
        texts: Sequence[str | Sequence[str]],
        *,
        deployment: str,
        system: str | None = None,
        max_latency_s: float | None = None,
    ) -> list[list[float]]:
        """As ``AsyncClient.score_steps``."""
        return self._loop.run(
            self._client.score_steps(
                prompt, texts, deployment=deployment, system=system, max_latency_s=max_latency_s
            )
        )

    def embed(
        self, texts: Sequence[str], *, deployment: str, max_latency_s: float | None = None
    ) -> list[list[float]]:
        """As ``AsyncClient.embed``."""
        return self._loop.run(
            self._client.embed(texts, deployment=deployment, max_latency_s=max_latency_s)
        )

    def loglikelihood(
        self,
        prompt: Prompt,
        continuations: Sequence[str],
        *,
        deployment: str,
        system: str | None = None,
        max_latency_s: float | None = None,
    ) -> list[float]:
        """As ``AsyncClient.loglikelihood``."""
        return self._loop.run(
            self._client.loglikelihood(
                prompt,
                continuations,
                deployment=deployment,
                system=system,
                max_latency_s=max_latency_s,
            )
        )


def _in_steps(texts: object) -> tuple[tuple[str, ...], ...]:
    """The steps of each text; what is no text, and no list of them, is refused."""
    if isinstance(texts, str) or not isinstance(texts, Sequence):
        raise _no_list("texts", texts)
    given = cast("Sequence[object]", texts)
    steps = tuple(
        split_steps(_checked_text(text, f"text {place}"))
        if isinstance(text, str)
        else _checked(text, f"text {place}", f"of text {place}: step")
        for place, text in enumerate(given)
    )
    if () in steps:
        raise InvalidRequestError(f"text {steps.index(())} has no steps", hint="leave it out")
    return steps


def _no_list(name: str, given: object) -> InvalidRequestError:
    return InvalidRequestError(
        f"{name} must be a list of texts, got {type(given).__name__}",
        hint="put a single one into a list",
    )


def _checked(texts: object, name: str = "texts", each: str = "text") -> tuple[str, ...]:
    """Refuse one text in the place of several, and what is no text."""
    if isinstance(texts, str) or not isinstance(texts, Sequence):
        raise _no_list(name, texts)
    given = cast("Sequence[object]", texts)
    return tuple(_checked_text(text, f"{each} {place}") for place, text in enumerate(given))


def _checked_text(text: object, name: str) -> str:
    if not isinstance(text, str):
        raise InvalidRequestError(f"{name} is no text")
    check_encodable(name, text)
    return text
