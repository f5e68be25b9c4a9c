"""How near the performance model comes to published decode rates, and what a naive one would say.

    python benchmarks/published_rates.py --output docs/figures/published_rates.md

Every entry of ``published_rates.yaml`` is predicted by the shipped profiles alone, as a plan would be. Beside it
stand the bandwidth over the bytes of the weights, without any derate, and the same model with the values that GPUs
had before these entries were collected. The three values that hold for all GPUs are fitted on one half of the
entries, split by a hash of the id, so that the other half tells how well they carry over; and once more without each
source in turn.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from published_entries import Entry, naive, published, specs
from published_fit import BEFORE, Fit, Grid, Pair, rate_or_reason, with_values
from published_report import Outcome, report
from report import write
from tt_compute.profiles.library import ProfileLibrary


def outcome(pair: Pair) -> Outcome:
    entry, spec = pair
    now, refused = rate_or_reason(entry, spec)
    before, _ = rate_or_reason(entry, with_values(spec, BEFORE))
    return Outcome(
        entry=entry, predicted=now, refused=refused, before=before, naive=naive(entry, spec)
    )


def fits(pairs: Sequence[Pair]) -> dict[str, Fit]:
    """On the fitting half, and on all sources but one."""
    grid = Grid(pairs)
    sources = sorted({entry.source for entry, spec in pairs if spec.hardware.device == "gpu"})
    found = {"the fitting half": grid.fit(lambda entry: entry.fitted_on)}
    for source in sources:
        found[f"all but {source}"] = grid.fit(_not_of(source))
    return found


def _not_of(source: str) -> Callable[[Entry], bool]:
    return lambda entry: entry.source != source


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, help="write the report here too")
    options = parser.parse_args()
    known = published()
    pairs = list(specs(known, ProfileLibrary()))
    write(options.output, report(known, [outcome(pair) for pair in pairs], fits(pairs)))


if __name__ == "__main__":
    main()
