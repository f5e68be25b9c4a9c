"""Rules about what the capabilities claim, and about usage and timing."""

from __future__ import annotations

import json
import math
from typing import cast

import anyio
import msgspec

from tt_compute.testing.rules_refusals import continued
from tt_compute.testing.subject import (
    NATURAL,
    NotApplicable,
    Subject,
    Tally,
    ask,
    broken,
    capabilities,
    collect,
)
from tt_compute.types import JsonSchemaFormat, Message, Sample, SamplingParams

__all__ = [
    "continues_the_assistant",
    "keeps_its_seed_contract",
    "keeps_json_schemas",
    "max_tokens_is_kept",
    "other_seeds_and_indices_differ",
    "stop_strings_cut_exactly",
    "tells_logprobs",
    "usage_adds_up",
]

WAVE = 4
SHARED_PREFILL_FACTOR = 1.5
"""With a shared prefill, three samples may be booked at most this many prompts: engines share whole
blocks of tokens and prefill the rest again."""
SCHEMA: dict[str, object] = {
    "type": "object",
    "properties": {"answer": {"type": "integer"}},
    "required": ["answer"],
    "additionalProperties": False,
}


async def max_tokens_is_kept(subject: Subject) -> None:
    """No sample has more tokens than ``max_tokens``; one that has as many may end with ``length``."""
    for sample in await _wave(subject, tokens=subject.short_tokens):
        if not 0 < sample.usage.output_tokens <= subject.short_tokens:
            broken(f"max_tokens={subject.short_tokens}: {sample.usage.output_tokens} tokens")
        if sample.finish_reason == "length" and sample.usage.output_tokens < subject.short_tokens:
            broken(f"'length' after {sample.usage.output_tokens} of {subject.short_tokens} tokens")


async def usage_adds_up(subject: Subject) -> None:
    """Prompts are booked once when their prefill is shared, tokens and times are plausible."""
    samples = await _wave(subject, tokens=subject.long_tokens)
    streams = (await capabilities(subject)).streaming
    for sample in samples:
        _check_usage(sample, first_token_known=streams)
    prompts = [sample.usage.input_tokens - sample.usage.cached_tokens for sample in samples]
    whole = max(sample.usage.input_tokens for sample in samples)
    if not whole:
        broken("no sample was booked any prompt token")
    if (await capabilities(subject)).prefix_sharing:
        if sum(prompts) > SHARED_PREFILL_FACTOR * whole:
            broken(f"prefix_sharing is claimed, and {prompts} prompt tokens were booked")
    elif 0 in [sample.usage.input_tokens for sample in samples]:
        broken("prefix_sharing is not claimed, and a sample was booked no prompt token")


async def keeps_its_seed_contract(subject: Subject) -> None:
    """``schedule``: equal waves are equal; ``exact``: also alone and beside other traffic."""
    contract = (await capabilities(subject)).seed
    if contract == "none":
        raise NotApplicable("no seed contract is claimed")
    first = _texts(await _wave(subject, seed=7))
    again = _texts(await _wave(subject, seed=7))
    if first != again:
        broken(f"two equal waves with one seed differ: {_difference(first, again)}")
    if contract == "exact":
        alone = await _one_by_one(subject, seed=7)
        if first != alone:
            broken(f"samples in a wave differ from the same alone: {_difference(first, alone)}")
        beside = await _beside_traffic(subject, seed=7)
        if first != beside:
            broken(f"other traffic changed samples: {_difference(first, beside)}")


async def other_seeds_and_indices_differ(subject: Subject) -> None:
    """Seeds are used: another seed gives other samples, and so does another index."""
    if (await capabilities(subject)).seed == "none":
        raise NotApplicable("no seed contract is claimed")
    one = _texts(await _wave(subject, seed=1))
    two = _texts(await _wave(subject, seed=2))
    if one == two:
        broken("seeds 1 and 2 gave the same samples")
    if len(set(one)) == 1:
        broken(f"all samples of one seed are {one[0]!r}")
    if set(one[1:]) & set(two[:-1]) == set(one[1:]):
        broken("sample k+1 of seed 1 is sample k of seed 2: neighbouring seeds share samples")


async def stop_strings_cut_exactly(subject: Subject) -> None:
    """A stop string ends the sample with ``stop``; it and what follows are not in the text."""
    claimed = await capabilities(subject)
    if not claimed.stop:
        raise NotApplicable("stop strings are not claimed")
    whole = (await _wave(subject, seed=3, n=1))[0].text
    middle = len(whole) // 2
    stop = whole[middle : middle + 5]
    if not stop.strip():
        raise NotApplicable(f"the sample {whole!r} is too short to be cut")
    sample = (await _wave(subject, seed=3, n=1, stop=(stop,)))[0]
    if stop in sample.text:
        broken(f"the stop string {stop!r} is in the text {sample.text!r}")
    if claimed.seed == "none":
        return
    expected = whole[: whole.index(stop)]
    if sample.text != expected or sample.finish_reason != "stop":
        broken(
            f"stop={stop!r} made {sample.text!r} ({sample.finish_reason}), expected {expected!r}"
        )


