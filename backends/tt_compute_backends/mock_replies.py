"""What sample k of a prompt will be: a pure function of (prompt, seed, index), limits and faults aside."""

from __future__ import annotations

import bisect
import itertools
from typing import Literal

import msgspec

from tt_compute.errors import ScriptExhausted
from tt_compute.testing.mock_options import MockOptions
from tt_compute.types import GenerateRequest, sample_seed
from tt_compute_backends.mock_account import Account
from tt_compute_backends.mock_reply import Arrival, Reply, refused
from tt_compute_backends.mock_sayings import question_of, sayings_to
from tt_compute_backends.mock_strikes import first_fault, struck
from tt_compute_backends.mock_text import Dice, drawn, synthetic_logprobs, thinking, tokenize

__all__ = ["ReplyMaker"]


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
        self._key = msgspec.msgpack.encode(request.messages) + options.dice.encode()
        self._question = question_of(request)
        self._sayings = sayings_to(self._question, options)
        seed = request.sampling.seed
        self._seed = options.seed if seed is None else seed

    def serve(self, index: int, account: Account, *, now: float, input_tokens: int) -> Reply:
        """What becomes of sample ``index``, drawn now: what was made for it, or a refusal for pace."""
        reply = self.make(index, account.arrive(now))
        if reply.strike is not None and not reply.billed:
            return reply
        too_many = account.admit(now, input_tokens + len(reply.pieces))
        if too_many is not None:
            return refused(too_many)
        told = account.told(now)
        return msgspec.structs.replace(reply, rate_limits=told) if told else reply

    def make(self, index: int, arrival: Arrival) -> Reply:
        """What sample ``index`` is, without limits."""
        dice = Dice(self._key, sample_seed(self._seed, index))
        answer = self._sayings.say(index, dice, greedy=self._sampling.temperature == 0)
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
        fault = first_fault(self._options.faults, self._question, index, arrival, dice)
        return reply if fault is None else struck(reply, fault, self._deployment)

    def _tokens(self, answer: str, dice: Dice) -> list[str]:
        wanted = self._options.completion_tokens
        if wanted is None:
            return tokenize(answer)
        tokens = tokenize(f"\n{answer}")
        missing = round(drawn(wanted, dice, "length")) - len(tokens)
        if missing <= 0:
            return tokenize(answer)
        if self._max_tokens is not None:
            # The rest would be made only to be cut off.
            missing = min(missing, self._max_tokens)
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

    def _exhausted(self, index: int) -> Reply:
        return refused(
            ScriptExhausted(
                f"sample {index} was asked for and the script ends before it",
                backend="mock",
                deployment=self._deployment,
                hint="add entries to the script, or draw fewer samples",
            )
        )
