"""Memory of processes, from files as the kernel writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tt_compute.bench.memory import process_tree_bytes

PAGE = 4096


def process(proc: Path, pid: int, parent: int, pages: int) -> None:
    folder = proc / str(pid)
    folder.mkdir()
    (folder / "stat").write_text(f"{pid} (a (b) c) S {parent} 1 1 0")
    (folder / "statm").write_text(f"9999 {pages} 1 1 0 1 0")


def test_memory_is_that_of_a_process_and_all_below_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def page_size(_name: str) -> int:
        return PAGE

    monkeypatch.setattr("os.sysconf", page_size)
    process(tmp_path, 1, 0, 1000)
    process(tmp_path, 10, 1, 1)
    process(tmp_path, 11, 10, 20)
    process(tmp_path, 12, 11, 300)
    process(tmp_path, 13, 1, 4000)
    (tmp_path / "14").mkdir()
    assert process_tree_bytes(10, tmp_path) == 321 * PAGE


def test_memory_is_unknown_where_processes_are_not_listed(tmp_path: Path) -> None:
    assert process_tree_bytes(10, tmp_path) is None
