"""From what was measured to what predictions rest on, and how far they were off before and are after."""

from __future__ import annotations

import importlib
import importlib.util
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from tt_compute.bench.report import BenchReport
from tt_compute.calibrated import Calibrated, apply
from tt_compute.planning.performance import Pace
from tt_compute.planning.roofline import UnknownFact, roofline_of, weights_of
from tt_compute.profiles.schema import DeploymentSpec, Efficiency, Fact, Speed, Ttft

__all__ = ["Comparison", "bandwidth_bytes_per_s", "calibrate", "compare"]

_SOURCE = "ttc calibrate"
_BLOCK_BYTES = 256 * 1024 * 1024
_ROUNDS = 5


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """One quantity: measured, and what was predicted before and is predicted after."""

    quantity: str
    measured: float
    before: float | None
    """None = could not be predicted."""
    after: float | None

    @property
    def error_before(self) -> float | None:
        return _error(self.before, self.measured)

    @property
    def error_after(self) -> float | None:
        return _error(self.after, self.measured)


def calibrate(
    spec: DeploymentSpec, report: BenchReport, *, bandwidth: float | None, as_of: str
) -> Calibrated:
    """What a report says of a deployment.

    Args:
        spec: The deployment, as its profiles have it.
        report: Of ``ttc bench``.
        bandwidth: Bytes/s that the memory of this machine gives; None = not measured, or not this machine.
        as_of: ISO date.
    """
    measured = Calibrated(
        speed=_speed(report, as_of), bandwidth_bytes_per_s=_fact(bandwidth, as_of)
    )
    return msgspec.structs.replace(
        measured, efficiency=_efficiency(apply(spec, measured), report, as_of)
    )


def compare(
    before: DeploymentSpec, after: DeploymentSpec, report: BenchReport
) -> Sequence[Comparison]:
    """Prediction against measurement: decode by wave width, and the first token of the waves' prompt."""
    found: list[Comparison] = []
    paces = [Pace(spec, None) for spec in (before, after)]
    prompt = report.prompt_tokens or 0
    for wave in report.waves:
        if wave.decode_tokens_per_s is None or wave.at_once != wave.width:
            continue
        context = prompt + wave.mean_tokens / 2

        def rate(pace: Pace, width: int = wave.width, context: float = context) -> float:
            step_s = pace.step(width).at(context)
            return width / step_s if step_s > 0 else math.inf

        found.append(
            Comparison(
                quantity=f"decode tokens/s, {wave.width} at once",
                measured=wave.decode_tokens_per_s.median,
                before=_predicted(rate, paces[0]),
                after=_predicted(rate, paces[1]),
            )
        )
    alone = report.wave(1)
    if alone is not None and alone.first_token_s is not None:

        def first_s(pace: Pace) -> float:
            return pace.prefill().seconds(prompt)[0]

        found.append(
            Comparison(
                quantity=f"first token, s, prompt of {prompt} tokens",
                measured=alone.first_token_s.median,
                before=_predicted(first_s, paces[0]),
                after=_predicted(first_s, paces[1]),
            )
        )
    return found


def bandwidth_bytes_per_s(
    threads: int, clock: Callable[[], float] = time.perf_counter
) -> float | None:
    """Of reading this machine's memory, all threads together; the best of five. None without numpy."""
    if importlib.util.find_spec("numpy") is None:
        return None
    numpy: Any = importlib.import_module("numpy")
    blocks: list[Any] = [numpy.ones(_BLOCK_BYTES // 8 // threads) for _ in range(threads)]
    best_s = math.inf
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(_ROUNDS):
            started = clock()
            list(pool.map(numpy.sum, blocks))
            best_s = min(best_s, clock() - started)
    read_bytes: int = sum(block.nbytes for block in blocks)
    return read_bytes / best_s


def _speed(report: BenchReport, as_of: str) -> Speed:
    alone = report.wave(1)
    first = report.short_prompt_first_token_s
    rates = {
        str(wave.width): _fact(wave.decode_tokens_per_s.median, as_of)
        for wave in report.waves
        if wave.decode_tokens_per_s is not None and wave.at_once == wave.width
    }
    decode = None if alone is None else alone.decode_tokens_per_s
    return Speed(
        ttft_s=Ttft()
        if first is None
        else Ttft(p50=first.median, source=_SOURCE, as_of=as_of, status="measured"),
        ttft_prompt_tokens=_fact(report.short_prompt_tokens, as_of),
        prefill_tokens_per_s=_fact(
            None if report.prefill_tokens_per_s is None else report.prefill_tokens_per_s.median,
            as_of,
        ),
        decode_tokens_per_s=_fact(None if decode is None else decode.median, as_of),
        decode_tokens_per_s_by_wave=rates,
        load_s=_fact(report.load_s, as_of),
    )


def _efficiency(spec: DeploymentSpec, report: BenchReport, as_of: str) -> Efficiency:
    """What shares of the roofline were reached: for other models on this hardware.

    MBU = weights' bytes over ((step - overhead of layers and exchange) x bandwidth) at one sample; MFU of
    prefill = 2 x active parameters x tokens/s over the peak. A share above 1 says that the hardware's profile is of another machine, and is left out.
    """
    try:
        roofline, weights = roofline_of(spec), weights_of(spec)
    except UnknownFact:
        return Efficiency()
    alone, prefill = report.wave(1), report.prefill_tokens_per_s
    bandwidth = spec.hardware.memory.bandwidth_bytes_per_s.value
    mbu = mfu = None
    if alone is not None and alone.decode_tokens_per_s is not None and bandwidth:
        own = roofline.step_overhead_s - (spec.hardware.efficiency.step_overhead_s.value or 0.0)
        reading_s = 1 / alone.decode_tokens_per_s.median - own
        mbu = weights.bytes / (reading_s * bandwidth) if reading_s > 0 else None
    stated = spec.hardware.efficiency.mfu_prefill.value
    if prefill is not None and stated:
        mfu = roofline.flops_per_token * prefill.median / (roofline.prefill_flops_per_s / stated)
    return Efficiency(mbu=_share(mbu, as_of), mfu_prefill=_share(mfu, as_of))


def _share(value: float | None, as_of: str) -> Fact:
    return _fact(value if value is not None and 0 < value <= 1 else None, as_of)


def _fact(value: float | None, as_of: str) -> Fact:
    if value is None or value <= 0:
        return Fact()
    return Fact(value=value, source=_SOURCE, as_of=as_of, status="measured")


def _predicted(quantity: Callable[[Pace], float], pace: Pace) -> float | None:
    try:
        value = quantity(pace)
    except UnknownFact:
        return None
    return value if math.isfinite(value) else None


def _error(predicted: float | None, measured: float) -> float | None:
    return None if predicted is None or measured <= 0 else predicted / measured - 1
