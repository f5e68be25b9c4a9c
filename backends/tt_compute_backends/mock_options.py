"""What a mock deployment's ``options:`` may say."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from tt_compute.types import Capabilities

__all__ = [
    "Answer",
    "Fault",
    "FaultKind",
    "Latency",
    "MockOptions",
    "Quantiles",
    "Quantity",
    "Rule",
    "weights",
]

FaultKind = Literal[
    "rate_limit", "server_error", "connection", "malformed", "oom", "stall", "engine_died"
]

DEFAULT_CAPABILITIES = Capabilities(
    native_n=True,
    prefix_sharing=True,
    cancel="sample",
    max_logprobs=5,
    seed="exact",
    stop=True,
    continue_assistant=True,
    streaming=True,
    continuous_batching=True,
)
_ROUNDING = 1e-9


class Quantiles(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A log-normal quantity by its median and 95th percentile."""

    p50: float
    p95: float

    def __post_init__(self) -> None:
        if not 0 < self.p50 <= self.p95:
            raise ValueError(f"expected 0 < p50 <= p95, got {self.p50} and {self.p95}")


Quantity = float | Quantiles
"""A fixed value, or a distribution that each sample draws from."""


class Answer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One text a sample may be."""

    text: str
    probability: float | None = None
    """In [0, 1]; answers without one share what the others leave."""

    def __post_init__(self) -> None:
        if self.probability is not None and not 0 <= self.probability <= 1:
            raise ValueError(f"expected a probability in [0, 1], got {self.probability}")


DEFAULT_ANSWERS: tuple[str | Answer, ...] = (
    Answer(text="The answer is 42.", probability=0.6),
    Answer(text="The answer is 41.", probability=0.2),
    Answer(text="The answer is 24.", probability=0.1),
    Answer(text="I am not sure.", probability=0.1),
)
"""A model that is right more often than not, agrees on a wrong answer at times, and may abstain."""


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Answers for the prompts whose last user message matches ``pattern``; the first match wins."""

    pattern: str
    """Regular expression, searched for anywhere in the text."""
    answers: tuple[str | Answer, ...] = ()
    script: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        _check_pattern(self.pattern)
        _check_answers(self.answers, self.script)
        if not self.answers and self.script is None:
            raise ValueError("a rule needs `answers` or a `script`")


class Latency(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long a sample takes. By default no time at all."""

    ttft_s: Quantity = 0.0
    tokens_per_s: Quantity | None = None
    """Of one sample; None = all tokens at once."""
    load_s: float = 0.0
    """Of the model, once, before the first request."""

    def __post_init__(self) -> None:
        if isinstance(self.ttft_s, float) and self.ttft_s < 0:
            raise ValueError(f"expected ttft_s >= 0, got {self.ttft_s}")
        if isinstance(self.tokens_per_s, float) and self.tokens_per_s <= 0:
            raise ValueError(f"expected tokens_per_s > 0, got {self.tokens_per_s}")
        if self.load_s < 0:
            raise ValueError(f"expected load_s >= 0, got {self.load_s}")


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that goes wrong; the first fault of the list that strikes a sample is the one.

    ``rate_limit``, ``server_error`` and ``oom`` refuse or end the sample; ``connection`` cuts it;
    ``malformed`` is an answer that cannot be decoded; ``stall`` goes silent until the sample is
    cancelled or its deadline passes; ``engine_died`` loses the whole generation.
    """

    kind: FaultKind
    samples: tuple[int, ...] | None = None
    """Indices it strikes; None = any."""
    rate: float = 1.0
    """Probability with which it strikes each of them."""
    pattern: str = ""
    """Strikes only prompts whose last user message matches."""
    after_tokens: int = 0
    """Tokens made before it strikes; a shorter sample is struck at its end."""
    retry_after_s: float | None = None

    def __post_init__(self) -> None:
        _check_pattern(self.pattern)
        if not 0 <= self.rate <= 1:
            raise ValueError(f"expected a rate in [0, 1], got {self.rate}")
        if self.after_tokens < 0:
            raise ValueError(f"expected after_tokens >= 0, got {self.after_tokens}")


class MockOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A scripted model. What it says and when depends on (prompt, seed, index) alone."""

    answers: tuple[str | Answer, ...] = ()
    """Drawn by their probabilities; none = 42 with probability 0.6 (``DEFAULT_ANSWERS``)."""
    script: tuple[str, ...] | None = None
    """Sample k of every prompt is entry k; a sample beyond the last one fails."""
    rules: tuple[Rule, ...] = ()
    """Answers for certain prompts, tried in order before ``answers`` and ``script``."""
    completion_tokens: Quantity | None = None
    """Length to which thinking aloud is put before a shorter answer; None = the answer alone."""
    latency: Latency = Latency()
    faults: tuple[Fault, ...] = ()
    capabilities: dict[str, object] = {}
    """Fields of ``Capabilities`` to state otherwise, such as ``{native_n: false}``."""
    seed: int = 0
    """Seed of requests that have none."""

    def __post_init__(self) -> None:
        _check_answers(self.answers, self.script)
        if isinstance(self.completion_tokens, float) and self.completion_tokens < 1:
            raise ValueError(f"expected completion_tokens >= 1, got {self.completion_tokens}")
        self.stated_capabilities()

    def stated_capabilities(self) -> Capabilities:
        """The mock's own abilities with the stated ones in their place."""
        fields = msgspec.structs.asdict(DEFAULT_CAPABILITIES)
        for key, value in self.capabilities.items():
            if key not in fields:
                raise ValueError(f"capabilities: no such field {key!r}; known: {', '.join(fields)}")
            fields[key] = value
        try:
            return msgspec.convert(fields, Capabilities)
        except msgspec.ValidationError as exc:
            raise ValueError(f"capabilities: {exc}") from exc


def _check_pattern(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as exc:
        raise ValueError(f"pattern {pattern!r} is no regular expression: {exc}") from exc


def _check_answers(answers: tuple[str | Answer, ...], script: tuple[str, ...] | None) -> None:
    if answers and script is not None:
        raise ValueError("`answers` and `script` exclude each other")
    weights(answers)


def weights(answers: tuple[str | Answer, ...]) -> list[float]:
    """Probability of each answer.

    Raises:
        ValueError: They do not sum to 1.
    """
    stated = [answer.probability if isinstance(answer, Answer) else None for answer in answers]
    total = sum(value for value in stated if value is not None)
    open_shares = stated.count(None)
    if total > 1 + _ROUNDING or (answers and not open_shares and total < 1 - _ROUNDING):
        raise ValueError(f"the probabilities of the answers sum to {total:g}, not to 1")
    share = max(0.0, 1 - total) / open_shares if open_shares else 0.0
    return [share if value is None else value for value in stated]
