"""Many policies over one recording, and those that nothing beats."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from tt_compute.errors import InvalidRequestError
from tt_compute.replay.figures import Figures
from tt_compute.replay.lab import Lab, fixed
from tt_compute.replay.play import Policy
from tt_compute.stopping import STOP_RULES, parse_stop_rule

__all__ = ["Row", "budgets", "pareto", "rules", "sweep"]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A policy of the sweep."""

    policy: Policy
    figures: Figures
    pareto: bool = False
    """Nothing else is as accurate, as cheap and as quick, and better in one of these."""

    def document(self) -> dict[str, object]:
        policy = self.policy
        return {
            "strategy": policy.strategy,
            "stop_rule": policy.stop_rule,
            "weight": policy.weight,
            "budget": policy.budget,
            "wave": policy.wave,
            "ahead": policy.ahead,
            "pareto": self.pareto,
            **msgspec.structs.asdict(self.figures),
        }


def budgets(most: int) -> list[int]:
    """1, 2, 4, ... and ``most`` itself."""
    powers = [1 << exponent for exponent in range(most.bit_length())]
    return sorted({*powers, most})


def rules() -> list[str]:
    """Every stop rule that needs nothing stated."""
    return list(_parsed(STOP_RULES))


async def sweep(lab: Lab, policies: Iterable[Policy], most: int) -> list[Row]:
    """Replay every policy, and beside them one sample and a vote without a stop rule of each budget.

    Args:
        lab: What to replay them on.
        policies: As they are wanted; what is given twice is replayed once.
        most: The largest budget.
    """
    wanted = dict.fromkeys([*map(fixed, budgets(most)), *policies])
    rows = [Row(policy=policy, figures=await lab.figures(policy)) for policy in wanted]
    best = pareto([row.figures for row in rows])
    return [msgspec.structs.replace(row, pareto=kept) for row, kept in zip(rows, best, strict=True)]


def pareto(figures: Sequence[Figures]) -> list[bool]:
    """Which of them nothing beats in accuracy, tokens and latency (in samples and waves without tokens)."""
    points = [_losses(one) for one in figures]
    return [not any(_beats(other, point) for other in points) for point in points]


def _losses(one: Figures) -> tuple[float, float, float]:
    if one.output_tokens_mean is None or one.latency_tokens_mean is None:
        return -one.accuracy, one.samples_mean, one.waves_mean
    return -one.accuracy, one.output_tokens_mean, one.latency_tokens_mean


def _beats(first: tuple[float, ...], second: tuple[float, ...]) -> bool:
    return first != second and all(a <= b for a, b in zip(first, second, strict=True))


def _parsed(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        try:
            yield parse_stop_rule(name).name
        except InvalidRequestError:
            continue
