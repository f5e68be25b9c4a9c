"""Energy counters: files as the kernel writes them, and a library shaped like NVIDIA's."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tt_compute.bench.energy import (
    Counter,
    EnergyMeter,
    Unreadable,
    nvml_counters,
    rapl_counters,
)


def zone(folder: Path, place: str, name: str, microjoules: int) -> Path:
    made = folder / place
    made.mkdir()
    (made / "name").write_text(f"{name}\n")
    (made / "max_energy_range_uj").write_text("1000000\n")
    (made / "energy_uj").write_text(f"{microjoules}\n")
    return made / "energy_uj"


def meter(folder: Path) -> EnergyMeter:
    return EnergyMeter([partial(rapl_counters, folder)])


# --- processors ----------------------------------------------------------------------------------


def test_energy_adds_up_over_packages_and_wraps(tmp_path: Path) -> None:
    """A counter begins again at 0 after its greatest value."""
    first = zone(tmp_path, "intel-rapl:0", "package-0", 900_000)
    second = zone(tmp_path, "intel-rapl:1", "package-1", 0)
    both = meter(tmp_path)
    assert both.joules() == 0
    first.write_text("100000\n")
    second.write_text("50000\n")
    assert both.joules() == pytest.approx(0.25)
    second.write_text("150000\n")
    assert both.joules() == pytest.approx(0.35)
    assert (both.source, both.reason) == ("RAPL package-0, RAPL package-1", None)


def test_no_joule_is_counted_twice(tmp_path: Path) -> None:
    """Cores are a part of their package and psys holds the packages; memory is apart."""
    zone(tmp_path, "intel-rapl:0", "package-0", 0)
    zone(tmp_path, "intel-rapl:0:0", "core", 0)
    zone(tmp_path, "intel-rapl:0:1", "uncore", 0)
    zone(tmp_path, "intel-rapl:0:2", "dram", 0)
    zone(tmp_path, "intel-rapl:1", "psys", 0)
    zone(tmp_path, "intel-rapl-mmio:0", "package-0", 0)
    assert meter(tmp_path).source == "RAPL package-0, RAPL dram"


def test_without_counters_energy_is_unknown_and_the_reason_told(tmp_path: Path) -> None:
    nothing = meter(tmp_path)
    assert (nothing.joules(), nothing.source) == (None, None)
    assert nothing.reason == f"RAPL: no energy counters of processors in {tmp_path}"


def test_counters_that_may_not_be_read_are_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on most Linux machines, for all but the superuser."""
    refused = zone(tmp_path, "intel-rapl:0", "package-0", 0)
    plain = Path.read_text

    def read_text(path: Path, *arguments: Any, **options: Any) -> str:
        if path == refused:
            raise PermissionError(13, "Permission denied", str(path))
        return plain(path, *arguments, **options)

    monkeypatch.setattr(Path, "read_text", read_text)
    closed = meter(tmp_path)
    assert (closed.joules(), closed.source) == (None, None)
    assert closed.reason is not None
    assert "Permission denied" in closed.reason
    assert str(refused) in closed.reason


def test_a_counter_that_goes_away_leaves_nothing_known(tmp_path: Path) -> None:
    """A sum without one of its parts would look like less energy."""
    zone(tmp_path, "intel-rapl:0", "package-0", 0)
    second = zone(tmp_path, "intel-rapl:1", "package-1", 0)
    both = meter(tmp_path)
    second.unlink()
    assert both.joules() is None
    assert both.joules() is None
    assert both.source is None
    assert both.reason is not None
    assert "energy_uj" in both.reason


# --- GPUs ----------------------------------------------------------------------------------------


class Nvml:
    """The part of ``pynvml`` that is used."""

    class NVMLError(Exception):
        pass

    def __init__(self, *millijoules: int) -> None:
        self.millijoules = list(millijoules)
        self.fails = False

    def nvmlInit(self) -> None:  # noqa: N802 - the library's names
        self._check()

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802 - likewise
        return len(self.millijoules)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802 - likewise
        return index

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: int) -> int:  # noqa: N802 - likewise
        self._check()
        return self.millijoules[handle]

    def _check(self) -> None:
        if self.fails:
            raise self.NVMLError("Not Supported")


def gpus(library: Nvml) -> Callable[[], list[Counter]]:
    def import_module(name: str) -> Nvml:
        assert name == "pynvml"
        return library

    return partial(nvml_counters, import_module)


def test_gpus_count_from_the_meters_start_on() -> None:
    library = Nvml(5_000_000, 7_000)
    both = EnergyMeter([gpus(library)])
    assert both.joules() == 0
    library.millijoules = [5_001_500, 7_250]
    assert both.joules() == pytest.approx(1.75)
    assert both.source == "NVML GPU 0, NVML GPU 1"


@pytest.mark.parametrize("library", [Nvml(), Nvml(1)], ids=["no GPU", "no counter"])
def test_gpus_that_do_not_count_are_a_reason(library: Nvml) -> None:
    library.fails = bool(library.millijoules)
    with pytest.raises(Unreadable, match=r"NVML: (no GPU|Not Supported)"):
        gpus(library)()


def test_without_the_library_gpus_are_unknown() -> None:
    def import_module(name: str) -> Any:
        raise ImportError(name)

    with pytest.raises(Unreadable, match="pynvml is not installed"):
        nvml_counters(import_module)


def test_a_gpu_that_no_longer_answers_leaves_nothing_known() -> None:
    library = Nvml(1)
    lost = EnergyMeter([gpus(library)])
    library.fails = True
    assert (lost.joules(), lost.reason) == (None, "NVML GPU 0: Not Supported")


def test_what_is_left_out_is_told_beside_what_is_counted(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", 0)
    part = EnergyMeter([partial(rapl_counters, tmp_path), gpus(Nvml())])
    assert (part.source, part.reason) == ("RAPL package-0", "NVML: no GPU")


def test_this_machine_either_counts_or_says_why_not() -> None:
    own = EnergyMeter.of_this_machine()
    assert (own.joules() is None) == (own.source is None)
    assert own.source or own.reason
