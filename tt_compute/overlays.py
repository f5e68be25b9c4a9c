"""What lies beside the configuration and takes the place of what profiles say: refreshed, then measured."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from tt_compute.calibrated import Calibrated
from tt_compute.calibrated import apply as apply_calibrated
from tt_compute.overlay import Overlay, facts, figure
from tt_compute.profiles.document import child, join
from tt_compute.profiles.schema import DeploymentSpec, Fact
from tt_compute.refreshed import Refreshed, apply_refreshed, ignored, in_force, stated_paths

__all__ = ["Overlays"]

_MEASURED_AT = {
    "bandwidth_bytes_per_s": "hardware.memory.bandwidth_bytes_per_s",
    "efficiency": "hardware.efficiency",
}
"""Where a deployment has what a calibration calls so; anything else is called the same."""


class Overlays(msgspec.Struct, frozen=True, kw_only=True):
    """Both files of one configuration."""

    config: Path | None = None
    """``ttc.yaml``, whose own values no refreshed one replaces."""
    refreshed: Overlay[Refreshed] = Overlay()
    calibrated: Overlay[Calibrated] = Overlay()

    def applied(self, spec: DeploymentSpec) -> DeploymentSpec:
        """The deployment as it is planned with."""
        told = self.refreshed.deployments.get(spec.id)
        if told is not None:
            spec = apply_refreshed(spec, told, stated_paths(spec, self.config))
        measured = self.calibrated.deployments.get(spec.id)
        return spec if measured is None else apply_calibrated(spec, measured)

    def values(self, spec: DeploymentSpec) -> Iterator[tuple[str, float | None, str]]:
        """Path, number and ``file:line`` of each value of theirs that counts.

        Args:
            spec: The deployment as it is planned with.
        """
        told = self.refreshed.deployments.get(spec.id)
        stated = stated_paths(spec, self.config)
        for path, fact in () if told is None else facts(told):
            if isinstance(fact, Fact) and ignored(spec, path, fact, stated) is None:
                at = join(child("deployments", spec.id), path)
                yield at, in_force(spec, path).value, self.refreshed.origin(spec.id, path)
        measured = self.calibrated.deployments.get(spec.id)
        for path, known in () if measured is None else facts(measured):
            first, _, rest = path.partition(".")
            inside = join(_MEASURED_AT.get(first, first), rest)
            at = join(child("deployments", spec.id), inside)
            yield at, figure(known), self.calibrated.origin(spec.id, path)
