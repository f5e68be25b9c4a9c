"""Where OpenVINO computes, and how exactly: the same for its pipelines and for single graphs."""

from __future__ import annotations

from typing import Final

from tt_compute.errors import ModelLoadError
from tt_compute_backends.engine.runtime import LoadRequest
from tt_compute_backends.openvino import OpenVinoOptions
from tt_compute_backends.openvino_library import available_devices

__all__ = ["check_device", "compute_properties", "on_cpu", "refused"]

_VIRTUAL_DEVICES: Final = ("AUTO", "HETERO", "MULTI", "BATCH")
"""Names that stand for a choice among the real devices."""
_EXACT: Final[dict[str, object]] = {
    "INFERENCE_PRECISION_HINT": "f32",
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
}
"""Settings of the exact mode. They make batches agree to about 1e-5, which still flips a close token now
and then; so that mode also runs one row at a time (``OpenVinoBackend``) and shares no prefix."""


def check_device(device: str) -> None:
    """Refuse one that is not there.

    Raises:
        ModelLoadError
    """
    family = device.partition(":")[0].partition(".")[0]
    available = available_devices()
    there = {name.partition(".")[0] for name in available}
    if family not in there and family not in _VIRTUAL_DEVICES:
        raise ModelLoadError(
            f"device {device!r} is not there; OpenVINO finds {', '.join(available) or 'none'}",
            hint="set placement.devices of the deployment; AUTO lets OpenVINO choose",
        )


def on_cpu(device: str) -> bool:
    return device in {"CPU", "AUTO"}


def compute_properties(request: LoadRequest, options: OpenVinoOptions) -> dict[str, object]:
    """Threads and precision, by OpenVINO's names."""
    properties: dict[str, object] = dict(_EXACT) if options.reproducible else {}
    if request.threads is not None and on_cpu(request.device):
        properties["INFERENCE_NUM_THREADS"] = request.threads
    return properties


def refused(path: object, device: str, error: Exception) -> ModelLoadError:
    """What OpenVINO raised, in our words."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return ModelLoadError(f"OpenVINO cannot load {path} on {device}: {lines[-1]}")
