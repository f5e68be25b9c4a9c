"""What sample k of a prompt will be: a pure function of (prompt, seed, index)."""

from __future__ import annotations

import bisect
import itertools
import re
from typing import Literal

import msgspec

from tt_compute.errors import ScriptExhausted
from tt_compute.types import (
    BackendError,
    ConnectionFailed,
    EngineDied,
    GenerateRequest,
    OutOfMemory,
    RateLimitError,
    ServerError,
    TokenLogprob,
    sample_seed,
)
from tt_compute_backends.mock_options import (
    DEFAULT_ANSWERS,
    Answer,
    Fault,
    FaultKind,
    MockOptions,
    Rule,
    weights,
)
from tt_compute_backends.mock_text import Dice, drawn, synthetic_logprobs, thinking, tokenize

__all__ = ["Reply", "ReplyMaker"]

Effect = Literal["fails", "stalls", "kills"]
_EFFECTS: dict[FaultKind, Effect] = {"stall": "stalls", "engine_died": "kills"}
_REFUSALS = {"rate_limit", "server_error", "oom"}


class Strike(msgspec.Struct, frozen=True, kw_only=True):
    """What happens instead of a good end."""

    error: BackendError
    effect: Effect
    """Ends the sample, silences it, or takes the whole generation down."""


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """One sample, known before it is made."""

    pieces: tuple[str, ...]
    """What each token adds to the text; nothing for the tokens of a stop string."""
    finish_reason: Literal["stop", "length"]
    logprobs: tuple[TokenLogprob, ...]
    """One per token, or none. Made up: they say nothing about the text."""
    ttft_s: float
    token_s: float
    """Seconds between tokens; 0 = all at once."""
    strike: Strike | None = None
    """Hits once all pieces are made; None = nothing does."""
    billed: bool = True
    """Whether the prompt is billed: not for a request that was refused."""