async def tells_logprobs(subject: Subject) -> None:
    """Logprobs come when asked for: at most 0, one per token, the same streamed as in the sample."""
    claimed = await capabilities(subject)
    if not claimed.max_logprobs:
        raise NotApplicable("logprobs are not claimed")
    sampling = SamplingParams(logprobs=1, seed=3)
    async with subject.backend.open(
        ask(subject, tokens=subject.long_tokens, sampling=sampling, deltas="logprobs")
    ) as generation:
        generation.draw(2)
        tally = await collect(generation)
    for sample in tally.samples(range(2)):
        values = [token.logprob for token in sample.logprobs]
        if not values or len(values) > sample.usage.output_tokens:
            broken(f"{len(values)} logprobs for {sample.usage.output_tokens} tokens")
        if any(math.isnan(value) or value > 0 for value in values):
            broken(f"logprobs above 0 or not numbers: {values}")
        streamed = [
            token for delta in tally.deltas.get(sample.index, ()) for token in delta.logprobs
        ]
        if claimed.streaming and tuple(streamed) != sample.logprobs:
            broken("the streamed logprobs are not those of the sample")
    if any(sample.logprobs for sample in await _wave(subject, tokens=subject.short_tokens)):
        broken("logprobs came without being asked for")


async def keeps_json_schemas(subject: Subject) -> None:
    """With ``json_schema``, a sample that ends with ``stop`` is JSON that satisfies the schema."""
    if not (await capabilities(subject)).json_schema:
        raise NotApplicable("JSON schemas are not claimed")
    request = msgspec.structs.replace(
        ask(subject, tokens=subject.long_tokens), response_format=JsonSchemaFormat(schema=SCHEMA)
    )
    async with subject.backend.open(request) as generation:
        generation.draw(WAVE)
        tally = await collect(generation)
    for sample in tally.samples(range(WAVE)):
        if sample.finish_reason == "stop" and not _is_answer(sample.text):
            broken(f"not an instance of the schema: {sample.text!r}")


async def continues_the_assistant(subject: Subject) -> None:
    """With ``continue_assistant``, samples go on from the last message and do not repeat it."""
    if not (await capabilities(subject)).continue_assistant:
        raise NotApplicable("continuing is not claimed")
    async with subject.backend.open(continued(ask(subject))) as generation:
        generation.draw(2)
        tally = await collect(generation)
    for sample in tally.samples(range(2)):
        if sample.finish_reason not in NATURAL:
            broken(f"a continued sample ended with {sample.finish_reason!r}")


async def _wave(
    subject: Subject,
    *,
    tokens: int | None = None,
    seed: int | None = None,
    n: int = WAVE,
    stop: tuple[str, ...] = (),
) -> list[Sample]:
    request = ask(
        subject,
        tokens=subject.long_tokens if tokens is None else tokens,
        sampling=SamplingParams(seed=seed, stop=stop),
    )
    async with subject.backend.open(request) as generation:
        generation.draw(n)
        tally = await collect(generation)
    return tally.samples(range(n))


async def _one_by_one(subject: Subject, seed: int) -> list[str]:
    request = ask(subject, tokens=subject.long_tokens, sampling=SamplingParams(seed=seed))
    tally = Tally()
    async with subject.backend.open(request) as generation:
        for _ in range(WAVE):
            generation.draw(1)
            await collect(generation, tally)
    return _texts(tally.samples(range(WAVE)))


async def _beside_traffic(subject: Subject, seed: int) -> list[str]:
    other = msgspec.structs.replace(
        ask(subject, tokens=subject.long_tokens),
        messages=(Message(role="user", content="Something else altogether, please."),),
    )
    texts: list[str] = []
    async with subject.backend.open(other) as traffic:
        traffic.draw(WAVE - 1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(collect, traffic)
            texts += _texts(await _wave(subject, seed=seed))
    return texts


def _check_usage(sample: Sample, *, first_token_known: bool) -> None:
    """A backend that does not stream cannot know when its first token was there, and must not make it up."""
    usage, timing = sample.usage, sample.timing
    if usage.output_tokens < 1 or not 0 <= usage.cached_tokens <= usage.input_tokens:
        broken(f"index {sample.index}: {usage!r}")
    first_s = timing.first_token_s
    if (first_s is None and first_token_known) or not 0 <= (first_s or 0.0) <= timing.total_s:
        broken(f"index {sample.index}: {timing!r}")


def _is_answer(text: str) -> bool:
    try:
        document: object = json.loads(text)
    except ValueError:
        return False
    if not isinstance(document, dict):
        return False
    fields = cast("dict[str, object]", document)
    return fields.keys() == {"answer"} and isinstance(fields["answer"], int)


def _texts(samples: list[Sample]) -> list[str]:
    return [sample.text for sample in samples]


def _difference(one: list[str], other: list[str]) -> str:
    index = next(index for index, text in enumerate(one) if text != other[index])
    return f"index {index}: {one[index]!r} and {other[index]!r}"
