"""What a mock deployment's ``options:`` may say."""

from __future__ import annotations

import msgspec

from tt_compute.testing.mock_answers import Answer, Rule, check_answers
from tt_compute.testing.mock_faults import Fault
from tt_compute.testing.mock_limits import MockLimits
from tt_compute.testing.mock_quantities import Quantity, least
from tt_compute.testing.mock_questions import MockAbility, QuestionSet
from tt_compute.types import Capabilities

__all__ = ["Latency", "MockOptions"]

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


class Latency(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """How long a sample takes. By default no time at all."""

    ttft_s: Quantity = 0.0
    tokens_per_s: Quantity | None = None
    """Of one sample; None = all tokens at once."""
    load_s: float = 0.0
    """Of the model, once, before the first request."""

    def __post_init__(self) -> None:
        if least(self.ttft_s) < 0:
            raise ValueError(f"expected ttft_s >= 0, got {self.ttft_s}")
        if self.tokens_per_s is not None and least(self.tokens_per_s) <= 0:
            raise ValueError(f"expected tokens_per_s > 0, got {self.tokens_per_s}")
        if self.load_s < 0:
            raise ValueError(f"expected load_s >= 0, got {self.load_s}")


class MockOptions(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """A scripted model. What it says and when depends on (prompt, seed, index) alone, and on ``dice``.

    Which of its samples a limit or a fault with ``requests`` or times refuses depends on when they are drawn.
    """

    answers: tuple[str | Answer, ...] = ()
    """Drawn by their probabilities; none = 42 with probability 0.6 (``DEFAULT_ANSWERS``)."""
    script: tuple[str, ...] | None = None
    """Sample k of every prompt is entry k; a sample beyond the last one fails."""
    rules: tuple[Rule, ...] = ()
    """Answers for certain prompts, tried in order before all else."""
    questions: QuestionSet | None = None
    """Questions that it knows, with ``ability``; tried after the rules."""
    ability: MockAbility | None = None
    """How good it is at ``questions``."""
    completion_tokens: Quantity | None = None
    """Length to which thinking aloud is put before a shorter answer; None = the answer alone."""
    latency: Latency = Latency()
    limits: MockLimits = MockLimits()
    faults: tuple[Fault, ...] = ()
    capabilities: dict[str, object] = {}
    """Fields of ``Capabilities`` to state otherwise, such as ``{native_n: false}``."""
    seed: int = 0
    """Seed of requests that have none."""
    dice: str = ""
    """Mocks with different ones draw independently of each other, also for one prompt and seed."""

    def __post_init__(self) -> None:
        check_answers(self.answers, self.script)
        if self.completion_tokens is not None and least(self.completion_tokens) <= 0:
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
            # Whoever converts the options tells their place in the same way.
            what, _, where = str(exc).partition(" - at `$.")
            raise ValueError(f"capabilities: {where.rstrip('`')}: {what}") from exc
