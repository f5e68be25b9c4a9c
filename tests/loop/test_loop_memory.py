"""What a batch may take, from the deployment, the request and the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from tt_compute_backends.engine.runtime import LoadRequest
from tt_compute_backends.loop.batch import Memory
from tt_compute_backends.loop.memory import free_memory_bytes
from tt_compute_backends.loop.options import LoopOptions, loop_memory

GIB = 1 << 30


def memory(
    *,
    options: LoopOptions | None = None,
    memory_bytes: int | None = None,
    max_context_tokens: int | None = None,
    free_bytes: int = 100 * GIB,
) -> Memory:
    request = LoadRequest(
        runtime="m:R",
        model_path="m.gguf",
        device="cpu",
        threads=None,
        max_rows=8,
        memory_bytes=memory_bytes,
        max_context_tokens=max_context_tokens,
        chat_template=None,
    )
    return loop_memory(
        options or LoopOptions(),
        request,
        context_tokens=8192,
        kv_bytes_per_token=1 << 16,
        free_bytes=free_bytes,
    )


def test_without_a_word_it_is_half_of_what_is_free_up_to_4_gib() -> None:
    assert memory(free_bytes=2 * GIB).budget_bytes == GIB
    assert memory().budget_bytes == 4 * GIB


def test_the_option_comes_before_the_placement() -> None:
    assert memory(memory_bytes=3 * GIB).budget_bytes == 3 * GIB
    assert memory(options=LoopOptions(cache_bytes=GIB), memory_bytes=3 * GIB).budget_bytes == GIB


def test_a_row_is_as_long_as_the_tightest_limit() -> None:
    """A prompt and its row's copy must both fit."""
    assert memory().max_tokens == 8192
    assert memory(max_context_tokens=100).max_tokens == 100
    assert memory(memory_bytes=128 << 20).max_tokens == 1024


def test_a_reproducible_batch_shares_no_beginnings() -> None:
    assert memory().share_beginnings
    assert not memory(options=LoopOptions(reproducible=True)).share_beginnings


def test_free_memory_is_the_lower_of_the_machines_and_the_groups(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 9000 kB\nMemAvailable: 5000 kB\n")
    group = tmp_path / "group"
    group.mkdir()
    assert free_memory_bytes(meminfo, group) == 5000 * 1024
    (group / "memory.max").write_text("3000000\n")
    (group / "memory.current").write_text("1000000\n")
    assert free_memory_bytes(meminfo, group) == 2_000_000
    (group / "memory.max").write_text("max\n")
    assert free_memory_bytes(meminfo, group) == 5000 * 1024


@pytest.mark.parametrize("content", ["", "MemAvailable: many kB\n"])
def test_off_linux_it_is_a_guess(tmp_path: Path, content: str) -> None:
    (tmp_path / "meminfo").write_text(content)
    assert free_memory_bytes(tmp_path / "meminfo", tmp_path) == 4 * GIB
