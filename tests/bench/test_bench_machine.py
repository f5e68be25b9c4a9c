"""What is read off the machine, from files as the kernel writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tt_compute.bench.machine import EnergyMeter, process_tree_bytes

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


def domain(folder: Path, name: str, microjoules: int) -> Path:
    made = folder / name
    made.mkdir()
    (made / "max_energy_range_uj").write_text("1000000\n")
    (made / "energy_uj").write_text(f"{microjoules}\n")
    return made / "energy_uj"


def test_energy_adds_up_over_packages_and_wraps(tmp_path: Path) -> None:
    """A counter begins again at 0 after its greatest value; parts of a package are not counted twice."""
    first = domain(tmp_path, "intel-rapl:0", 900_000)
    second = domain(tmp_path, "intel-rapl:1", 0)
    domain(tmp_path, "intel-rapl:0:0", 500_000)
    meter = EnergyMeter(tmp_path)
    assert meter.joules() == 0
    first.write_text("100000\n")
    second.write_text("50000\n")
    assert meter.joules() == pytest.approx(0.25)
    second.write_text("150000\n")
    assert meter.joules() == pytest.approx(0.35)


def test_without_counters_energy_is_unknown_and_the_reason_told(tmp_path: Path) -> None:
    meter = EnergyMeter(tmp_path)
    assert meter.joules() is None
    assert meter.reason is not None
    assert "RAPL" in meter.reason


def test_counters_that_may_not_be_read_are_a_reason(tmp_path: Path) -> None:
    domain(tmp_path, "intel-rapl:0", 1).unlink()
    meter = EnergyMeter(tmp_path)
    assert meter.joules() is None
    assert meter.reason is not None
    assert "cannot be read" in meter.reason