class ReplyMaker:
    """Makes the replies to one prompt.

    Args:
        request: A checked request.
        options: The deployment's.
        max_tokens: Most completion tokens of one sample; None = no limit.
        deployment: Id, for errors.
    """

    def __init__(
        self,
        request: GenerateRequest,
        options: MockOptions,
        *,
        max_tokens: int | None,
        deployment: str,
    ) -> None:
        self._sampling = request.sampling
        self._options = options
        self._max_tokens = max_tokens
        self._deployment = deployment
        self._key = msgspec.msgpack.encode(request.messages)
        self._question = _question(request)
        self._rule = self._first_rule()
        seed = request.sampling.seed
        self._seed = options.seed if seed is None else seed

    def make(self, index: int) -> Reply:
        """What sample ``index`` is."""
        dice = Dice(self._key, sample_seed(self._seed, index))
        answer = self._answer(index, dice)
        if answer is None:
            return self._exhausted(index)
        latency = self._options.latency
        rate = latency.tokens_per_s
        tokens = self._tokens(answer, dice)
        pieces, finish_reason = self._cut(tokens)
        made = tokens[: len(pieces)]
        reply = Reply(
            pieces=tuple(pieces),
            finish_reason=finish_reason,
            logprobs=synthetic_logprobs(made, self._sampling.logprobs, dice),
            ttft_s=drawn(latency.ttft_s, dice, "ttft"),
            token_s=0.0 if rate is None else 1 / drawn(rate, dice, "rate"),
        )
        fault = self._fault(index, dice)
        return reply if fault is None else self._struck(reply, fault)

    def _first_rule(self) -> Rule | None:
        for rule in self._options.rules:
            if re.search(rule.pattern, self._question):
                return rule
        return None

    def _answer(self, index: int, dice: Dice) -> str | None:
        source = self._options if self._rule is None else self._rule
        if source.script is not None:
            return source.script[index] if index < len(source.script) else None
        answers = source.answers or DEFAULT_ANSWERS
        shares = weights(answers)
        if self._sampling.temperature == 0:
            chosen = answers[shares.index(max(shares))]
        else:
            chosen = dice.roll("answer").choices(answers, shares)[0]
        return chosen.text if isinstance(chosen, Answer) else chosen

    def _tokens(self, answer: str, dice: Dice) -> list[str]:
        wanted = self._options.completion_tokens
        if wanted is None:
            return tokenize(answer)
        tokens = tokenize(f"\n{answer}")
        missing = round(drawn(wanted, dice, "length")) - len(tokens)
        if missing <= 0:
            return tokenize(answer)
        return [*thinking(missing, dice.roll("thinking")), *tokens]

    def _cut(self, tokens: list[str]) -> tuple[list[str], Literal["stop", "length"]]:
        """Cut at the token limit, then at the first stop string."""
        finish_reason: Literal["stop", "length"] = "stop"
        if self._max_tokens is not None and len(tokens) > self._max_tokens:
            tokens = tokens[: self._max_tokens]
            finish_reason = "length"
        return self._cut_at_stop(tokens, finish_reason)

    def _cut_at_stop(
        self, tokens: list[str], finish_reason: Literal["stop", "length"]
    ) -> tuple[list[str], Literal["stop", "length"]]:
        """Cut where the first stop string is complete; what of it came earlier is not shown."""
        text = "".join(tokens)
        found = [(text.find(stop), len(stop)) for stop in self._sampling.stop if stop in text]
        if not found:
            return tokens, finish_reason
        first_end = min(start + length for start, length in found)
        ends = list(itertools.accumulate(map(len, tokens)))
        made = bisect.bisect_left(ends, first_end) + 1
        # A token may complete several stop strings at once; the one that begins first counts.
        cut = min(start for start, length in found if start + length <= ends[made - 1])
        starts = [0, *ends]
        return [tokens[at][: max(0, cut - starts[at])] for at in range(made)], "stop"

    def _fault(self, index: int, dice: Dice) -> Fault | None:
        for number, fault in enumerate(self._options.faults):
            named = fault.samples is None or index in fault.samples
            if (
                named
                and re.search(fault.pattern, self._question)
                and dice.roll(f"fault{number}").random() < fault.rate
            ):
                return fault
        return None

    def _struck(self, reply: Reply, fault: Fault) -> Reply:
        made = fault.after_tokens
        return msgspec.structs.replace(
            reply,
            pieces=reply.pieces[:made],
            logprobs=reply.logprobs[:made],
            strike=Strike(error=self._error(fault), effect=_EFFECTS.get(fault.kind, "fails")),
            billed=made > 0 or fault.kind not in _REFUSALS,
        )

    def _error(self, fault: Fault) -> BackendError:
        kind, message = _ERRORS[fault.kind]
        return kind(
            f"the mock's script says: {message}",
            backend="mock",
            deployment=self._deployment,
            retry_after_s=fault.retry_after_s,
        )

    def _exhausted(self, index: int) -> Reply:
        error = ScriptExhausted(
            f"sample {index} was asked for and the script ends before it",
            backend="mock",
            deployment=self._deployment,
            hint="add entries to the script, or draw fewer samples",
        )
        return Reply(
            pieces=(),
            finish_reason="stop",
            logprobs=(),
            ttft_s=0.0,
            token_s=0.0,
            strike=Strike(error=error, effect="fails"),
            billed=False,
        )


_ERRORS: dict[FaultKind, tuple[type[BackendError], str]] = {
    "rate_limit": (RateLimitError, "too many requests"),
    "server_error": (ServerError, "the service failed"),
    "connection": (ConnectionFailed, "the connection was cut"),
    "malformed": (ServerError, "the answer cannot be decoded"),
    "oom": (OutOfMemory, "out of memory"),
    "stall": (ConnectionFailed, "the stream went silent"),
    "engine_died": (EngineDied, "the engine died"),
}


def _question(request: GenerateRequest) -> str:
    asked = [message.text for message in request.messages if message.role == "user"]
    return asked[-1] if asked else ""
