"""Rules about failures, and about what must not be left behind."""

from __future__ import annotations

import gc
import sys
import threading
from pathlib import Path

import anyio
import msgspec

from tt_compute.testing.subject import (
    NATURAL,
    NotApplicable,
    Subject,
    Tally,
    ask,
    broken,
    collect,
    one_good_sample,
    until_running,
)
from tt_compute.types import BackendError, Failed

__all__ = [
    "a_lost_engine_fails_every_sample",
    "closes_twice",
    "leaves_nothing_behind",
    "one_failure_spares_the_others",
]

WARM_UP_CYCLES = 5
"""Caches and pools fill in the first ones."""
BLOCKS_PER_CYCLE = 2
"""Memory blocks that may stay of one open and close; one kept sample is more."""


async def one_failure_spares_the_others(subject: Subject) -> None:
    """A sample that fails ends with ``Failed``; the others end well and the iteration just stops."""
    if subject.failing is None:
        raise NotApplicable("the factory cannot make one sample fail")
    async with subject.backend.open(subject.failing) as generation:
        generation.draw(3)
        tally = await collect(generation)
    ends = [tally.ends.get(index) for index in range(3)]
    failed = [end for end in ends if isinstance(end, Failed)]
    if len(failed) in {0, 3} or None in ends:
        broken(f"some of three samples were to fail, some to end well; they ended {ends}")
    for failure in failed:
        if not _is_backend_error(failure.error):
            broken(f"index {failure.index} failed with {failure.error!r}, not a BackendError")
    await one_good_sample(subject, "after a failed sample")


async def a_lost_engine_fails_every_sample(subject: Subject) -> None:
    """When the engine dies every live and queued index gets ``Failed``, then the iterator raises."""
    if subject.lost is None and subject.kill_engine is None:
        raise NotApplicable("the factory cannot make the engine die")
    request = subject.lost or ask(subject, tokens=subject.long_tokens)
    tally = Tally()
    raised: BackendError | None = None
    async with subject.backend.open(request) as generation:
        generation.draw(3)
        try:
            tally = await until_running(subject, generation, 0)
            if subject.kill_engine is not None:
                subject.kill_engine()
            await collect(generation, tally)
        except BackendError as exc:
            raised = exc
    if raised is None:
        broken("the engine died and the iteration just stopped")
    if sorted(tally.ends) != [0, 1, 2]:
        broken(f"three samples were drawn, and only {sorted(tally.ends)} got their end")
    if not any(isinstance(end, Failed) for end in tally.ends.values()):
        broken("the engine died and no sample failed")
    await one_good_sample(subject, "after the engine died")


async def leaves_nothing_behind(subject: Subject) -> None:
    """Opening and leaving prompts again and again keeps no task, thread, file or memory."""
    for _ in range(WARM_UP_CYCLES):
        await _cycle(subject)
    before = _Footprint.taken()
    for _ in range(subject.cycles):
        await _cycle(subject)
    after = _Footprint.taken()
    for kind in ("tasks", "threads", "files"):
        if getattr(after, kind) > getattr(before, kind):
            broken(
                f"{subject.cycles} prompts were opened and left, and {kind} grew from "
                f"{getattr(before, kind)} to {getattr(after, kind)}"
            )
    grown = (after.blocks - before.blocks) / subject.cycles
    if grown > BLOCKS_PER_CYCLE:
        broken(f"{grown:.1f} memory blocks stay of each prompt that was opened and left")


async def closes_twice(subject: Subject) -> None:
    """``aclose`` may be called twice; leaves the backend closed."""
    async with subject.backend.open(ask(subject)) as generation:
        generation.draw(1)
        if (await collect(generation)).sample(0).finish_reason not in NATURAL:
            broken("a sample did not end by itself")
    await subject.backend.aclose()
    await subject.backend.aclose()


class _Footprint(msgspec.Struct, frozen=True, kw_only=True):
    tasks: int
    threads: int
    files: int
    """0 where the system does not tell."""
    blocks: int

    @classmethod
    def taken(cls) -> _Footprint:
        gc.collect()
        descriptors = Path("/proc/self/fd")
        return cls(
            tasks=len(anyio.get_running_tasks()),
            threads=threading.active_count(),
            files=len(list(descriptors.iterdir())) if descriptors.is_dir() else 0,
            blocks=sys.getallocatedblocks(),
        )


def _is_backend_error(error: object) -> bool:
    # Structs do not check what they are given, so the type alone promises nothing here.
    return isinstance(error, BackendError)


async def _cycle(subject: Subject) -> None:
    async with subject.backend.open(ask(subject, tokens=subject.long_tokens)) as generation:
        generation.draw(4)
        await until_running(subject, generation, 0)
        generation.cancel(1)
    await collect(generation)
